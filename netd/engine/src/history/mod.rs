//! What is remembered of a pair, and of a name that one originator speaks to: rhythm, sizes, facts.
//!
//! Turns of all connections of a pair join into one history. A name joins addresses: while a name has one address and
//! the address one name, both are one history, kept once, by address; when they part, the name's becomes its own.

mod beats;
mod prevalence;
mod saved;
mod sizes;
mod store;

use std::sync::Arc;

use netd_common::key::{Address, Direction};

pub(crate) use beats::{Beat, Beats};
pub(crate) use prevalence::Prevalence;
pub(crate) use saved::Saved;
pub(crate) use sizes::Sizes;
pub(crate) use store::Histories;

use crate::finding::Pair;
use crate::opening::{Facts, Opening};
use crate::services::ServiceId;
use crate::slab::Handle;

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
    /// Traffic of a service that every network has.
    Excluded(ServiceId),
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
    pub(crate) beats: Beats,
    /// By [`Side`] of the starter.
    pub(crate) sizes: [Option<Box<Sizes>>; 2],
    pub(crate) facts: Facts,
    /// Of the latest conversation that had one.
    pub(crate) opening: Option<Arc<Opening>>,
    pub(crate) is_answered: bool,
    /// A pair's: the name that shares this history. A name's: the pair whose history it shares.
    pub(crate) twin: Option<Handle>,
    /// A pair's: several names share its address, so that its rhythm is none of theirs.
    pub(crate) has_names: bool,
    pub(crate) has_incident: bool,
}

impl History {
    fn new(key: Key, latest: PairKey, at_ns: u64) -> Self {
        Self {
            key,
            latest,
            first_ns: at_ns,
            last_ns: at_ns,
            beats: Beats::new(),
            sizes: [None, None],
            facts: Facts::default(),
            opening: None,
            is_answered: false,
            twin: None,
            has_names: false,
            has_incident: false,
        }
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match &self.key {
            Key::Pair(_) => None,
            Key::Name(key) => Some(&key.name),
        }
    }
}
