//! Record times as the engine has them: Unix time. One offset for a whole run, so that a step of the wall clock moves
//! no interval.

use netd_common::record::{FlowRecord, Header, PayloadRecord, SocketRecord, TurnRecord};
use netd_engine::{respond::Order, time::Timestamp, verdict::Verdict};

use crate::host::clock::{self, Offsets};

/// Unix time minus the kernel's monotonic time, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift(u64);

impl Shift {
    pub(super) fn measure() -> Self {
        Self::of(Offsets::measure())
    }

    fn of(offsets: Offsets) -> Self {
        Self(u64::try_from(offsets.wall_ns).unwrap_or(0))
    }

    /// Returns the engine's present time: the wall clock's, as it would be without its steps since the start.
    pub(super) fn now(self) -> Timestamp {
        Timestamp(self.time(clock::monotonic_ns()))
    }

    /// Returns a verdict whose end is by the wall clock as it stands, by which verdicts are kept.
    pub(super) fn verdict(self, verdict: Verdict) -> Verdict {
        self.verdict_at(verdict, Self::measure())
    }

    /// Returns an order with such verdicts.
    pub(super) fn order(self, order: Order) -> Order {
        let wall = Self::measure();
        let each = |verdict| self.verdict_at(verdict, wall);
        Order { block: order.block.map(each), cut: order.cut.map(each), ..order }
    }

    fn verdict_at(self, verdict: Verdict, wall: Self) -> Verdict {
        let until = verdict.until.map(|Timestamp(ns)| Timestamp(ns.saturating_sub(self.0).saturating_add(wall.0)));
        Verdict { until, ..verdict }
    }

    pub(super) const fn time(self, ns: u64) -> u64 {
        // Zero means that the time is not known.
        if ns == 0 { 0 } else { ns.saturating_add(self.0) }
    }

    const fn header(self, header: Header) -> Header {
        Header { time_ns: self.time(header.time_ns), ..header }
    }

    pub(super) const fn flow(self, record: &FlowRecord) -> FlowRecord {
        let (first_ns, last_ns) = (self.time(record.first_ns), self.time(record.last_ns));
        FlowRecord { header: self.header(record.header), first_ns, last_ns, ..*record }
    }

    pub(super) const fn turn(self, record: &TurnRecord) -> TurnRecord {
        TurnRecord { header: self.header(record.header), first_ns: self.time(record.first_ns), ..*record }
    }

    pub(super) const fn payload(self, record: &PayloadRecord) -> PayloadRecord {
        PayloadRecord { header: self.header(record.header), ..*record }
    }

    pub(super) const fn socket(self, record: &SocketRecord) -> SocketRecord {
        SocketRecord { header: self.header(record.header), ..*record }
    }
}

#[cfg(test)]
mod tests {
    use netd_engine::verdict::{Origin, Response, Target};

    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn shift(wall_ns: u64) -> Shift {
        Shift::of(Offsets { wall_ns: wall_ns as i64, boot_ns: 0 })
    }

    #[test]
    fn a_verdict_holds_as_long_whatever_step_the_wall_clock_made_since_the_start() {
        let start = shift(500_000 * HOUR);
        let verdict = Verdict {
            target: Target::Host { address: "198.51.100.9".parse().unwrap() },
            response: Response::Drop,
            until: Some(Timestamp(start.time(3 * HOUR))),
            origin: Origin::Manual,
            reason: String::new(),
            shadow: false,
        };

        for wall in [shift(500_000 * HOUR), shift(500_024 * HOUR), shift(499_976 * HOUR)] {
            let until = start.verdict_at(verdict.clone(), wall).until;

            assert_eq!(until, Some(Timestamp(wall.time(3 * HOUR))));
        }
    }

    #[test]
    fn the_time_that_passes_between_records_and_ticks_is_the_kernels() {
        let shift = shift(500_000 * HOUR);
        let (before, now, after) = (clock::monotonic_ns(), shift.now(), clock::monotonic_ns());

        assert!((shift.time(before)..=shift.time(after)).contains(&now.0));
    }
}
