//! What is remembered of a pair, and of a name that one originator speaks to: rhythm, sizes, facts.
//!
//! Turns of all connections of a pair join into one history. A name joins addresses: while a name has one address and
//! the address one name, both are one history, kept once, by address; when they part, the name's becomes its own.

mod sizes;
mod store;

use std::sync::Arc;

use netd_common::key::{Address, Direction};

pub(crate) use sizes::Sizes;
pub(crate) use store::{Histories, Prevalence};

use crate::benign::Class;
use crate::detect::beacon::Timing;
use crate::finding::Pair;
use crate::name::Facts;
use crate::slab::Handle;
use crate::weights;

/// [`Pair`] as a compact key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PairKey {
    pub(crate) originator: Address,
    pub(crate) responder: Address,
    pub(crate) port: u16,
    pub(crate) proto: u8,
}

impl PairKey {
    pub(crate) fn pair(&self) -> Pair {
        Pair {
            originator: self.originator.ip(),
            responder: self.responder.ip(),
            responder_port: self.port,
            proto: self.proto,
        }
    }
}

/// One originator's traffic to one name, whatever its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameKey {
    pub(crate) originator: Address,
    pub(crate) port: u16,
    pub(crate) proto: u8,
    pub(crate) name: Arc<str>,
}

/// Where a conversation's turns go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unknown,
    /// No candidate: see [`crate::scope::Scope::may_beacon`].
    Outside,
    Benign(Class),
    At {
        pair: Handle,
        name: Option<Handle>,
    },
}

/// Who starts the turns of a rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Originator = 0,
    Responder = 1,
}

impl Side {
    pub(crate) fn of(starter: Direction, originator: Direction) -> Self {
        if starter == originator { Self::Originator } else { Self::Responder }
    }
}

/// A sequence of events that may follow a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// From one turn of the originator to the next: a timer that does not wait.
    Interval = 0,
    /// From the end of all activity to the next turn of the originator: a sleep after work of any length.
    Pause = 1,
    /// From one turn of the responder to the next: it polls, or keeps the connection alive.
    Responder = 2,
}

impl Beat {
    const ALL: [Self; 3] = [Self::Interval, Self::Pause, Self::Responder];

    /// Returns whose turns it times.
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Interval | Self::Pause => Side::Originator,
            Self::Responder => Side::Responder,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Pair(PairKey),
    Name(NameKey),
}

/// Everything remembered of a pair or a name.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) key: Key,
    /// A pair's own address, a name's latest.
    pub(crate) latest: PairKey,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// By [`Beat`].
    timings: [Timing; 3],
    /// Latest activity that is known of any connection, record time.
    active_ns: u64,
    /// All pauses so far, one after the other: the time base of [`Beat::Pause`].
    pauses_ns: u64,
    /// By [`Side`] of the starter.
    pub(crate) sizes: [Option<Box<Sizes>>; 2],
    pub(crate) facts: Facts,
    pub(crate) is_answered: bool,
    /// A pair's: the name that shares this history. A name's: the pair whose history it shares.
    pub(crate) twin: Option<Handle>,
    /// A pair's: several names share its address, so that its rhythm is none of theirs.
    pub(crate) has_names: bool,
    pub(crate) incident: Option<Handle>,
}

impl History {
    fn new(key: Key, latest: PairKey, at_ns: u64) -> Self {
        Self {
            key,
            latest,
            first_ns: at_ns,
            last_ns: at_ns,
            timings: [Timing::new(), Timing::new(), Timing::new()],
            active_ns: 0,
            pauses_ns: 0,
            sizes: [None, None],
            facts: Facts::default(),
            is_answered: false,
            twin: None,
            has_names: false,
            incident: None,
        }
    }

    /// Takes a turn into account.
    fn observe_turn(&mut self, side: Side, at_ns: u64, gap_ns: u64) {
        match side {
            Side::Originator => {
                self.timings[Beat::Interval as usize].observe(at_ns, gap_ns);
                let pause_ns = at_ns.saturating_sub(self.active_ns);
                if self.active_ns == 0 || pause_ns > gap_ns {
                    self.pauses_ns += if self.active_ns == 0 { gap_ns } else { pause_ns };
                    self.timings[Beat::Pause as usize].observe(self.pauses_ns, gap_ns);
                }
            }
            Side::Responder => self.timings[Beat::Responder as usize].observe(at_ns, gap_ns),
        }
        self.last_ns = self.last_ns.max(at_ns);
        self.note_activity(at_ns);
    }

    fn note_activity(&mut self, at_ns: u64) {
        self.active_ns = self.active_ns.max(at_ns);
    }

    pub(crate) fn turns(&self) -> u32 {
        let turns = |beat: Beat| self.timing(beat).turns();
        turns(Beat::Interval).saturating_add(turns(Beat::Responder))
    }

    /// Returns the beat that speaks most for a timer.
    pub(crate) fn beat(&self) -> Beat {
        let mut best = Beat::Interval;
        for beat in Beat::ALL {
            if self.weighed(beat) > self.weighed(best) {
                best = beat;
            }
        }
        best
    }

    /// Returns ln E of all beats together: a weighted mean of e-values is one.
    pub(crate) fn ln_e(&self) -> f64 {
        let most = self.weighed(self.beat());
        most + Beat::ALL.iter().map(|beat| (self.weighed(*beat) - most).exp()).sum::<f64>().ln()
    }

    fn weighed(&self, beat: Beat) -> f64 {
        self.timing(beat).ln_e() + weights::BEATS[beat as usize].ln()
    }

    pub(crate) fn timing(&self, beat: Beat) -> &Timing {
        &self.timings[beat as usize]
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match &self.key {
            Key::Pair(_) => None,
            Key::Name(key) => Some(&key.name),
        }
    }
}
