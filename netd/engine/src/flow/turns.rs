//! Turns of one conversation: which records are one turn, what each carried, which is only a goodbye.

use netd_common::key::Direction;
use netd_common::record::TurnRecord;

use super::entry::Entry;

/// A first payload shorter than this may be a goodbye (TLS close-notify, a farewell line).
const GOODBYE_BYTES: u32 = 64;
/// How long a goodbye is waited for, record time.
pub(crate) const GOODBYE_WAIT_NS: u64 = 1_000_000_000;

/// The latest turn of a conversation; it lasts until the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenTurn {
    pub(crate) at_ns: u64,
    pub(crate) starter: Direction,
    /// Payload of the conversation before the turn.
    base: [u64; 2],
    first_len: u32,
    pub(crate) is_first: bool,
    /// Not yet part of the history: it may be a goodbye, or its name is about to be known.
    pub(crate) is_held: bool,
}

/// A turn whose extent is known. Times are record time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizedTurn {
    pub(crate) at_ns: u64,
    pub(crate) starter: Direction,
    /// Payload bytes of the starter and of the other side.
    pub(crate) request: u64,
    pub(crate) answer: u64,
}

/// What a turn record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The turn that is open already, seen by another CPU.
    Merged,
    /// A new turn. The one before it is whole.
    Begun { before: Option<SizedTurn>, before_was_held: Option<(u64, Direction)> },
}

impl Entry {
    /// Takes a turn record into account.
    pub(crate) fn take_turn(&mut self, record: &TurnRecord, gap_ns: u64) -> Step {
        let at_ns = record.header.time_ns;
        let starter = Direction::from_bit(record.starter);
        if let Some(open) = &mut self.open {
            if at_ns.abs_diff(open.at_ns) < gap_ns {
                if at_ns < open.at_ns && open.is_held {
                    (open.at_ns, open.starter, open.first_len) = (at_ns, starter, record.first_len);
                }
                for end in 0..2 {
                    open.base[end] = open.base[end].min(record.payload[end]);
                }
                return Step::Merged;
            }
            if at_ns < open.at_ns {
                return Step::Merged;
            }
        }
        let before = self.open.map(|open| open.sized(record.payload));
        let before_was_held = self.open.filter(|open| open.is_held).map(|open| (open.at_ns, open.starter));
        let is_first = record.is_first != 0;
        self.turns = self.turns.saturating_add(1);
        self.last_ns = self.last_ns.max(at_ns);
        self.open = Some(OpenTurn {
            at_ns,
            starter,
            base: record.payload,
            first_len: record.first_len,
            is_first,
            is_held: is_first || record.first_len < GOODBYE_BYTES,
        });
        Step::Begun { before, before_was_held }
    }

    /// Lets the held turn go on into the history; returns when it began and who started it.
    pub(crate) fn release_turn(&mut self) -> Option<(u64, Direction)> {
        let open = self.open.as_mut().filter(|open| open.is_held)?;
        open.is_held = false;
        Some((open.at_ns, open.starter))
    }

    /// Releases a first turn whose name is known by now, unless it may still be a goodbye.
    pub(crate) fn release_named_turn(&mut self) -> Option<(u64, Direction)> {
        self.open.filter(|open| open.is_first && open.first_len >= GOODBYE_BYTES)?;
        self.release_turn()
    }

    /// Drops the open turn if it is a goodbye; one side has said that it sends no more.
    pub(crate) fn drop_goodbye(&mut self) -> ClosedTurn {
        let goodbye = self.open.is_some_and(|open| self.is_goodbye(&open));
        if goodbye {
            self.open = None;
        }
        ClosedTurn { goodbye, ..ClosedTurn::default() }
    }

    fn is_goodbye(&self, open: &OpenTurn) -> bool {
        let is_soon = self.last_ns.saturating_sub(open.at_ns) <= GOODBYE_WAIT_NS;
        let is_unanswered = self.totals_ns >= open.at_ns && open.sized(self.totals.payload).answer == 0;
        open.is_held && !open.is_first && open.first_len < GOODBYE_BYTES && is_soon && is_unanswered
    }

    /// Ends the open turn at the end of the conversation. A held goodbye is dropped.
    pub(crate) fn close_turn(&mut self, has_ended: bool) -> ClosedTurn {
        let Some(open) = self.open.take() else { return ClosedTurn::default() };
        if has_ended && self.is_goodbye(&open) {
            return ClosedTurn { goodbye: true, ..ClosedTurn::default() };
        }
        // Without counters from after its beginning the turn's size is not known.
        let size = (self.totals_ns > open.at_ns).then(|| open.sized(self.totals.payload));
        ClosedTurn { released: open.is_held.then_some((open.at_ns, open.starter)), size, goodbye: false }
    }
}

/// What the end of a conversation does to its last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClosedTurn {
    pub(crate) released: Option<(u64, Direction)>,
    pub(crate) size: Option<SizedTurn>,
    pub(crate) goodbye: bool,
}

impl OpenTurn {
    fn sized(&self, until: [u64; 2]) -> SizedTurn {
        let bytes = |end: Direction| until[end as usize].saturating_sub(self.base[end as usize]);
        SizedTurn {
            at_ns: self.at_ns,
            starter: self.starter,
            request: bytes(self.starter),
            answer: bytes(self.starter.opposite()),
        }
    }
}
