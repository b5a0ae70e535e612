//! Which payload user space is shown: each side's first flight, and whatever is said on the DNS port.
//!
//! The first flight of a side is its first payload and what it adds before the other side says something: a ClientHello
//! in several segments, a request, a banner. It is exported up to [`EXCERPTS`] records, over TCP, UDP and ICMP echo.
//! A packet longer than [`PAYLOAD_SNAP`], as segmentation offload makes them, takes several. On port 53 the bound holds
//! for each packet and not for the flight, so that a tunnel is seen at work.

use super::{Observation, Sink};
use crate::{
    flow::{Slot, mark},
    packet::{Fragment, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, Packet, is_echo, tcp::SYN},
    record::{PAYLOAD_SNAP, PayloadKind},
};

/// Most records of a side's first flight, and of one packet. Two bits of a slot count them.
pub const EXCERPTS: u8 = 3;

/// A stretch of one packet's payload that becomes a [`crate::record::PayloadRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub kind: PayloadKind,
    /// From the payload's first byte.
    pub offset: u32,
    /// At least 1, at most [`PAYLOAD_SNAP`].
    pub len: u32,
    /// TCP sequence number of its first byte, 0 otherwise.
    pub seq: u32,
}

/// The stretches of one packet's payload to export, in order.
///
/// An iterator, and no loop of the accounting's own: the verifier walks a loop once for each time round, but a callback
/// only once.
#[derive(Clone, Debug)]
pub struct Excerpts {
    kind: PayloadKind,
    offset: u32,
    end: u32,
    longest: u32,
    seq: u32,
    is_stream: bool,
    /// Of the flight, those exported before among them.
    records: u8,
}

impl Iterator for Excerpts {
    type Item = Excerpt;

    #[inline(always)]
    fn next(&mut self) -> Option<Excerpt> {
        if self.records >= EXCERPTS || self.offset >= self.end {
            return None;
        }
        let offset = self.offset;
        let rest = self.end - offset;
        let len = if rest < self.longest { rest } else { self.longest };
        self.offset += len;
        self.records += 1;
        let seq = if self.is_stream { self.seq.wrapping_add(offset) } else { 0 };
        Some(Excerpt { kind: self.kind, offset, len, seq })
    }
}

/// Returns how much of a TCP packet that brings nothing new fills a hole: segments that overtook each other.
///
/// Which bytes were skipped is not remembered, so one packet is believed for each hole, and all of it.
#[inline(always)]
pub(super) fn late(slot: &mut Slot, o: &Observation<'_>) -> u32 {
    let hole = mark::HOLE[usize::from(o.packet.direction & 1)];
    if o.packet.payload_len == 0 || slot.marks & hole == 0 {
        return 0;
    }
    slot.marks &= !hole;
    o.packet.payload_len
}

/// Exports the last `unheard` bytes of a packet's payload, as far as they are worth a look.
#[inline(always)]
pub(super) fn export<S: Sink>(slot: &mut Slot, o: &Observation<'_>, unheard: u32, sink: &mut S) {
    let side = usize::from(o.packet.direction & 1);
    if slot.marks & mark::FLIGHT[1 - side] != 0 {
        slot.marks |= mark::FLIGHT[1 - side];
    }
    let heard = slot.marks >> mark::FLIGHT_SHIFT[side] & EXCERPTS;
    let packet = o.packet;
    if heard == EXCERPTS || !is_readable(packet) {
        return;
    }
    let mut excerpts = Excerpts {
        kind: if is_dns(packet) { PayloadKind::Dns } else { PayloadKind::FirstData },
        offset: packet.payload_len.wrapping_sub(unheard),
        end: packet.payload_len,
        longest: longest(o),
        seq: packet.seq.wrapping_add(u32::from(packet.flags & SYN != 0)),
        is_stream: packet.proto() == IPPROTO_TCP,
        records: heard,
    };
    sink.payload(packet, &mut excerpts);
    if matches!(excerpts.kind, PayloadKind::FirstData) {
        slot.marks = slot.marks & !mark::FLIGHT[side] | excerpts.records << mark::FLIGHT_SHIFT[side];
    }
}

/// Returns whether a packet's payload begins where its transport header ends, in a protocol worth reading.
#[inline(always)]
fn is_readable(packet: &Packet) -> bool {
    match packet.proto() {
        IPPROTO_TCP | IPPROTO_UDP => !matches!(packet.fragment, Fragment::Later),
        proto @ (IPPROTO_ICMP | IPPROTO_ICMPV6) => {
            is_echo(proto, packet.flags) && !matches!(packet.fragment, Fragment::Later)
        }
        _ => false,
    }
}

#[inline(always)]
fn is_dns(packet: &Packet) -> bool {
    const PORT: [u8; 2] = 53_u16.to_be_bytes();
    packet.conversation.a_port == PORT || packet.conversation.b_port == PORT
}

/// Returns the length at which a record ends. A datagram of an offloaded batch has one of its own.
#[inline(always)]
fn longest(o: &Observation<'_>) -> u32 {
    if o.packet.proto() == IPPROTO_UDP && o.segment != 0 && o.segment < PAYLOAD_SNAP as u32 {
        o.segment
    } else {
        PAYLOAD_SNAP as u32
    }
}
