//! connect(2) and unconnected sends: who opens it, and refusal with an error to the process.
//!
//! The programs run in the process's own context, so they see io_uring's connects too.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use netd_common::{
    control::Mode,
    counter::Counter,
    key::{Address, FlowKey},
    packet::Packet,
    process::Side,
    record::SocketEvent,
};

use crate::{
    context::{Context, Count, coarse_ns, control},
    maps::SOCKETS,
    processes,
    sockets::{Told, tell},
    stream,
    verdicts::{Fate, Weight, apply, rule_for},
};

/// Reads one field of a context or of a socket: volatile, because the verifier allows neither wider loads nor computed
/// pointers.
macro_rules! field {
    ($context:ident . $($field:tt)+) => {
        // SAFETY: context and socket outlive the program's run, and the field lies in them.
        unsafe { core::ptr::addr_of!((*$context).$($field)+).read_volatile() }
    };
}
pub(crate) use field;

const AF_INET: u32 = 2;

pub const ALLOW: i32 = 1;
/// The system call fails with EPERM.
const REFUSE: i32 = 0;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    open(&ctx, to_v4(&ctx), true)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    open(&ctx, to_v6(&ctx), true)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    open(&ctx, to_v4(&ctx), false)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    open(&ctx, to_v6(&ctx), false)
}

#[inline(always)]
pub fn to_v4(ctx: &SockAddrContext) -> Packet {
    let addr = addr(ctx);
    destination(Address::v4(addr.user_ip4.to_ne_bytes()), addr)
}

#[inline(always)]
pub fn to_v6(ctx: &SockAddrContext) -> Packet {
    let addr = addr(ctx);
    destination(v6([addr.user_ip6[0], addr.user_ip6[1], addr.user_ip6[2], addr.user_ip6[3]]), addr)
}

/// Returns the address that four words of the kernel's hold, in network order.
#[inline(always)]
pub fn v6(words: [u32; 4]) -> Address {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    Address([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]])
}

#[inline(always)]
pub fn addr(ctx: &SockAddrContext) -> &bpf_sock_addr {
    // SAFETY: the context outlives the program's run.
    unsafe { &*ctx.sock_addr }
}

/// A packet yet to be sent, as far as verdicts look at one: its source is not known, so only its destination counts.
#[inline(always)]
fn destination(dst: Address, addr: &bpf_sock_addr) -> Packet {
    // The port stands in the word's first two bytes, in network order.
    let dst_port = (addr.user_port as u16).to_ne_bytes();
    let proto = addr.protocol as u8;
    let key = FlowKey { src: Address::UNSPECIFIED, dst, src_port: [0; 2], dst_port, proto, pad: [0; 3] };
    let (conversation, direction) = key.conversation();
    Packet { conversation, direction: direction as u8, ..Packet::EMPTY }
}

#[inline(always)]
fn open(ctx: &SockAddrContext, packet: Packet, connects: bool) -> i32 {
    let Some(control) = control() else { return ALLOW };
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if control.kill_switch == 0 && !matches!(Mode::from_number(control.mode), Mode::Observe) {
        let rule = rule_for(&packet, control);
        if rule != 0 && apply(rule, Weight { bytes: 0, packets: 1 }, coarse_ns(), Context::Process) != Fate::Pass {
            report(ctx, SocketEvent::Refused, packet.flow(), cookie, rule);
            return REFUSE;
        }
    }
    // A socket that sends to many is reported once; the flows it opens carry its cookie.
    // SAFETY: one word of the value is read, and not kept.
    let is_open = match unsafe { SOCKETS.get(&cookie) } {
        Some(socket) => socket.side == Side::Opened as u32,
        None => false,
    };
    if connects || !is_open {
        report(ctx, SocketEvent::Open, packet.flow(), cookie, 0);
    }
    if connects {
        processes::connects(cookie);
    }
    ALLOW
}

/// Writes a socket record, and remembers the owner of a socket that is opened.
#[inline(never)]
fn report(ctx: &SockAddrContext, event: SocketEvent, mut key: FlowKey, cookie: u64, rule: u32) {
    // SAFETY: the helper takes the program's context.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let mut side = Some(Side::Opened);
    if rule != 0 {
        side = None;
        if let Some(count) = Count::new() {
            count.add_in(Context::Process, Counter::ConnectsRefused, 1);
        }
    }
    bound_to(ctx, &mut key);
    tell(&Told { event, key: &key, cookie, rule }, netns_cookie, side);
}

/// Writes the end that a socket is bound to, as far as it is.
#[inline(always)]
pub fn bound_to(ctx: &SockAddrContext, key: &mut FlowKey) {
    // SAFETY: the context outlives the program's run; the kernel gives a socket with every one.
    let sock = unsafe { addr(ctx).__bindgen_anon_1.sk }.cast_const();
    if sock.is_null() {
        return;
    }
    key.src_port = (field!(sock.src_port) as u16).to_be_bytes();
    key.src = if field!(sock.family) == AF_INET {
        stream::v4(field!(sock.src_ip4))
    } else {
        v6([field!(sock.src_ip6[0]), field!(sock.src_ip6[1]), field!(sock.src_ip6[2]), field!(sock.src_ip6[3])])
    };
}
