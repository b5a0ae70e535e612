//! Reads the kernel's flow table for what no record tells: a conversation that has fallen silent writes none.

use netd_common::{
    account::fill_flow,
    flow::{Tick, mark, tick, ticks},
    record::{FlowEvent, FlowRecord},
};
use netd_engine::Engine;
use zerocopy::FromZeros as _;

use super::shift::Shift;
use crate::{host::clock, kernel::FlowTable};

/// A slot is read again for so long after its last packet: the first reading may have met it half-written.
const MARGIN: Tick = ticks(2_000_000_000);

pub(super) struct Sweeper {
    table: FlowTable,
    /// Of the sweep before; none yet: what a former run left in the table is news.
    last: Option<Tick>,
}

impl Sweeper {
    pub(super) const fn new(table: FlowTable) -> Self {
        Self { table, last: None }
    }

    /// Tells the engine of every conversation whose counters have moved since its last record.
    ///
    /// Counters are cumulative, so that records which are still in the ring buffer add nothing twice.
    pub(super) fn sweep(&mut self, engine: &mut Engine, shift: Shift) {
        let now_ns = clock::monotonic_ns();
        let now = tick(now_ns);
        let recent = self.last.map_or(Tick::MAX, |last| now.wrapping_sub(last).saturating_add(MARGIN));
        self.last = Some(now);
        let mut record = FlowRecord::new_zeroed();
        // A packet that came during the sweep is a little ahead of `now`.
        let is_recent = |last: Tick| now.wrapping_sub(last) <= recent || last.wrapping_sub(now) <= MARGIN;
        self.table.for_each_met(is_recent, |live| {
            // A socket's cookie is asked for after the first record is written.
            if live.slot.marks & (mark::DIRTY | mark::COOKIE_ASKED) != 0 {
                fill_flow(&mut record, &live.slot, live.last, FlowEvent::Active, live.cpu, now_ns, now_ns);
                engine.observe_slot(&shift.flow(&record));
            }
        });
    }
}
