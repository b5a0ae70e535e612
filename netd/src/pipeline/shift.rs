//! Record times as the engine has them: Unix time. One offset for a whole run, so that a step of the wall clock moves
//! no interval.

use netd_common::record::{FlowRecord, Header, PayloadRecord, SocketRecord, TurnRecord};

use crate::host::clock::Offsets;

/// Unix time minus the kernel's monotonic time, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift(u64);

impl Shift {
    pub(super) fn measure() -> Self {
        Self(u64::try_from(Offsets::measure().wall_ns).unwrap_or(0))
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
