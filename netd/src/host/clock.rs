//! The clocks that the kernel's records and rules are in, beside the wall's.

use rustix::time::{ClockId, clock_gettime};

/// Returns `CLOCK_MONOTONIC` in nanoseconds: the time of records and of the heartbeat.
#[must_use]
pub fn monotonic_ns() -> u64 {
    now(ClockId::Monotonic) as u64
}

/// Returns `CLOCK_BOOTTIME` in nanoseconds: the time in which rules expire, which passes while the machine sleeps.
#[must_use]
pub fn boot_ns() -> u64 {
    now(ClockId::Boottime) as u64
}

/// How far the other clocks are from `CLOCK_MONOTONIC`, as of one moment: the wall clock is stepped and slewed, and
/// the boot clock runs on in suspend, so ask again from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Unix time minus monotonic time.
    pub wall_ns: i64,
    /// Boot time minus monotonic time; never negative.
    pub boot_ns: i64,
}

impl Offsets {
    /// Reads the clocks. The other two are read between two readings of the monotonic one, the closest of several
    /// tries, so that being interrupted does not shift the offset.
    #[must_use]
    pub fn measure() -> Self {
        let (_, offsets) = (0..5)
            .map(|_| {
                let before = now(ClockId::Monotonic);
                let (wall, boot) = (now(ClockId::Realtime), now(ClockId::Boottime));
                let after = now(ClockId::Monotonic);
                let middle = before + (after - before) / 2;
                (after - before, Self { wall_ns: wall - middle, boot_ns: (boot - middle).max(0) })
            })
            .fold((i64::MAX, Self { wall_ns: 0, boot_ns: 0 }), |best, next| if next.0 < best.0 { next } else { best });
        offsets
    }

    /// Returns the Unix time, in nanoseconds, of a record.
    #[must_use]
    pub const fn wall(&self, monotonic_ns: u64) -> i64 {
        (monotonic_ns as i64).saturating_add(self.wall_ns)
    }

    /// Returns the boot time, in nanoseconds, of a Unix time: when a rule must expire. 0 for before the boot.
    #[must_use]
    pub const fn boot_of_wall(&self, unix_ns: i64) -> u64 {
        let boot = unix_ns.saturating_sub(self.wall_ns).saturating_add(self.boot_ns);
        if boot < 0 { 0 } else { boot as u64 }
    }

    /// Returns the Unix time, in nanoseconds, of a boot time.
    #[must_use]
    pub const fn wall_of_boot(&self, boot_ns: u64) -> i64 {
        (boot_ns as i64).saturating_sub(self.boot_ns).saturating_add(self.wall_ns)
    }
}

fn now(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_monotonic_reading_becomes_the_time_on_the_wall() {
        let offsets = Offsets::measure();

        let here = offsets.wall(monotonic_ns());

        let there = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        assert!((there - here).abs() < 1_000_000_000, "{here} and {there}");
    }

    #[test]
    fn wall_and_boot_time_convert_both_ways() {
        let offsets = Offsets { wall_ns: 1_700_000_000_000_000_000, boot_ns: 5_000 };

        let boot = offsets.boot_of_wall(1_700_000_000_000_000_042);

        assert_eq!(boot, 5_042);
        assert_eq!(offsets.wall_of_boot(boot), 1_700_000_000_000_000_042);
        assert_eq!(offsets.boot_of_wall(0), 0);
    }
}
