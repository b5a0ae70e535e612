//! The moment a change is made at, on the two clocks a verdict needs.

use std::time::Duration;

use netd_engine::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// One moment. People speak of wall time; the kernel checks expiry on `CLOCK_BOOTTIME`, which no one can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        Self { wall: Timestamp(nanoseconds(ClockId::Realtime)), boot_ns: nanoseconds(ClockId::Boottime) }
    }

    /// Returns the moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { wall: Timestamp(self.wall.0.saturating_add(ns)), boot_ns: self.boot_ns.saturating_add(ns) }
    }

    /// Returns the `CLOCK_BOOTTIME` of a wall time, `u64::MAX` for never. A wall time in the past gives the present.
    #[must_use]
    pub fn boot_ns_of(self, until: Option<Timestamp>) -> u64 {
        match until {
            None => u64::MAX,
            Some(until) => self.boot_ns.saturating_add(until.0.saturating_sub(self.wall.0)),
        }
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanoseconds.unwrap_or(0))
}
