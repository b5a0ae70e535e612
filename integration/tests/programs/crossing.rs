//! Packets that cross two watched interfaces are accounted once.

use std::net::SocketAddr;

use netd_common::{
    counter::Counter,
    names::{TC_EGRESS, TC_INGRESS},
    record::state,
    verdict::{Action, Rule},
};
use netd_lab::require_root;

use crate::{
    kernel::{Kernel, Level, PASS, SHOT, SkBuff},
    pair, socket, tcp, tcp_conversation,
};

const WATCHED: u32 = 7;

fn forwarded(ingress_ifindex: u32) -> SkBuff {
    SkBuff { ingress_ifindex, ..SkBuff::default() }
}

fn packets(kernel: &Kernel, (local, other): (SocketAddr, SocketAddr)) -> u32 {
    kernel.slot(&tcp_conversation(local, other)).map_or(0, |(slot, _)| slot.packets.iter().sum())
}

#[test]
fn a_forwarded_packet_is_accounted_once() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);
    let packet = tcp(local, other);

    for _ in 0..5 {
        kernel.run(TC_INGRESS, &packet);
        kernel.run_with(TC_EGRESS, &packet, &forwarded(WATCHED));
    }

    assert_eq!(packets(&kernel, (local, other)), 5);
    assert_eq!(kernel.count(Counter::ForwardedTwicePackets), 5);
    let seen = kernel.count(Counter::IngressPackets) + kernel.count(Counter::EgressPackets);
    assert_eq!(seen, kernel.count(Counter::AccountedPackets) + 5);
}

#[test]
fn a_packet_from_an_interface_that_is_not_watched_is_accounted_at_egress() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);

    kernel.run(TC_INGRESS, &tcp(local, other));
    kernel.run_with(TC_EGRESS, &tcp(local, other), &forwarded(WATCHED + 1));

    assert_eq!(packets(&kernel, (local, other)), 2);
}

#[test]
fn a_packet_of_this_host_is_accounted_at_egress() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);

    kernel.run(TC_INGRESS, &tcp(local, other));
    kernel.run(TC_EGRESS, &tcp(local, other));

    assert_eq!(packets(&kernel, (local, other)), 2);
}

#[test]
fn a_translated_packet_is_a_conversation_marked_so() {
    require_root!();
    let (local, other) = pair();
    let outside = socket("192.0.2.1:61000");
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);

    kernel.run(TC_INGRESS, &tcp(local, other));
    kernel.run_with(TC_EGRESS, &tcp(outside, other), &forwarded(WATCHED));

    let state_of = |from| kernel.slot(&tcp_conversation(from, other)).unwrap().0.state & state::TRANSLATED;
    assert_eq!(state_of(local), 0);
    assert_ne!(state_of(outside), 0);
}

#[test]
fn a_forwarded_packet_is_cut_at_ingress() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);
    kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, u64::MAX));

    assert_eq!(kernel.run(TC_INGRESS, &tcp(local, listed)).action, SHOT);
}

#[test]
fn a_throttled_packet_is_charged_once_on_its_way_through() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    kernel.watch(WATCHED);
    // One packet and no more.
    kernel.list(Level::Host(listed.ip()), Rule::throttle(1, 0, u64::MAX));

    assert_eq!(kernel.run(TC_INGRESS, &tcp(local, listed)).action, PASS);
    assert_eq!(kernel.run_with(TC_EGRESS, &tcp(local, listed), &forwarded(WATCHED)).action, PASS);
}
