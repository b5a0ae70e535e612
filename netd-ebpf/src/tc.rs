//! TC ingress and egress: every packet is parsed, accounted, judged.

use aya_ebpf::{
    EbpfContext,
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_get_socket_cookie, bpf_skb_pull_data},
    macros::classifier,
    programs::TcContext,
};
use netd_common::{
    account::{Observation, account},
    control::Control,
    counter::Counter,
    flow::{WAYS, mark},
    packet::{self, ParseError, Start},
};

use crate::{
    context::{Count, coarse_ns, control, cpu},
    maps::{FLOWS, LAST_INGRESS, PACKET, Parsing, WATCHED},
    reader::{Linear, joined},
    reset,
    sink::{Ring, Stamp},
    verdicts::{Fate, Weight, judge},
};

/// Where a packet is met.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Ingress,
    Egress,
}

/// What the packet starts with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Ethernet,
    /// The network header: tun, WireGuard.
    None,
}

/// Passes to the next program in the chain, ours or somebody else's: `TC_ACT_OK` would end the chain, and netd has no
/// say in what others decide.
pub const PASS: i32 = TC_ACT_UNSPEC;

/// Headers are looked for in this many bytes when the linear part is too short: Ethernet, two tags, IPv6, eight
/// extension headers of ordinary size, TCP.
const PULL: u32 = 256;

#[classifier]
pub fn tc_ingress(ctx: TcContext) -> i32 {
    act(&ctx, Hook::Ingress, Link::Ethernet)
}

#[classifier]
pub fn tc_egress(ctx: TcContext) -> i32 {
    act(&ctx, Hook::Egress, Link::Ethernet)
}

#[classifier]
pub fn tc_ingress_l3(ctx: TcContext) -> i32 {
    act(&ctx, Hook::Ingress, Link::None)
}

#[classifier]
pub fn tc_egress_l3(ctx: TcContext) -> i32 {
    act(&ctx, Hook::Egress, Link::None)
}

#[inline(always)]
fn act(ctx: &TcContext, hook: Hook, link: Link) -> i32 {
    let (Some(control), Some(count), Some(parsing)) = (control(), Count::new(), PACKET.get_ptr_mut(0)) else {
        return PASS;
    };
    // SAFETY: this CPU's own element; network programs do not nest on one CPU.
    let parsing = unsafe { &mut *parsing };
    let mut parsed = read(ctx, link, parsing);
    if is_truncated(parsed) && ctx.len() as usize > ctx.data_end() - ctx.data() {
        // Headers beyond the linear part.
        // SAFETY: the context is the program's own; packet pointers are read anew afterwards.
        unsafe { bpf_skb_pull_data(ctx.skb.skb, ctx.len().min(PULL)) };
        parsed = read(ctx, link, parsing);
    }
    if let Err(error) = parsed {
        // Parsed or not, it was seen.
        // SAFETY: the context outlives the program's run.
        let ifindex = unsafe { (*ctx.skb.skb).ifindex };
        seen(&count, hook, ifindex, Weight { packets: 1, bytes: u64::from(ctx.len()) });
        count.unparsed(error);
        return PASS;
    }
    match fate(ctx, parsing, hook, control, &count) {
        Fate::Pass => PASS,
        Fate::Drop => {
            count.add(Counter::TcDropped, 1);
            TC_ACT_SHOT
        }
        Fate::Reset => {
            count.add(Counter::TcDropped, 1);
            reset::reply(ctx, &parsing.packet, hook, matches!(link, Link::Ethernet))
        }
    }
}

#[inline(always)]
const fn is_truncated(parsed: Result<(), ParseError>) -> bool {
    matches!(parsed, Err(ParseError::TruncatedLink | ParseError::TruncatedNetwork | ParseError::TruncatedTransport))
}

/// A function of its own: the parser's paths end, and are forgotten, where it returns.
#[inline(never)]
fn read(ctx: &TcContext, link: Link, parsing: &mut Parsing) -> Result<(), ParseError> {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.skb.skb).data, &raw const (*ctx.skb.skb).data_end) };
    let linear = Linear::new(data, data_end, &raw mut parsing.cell);
    let packet = &mut parsing.packet;
    // SAFETY: the context outlives the program's run.
    let skb = unsafe { &*ctx.skb.skb };
    let stripped = if skb.vlan_present != 0 { Some((skb.vlan_tci & 0x0fff) as u16) } else { None };
    match link {
        Link::Ethernet => packet::ethernet(&linear, skb.len, stripped, packet),
        Link::None => {
            let start = Start { offset: 0, wire_len: skb.len, vlan: stripped.unwrap_or(0) };
            packet::network(&linear, u16::from_be(skb.protocol as u16), start, packet)
        }
    }
}

#[inline(always)]
fn seen(count: &Count, hook: Hook, ifindex: u32, weight: Weight) {
    let traffic = count.traffic(ifindex);
    let way = match hook {
        Hook::Ingress => 0,
        Hook::Egress => 1,
    };
    traffic.packets[way] += u64::from(weight.packets);
    traffic.bytes[way] += weight.bytes;
}

#[inline(always)]
fn fate(ctx: &TcContext, parsing: &mut Parsing, hook: Hook, control: &'static Control, count: &Count) -> Fate {
    let cell = &raw mut parsing.cell;
    let packet = &parsing.packet;
    // SAFETY: the context outlives the program's run.
    let skb = unsafe { &*ctx.skb.skb };
    let segments = if skb.gso_segs > 1 { skb.gso_segs } else { 1 };
    let tag = if skb.vlan_present != 0 { 4 } else { 0 };
    // Every segment on the wire repeats the headers; a stripped tag goes back in front of each.
    let bytes = u64::from(skb.len) + u64::from((segments - 1) * packet.payload_offset) + u64::from(segments * tag);
    let weight = Weight { bytes, packets: segments };
    let ifindex = skb.ifindex;
    seen(count, hook, ifindex, weight);
    if reset::is_own(skb, packet) {
        return Fate::Pass;
    }

    let hash = control.hash_keys.hash(&packet.conversation);
    let mut translated = false;
    if control.forwards != 0 {
        match crossing(hook, hash, skb.ingress_ifindex) {
            Crossing::Accounted => {
                count.add(Counter::ForwardedTwicePackets, u64::from(segments));
                return Fate::Pass;
            }
            Crossing::Translated => translated = true,
            Crossing::No => {}
        }
    }
    let now_ns = coarse_ns();
    let cpu = cpu();
    let observation = Observation {
        packet,
        hash,
        now_ns,
        bytes,
        packets: segments,
        segment: skb.gso_size,
        ifindex,
        translated,
        turn_gap: control.turn_gap,
        active_timeout: control.active_timeout,
    };
    let Some(set) = FLOWS.get_ptr_mut(cpu * (control.set_mask + 1) + (hash & control.set_mask)) else {
        return Fate::Pass;
    };
    // SAFETY: the set belongs to this CPU; TC programs do not nest on one, and the daemon maps it read-only.
    let set = unsafe { &mut *set };
    let mut ring = Ring { ctx, control, cell, stamp: Stamp::new(cpu) };
    match account(set, &observation, &mut ring) {
        Some(way) => {
            count.add(Counter::AccountedPackets, u64::from(segments));
            let slot = &mut set.slots[joined(cell, way as u32) as usize & (WAYS - 1)];
            if hook == Hook::Egress && slot.marks & mark::COOKIE_ASKED == 0 && skb.ingress_ifindex == 0 {
                slot.marks |= mark::COOKIE_ASKED;
                // SAFETY: the helper takes the program's context.
                slot.cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
            }
            judge(packet, Some(slot), weight, now_ns, control)
        }
        None => {
            count.add(Counter::UnaccountedPackets, u64::from(segments));
            count.add(Counter::UnaccountedBytes, bytes);
            judge(packet, None, weight, now_ns, control)
        }
    }
}

enum Crossing {
    No,
    /// This very packet was accounted at ingress of another watched interface.
    Accounted,
    /// The same, under another five-tuple.
    Translated,
}

/// Recognises at egress a packet that ingress has accounted. Forwarding goes from one to the other on one CPU, so
/// the last conversation seen at ingress tells.
#[inline(always)]
fn crossing(hook: Hook, hash: u32, ingress_ifindex: u32) -> Crossing {
    let Some(last) = LAST_INGRESS.get_ptr_mut(0) else { return Crossing::No };
    // SAFETY: this CPU's own element.
    let last = unsafe { &mut *last };
    match hook {
        Hook::Ingress => {
            *last = u64::from(hash);
            Crossing::No
        }
        Hook::Egress => {
            // SAFETY: the value is not read.
            if ingress_ifindex == 0 || unsafe { WATCHED.get(&ingress_ifindex) }.is_none() {
                Crossing::No
            } else if *last == u64::from(hash) {
                Crossing::Accounted
            } else {
                Crossing::Translated
            }
        }
    }
}
