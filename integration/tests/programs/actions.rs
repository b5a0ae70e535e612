//! What each action does, at each hook.

use netd_common::{
    counter::Counter,
    names::{TC_EGRESS, TC_EGRESS_L3, TC_INGRESS, TC_INGRESS_L3},
    verdict::{Action, Rule},
};
use netd_lab::{
    frames::{Frame, Link},
    require_root,
};

use crate::{
    kernel::{Kernel, Level, PASS, REDIRECT, SHOT},
    pair, pairs, socket, tcp,
};

const FOREVER: u64 = u64::MAX;

/// A test run takes its packet's protocol from where an Ethernet header has it, also for programs that expect none:
/// there lie two bytes of the source address, so only some sources can be had.
const RAW: [(&str, &str); 2] =
    [("8.0.0.7:40000", "198.51.100.9:443"), ("[2001:db8:86dd::7]:40000", "[2001:db8:9::9]:443")];

#[test]
fn a_packet_to_nobody_listed_passes_every_hook() {
    require_root!();
    let mut kernel = Kernel::load();
    kernel.list(Level::Host(socket("198.51.100.99:1").ip()), Rule::new(Action::Drop, FOREVER));

    for (local, other) in pairs() {
        for program in [TC_INGRESS, TC_EGRESS] {
            assert_eq!(kernel.run(program, &tcp(local, other)).action, PASS);
        }
    }
}

#[test]
fn a_drop_verdict_drops_both_directions_at_both_hooks() {
    require_root!();
    let mut kernel = Kernel::load();
    for (local, listed) in pairs() {
        let rule = kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, FOREVER));

        for program in [TC_INGRESS, TC_EGRESS] {
            assert_eq!(kernel.run(program, &tcp(local, listed)).action, SHOT, "{program} {listed}");
            assert_eq!(kernel.run(program, &tcp(listed, local)).action, SHOT, "{program} {listed}");
        }

        let hits = kernel.hits(rule);
        assert_eq!((hits.packets, hits.bytes), (4, 4 * tcp(local, listed).len() as u64));
    }
    assert_eq!(kernel.count(Counter::TcDropped), 8);
}

#[test]
fn a_drop_verdict_drops_where_there_is_no_link_header() {
    require_root!();
    let mut kernel = Kernel::load();
    for (local, listed) in RAW.map(|(local, listed)| (socket(local), socket(listed))) {
        let packet = Frame::tcp(local, listed).link(Link::Raw).payload(b"raw").build();
        for program in [TC_INGRESS_L3, TC_EGRESS_L3] {
            assert_eq!(kernel.run(program, &packet).action, PASS, "{program} {listed}");
        }

        kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, FOREVER));

        for program in [TC_INGRESS_L3, TC_EGRESS_L3] {
            assert_eq!(kernel.run(program, &packet).action, SHOT, "{program} {listed}");
        }
        let slot = kernel.slot(&crate::tcp_conversation(local, listed)).unwrap().0;
        assert_eq!(slot.bytes.iter().sum::<u64>(), 4 * packet.len() as u64);
    }
}

#[test]
fn a_reset_without_link_header_turns_the_network_header_round() {
    require_root!();
    let mut kernel = Kernel::load();
    for (local, listed) in RAW.map(|(local, listed)| (socket(local), socket(listed))) {
        kernel.list(Level::Host(listed.ip()), Rule::new(Action::Reset, FOREVER));
        let packet = Frame::tcp(local, listed).link(Link::Raw).build();

        let outcome = kernel.run(TC_EGRESS_L3, &packet);

        assert_eq!(outcome.action, REDIRECT);
        let answer = etherparse::PacketHeaders::from_ip_slice(&outcome.frame).unwrap();
        assert!(answer.transport.unwrap().tcp().unwrap().rst);
    }
}

#[test]
fn an_observe_verdict_passes_and_is_counted() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule::new(Action::Observe, FOREVER));

    let outcome = kernel.run(TC_EGRESS, &tcp(local, listed));

    assert_eq!(outcome.action, PASS);
    assert_eq!(kernel.hits(rule).packets, 1);
    assert_eq!(kernel.count(Counter::TcDropped), 0);
}

#[test]
fn an_unknown_action_passes() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule { action: 9, ..Rule::new(Action::Drop, FOREVER) });

    let outcome = kernel.run(TC_EGRESS, &tcp(local, listed));

    assert_eq!(outcome.action, PASS);
    assert_eq!(kernel.hits(rule).packets, 0);
}

#[test]
fn a_throttle_passes_its_burst_and_drops_what_exceeds_it() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    // 100 bytes a second, and two packets of 100 bytes ahead of the clock: the third still finds room.
    let rule = kernel.list(Level::Host(listed.ip()), Rule::throttle(100, 200, FOREVER));
    let packet = Frame::udp(local, listed).payload(&[0; 58]).build();
    assert_eq!(packet.len(), 100);

    let actions: Vec<u32> = (0..6).map(|_| kernel.run(TC_EGRESS, &packet).action).collect();

    assert_eq!(actions, [PASS, PASS, PASS, SHOT, SHOT, SHOT]);
    assert_eq!(kernel.count(Counter::ThrottleDropped), 3);
    assert_eq!((kernel.hits(rule).packets, kernel.hits(rule).bytes), (3, 300));
}

#[test]
fn a_throttle_that_is_not_exceeded_drops_nothing() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule::throttle(1_000_000_000, 1_000_000, FOREVER));

    let passed = (0..1000).filter(|_| kernel.run(TC_EGRESS, &tcp(local, listed)).action == PASS).count();

    assert_eq!(passed, 1000);
    assert_eq!(kernel.hits(rule).packets, 0);
}

#[test]
fn one_rule_throttles_all_its_addresses_together() {
    require_root!();
    let (local, listed) = pair();
    let other = socket("198.51.100.10:443");
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule::throttle(1, 0, FOREVER));
    kernel.list_under(Level::Host(other.ip()), rule);

    let first = kernel.run(TC_EGRESS, &tcp(local, listed)).action;
    let second = kernel.run(TC_EGRESS, &tcp(local, other)).action;

    assert_eq!((first, second), (PASS, SHOT));
}
