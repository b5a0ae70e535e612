//! Where detectors listen: one place for each thing that happens to a conversation.

use super::Engine;
use crate::flow::{EndReason, SizedTurn, Totals};
use crate::slab::Handle;

impl Engine {
    /// A turn is whole: what was asked, what was answered.
    pub(super) fn on_exchange(&mut self, conversation: Handle, turn: &SizedTurn) {
        self.watch_session(conversation, turn);
    }

    /// Counters of a conversation grew by `share`.
    pub(super) fn on_volume(&mut self, conversation: Handle, _share: &Totals, at_ns: u64) {
        self.watch_age(conversation, at_ns);
    }

    /// The first bytes of a conversation told something new.
    pub(super) fn on_opening(&mut self, conversation: Handle, at_ns: u64) {
        self.watch_opening(conversation, at_ns);
    }

    /// A conversation ended, or was given up. Its entry is still there.
    #[expect(clippy::unused_self, reason = "the detectors of attempts listen here")]
    pub(super) fn on_end(&mut self, _conversation: Handle, _reason: EndReason) {}
}
