//! A VLAN tag that the kernel has taken out of the frame.
//!
//! `BPF_PROG_TEST_RUN` takes no packet with such a tag, so a program in front pushes one (the first goes into the
//! packet's metadata) and calls the program under test by its tail.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use netd_common::{
    counter::Counter,
    names::{TC_EGRESS, TC_INGRESS},
    verdict::{Action, Rule},
};
use netd_lab::{frames::Frame, require_root};

use crate::{
    kernel::{Kernel, Level, PASS, SHOT},
    pair, pairs, tcp_conversation,
};

#[test]
fn a_stripped_tag_is_remembered() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();

        Pusher::new(&mut kernel, TC_INGRESS, 77).run(&crate::tcp(local, other));

        assert_eq!(kernel.slot(&tcp_conversation(local, other)).unwrap().0.vlan, 77);
    }
}

#[test]
fn a_stripped_tag_is_counted_as_bytes_on_the_wire() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    let packet = crate::tcp(local, other);

    Pusher::new(&mut kernel, TC_EGRESS, 77).run(&packet);

    assert_eq!(kernel.count(Counter::EgressBytes), packet.len() as u64 + 4);
}

#[test]
fn a_stripped_tag_does_not_hide_a_packet() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, u64::MAX));

        for program in [TC_INGRESS, TC_EGRESS] {
            assert_eq!(Pusher::new(&mut kernel, program, 77).run(&crate::tcp(local, listed)), SHOT);
        }
    }
}

#[test]
fn the_stripped_tag_is_the_outermost() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    Pusher::new(&mut kernel, TC_INGRESS, 77).run(&Frame::tcp(local, other).vlan(5).build());

    assert_eq!(kernel.slot(&tcp_conversation(local, other)).unwrap().0.vlan, 77);
}

#[test]
fn a_stripped_tag_counts_among_the_two_that_are_read() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    let action = Pusher::new(&mut kernel, TC_INGRESS, 77).run(&Frame::tcp(local, other).vlan(5).vlan(6).build());

    assert_eq!((action, kernel.count(Counter::UnparsedTooManyTags)), (PASS, 1));
}

/// A program that tags a packet and hands it on.
struct Pusher {
    program: OwnedFd,
    /// Holds the program under test.
    _next: OwnedFd,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;

const PROGRAM_ARRAY: u32 = 3;
const SCHED_CLS: u32 = 3;

/// What bpf(2) takes, as far as it is used; what follows is 0.
#[repr(C)]
struct Attributes([u64; 16]);

impl Pusher {
    fn new(kernel: &mut Kernel, program: &str, tag: u16) -> Self {
        let target = kernel.classifier(program).fd().unwrap().as_fd().as_raw_fd();
        let next = create(MAP_CREATE, &mut attributes(&[pack(PROGRAM_ARRAY, 4), pack(4, 1)]));
        let (key, value) = (0_u32, target);
        let pointers = [next.as_raw_fd() as u64, &raw const key as u64, &raw const value as u64];
        call(MAP_UPDATE_ELEM, &mut attributes(&pointers)).unwrap();

        let code = instructions(&next, tag);
        let license = c"Dual MIT/GPL";
        let load = [pack(SCHED_CLS, code.len() as u32), code.as_ptr() as u64, license.as_ptr() as u64];
        let program = create(PROG_LOAD, &mut attributes(&load));
        Self { program, _next: next }
    }

    /// Returns what the program under test answers.
    fn run(&self, packet: &[u8]) -> u32 {
        let fields = [self.program.as_raw_fd() as u64, pack(packet.len() as u32, 0), packet.as_ptr() as u64, 0, 1];
        let mut attributes = attributes(&fields);
        call(PROG_TEST_RUN, &mut attributes).unwrap();
        // The word of the program holds the answer in its upper half.
        (attributes.0[0] >> 32) as u32
    }
}

/// `bpf_skb_vlan_push(skb, 802.1Q, tag)`, then `bpf_tail_call(skb, next, 0)`; drops where that fails.
fn instructions(next: &OwnedFd, tag: u16) -> [u64; 11] {
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const LOAD_WIDE: u8 = 0x18;
    const VLAN_PUSH: i32 = 18;
    const TAIL_CALL: i32 = 12;
    const MAP_FD: u8 = 1;
    let ethernet_type = i32::from(0x8100_u16.to_be());
    [
        instruction(MOVE, 6, 1, 0),
        instruction(SET, 2, 0, ethernet_type),
        instruction(SET, 3, 0, i32::from(tag)),
        instruction(CALL, 0, 0, VLAN_PUSH),
        instruction(MOVE, 1, 6, 0),
        instruction(LOAD_WIDE, 2, MAP_FD, next.as_raw_fd()),
        0,
        instruction(SET, 3, 0, 0),
        instruction(CALL, 0, 0, TAIL_CALL),
        instruction(SET, 0, 0, SHOT as i32),
        instruction(EXIT, 0, 0, 0),
    ]
}

fn instruction(code: u8, to: u8, from: u8, number: i32) -> u64 {
    u64::from(code) | u64::from(to | from << 4) << 8 | u64::from(number as u32) << 32
}

fn pack(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn attributes(words: &[u64]) -> Attributes {
    let mut attributes = Attributes([0; 16]);
    attributes.0[..words.len()].copy_from_slice(words);
    attributes
}

fn create(command: libc::c_int, attributes: &mut Attributes) -> OwnedFd {
    let fd = call(command, attributes).unwrap();
    // SAFETY: the kernel has just returned it, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn call(command: libc::c_int, attributes: &mut Attributes) -> io::Result<i32> {
    // SAFETY: the attributes are as long as said, and what they point to outlives the call: the callers hold it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
