//! What became of the attempt to speak to somebody.

use netd_common::record::state;

use super::entry::{Certainty, Entry, SYN, TCP, UDP};

const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// A SYN answered by RST.
    Refused,
    /// Nobody answered for as long as anybody would have.
    Silent,
}

/// Where a conversation's attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Unknown,
    /// Until this record time.
    Awaited(u64),
    Decided,
}

impl Entry {
    /// Returns whether its beginning was seen, so that its outcome means something: a SYN, or a datagram.
    pub(crate) fn is_attempt(&self) -> bool {
        if self.state & state::TRANSLATED != 0 {
            return false;
        }
        match self.key.proto {
            TCP => self.certainty == Certainty::Handshake && self.flags[self.originator() as usize] & SYN != 0,
            UDP => true,
            _ => false,
        }
    }

    /// Returns what became of the attempt, as soon as packets say so.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let (originator, responder) = (self.originator() as usize, self.originator().opposite() as usize);
        let has_answer = self.totals.packets[responder] > 0;
        if self.key.proto != TCP {
            return has_answer.then_some(Outcome::Answered);
        }
        let (from, to) = (self.flags[originator], self.flags[responder]);
        // Whoever acknowledges has been answered, also where the other direction takes another way. A turn is payload
        // that no counters have told of yet.
        let has_payload = self.state & state::PAYLOAD != 0 || self.turns > 0;
        let is_established = to & SYN != 0 || from & ACK != 0 || has_payload;
        match (is_established, to & RST != 0) {
            (true, _) => Some(Outcome::Answered),
            (false, true) => Some(Outcome::Refused),
            (false, false) => None,
        }
    }
}
