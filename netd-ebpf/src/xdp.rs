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
    context::{Context, Count, coarse_ns, control},
    maps::{PACKET, Parsing, RULES},
    reader::Linear,
    verdicts::{Fate, Weight, apply, rule_for},
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
    // SAFETY: the helper takes the program's context.
    let bytes = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    // TC meets the packet next and counts what cannot be parsed.
    read(ctx, bytes, parsing).ok()?;
    let id = rule_for(&parsing.packet, control);
    if id == 0 {
        return None;
    }
    let rule = RULES.get(id)?;
    // Throttling and resetting are TC's; so is counting what shadow mode lets pass.
    if rule.action != Action::Drop as u8 || rule.shadow != 0 || control.mode == Mode::Shadow as u32 {
        return None;
    }
    let weight = Weight { bytes: u64::from(bytes), packets: 1 };
    let dropped = apply(id, weight, coarse_ns(), Context::Network) == Fate::Drop;
    if dropped {
        Count::new()?.add(Counter::XdpDropped, 1);
    }
    Some(dropped)
}

/// A function of its own: the parser's paths end, and are forgotten, where it returns.
#[inline(never)]
fn read(ctx: &XdpContext, bytes: u32, parsing: &mut Parsing) -> Result<(), ParseError> {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.ctx).data, &raw const (*ctx.ctx).data_end) };
    let linear = Linear::new(data, data_end, &raw mut parsing.cell);
    packet::ethernet(&linear, bytes, None, &mut parsing.packet)
}
