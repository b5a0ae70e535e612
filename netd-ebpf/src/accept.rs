//! accept(2): which process takes a connection, so that the workers of a server are told apart from its listener.
//!
//! Two hooks, because neither sees all: the return of accept(2) and accept4(2) misses io_uring, and the look-up of the
//! peer's name is made by whoever asks for the peer's address while accepting, io_uring too, or later. A connection
//! that io_uring accepts without asking for the address is its listener's.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::{cgroup_sock_addr, tracepoint},
    programs::{SockAddrContext, TracePointContext},
};
use netd_common::{
    key::FlowKey,
    packet::IPPROTO_TCP,
    process::{Side, Stream, StreamKind},
    record::SocketEvent,
};

use crate::{
    cgroup::{ALLOW, addr, bound_to, to_v4, to_v6},
    maps::SOCKETS,
    sockets::{Told, tell},
    stream::{Descriptors, look},
    system_call,
};

#[tracepoint]
pub fn accept(ctx: TracePointContext) -> u32 {
    let descriptor = system_call::result(&ctx);
    if descriptor < 0 {
        return 0;
    }
    let mut stream = MaybeUninit::<Stream>::uninit();
    // SAFETY: `look` writes it in whole before anything is read.
    let stream = unsafe { &mut *stream.as_mut_ptr() };
    look(Descriptors::current().file(descriptor as u32), stream);
    if stream.kind == StreamKind::Inet as u8 && stream.key.proto == IPPROTO_TCP {
        taken(stream.cookie, &stream.key, 0);
    }
    0
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    named(&ctx, to_v4(&ctx).flow())
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    named(&ctx, to_v6(&ctx).flow())
}

#[inline(always)]
fn named(ctx: &SockAddrContext, mut key: FlowKey) -> i32 {
    if addr(ctx).protocol != u32::from(IPPROTO_TCP) {
        return ALLOW;
    }
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: two words of the value are read, and not kept.
    let is_nobodys = match unsafe { SOCKETS.get(&cookie) } {
        Some(socket) => socket.side == Side::Accepted as u32 && socket.owner.tgid == 0,
        None => false,
    };
    if is_nobodys {
        bound_to(ctx, &mut key);
        // SAFETY: the helper takes the program's context.
        taken(cookie, &key, unsafe { bpf_get_netns_cookie(ctx.as_ptr()) });
    }
    ALLOW
}

/// Gives an accepted connection to the process at hand, unless it has it already.
#[inline(always)]
fn taken(cookie: u64, key: &FlowKey, netns_cookie: u64) {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if cookie != 0 {
        // SAFETY: one word of the value is read, and not kept.
        if let Some(socket) = unsafe { SOCKETS.get(&cookie) }
            && socket.owner.tgid == tgid
        {
            return;
        }
    }
    // Without `sock_ops` nobody has given it a cookie: then the five-tuple names it.
    let side = if cookie != 0 { Some(Side::Accepted) } else { None };
    tell(&Told { event: SocketEvent::AcceptedBy, key, cookie, rule: 0 }, netns_cookie, side);
}
