//! XDP ingress: drops what a drop verdict names, before the stack spends anything on it.
//!
//! Throttling and resetting stay with TC, which every packet that passes here meets next; nothing is accounted here,
//! so a packet dropped early is in the verdict's hits and in no flow.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::bpf_xdp_get_buff_len,
    macros::xdp,
    programs::XdpContext,
};
use netd_common::{
    control::Mode,
    counter::Counter,
    packet::{self, ParseError},
    verdict::Action,
};

use crate::{
    context::{Count, coarse_ns, control},
    maps::{HITS, PACKET, Parsing, RULES},
    reader::Linear,
    verdicts::rule_for,
};

#[xdp(frags)]
pub fn xdp_ingress(ctx: XdpContext) -> u32 {
    match drop(&ctx) {
        Some(true) => XDP_DROP,
        Some(false) | None => XDP_PASS,
    }
}

#[inline(always)]
fn drop(ctx: &XdpContext) -> Option<bool> {
    let control = control()?;
    if control.kill_switch != 0 || matches!(Mode::from_number(control.mode), Mode::Observe) {
        return None;
    }
    // SAFETY: this CPU's own element; network programs do not nest on one CPU.
    let parsing = unsafe { &mut *PACKET.get_ptr_mut(0)? };
    // TC meets the packet next and counts what cannot be parsed.
    read(ctx, parsing).ok()?;
    let id = rule_for(&parsing.packet, control);
    if id == 0 {
        return None;
    }
    let rule = RULES.get(id)?;
    // Throttling and resetting are TC's; so is counting what shadow mode lets pass.
    if rule.action != Action::Drop as u8 || rule.shadow != 0 || control.mode == Mode::Shadow as u32 {
        return None;
    }
    // SAFETY: the helper takes the program's context.
    let bytes = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    let count = Count::new()?;
    // The clock is read for a daemon alone that promised a sign of life.
    if control.heartbeat_limit_ns != 0 && control.heartbeat_is_stale(coarse_ns()) {
        count.add(Counter::FailOpenPackets, 1);
        return None;
    }
    // SAFETY: this CPU's own element; network programs do not nest on one CPU.
    let hits = unsafe { &mut *HITS.get_ptr_mut(id)? };
    hits.packets += 1;
    hits.bytes += bytes;
    count.add(Counter::XdpDropped, 1);
    Some(true)
}

/// A function of its own: the parser's paths end, and are forgotten, where it returns.
///
/// Of a packet in fragments it believes the first, which holds the headers: no verdict depends on the payload.
#[inline(never)]
fn read(ctx: &XdpContext, parsing: &mut Parsing) -> Result<(), ParseError> {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.ctx).data, &raw const (*ctx.ctx).data_end) };
    let linear = Linear::new(data, data_end, &raw mut parsing.cell);
    packet::ethernet(&linear, linear.len(), None, &mut parsing.packet)
}
