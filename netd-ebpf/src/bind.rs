//! bind(2), which names servers before anybody speaks to them, and the end of a socket's last descriptor.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_TCP_CLOSE, bpf_sock},
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock,
    programs::SockContext,
};
use netd_common::{
    key::{Address, FlowKey},
    offsets::group,
    packet::{IPPROTO_TCP, IPPROTO_UDP},
    process::Side,
    record::{Owner, SocketEvent},
};

use crate::{
    cgroup::{ALLOW, field, v6},
    maps::SOCKETS,
    memory::knows,
    sockets::{Told, tell, tell_of},
    stream,
};

#[cgroup_sock(post_bind4)]
pub fn post_bind4(ctx: SockContext) -> i32 {
    let sock = ctx.sock.cast_const();
    bound(&ctx, stream::v4(field!(sock.src_ip4)))
}

#[cgroup_sock(post_bind6)]
pub fn post_bind6(ctx: SockContext) -> i32 {
    let sock = ctx.sock.cast_const();
    let words = [field!(sock.src_ip6[0]), field!(sock.src_ip6[1]), field!(sock.src_ip6[2]), field!(sock.src_ip6[3])];
    bound(&ctx, v6(words))
}

#[inline(always)]
fn bound(ctx: &SockContext, src: Address) -> i32 {
    let sock: *const bpf_sock = ctx.sock;
    let proto = field!(sock.protocol);
    if proto != u32::from(IPPROTO_TCP) && proto != u32::from(IPPROTO_UDP) {
        return ALLOW;
    }
    let key = FlowKey {
        src,
        dst: Address::UNSPECIFIED,
        src_port: (field!(sock.src_port) as u16).to_be_bytes(),
        dst_port: [0; 2],
        proto: proto as u8,
        pad: [0; 3],
    };
    // SAFETY: the helpers take the program's context.
    let (cookie, netns_cookie) = unsafe { (bpf_get_socket_cookie(ctx.as_ptr()), bpf_get_netns_cookie(ctx.as_ptr())) };
    tell(&Told { event: SocketEvent::Bound, key: &key, cookie, rule: 0 }, netns_cookie, Some(Side::Unknown));
    ALLOW
}

/// A TCP socket lives on after its last descriptor, and `sock_ops` hears of its end; unless it never was connected.
#[cgroup_sock(sock_release)]
pub fn sock_release(ctx: SockContext) -> i32 {
    let sock: *const bpf_sock = ctx.sock;
    let is_udp = field!(sock.protocol) == u32::from(IPPROTO_UDP);
    if !is_udp && field!(sock.state) != BPF_TCP_CLOSE {
        return ALLOW;
    }
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the value is copied at once; nobody else acts on a socket that has no descriptor.
    let Some(known) = (unsafe { SOCKETS.get(&cookie) }) else { return ALLOW };
    let owner: Owner = known.owner;
    if is_udp && knows(group::TASK | group::STREAMS) {
        let mut key = FlowKey::default();
        // The context of this hook is the socket itself; of its ends the kernel would show the peer's alone.
        stream::ends(ctx.as_ptr() as u64, &mut key);
        tell_of(&Told { event: SocketEvent::Released, key: &key, cookie, rule: 0 }, &owner);
    }
    // Gone already when the table was full: nothing to do.
    let _ = SOCKETS.remove(&cookie);
    ALLOW
}
