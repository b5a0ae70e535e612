//! Attempts to speak to somebody: each is raised once, as soon as it is certain what became of it.

use netd_common::key::Direction;

use super::Engine;
use crate::detect::scan::Contact;
use crate::flow::{Attempt, Outcome};
use crate::slab::Handle;

/// A SYN is repeated after 1 s and 3 s (RFC 6298): who has said nothing for so long would not have answered.
const PATIENCE_NS: u64 = 5_000_000_000;
/// The same where a conversation gives way, or the source ends, before that.
const LEAST_PATIENCE_NS: u64 = 3_000_000_000;
const TCP: u8 = 6;

impl Engine {
    /// Raises the outcome of a conversation's attempt, or waits for it.
    pub(super) fn follow_attempt(&mut self, handle: Handle) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.attempt == Attempt::Decided || !entry.is_attempt() {
            return;
        }
        if let Some(outcome) = entry.outcome() {
            entry.attempt = Attempt::Decided;
            self.on_attempt(handle, outcome);
        } else if entry.attempt == Attempt::Unknown {
            // Without room in the queue silence is known when the conversation is given up.
            if self.awaited.len() >= self.awaited_limit {
                return;
            }
            let due_ns = entry.first_ns.saturating_add(PATIENCE_NS);
            entry.attempt = Attempt::Awaited(due_ns);
            self.awaited.push_back((due_ns, handle));
        }
    }

    /// Raises the attempts whose time is over at `until_ns`: in silence, unless more is known by then.
    pub(super) fn release_attempts(&mut self, until_ns: u64) {
        while let Some((due_ns, handle)) = self.awaited.front().copied() {
            if due_ns > until_ns {
                return;
            }
            self.awaited.pop_front();
            if let Some(entry) = self.table.get_mut(handle)
                && entry.attempt == Attempt::Awaited(due_ns)
            {
                entry.attempt = Attempt::Decided;
                let outcome = entry.outcome().unwrap_or(Outcome::Silent);
                self.on_attempt(handle, outcome);
            }
        }
    }

    /// A conversation ends whose attempt nobody answered so far.
    pub(super) fn give_up_attempt(&mut self, handle: Handle) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let is_open = entry.attempt != Attempt::Decided && entry.is_attempt() && entry.outcome().is_none();
        if is_open && self.now_ns.saturating_sub(entry.first_ns) >= LEAST_PATIENCE_NS {
            entry.attempt = Attempt::Decided;
            self.on_attempt(handle, Outcome::Silent);
        }
    }

    /// Puts a failed attempt into the history of its pair and name: a retry loop is a rhythm of its own.
    pub(super) fn note_attempt(&mut self, handle: Handle, outcome: Outcome) {
        let Some(entry) = self.table.get(handle) else { return };
        // A datagram that nobody answers is a turn already.
        if outcome == Outcome::Answered || entry.key.proto != TCP {
            return;
        }
        let (at_ns, originator) = (entry.first_ns, entry.originator());
        // A scanner's thousands of targets would drive out the histories of others.
        if self.scans.is_suspect(&entry.key.flow(originator).src) {
            return;
        }
        let Some((place, _)) = self.place(handle, originator) else { return };
        let changed = self.histories.observe_attempt(place, at_ns, self.gap_ns);
        self.judge_histories(changed, handle, at_ns);
    }

    /// Returns who tried to reach whom.
    pub(super) fn contact(&self, handle: Handle, outcome: Outcome) -> Option<Contact> {
        let entry = self.table.get(handle)?;
        let originator: Direction = entry.originator();
        let flow = entry.key.flow(originator);
        Some(Contact {
            originator: flow.src,
            responder: flow.dst,
            port: flow.dst_port(),
            proto: entry.key.proto,
            has_failed: outcome != Outcome::Answered,
            is_named: entry.name.is_some() || self.answers.name(flow.src, flow.dst, self.now_ns).is_some(),
            at_ns: entry.first_ns,
        })
    }
}
