//! TCP sockets of this host: established, closed, round-trip time; joins socket cookie and five-tuple.

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_TCP_CLOSE, bpf_sock_ops,
    },
    helpers::bpf_get_socket_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};
use netd_common::{
    counter::Counter,
    key::{Address, FlowKey},
    packet::IPPROTO_TCP,
    process::Side,
    record::{Header, Kind, Owner, Socket, SocketEvent, SocketRecord},
};

use crate::{
    cgroup::{field, v6},
    context::{Context, Count, cpu, precise_ns},
    maps::{EVENTS, SOCKETS},
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

#[sock_ops]
pub fn sock_ops(ctx: SockOpsContext) -> u32 {
    let event = match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => SocketEvent::Connected,
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => SocketEvent::Accepted,
        BPF_SOCK_OPS_TCP_LISTEN_CB => SocketEvent::Listen,
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == BPF_TCP_CLOSE => SocketEvent::Closed,
        _ => return 1,
    };
    if !matches!(event, SocketEvent::Closed) {
        let flags = ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG;
        // Without the flag the end of the socket goes unreported, and its flow ends by FIN, RST or idling instead.
        let _ = ctx.set_cb_flags(flags as i32);
    }
    report(&ctx, event);
    1
}

#[inline(always)]
fn report(ctx: &SockOpsContext, event: SocketEvent) {
    let Some(count) = Count::new() else { return };
    let ops = ctx.ops.cast_const();
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let family = field!(ops.family);
    if family != AF_INET && family != AF_INET6 {
        return;
    }
    take_side(cookie, event);
    let Some(mut entry) = EVENTS.reserve::<SocketRecord>(0) else {
        count.add_in(Context::Process, Counter::SocketRecordsLost, 1);
        return;
    };
    // SAFETY: every field is written before the record is submitted. Written in place: an address assembled on the
    // stack would be assembled from unaligned words, which the verifier refuses.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.header = Header {
        kind: Kind::Socket as u16,
        cpu: cpu() as u16,
        len: size_of::<SocketRecord>() as u32,
        time_ns: precise_ns(),
    };
    // SAFETY: the owner is copied at once; a torn one would need the same socket to be opened again meanwhile.
    record.owner = match unsafe { SOCKETS.get(&cookie) } {
        Some(socket) => socket.owner,
        None => Owner::default(),
    };
    record.key.src_port = (field!(ops.local_port) as u16).to_be_bytes();
    // The remote port stands in the word's upper half, in network order.
    record.key.dst_port = ((field!(ops.remote_port) >> 16) as u16).to_ne_bytes();
    record.key.proto = IPPROTO_TCP;
    record.key.pad = [0; 3];
    if family == AF_INET {
        set_v4(ops, &mut record.key);
    } else {
        set_v6(ops, &mut record.key);
    }
    record.cookie = cookie;
    record.rtt_us = field!(ops.srtt_us) >> 3;
    record.rule = 0;
    record.event = event as u8;
    record.pad = [0; 7];
    entry.submit(0);
    count.add_in(Context::Process, Counter::SocketRecords, 1);
    if matches!(event, SocketEvent::Closed) {
        // Gone already when the table was full: nothing to do.
        let _ = SOCKETS.remove(&cookie);
    }
}

/// Remembers which side began: what a process's streams lead to is judged by it.
#[inline(never)]
fn take_side(cookie: u64, event: SocketEvent) {
    let side = match event {
        SocketEvent::Accepted => Side::Accepted,
        SocketEvent::Listen => Side::Listening,
        SocketEvent::Open
        | SocketEvent::Connected
        | SocketEvent::Closed
        | SocketEvent::Refused
        | SocketEvent::Bound
        | SocketEvent::Released
        | SocketEvent::AcceptedBy => return,
    };
    if let Some(socket) = SOCKETS.get_ptr_mut(&cookie) {
        // SAFETY: a word of a live value, written in one piece.
        unsafe { (&raw mut (*socket).side).write_volatile(side as u32) };
        return;
    }
    let socket = Socket { owner: Owner::default(), side: side as u32, pad: 0 };
    if SOCKETS.insert(&cookie, &socket, 0).is_err()
        && let Some(count) = Count::new()
    {
        count.add_in(Context::Process, Counter::OwnersLost, 1);
    }
}

// Not inlined: merged, the two would read through a computed context pointer.

#[inline(never)]
fn set_v4(ops: *const bpf_sock_ops, key: &mut FlowKey) {
    key.src = Address::v4(field!(ops.local_ip4).to_ne_bytes());
    key.dst = Address::v4(field!(ops.remote_ip4).to_ne_bytes());
}

#[inline(never)]
fn set_v6(ops: *const bpf_sock_ops, key: &mut FlowKey) {
    key.src =
        v6([field!(ops.local_ip6[0]), field!(ops.local_ip6[1]), field!(ops.local_ip6[2]), field!(ops.local_ip6[3])]);
    key.dst = v6([
        field!(ops.remote_ip6[0]),
        field!(ops.remote_ip6[1]),
        field!(ops.remote_ip6[2]),
        field!(ops.remote_ip6[3]),
    ]);
}
