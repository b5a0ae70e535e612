//! connect(2) and unconnected sends: who opens it, and refusal with an error to the process.
//!
//! The programs run in the process's own context, so they see io_uring's connects too.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_addr,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_netns_cookie,
        bpf_get_socket_cookie, generated,
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use netd_common::{
    control::Mode,
    counter::Counter,
    key::{Address, FlowKey},
    packet::Packet,
    record::{Header, Kind, Owner, SocketEvent, SocketRecord},
};

use crate::{
    context::{Context, Count, coarse_ns, control, cpu, precise_ns},
    maps::{EVENTS, SOCKETS},
    verdicts::{Fate, Weight, apply, rule_for},
};

const ALLOW: i32 = 1;
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
fn to_v4(ctx: &SockAddrContext) -> Packet {
    let addr = addr(ctx);
    destination(Address::v4(addr.user_ip4.to_ne_bytes()), addr)
}

#[inline(always)]
fn to_v6(ctx: &SockAddrContext) -> Packet {
    let addr = addr(ctx);
    let [a, b, c, d] = [addr.user_ip6[0], addr.user_ip6[1], addr.user_ip6[2], addr.user_ip6[3]].map(u32::to_ne_bytes);
    let address = [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]];
    destination(Address(address), addr)
}

#[inline(always)]
fn addr(ctx: &SockAddrContext) -> &bpf_sock_addr {
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
            report(ctx, SocketEvent::Refused, &packet, cookie, rule);
            return REFUSE;
        }
    }
    // A socket that sends to many is reported once; the flows it opens carry its cookie.
    // SAFETY: the value is not read.
    if connects || unsafe { SOCKETS.get(&cookie) }.is_none() {
        report(ctx, SocketEvent::Open, &packet, cookie, 0);
    }
    ALLOW
}

/// Writes a socket record, and remembers the owner of a socket that is opened.
#[inline(never)]
fn report(ctx: &SockAddrContext, event: SocketEvent, packet: &Packet, cookie: u64, rule: u32) {
    let Some(count) = Count::new() else { return };
    let owner = owner(ctx);
    if rule != 0 {
        count.add_in(Context::Process, Counter::ConnectsRefused, 1);
    } else if SOCKETS.insert(&cookie, &owner, 0).is_err() {
        count.add_in(Context::Process, Counter::OwnersLost, 1);
    }
    let Some(mut entry) = EVENTS.reserve::<SocketRecord>(0) else {
        count.add_in(Context::Process, Counter::SocketRecordsLost, 1);
        return;
    };
    entry.write(SocketRecord {
        header: Header {
            kind: Kind::Socket as u16,
            cpu: cpu() as u16,
            len: size_of::<SocketRecord>() as u32,
            time_ns: precise_ns(),
        },
        key: packet.flow(),
        cookie,
        owner,
        rtt_us: 0,
        rule,
        event: event as u8,
        pad: [0; 7],
    });
    entry.submit(0);
    count.add_in(Context::Process, Counter::SocketRecords, 1);
}

#[inline(always)]
fn owner(ctx: &SockAddrContext) -> Owner {
    let pid_tgid = bpf_get_current_pid_tgid();
    let mut owner = Owner {
        // SAFETY: the helper has no preconditions.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        // SAFETY: the helper takes the program's context.
        netns_cookie: unsafe { bpf_get_netns_cookie(ctx.as_ptr()) },
        tgid: (pid_tgid >> 32) as u32,
        pid: pid_tgid as u32,
        uid: bpf_get_current_uid_gid() as u32,
        pad: 0,
        comm: [0; 16],
    };
    // SAFETY: the helper writes at most 16 bytes; without them the name stays empty.
    unsafe { generated::bpf_get_current_comm(owner.comm.as_mut_ptr().cast(), 16) };
    owner
}
