//! Where detectors listen: one place for each thing that happens to a conversation.

use super::Engine;
use crate::flow::{EndReason, SizedTurn, Totals};
use crate::slab::Handle;

impl Engine {
    /// A turn is whole: what was asked, what was answered.
    #[expect(clippy::unused_self, reason = "the detectors of exchanges listen here")]
    pub(super) fn on_exchange(&mut self, _conversation: Handle, _turn: &SizedTurn) {}

    /// Counters of a conversation grew by `share`.
    #[expect(clippy::unused_self, reason = "the detectors of volumes listen here")]
    pub(super) fn on_volume(&mut self, _conversation: Handle, _share: &Totals, _at_ns: u64) {}

    /// The first bytes of a conversation told something new.
    #[expect(clippy::unused_self, reason = "the detectors of protocols listen here")]
    pub(super) fn on_opening(&mut self, _conversation: Handle, _at_ns: u64) {}

    /// A conversation ended, or was given up. Its entry is still there.
    #[expect(clippy::unused_self, reason = "the detectors of attempts listen here")]
    pub(super) fn on_end(&mut self, _conversation: Handle, _reason: EndReason) {}
}
