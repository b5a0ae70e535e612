//! Turn records: payload after an idle time of at least the gap, whoever starts.

use std::net::SocketAddr;

use aya::util::nr_cpus;
use netd_common::{
    key::Direction,
    names::{TC_EGRESS, TC_INGRESS},
    record::{Kind, TurnRecord},
};
use netd_lab::{
    frames::{Frame, flags},
    left_out, require_root,
};

use crate::{
    kernel::{Kernel, Record},
    pair, pairs, tcp_conversation,
};

/// A connection in which the local side has said ten bytes, its records taken.
fn connection(local: SocketAddr, other: SocketAddr) -> Kernel {
    let mut kernel = Kernel::load();
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::SYN).sequence(99).build());
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(100).payload(&[1; 10]).build());
    kernel.drain();
    kernel
}

fn turns(kernel: &mut Kernel) -> Vec<TurnRecord> {
    kernel.drain().iter().filter_map(Record::turn).copied().collect()
}

fn direction(from: SocketAddr, to: SocketAddr) -> Direction {
    crate::kernel::directed(from, to, 6).conversation().1
}

#[test]
fn the_first_payload_after_the_handshake_is_a_turn() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();
        kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::SYN).sequence(99).build());

        kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(100).payload(&[1; 10]).build());

        let turns = turns(&mut kernel);
        assert_eq!(turns.len(), 1);
        let turn = turns[0];
        assert_eq!((turn.header.kind, turn.key), (Kind::Turn as u16, tcp_conversation(local, other)));
        assert_eq!((turn.is_first, turn.idle_ns, turn.first_len), (1, 0, 10));
        assert_eq!((turn.payload, turn.starter), ([0, 0], direction(local, other) as u8));
    }
}

#[test]
fn payload_in_a_flows_first_packet_is_told_by_its_beginning() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::udp(local, other).payload(&[1; 10]).build());

    assert!(turns(&mut kernel).is_empty());
}

#[test]
fn payload_after_the_gap_is_a_turn_of_whoever_sends_it() {
    require_root!();
    for (local, other) in pairs() {
        for (from, to, sequence) in [(local, other, 110), (other, local, 700)] {
            let mut kernel = connection(local, other);

            kernel.age(&tcp_conversation(local, other), kernel.control().turn_gap);
            kernel.run(TC_INGRESS, &Frame::tcp(from, to).sequence(sequence).payload(&[2; 5]).build());

            let turns = turns(&mut kernel);
            assert_eq!(turns.len(), 1);
            assert_eq!((turns[0].starter, turns[0].is_first, turns[0].first_len), (direction(from, to) as u8, 0, 5));
            assert_eq!(turns[0].payload.iter().sum::<u64>(), 10);
            // A busy machine may take seconds to load the other program.
            assert!((1_990_000_000..20_000_000_000).contains(&turns[0].idle_ns), "{} ns", turns[0].idle_ns);
        }
    }
}

#[test]
fn an_answer_within_the_gap_is_no_turn() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = connection(local, other);

    kernel.run(TC_INGRESS, &Frame::tcp(other, local).sequence(1).payload(&[2; 500]).build());

    assert!(turns(&mut kernel).is_empty());
}

#[test]
fn what_carries_no_new_payload_is_no_turn() {
    require_root!();
    let (local, other) = pair();
    let retransmission = Frame::tcp(local, other).sequence(100).payload(&[1; 10]);
    let keep_alive = Frame::tcp(local, other).sequence(109).payload(&[0]);
    let acknowledgement = Frame::tcp(local, other).sequence(110);
    for packet in [retransmission, keep_alive, acknowledgement] {
        let mut kernel = connection(local, other);

        kernel.age(&tcp_conversation(local, other), kernel.control().turn_gap);
        kernel.run(TC_EGRESS, &packet.build());

        assert!(turns(&mut kernel).is_empty(), "{packet:?}");
    }
}

#[test]
fn payload_on_another_cpu_is_counted_in() {
    require_root!();
    if nr_cpus().unwrap() < 2 {
        left_out!("needs two CPUs");
        return;
    }
    let (local, other) = pair();
    let key = tcp_conversation(local, other);
    let mut kernel = Kernel::load();
    kernel.move_to(0);
    kernel.run(TC_EGRESS, &Frame::udp(local, other).payload(&[0; 1]).build());
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(100).payload(&[1; 10]).build());
    kernel.drain();

    // The answer comes by another CPU: a flow of its own there, but no turn.
    kernel.move_to(1);
    kernel.run(TC_INGRESS, &Frame::tcp(other, local).sequence(1).payload(&[2; 300]).build());
    let answer = turns(&mut kernel);
    // Later both are old, and the other side speaks again.
    kernel.age(&key, kernel.control().turn_gap);
    kernel.move_to(0);
    kernel.age(&key, kernel.control().turn_gap);
    kernel.move_to(1);
    kernel.run(TC_INGRESS, &Frame::tcp(other, local).sequence(301).payload(&[2; 5]).build());
    let later = turns(&mut kernel);

    assert!(answer.is_empty(), "{answer:?}");
    assert_eq!(later.len(), 1);
    assert_eq!((later[0].is_first, later[0].payload.iter().sum::<u64>()), (0, 310));
}

#[test]
fn recent_payload_on_another_cpu_leaves_no_gap() {
    require_root!();
    if nr_cpus().unwrap() < 2 {
        left_out!("needs two CPUs");
        return;
    }
    let (local, other) = pair();
    let mut kernel = connection(local, other);
    let here = kernel.cpu();
    kernel.age(&tcp_conversation(local, other), kernel.control().turn_gap);
    kernel.move_to(1 - here.min(1));
    kernel.run(TC_INGRESS, &Frame::tcp(other, local).sequence(1).payload(&[2; 300]).build());
    kernel.drain();

    kernel.move_to(here);
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(110).payload(&[1; 10]).build());

    assert!(turns(&mut kernel).is_empty());
}
