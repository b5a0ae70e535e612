//! Records from slots.

use super::Turn;
use crate::{
    flow::{Slot, Tick, nanoseconds},
    record::{FlowEvent, FlowRecord, Header, Kind, TurnRecord},
};

/// Returns the time of a tick that lies in the last 52 days before `now_ns`: the same for every `now_ns`.
#[inline(always)]
#[must_use]
pub const fn time_of(at: Tick, now_ns: u64) -> u64 {
    let now = now_ns >> 20;
    now.saturating_sub((now as u32).wrapping_sub(at) as u64) << 20
}

/// Fills a flow record from a slot. `time_ns` is the precise time, `now_ns` the accounting's coarse one.
#[inline(always)]
pub fn fill_flow(
    record: &mut FlowRecord,
    slot: &Slot,
    last: Tick,
    event: FlowEvent,
    cpu: u16,
    time_ns: u64,
    now_ns: u64,
) {
    record.header = Header { kind: Kind::Flow as u16, cpu, len: size_of::<FlowRecord>() as u32, time_ns };
    record.key = slot.key;
    record.bytes = slot.bytes;
    record.payload = slot.payload;
    record.first_ns = time_of(slot.first, now_ns);
    record.last_ns = time_of(last, now_ns);
    record.cookie = slot.cookie;
    record.packets = slot.packets;
    record.ifindex = slot.ifindex;
    record.rule = slot.rule;
    record.vlan = slot.vlan;
    record.flags = slot.flags;
    record.state = slot.state;
    record.event = event as u8;
    record.icmp_code = slot.icmp_code;
    record.pad = 0;
}

/// Fills a turn record. Times as in [`fill_flow`].
#[inline(always)]
pub fn fill_turn(record: &mut TurnRecord, slot: &Slot, turn: &Turn, cpu: u16, time_ns: u64, now_ns: u64) {
    record.header = Header { kind: Kind::Turn as u16, cpu, len: size_of::<TurnRecord>() as u32, time_ns };
    record.key = slot.key;
    record.payload = turn.payload;
    record.first_ns = time_of(slot.first, now_ns);
    record.idle_ns = nanoseconds(turn.idle);
    record.first_len = turn.first_len;
    record.starter = turn.starter as u8;
    record.is_first = u8::from(turn.is_first);
    record.state = slot.state;
    record.pad = 0;
}
