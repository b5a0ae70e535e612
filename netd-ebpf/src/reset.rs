//! The answer to a packet of a reset verdict: a TCP RST to whoever sent it (RFC 9293, 3.10.7.1).
//!
//! The packet itself becomes the answer: cut to its headers, turned round, sent back the way it came. Packets with
//! IP options or extension headers, and everything but TCP, are dropped without one.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, TC_ACT_SHOT},
    helpers::{bpf_redirect, bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_pull_data},
    programs::TcContext,
};
use netd_common::{
    counter::Counter,
    packet::{ETHERNET, Fragment, IPPROTO_TCP, Packet, tcp},
};

use crate::{context::Count, tc::Hook};

/// Marks an answer of ours on its way through the other hook. Set on no packet that is not an RST we made.
const MARK: u32 = 0x6e65_7464;

const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const PACKET_HOST: u32 = 0;

/// Returns whether a packet is an answer made here.
#[inline(always)]
pub fn is_own(skb: &__sk_buff, packet: &Packet) -> bool {
    skb.mark == MARK && packet.proto() == IPPROTO_TCP && packet.flags & tcp::RST != 0
}

/// Turns the packet into its answer; it is dropped where none can be made. Returns the hook's action code.
#[inline(never)]
pub fn reply(ctx: &TcContext, packet: &Packet, hook: Hook, ethernet: bool) -> i32 {
    let Some(count) = Count::new() else { return TC_ACT_SHOT };
    if packet.proto() != IPPROTO_TCP || packet.flags & tcp::RST != 0 || !matches!(packet.fragment, Fragment::Whole) {
        return TC_ACT_SHOT;
    }
    if turn_round(ctx, packet, ethernet).is_none() {
        count.add(Counter::ResetsFailed, 1);
        return TC_ACT_SHOT;
    }
    count.add(Counter::ResetsSent, 1);
    ctx.set_mark(MARK);
    // SAFETY: the context outlives the program's run.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let flags = match hook {
        Hook::Ingress => 0,
        Hook::Egress => u64::from(BPF_F_INGRESS),
    };
    // SAFETY: the helpers take this program's context and an interface that exists.
    unsafe {
        bpf_skb_change_type(ctx.skb.skb, PACKET_HOST);
        bpf_redirect(ifindex, flags) as i32
    }
}

#[inline(always)]
fn turn_round(ctx: &TcContext, packet: &Packet, ethernet: bool) -> Option<()> {
    let network = packet.network_offset as usize;
    // Tags left in the frame shift the header; only the plain cases are worth the verifier's time.
    if network != if ethernet { ETHERNET } else { 0 } {
        return None;
    }
    let network = if ethernet { ETHERNET } else { 0 };
    let header = packet.transport_offset as usize - packet.network_offset as usize;
    let is_v4 = packet.conversation.a.is_v4();
    if header != if is_v4 { IPV4 } else { IPV6 } {
        return None;
    }
    let len = (network + if is_v4 { IPV4 } else { IPV6 } + TCP) as u32;
    // SAFETY: the context is the program's own; packet pointers are read anew afterwards.
    let shortened = unsafe { bpf_skb_change_tail(ctx.skb.skb, len, 0) };
    // SAFETY: as above.
    if shortened != 0 || unsafe { bpf_skb_pull_data(ctx.skb.skb, len) } != 0 {
        return None;
    }
    let mut headers = Headers { start: ctx.data(), end: ctx.data_end() };
    if ethernet {
        let frame = headers.block::<ETHERNET>(0)?;
        let mut i = 0;
        while i < 6 {
            frame.swap(i, i + 6);
            i += 1;
        }
    }
    let pseudo =
        if is_v4 { turn_ipv4(headers.block::<IPV4>(network)?) } else { turn_ipv6(headers.block::<IPV6>(network)?) };
    let transport = network + if is_v4 { IPV4 } else { IPV6 };
    turn_tcp(headers.block::<TCP>(transport)?, packet, pseudo);
    Some(())
}

/// The packet's linear part, to be written.
struct Headers {
    start: usize,
    end: usize,
}

impl Headers {
    #[inline(always)]
    fn block<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let block = self.start + offset;
        if block + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie between the packet's start and end, checked above in the form the verifier follows;
        // the borrow of `self` keeps every other access away, and an array of bytes has no alignment.
        Some(unsafe { &mut *(block as *mut [u8; N]) })
    }
}

/// Returns the pseudo header's sum.
#[inline(always)]
fn turn_ipv4(ip: &mut [u8; IPV4]) -> u32 {
    ip[1] = 0;
    [ip[2], ip[3]] = ((IPV4 + TCP) as u16).to_be_bytes();
    [ip[4], ip[5]] = [0, 0];
    // Do not fragment.
    [ip[6], ip[7]] = [0x40, 0];
    ip[8] = 64;
    [ip[10], ip[11]] = [0, 0];
    let mut i = 12;
    while i < 16 {
        ip.swap(i, i + 4);
        i += 1;
    }
    let sum = fold(sum(ip, 0));
    [ip[10], ip[11]] = (!sum).to_be_bytes();
    let mut addresses = 0;
    let mut i = 12;
    while i < 20 {
        addresses += u32::from(u16::from_be_bytes([ip[i], ip[i + 1]]));
        i += 2;
    }
    addresses + u32::from(IPPROTO_TCP) + TCP as u32
}

#[inline(always)]
fn turn_ipv6(ip: &mut [u8; IPV6]) -> u32 {
    [ip[4], ip[5]] = (TCP as u16).to_be_bytes();
    ip[7] = 64;
    let mut i = 8;
    while i < 24 {
        ip.swap(i, i + 16);
        i += 1;
    }
    let mut addresses = 0;
    let mut i = 8;
    while i < 40 {
        addresses += u32::from(u16::from_be_bytes([ip[i], ip[i + 1]]));
        i += 2;
    }
    addresses + u32::from(IPPROTO_TCP) + TCP as u32
}

#[inline(always)]
fn turn_tcp(h: &mut [u8; TCP], packet: &Packet, pseudo: u32) {
    let acknowledged = [h[8], h[9], h[10], h[11]];
    let (sequence, acknowledge, flags) = if packet.flags & tcp::ACK != 0 {
        (acknowledged, [0; 4], tcp::RST)
    } else {
        let held =
            packet.payload_len + u32::from(packet.flags & tcp::SYN != 0) + u32::from(packet.flags & tcp::FIN != 0);
        ([0; 4], packet.seq.wrapping_add(held).to_be_bytes(), tcp::RST | tcp::ACK)
    };
    let [s0, s1, d0, d1] = [h[0], h[1], h[2], h[3]];
    let [q0, q1, q2, q3] = sequence;
    let [a0, a1, a2, a3] = acknowledge;
    *h = [d0, d1, s0, s1, q0, q1, q2, q3, a0, a1, a2, a3, 5 << 4, flags, 0, 0, 0, 0, 0, 0];
    let sum = fold(sum(h, pseudo));
    [h[16], h[17]] = (!sum).to_be_bytes();
}

#[inline(always)]
fn sum(header: &[u8; 20], start: u32) -> u32 {
    let mut sum = start;
    let mut i = 0;
    while i < 20 {
        sum += u32::from(u16::from_be_bytes([header[i], header[i + 1]]));
        i += 2;
    }
    sum
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}
