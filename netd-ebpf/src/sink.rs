//! Records into the ring buffer; the search for a conversation's other halves.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    helpers::{bpf_loop, bpf_skb_load_bytes},
    programs::TcContext,
};
use netd_common::{
    account::{EXCERPTS, Elsewhere, Excerpt, Excerpts, Sink, Turn, fill_flow, fill_turn},
    control::Control,
    counter::Counter,
    flow::{Set, Slot, Tick, WAYS, tag},
    packet::Packet,
    record::{FlowEvent, FlowRecord, Header, Kind, PAYLOAD_SNAP, PayloadRecord, TurnRecord, state},
};

use crate::{
    context::{Count, cpu, precise_ns},
    maps::{EVENTS, Export, FLOWS, SCRATCH},
    reader::joined,
};

pub struct Ring<'a> {
    pub ctx: &'a TcContext,
    pub control: &'static Control,
    pub cell: *mut u32,
    pub stamp: Stamp,
}

/// Where and when this packet's records are written.
pub struct Stamp {
    pub cpu: u32,
    /// 0 until a record needs it, then the same for all of one packet: the precise clock is dear.
    time_ns: u64,
}

impl Stamp {
    #[inline(always)]
    pub const fn new(cpu: u32) -> Self {
        Self { cpu, time_ns: 0 }
    }

    #[inline(always)]
    fn time_ns(&mut self) -> u64 {
        if self.time_ns == 0 {
            self.time_ns = precise_ns();
        }
        self.time_ns
    }
}

impl Sink for Ring<'_> {
    #[inline(always)]
    fn flow(&mut self, slot: &Slot, last: Tick, event: FlowEvent, now_ns: u64) -> bool {
        flow(slot, last, event, &mut self.stamp, now_ns)
    }

    #[inline(always)]
    fn turn(&mut self, slot: &Slot, t: &Turn, now_ns: u64) -> bool {
        turn(slot, t, &mut self.stamp, now_ns)
    }

    #[inline(always)]
    fn payload(&mut self, packet: &Packet, excerpts: &mut Excerpts) {
        export_all(&mut Exports { ctx: self.ctx, packet, excerpts, stamp: &mut self.stamp });
    }

    #[inline(always)]
    fn elsewhere(&mut self, packet: &Packet, hash: u32, now: Tick) -> Elsewhere {
        let mut found = Elsewhere::default();
        if self.control.cpus > 1 {
            elsewhere(packet, hash, now, self.control, &mut found);
        }
        found
    }

    #[inline(always)]
    fn joined(&mut self, way: usize) -> usize {
        joined(self.cell, way as u32) as usize
    }

    #[inline(always)]
    fn begun(&mut self, evicted: bool) {
        let Some(count) = Count::new() else { return };
        count.add(Counter::FlowsBegun, 1);
        if evicted {
            count.add(Counter::FlowsEvicted, 1);
        }
    }
}

// Functions of their own: each is called from several places and needs its own stack.

#[inline(never)]
fn flow(slot: &Slot, last: Tick, event: FlowEvent, stamp: &mut Stamp, now_ns: u64) -> bool {
    let Some(count) = Count::new() else { return false };
    let Some(mut entry) = EVENTS.reserve::<FlowRecord>(0) else {
        count.add(Counter::FlowRecordsLost, 1);
        return false;
    };
    // SAFETY: every field is written before the record is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    fill_flow(record, slot, last, event, stamp.cpu as u16, stamp.time_ns(), now_ns);
    entry.submit(0);
    count.add(Counter::FlowRecords, 1);
    true
}

#[inline(never)]
fn turn(slot: &Slot, turn: &Turn, stamp: &mut Stamp, now_ns: u64) -> bool {
    let Some(count) = Count::new() else { return false };
    let Some(mut entry) = EVENTS.reserve::<TurnRecord>(0) else {
        count.add(Counter::TurnRecordsLost, 1);
        return false;
    };
    // SAFETY: every field is written before the record is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    fill_turn(record, slot, turn, stamp.cpu as u16, stamp.time_ns(), now_ns);
    entry.submit(0);
    count.add(Counter::TurnRecords, 1);
    true
}

/// A packet's payload on its way out.
struct Exports<'a> {
    ctx: &'a TcContext,
    packet: &'a Packet,
    excerpts: &'a mut Excerpts,
    stamp: &'a mut Stamp,
}

#[inline(never)]
fn export_all(exports: &mut Exports<'_>) {
    // SAFETY: the callback has the signature the helper calls, and the context outlives the call.
    unsafe {
        bpf_loop(
            u32::from(EXCERPTS),
            export_next as unsafe extern "C" fn(u64, *mut Exports<'_>) -> i64 as *mut c_void,
            core::ptr::from_mut(exports).cast(),
            0,
        )
    };
}

/// Exports one stretch; returns 1 when there was none.
unsafe extern "C" fn export_next(_: u64, exports: *mut Exports<'_>) -> i64 {
    // SAFETY: the caller passes live `Exports`, and nothing else uses them meanwhile.
    let exports = unsafe { &mut *exports };
    let Some(excerpt) = exports.excerpts.next() else { return 1 };
    export(exports.ctx, exports.packet, &excerpt, exports.stamp);
    0
}

/// Copies payload out, also where it is not linear.
#[inline(always)]
fn export(ctx: &TcContext, packet: &Packet, excerpt: &Excerpt, stamp: &mut Stamp) {
    let (Some(count), Some(scratch)) = (Count::new(), SCRATCH.get_ptr_mut(0)) else { return };
    let start = packet.payload_offset + excerpt.offset;
    // What the sender's lie left out is not there to copy.
    let available = ctx.len().saturating_sub(start);
    let len = excerpt.len.min(available).min(PAYLOAD_SNAP as u32);
    // SAFETY: scratch is this CPU's own element, used by nobody else while this program runs.
    let scratch = unsafe { &mut *scratch };
    if is_scarce() || len == 0 || copy(ctx, start, scratch, len) != 0 {
        count.add(Counter::PayloadRecordsLost, 1);
        return;
    }
    let size = size_of::<PayloadRecord>() + len as usize;
    scratch.head = PayloadRecord {
        header: Header {
            kind: Kind::Payload as u16,
            cpu: stamp.cpu as u16,
            len: size as u32,
            time_ns: stamp.time_ns(),
        },
        key: packet.conversation,
        wire_len: packet.payload_len,
        captured: len as u16,
        direction: packet.direction,
        kind: excerpt.kind as u8,
        seq: excerpt.seq,
        offset: excerpt.offset,
    };
    // SAFETY: scratch is larger than the record's length.
    let record = unsafe { core::slice::from_raw_parts(core::ptr::from_ref(scratch).cast::<u8>(), size) };
    let kept = EVENTS.output::<[u8]>(record, 0).is_ok();
    count.add(if kept { Counter::PayloadRecords } else { Counter::PayloadRecordsLost }, 1);
}

/// Returns whether the ring buffer's last quarter is being filled: it belongs to flows and turns, because payload is
/// large, and a flood of new flows brings some with each.
#[inline(always)]
fn is_scarce() -> bool {
    let size = EVENTS.query(u64::from(BPF_RB_RING_SIZE));
    EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > size - size / 4
}

#[inline(always)]
fn copy(ctx: &TcContext, start: u32, scratch: &mut Export, len: u32) -> i64 {
    // SAFETY: `len` is between 1 and the buffer's size; the helper checks the packet's end.
    unsafe { bpf_skb_load_bytes(ctx.as_ptr().cast(), start, scratch.data.as_mut_ptr().cast(), len) }
}

/// A walk over the CPUs.
struct Search<'a> {
    packet: &'a Packet,
    found: &'a mut Elsewhere,
    now: Tick,
    tag: u32,
    /// This conversation's set on the first CPU, and the distance to the same set on the next.
    base: u32,
    sets: u32,
    own: u32,
}

/// Adds up what the other CPUs hold. Runs at most once a turn gap and conversation.
#[inline(never)]
fn elsewhere(packet: &Packet, hash: u32, now: Tick, control: &Control, found: &mut Elsewhere) {
    let mut search = Search {
        packet,
        found,
        now,
        tag: tag(hash),
        base: hash & control.set_mask,
        sets: control.set_mask + 1,
        own: cpu(),
    };
    // SAFETY: the callback has the signature the helper calls, and the context outlives the call.
    unsafe {
        bpf_loop(
            control.cpus,
            visit as unsafe extern "C" fn(u64, *mut Search<'_>) -> i64 as *mut c_void,
            core::ptr::from_mut(&mut search).cast(),
            0,
        )
    };
}

/// Visits one CPU's table.
unsafe extern "C" fn visit(cpu: u64, search: *mut Search<'_>) -> i64 {
    // SAFETY: the caller passes a live `Search`, and nothing else uses it meanwhile.
    let search = unsafe { &mut *search };
    let cpu = cpu as u32;
    if cpu != search.own {
        let Some(set) = FLOWS.get(cpu * search.sets + search.base) else { return 1 };
        add_up(set, search);
    }
    0
}

#[inline(always)]
fn add_up(set: &Set, search: &mut Search<'_>) {
    let Some(way) = set.find(search.tag, &search.packet.conversation) else { return };
    let slot = &set.slots[core::hint::black_box(way) & (WAYS - 1)];
    if slot.state & state::PAYLOAD == 0 {
        return;
    }
    let found = &mut *search.found;
    found.payload[0] += slot.payload[0];
    found.payload[1] += slot.payload[1];
    let is_later = match found.last_payload {
        Some(last) => search.now.wrapping_sub(slot.last_payload) < search.now.wrapping_sub(last),
        None => true,
    };
    if is_later {
        found.last_payload = Some(slot.last_payload);
    }
}
