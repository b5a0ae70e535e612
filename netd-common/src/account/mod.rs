//! Flow accounting and turn detection: one for kernel and replay.
//!
//! [`account`] adds one packet to its conversation's slot and says, through a [`Sink`], what user space must hear:
//! that a conversation began, ended, is still alive or made room for another, that a turn started (DETECTION.md
//! 2.1), and which payload is worth a look (see [`Excerpts`]).

mod fill;
mod payload;

pub use fill::{fill_flow, fill_turn, time_of};
pub use payload::{EXCERPTS, Excerpt, Excerpts};

use crate::{
    flow::{Set, Slot, Tick, WAYS, class, mark, tag, tick},
    key::Direction,
    packet::{
        IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, Packet, is_echo, is_echo_request,
        tcp::{ACK, FIN, RST, SYN},
    },
    record::{FlowEvent, state},
};

/// A five-tuple without connection that has been idle this long begins anew: three minutes.
const CONNECTIONLESS_IDLE: Tick = tick(180_000_000_000);

/// One packet on its way into the table.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    pub packet: &'a Packet,
    /// From [`crate::flow::HashKeys::hash`].
    pub hash: u32,
    /// The coarse clock, nanoseconds.
    pub now_ns: u64,
    /// Bytes on the wire, segmentation offload undone.
    pub bytes: u64,
    /// Packets on the wire: 1, or the segments of an offloaded super-packet.
    pub packets: u32,
    /// Payload of each segment of an offloaded super-packet in bytes, 0 for a packet that is one on the wire.
    pub segment: u32,
    pub ifindex: u32,
    /// Met at egress under another five-tuple than at ingress (address translation).
    pub translated: bool,
    /// g of DETECTION.md 2.1.
    pub turn_gap: Tick,
    pub active_timeout: Tick,
}

/// What the other CPUs' tables hold of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Latest payload, if any was seen.
    pub last_payload: Option<Tick>,
    pub payload: [u64; 2],
}

/// Where accounting reports to. A method that returns whether its record was kept counts it if not.
pub trait Sink {
    /// Writes a [`crate::record::FlowRecord`]: see [`fill_flow`].
    fn flow(&mut self, slot: &Slot, last: Tick, event: FlowEvent, now_ns: u64) -> bool;
    /// Writes a [`crate::record::TurnRecord`]: see [`fill_turn`].
    fn turn(&mut self, slot: &Slot, turn: &Turn, now_ns: u64) -> bool;
    /// Writes a [`crate::record::PayloadRecord`] for each of the excerpts, and counts those that are not kept.
    fn payload(&mut self, packet: &Packet, excerpts: &mut Excerpts);
    /// Searches the other CPUs' tables.
    fn elsewhere(&mut self, packet: &Packet, hash: u32, now: Tick) -> Elsewhere;
    /// Counts a conversation begun, and whether it took another's slot.
    fn begun(&mut self, evicted: bool);
    /// Returns a way with its history forgotten: see [`crate::bytes::Bytes::joined`].
    fn joined(&mut self, way: usize) -> usize {
        way
    }
}

/// A turn as the accounting sees it start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub starter: Direction,
    pub is_first: bool,
    /// Time since the previous payload.
    pub idle: Tick,
    /// Payload bytes of the packet.
    pub first_len: u32,
    /// Cumulative payload before it, all CPUs.
    pub payload: [u64; 2],
}

/// Adds a packet to its conversation and returns its way in `set`, or `None` when no slot could be had: then the
/// packet is the caller's to count as unaccounted.
#[inline(always)]
pub fn account<S: Sink>(set: &mut Set, o: &Observation<'_>, sink: &mut S) -> Option<usize> {
    let now = tick(o.now_ns);
    let wanted = tag(o.hash);
    let found = set.find(wanted, &o.packet.conversation);
    // The mask tells the verifier what `find` and `victim` know.
    let way = sink.joined(found.unwrap_or_else(|| set.victim(now))) & (WAYS - 1);
    let mut is_new = found.is_none();
    if is_new {
        let occupied = set.tags[way] != 0;
        if occupied && !sink.flow(&set.slots[way], set.last[way], FlowEvent::Evicted, o.now_ns) {
            return None;
        }
        sink.begun(occupied);
    } else if begins_anew(&set.slots[way], o, now.wrapping_sub(set.last[way]))
        // Without room for the old counters the two go on as one.
        && sink.flow(&set.slots[way], set.last[way], FlowEvent::Reused, o.now_ns)
    {
        sink.begun(false);
        is_new = true;
    }
    if is_new {
        // A free tag while the slot is rewritten: a reader of the mapped table sees no half-written conversation.
        set.tags[way] = 0;
        begin(&mut set.slots[way], o, now);
        set.tags[way] = wanted;
    }
    set.last[way] = now;
    let direction = usize::from(o.packet.direction & 1);
    let slot = &mut set.slots[way];
    slot.bytes[direction] += o.bytes;
    slot.packets[direction] = slot.packets[direction].wrapping_add(o.packets);
    slot.marks |= mark::DIRTY;
    if set.tags[way] & class::MASK == class::ONE_WAY && slot.packets[1 - direction] != 0 {
        set.tags[way] |= class::TWO_WAY;
    }
    slot.flags[direction] |= if o.packet.proto() == IPPROTO_TCP { o.packet.flags } else { 0 };

    let new_payload = new_payload(slot, o, direction);
    if new_payload != 0 {
        on_payload(slot, o, now, new_payload, is_new, sink);
    }
    let unheard = if new_payload != 0 { new_payload } else { payload::late(slot, o) };
    if unheard != 0 {
        payload::export(slot, o, unheard, sink);
    }
    let closing = o.packet.proto() == IPPROTO_TCP && closes(slot, o);
    if slot.state & state::ENDED != 0 {
        set.tags[way] = wanted | class::ENDED;
    }
    let event = if is_new {
        FlowEvent::Begin
    } else if closing {
        FlowEvent::End
    } else if now.wrapping_sub(slot.reported) >= o.active_timeout {
        FlowEvent::Active
    } else {
        return Some(way);
    };
    if sink.flow(slot, now, event, o.now_ns) {
        slot.marks &= !mark::DIRTY;
    }
    // Also when it was lost: the next one carries the counters, and a full ring is not helped by retries.
    slot.reported = now;
    Some(way)
}

/// Returns whether a packet of a known five-tuple belongs to a new conversation: a SYN that is no retransmission
/// of the known one, or the first packet after a long silence of a protocol without connections.
#[inline(always)]
fn begins_anew(slot: &Slot, o: &Observation<'_>, idle: Tick) -> bool {
    if o.packet.proto() != IPPROTO_TCP {
        return idle > CONNECTIONLESS_IDLE;
    }
    let direction = usize::from(o.packet.direction & 1);
    o.packet.flags & (SYN | ACK | RST) == SYN
        && slot.next_seq[direction] != 0
        && slot.next_seq[direction] != o.packet.seq.wrapping_add(1)
}

#[inline(always)]
fn begin(slot: &mut Slot, o: &Observation<'_>, now: Tick) {
    let packet = o.packet;
    slot.key = o.packet.conversation;
    slot.bytes = [0; 2];
    slot.payload = [0; 2];
    slot.packets = [0; 2];
    slot.next_seq = [0; 2];
    slot.first = now;
    slot.last_payload = now;
    slot.reported = now;
    // No generation is 0, so the conversation is judged at its first packet.
    slot.generation = 0;
    slot.rule = 0;
    slot.ifindex = o.ifindex;
    slot.vlan = packet.vlan;
    slot.flags = [0; 2];
    slot.marks = 0;
    slot.icmp_code = packet.code;
    slot.pad = 0;
    slot.cookie = 0;
    let (reversed, certain) = originator(packet);
    let originator_is_b = matches!(o.packet.direction(), Direction::BToA) != reversed;
    slot.state = if originator_is_b { state::ORIGINATOR_IS_B } else { 0 }
        | if certain { state::ORIGINATOR_CERTAIN } else { 0 }
        | if o.translated { state::TRANSLATED } else { 0 };
    if packet.proto() != IPPROTO_TCP {
        slot.flags[usize::from(o.packet.direction & 1)] = packet.flags;
    }
}

/// Returns whether a conversation's first packet was sent by the responder, and whether that is certain.
#[inline(always)]
fn originator(packet: &Packet) -> (bool, bool) {
    match packet.proto() {
        IPPROTO_TCP => match packet.flags & (SYN | ACK) {
            SYN => (false, true),
            flags if flags == SYN | ACK => (true, true),
            _ => (false, false),
        },
        IPPROTO_ICMP | IPPROTO_ICMPV6 if is_echo(packet.proto(), packet.flags) => {
            (!is_echo_request(packet.proto(), packet.flags), true)
        }
        _ => (false, false),
    }
}

/// Returns how many of the packet's payload bytes are new, and moves the expected sequence number.
///
/// Keep-alive probes (one byte below the expected number) and retransmissions are not new.
#[inline(always)]
fn new_payload(slot: &mut Slot, o: &Observation<'_>, direction: usize) -> u32 {
    let len = o.packet.payload_len;
    if o.packet.proto() != IPPROTO_TCP {
        return len;
    }
    let expected = slot.next_seq[direction];
    let start = o.packet.seq.wrapping_add(u32::from(o.packet.flags & SYN != 0));
    let end = start.wrapping_add(len);
    if expected == 0 {
        if len != 0 || o.packet.flags & SYN != 0 {
            slot.next_seq[direction] = end;
        }
        return len;
    }
    let ahead = end.wrapping_sub(expected);
    if ahead == 0 || ahead > u32::MAX / 2 {
        return 0;
    }
    slot.next_seq[direction] = end;
    if ahead > len {
        // Something was skipped: it may still come.
        slot.marks |= mark::HOLE[direction];
    }
    if ahead < len { ahead } else { len }
}

#[inline(always)]
fn on_payload<S: Sink>(slot: &mut Slot, o: &Observation<'_>, now: Tick, len: u32, is_new: bool, sink: &mut S) {
    let direction = usize::from(o.packet.direction & 1);
    let is_first = slot.state & state::PAYLOAD == 0;
    let idle = now.wrapping_sub(slot.last_payload);
    if is_first || idle >= o.turn_gap {
        let elsewhere = sink.elsewhere(o.packet, o.hash, now);
        let since = match elsewhere.last_payload {
            Some(last) => now.wrapping_sub(last).min(if is_first { Tick::MAX } else { idle }),
            None => idle,
        };
        let first_anywhere = is_first && elsewhere.last_payload.is_none();
        // The first packet's own payload needs no turn record: the record of the beginning says it.
        if (first_anywhere || since >= o.turn_gap) && !(first_anywhere && is_new) {
            let turn = Turn {
                starter: o.packet.direction(),
                is_first: first_anywhere,
                idle: if first_anywhere { 0 } else { since },
                first_len: len,
                payload: [slot.payload[0] + elsewhere.payload[0], slot.payload[1] + elsewhere.payload[1]],
            };
            sink.turn(slot, &turn, o.now_ns);
        }
    }
    slot.payload[direction] += u64::from(len);
    slot.state |= state::PAYLOAD;
    slot.last_payload = now;
}

/// Marks FIN and RST, and returns whether the packet is the first of its kind.
///
/// Each side's FIN is reported by itself: the two may meet different CPUs, and then only user space sees both.
#[inline(always)]
fn closes(slot: &mut Slot, o: &Observation<'_>) -> bool {
    let flags = o.packet.flags;
    if flags & (FIN | RST) == 0 {
        return false;
    }
    let before = slot.state;
    if flags & RST != 0 {
        slot.state |= state::RESET | state::ENDED;
    } else {
        slot.state |= if matches!(o.packet.direction(), Direction::AToB) { state::FIN_A } else { state::FIN_B };
        if slot.state & (state::FIN_A | state::FIN_B) == state::FIN_A | state::FIN_B {
            slot.state |= state::ENDED;
        }
    }
    before != slot.state
}
