//! Where detectors listen: one place for each thing that happens to a conversation.

use super::Engine;
use crate::detect::intel::Match;
use crate::flow::{EndReason, Outcome, SizedTurn, Totals};
use crate::slab::Handle;

impl Engine {
    /// A turn is whole: what was asked, what was answered.
    pub(super) fn on_exchange(&mut self, conversation: Handle, turn: &SizedTurn) {
        self.watch_echo(conversation, turn);
        self.watch_session(conversation, turn);
    }

    /// Counters of a conversation grew by `share`.
    pub(super) fn on_volume(&mut self, conversation: Handle, share: &Totals, at_ns: u64) {
        self.match_intel(conversation, at_ns);
        self.watch_upload(conversation, share, at_ns);
        self.watch_age(conversation, at_ns);
    }

    /// The first bytes of a conversation told something new.
    pub(super) fn on_opening(&mut self, conversation: Handle, at_ns: u64) {
        if let Some(entry) = self.table.get_mut(conversation) {
            entry.is_matched = false;
        }
        self.match_intel(conversation, at_ns);
        self.note_encrypted_dns(conversation, at_ns);
        self.watch_opening(conversation, at_ns);
    }

    /// A conversation ended, or was given up. Its entry is still there.
    pub(super) fn on_end(&mut self, conversation: Handle, _reason: EndReason) {
        self.give_up_attempt(conversation);
        self.watch_login(conversation);
        if let Some(entry) = self.table.get(conversation) {
            self.dns_streams.end(&entry.key);
        }
    }

    /// It has become certain whether somebody answers. Once a conversation whose beginning was seen.
    pub(super) fn on_attempt(&mut self, conversation: Handle, outcome: Outcome) {
        self.counts.attempts_failed += u64::from(outcome != Outcome::Answered);
        self.watch_scan(conversation, outcome);
        self.note_attempt(conversation, outcome);
    }

    /// Holds a conversation against threat intelligence, once it carries payload and again when its name is known.
    fn match_intel(&mut self, conversation: Handle, at_ns: u64) {
        if self.intel.is_empty() {
            return;
        }
        let Some(entry) = self.table.get_mut(conversation) else { return };
        if entry.is_matched || entry.totals.payload == [0; 2] {
            return;
        }
        entry.is_matched = true;
        let is_answered = !entry.totals.payload.contains(&0);
        let Some(about) = self.about_conversation(conversation) else { return };
        if self.scope.may_beacon(about.pair.originator, about.pair.responder) && !self.listed(&about).is_empty() {
            let judged = self.judge(&Match { is_answered }, &about, at_ns);
            if let Some(judged) = judged {
                self.act(judged, &about);
            }
        }
    }
}
