//! What became of events: counted for each sink.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What became of an event that a sink wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Written, or accepted by the peer.
    Sent,
    /// Refused by the peer or the disk for good.
    Failed,
    /// The queue was full.
    Dropped,
    /// Lost before the queue: every sink heard too late.
    Missed,
    /// The same was told a while ago.
    Duplicate,
    /// Held back by the rate limit; a summary told of it.
    Held,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 6] = [Self::Sent, Self::Failed, Self::Dropped, Self::Missed, Self::Duplicate, Self::Held];

    /// Returns the label of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Missed => "missed",
            Self::Duplicate => "duplicate",
            Self::Held => "held",
        }
    }
}

/// One sink's counters.
#[derive(Debug)]
pub struct Tally {
    name: String,
    capacity: u64,
    queued: AtomicU64,
    retries: AtomicU64,
    fates: [AtomicU64; Fate::ALL.len()],
}

/// The counters of a sink at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkState {
    pub name: String,
    /// Events that wait, and that may.
    pub queued: u64,
    pub capacity: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// In the order of [`Fate::ALL`].
    pub fates: [u64; Fate::ALL.len()],
}

impl Tally {
    #[must_use]
    pub fn new(name: String, capacity: usize) -> Self {
        Self {
            name,
            capacity: capacity as u64,
            queued: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            fates: Default::default(),
        }
    }

    /// Returns the sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts events.
    pub fn count(&self, fate: Fate, events: u64) {
        self.fates[fate as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Counts an event into the queue, before it is there.
    pub fn push(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event out of the queue.
    pub fn pop(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counters as they are.
    #[must_use]
    pub fn state(&self) -> SinkState {
        SinkState {
            name: self.name.clone(),
            queued: self.queued.load(Ordering::Relaxed),
            capacity: self.capacity,
            retries: self.retries.load(Ordering::Relaxed),
            fates: Fate::ALL.map(|fate| self.fates[fate as usize].load(Ordering::Relaxed)),
        }
    }
}
