//! The control record: one writer at a time, every field kept that it does not set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netd_common::{
    control::{Control, Mode},
    flow::Tick,
};

use super::{Error, table::Table};
use crate::host::clock;

/// Writes `CONTROL`. Clones write the same record; the daemon is its only writer, by the directory's lock.
#[derive(Clone, Debug)]
pub struct Steering(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Table<u32, Control>,
    current: Mutex<Control>,
}

impl Steering {
    /// Takes the record as a former run left it: kill switch and mode too.
    pub(super) fn adopt(table: Table<u32, Control>) -> Result<Self, Error> {
        let current = table.get(&0)?.unwrap_or_default();
        Ok(Self(Arc::new(Inner { table, current: Mutex::new(current) })))
    }

    /// Returns the record.
    #[must_use]
    pub fn current(&self) -> Control {
        *self.lock()
    }

    /// Changes the record, and returns it.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it; the record is then as it was.
    pub fn update(&self, change: impl FnOnce(&mut Control)) -> Result<Control, Error> {
        let mut current = self.lock();
        let mut next = *current;
        change(&mut next);
        self.0.table.set(&0, &next)?;
        *current = next;
        Ok(next)
    }

    /// Shows a sign of life: programs fail open when the last one is older than the limit.
    ///
    /// # Errors
    ///
    /// As [`Steering::update`], and so for the rest.
    pub fn beat(&self) -> Result<(), Error> {
        self.update(|control| control.heartbeat_ns = clock::monotonic_ns()).map(drop)
    }

    /// Sets how old the last sign of life may be, 0 for any age; a sign of life itself.
    ///
    /// # Errors
    ///
    /// As [`Steering::update`].
    pub fn set_heartbeat_limit(&self, limit_ns: u64) -> Result<(), Error> {
        self.update(|control| {
            control.heartbeat_ns = clock::monotonic_ns();
            control.heartbeat_limit_ns = limit_ns;
        })
        .map(drop)
    }

    /// # Errors
    ///
    /// As [`Steering::update`].
    pub fn set_mode(&self, mode: Mode) -> Result<(), Error> {
        self.update(|control| control.mode = mode as u32).map(drop)
    }

    /// # Errors
    ///
    /// As [`Steering::update`].
    pub fn set_kill_switch(&self, on: bool) -> Result<(), Error> {
        self.update(|control| control.kill_switch = u32::from(on)).map(drop)
    }

    /// Makes every flow decide again at its next packet.
    ///
    /// # Errors
    ///
    /// As [`Steering::update`].
    pub fn bump_generation(&self) -> Result<(), Error> {
        self.update(|control| control.generation = control.generation.wrapping_add(1)).map(drop)
    }

    /// Sets when payload starts a turn, and when an active flow is reported.
    ///
    /// # Errors
    ///
    /// As [`Steering::update`].
    pub fn set_timeouts(&self, turn_gap: Tick, active_timeout: Tick) -> Result<(), Error> {
        self.update(|control| {
            control.turn_gap = turn_gap;
            control.active_timeout = active_timeout;
        })
        .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        // The record is replaced as a whole, after the kernel took it: a panic elsewhere leaves it whole.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
