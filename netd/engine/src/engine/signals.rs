//! Where detectors listen: one place for each thing that happens to a conversation.

use super::Engine;
use crate::flow::{EndReason, Outcome, SizedTurn, Totals};
use crate::slab::Handle;

impl Engine {
    /// A turn is whole: what was asked, what was answered.
    pub(super) fn on_exchange(&mut self, conversation: Handle, turn: &SizedTurn) {
        self.watch_echo(conversation, turn);
    }

    /// Counters of a conversation grew by `share`.
    pub(super) fn on_volume(&mut self, conversation: Handle, share: &Totals, at_ns: u64) {
        self.watch_upload(conversation, share, at_ns);
    }

    /// The first bytes of a conversation told something new.
    #[expect(clippy::unused_self, reason = "the detectors of protocols listen here")]
    pub(super) fn on_opening(&mut self, _conversation: Handle, _at_ns: u64) {}

    /// A conversation ended, or was given up. Its entry is still there.
    pub(super) fn on_end(&mut self, conversation: Handle, _reason: EndReason) {
        self.give_up_attempt(conversation);
        self.watch_login(conversation);
    }

    /// It has become certain whether somebody answers. Once a conversation whose beginning was seen.
    pub(super) fn on_attempt(&mut self, conversation: Handle, outcome: Outcome) {
        self.counts.attempts_failed += u64::from(outcome != Outcome::Answered);
        self.watch_scan(conversation, outcome);
        self.note_attempt(conversation, outcome);
    }
}
