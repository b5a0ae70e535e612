//! How history fares: counted by the writer, shown in status and metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

/// Shared between the writer and whoever reports.
#[derive(Debug, Default)]
pub struct Health {
    written: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
    set_aside: AtomicU64,
    waiting: AtomicU64,
    /// Why the last attempt failed, until one succeeds.
    error: Mutex<Option<String>>,
}

/// How history fares at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "HistoryState")]
pub struct Report {
    /// Flows written since the start.
    pub written: u64,
    /// Events lost: the queue was full, or history lagged behind.
    pub lost: u64,
    /// Attempts to write that failed.
    pub errors: u64,
    /// Damaged files that were set aside.
    pub set_aside: u64,
    /// Flows that wait for the disk.
    pub waiting: u64,
    /// Files of history, one a day.
    pub files: u64,
    /// Flows on disk.
    pub flows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why the last attempt to write failed; null once one succeeds.
    pub error: Option<String>,
}

impl Health {
    pub fn lose(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    pub fn wait(&self, flows: usize) {
        self.waiting.store(flows as u64, Ordering::Relaxed);
    }

    pub fn wrote(&self, flows: u64) {
        self.written.fetch_add(flows, Ordering::Relaxed);
    }

    /// Takes in that everything was written; returns whether it had failed before.
    pub fn recovered(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Takes in a failure; returns whether all was well before.
    pub fn failed(&self, error: &str) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut last = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(error.to_owned()).is_none()
    }

    pub(super) fn set_aside(&self) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts; those of files are the catalogue's.
    #[must_use]
    pub fn report(&self) -> Report {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            written: count(&self.written),
            lost: count(&self.lost),
            errors: count(&self.errors),
            set_aside: count(&self.set_aside),
            waiting: count(&self.waiting),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..Report::default()
        }
    }
}
