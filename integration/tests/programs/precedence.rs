//! Which verdict applies: the lookup order, the allow-list, expiry.

use std::net::IpAddr;

use netd_common::{
    names::TC_EGRESS,
    packet::{IPPROTO_TCP, IPPROTO_UDP},
    verdict::{Action, Rule, RuleId},
};
use netd_lab::{frames::Frame, require_root};

use crate::{
    kernel::{Kernel, Level, PASS, SHOT, directed},
    pairs, tcp,
};

const FOREVER: u64 = u64::MAX;
const DROP: Rule = Rule::new(Action::Drop, FOREVER);
const EXPIRED: Rule = Rule::new(Action::Drop, 1);

/// Lists the listed end at every level, widest first; returns the rules in that order.
fn list_at_every_level(kernel: &mut Kernel, family: usize) -> [RuleId; 4] {
    let (local, listed) = pairs()[family];
    let bits = if family == 0 { 24 } else { 48 };
    [
        kernel.list(Level::Prefix(listed.ip(), bits), DROP),
        kernel.list(Level::Host(listed.ip()), DROP),
        kernel.list(Level::Endpoint(listed, IPPROTO_TCP), DROP),
        kernel.list(Level::Flow(directed(local, listed, IPPROTO_TCP)), DROP),
    ]
}

#[test]
fn the_narrowest_verdict_counts_the_packet() {
    require_root!();
    for (family, (local, listed)) in pairs().into_iter().enumerate() {
        let mut kernel = Kernel::load();
        let rules = list_at_every_level(&mut kernel, family);

        // As each narrowest one is released the next wider takes over.
        for level in (0..rules.len()).rev() {
            let before = rules.map(|rule| kernel.hits(rule).packets);
            assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, SHOT);

            let after = rules.map(|rule| kernel.hits(rule).packets);
            let counted: Vec<usize> = (0..rules.len()).filter(|at| after[*at] != before[*at]).collect();
            assert_eq!(counted, [level]);
            kernel.set_rule(rules[level], EXPIRED);
        }
        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
    }
}

#[test]
fn a_five_tuple_verdict_cuts_that_connection_alone() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Flow(directed(local, listed, IPPROTO_TCP)), DROP);
        let mut neighbour = local;
        neighbour.set_port(40001);

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &tcp(listed, local)).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &tcp(neighbour, listed)).action, PASS);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(local, listed).build()).action, PASS);
    }
}

#[test]
fn an_endpoint_verdict_cuts_that_port_and_protocol_alone() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Endpoint(listed, IPPROTO_UDP), DROP);
        let mut neighbour = listed;
        neighbour.set_port(80);

        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(local, listed).build()).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(listed, local).build()).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(local, neighbour).build()).action, PASS);
        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
    }
}

#[test]
fn a_host_verdict_cuts_every_port_of_that_host_alone() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Host(listed.ip()), DROP);
        let mut other_port = listed;
        other_port.set_port(53);

        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(local, other_port).build()).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::protocol(local.ip(), listed.ip(), 47).build()).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::ping(local.ip(), listed.ip(), 1).build()).action, SHOT);
        assert_eq!(kernel.run(TC_EGRESS, &Frame::ping(local.ip(), neighbour(listed.ip()), 1).build()).action, PASS);
    }
}

#[test]
fn the_longest_prefix_counts_the_packet() {
    require_root!();
    for (family, (local, listed)) in pairs().into_iter().enumerate() {
        let mut kernel = Kernel::load();
        let (wide, narrow) = [(20, 28), (44, 64)][family];
        let wide = kernel.list(Level::Prefix(listed.ip(), wide), DROP);
        let narrow = kernel.list(Level::Prefix(listed.ip(), narrow), DROP);

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, SHOT);

        assert_eq!((kernel.hits(wide).packets, kernel.hits(narrow).packets), (0, 1));
    }
}

#[test]
fn a_prefix_covers_its_first_and_last_address_and_no_other() {
    require_root!();
    let (local, _) = pairs()[0];
    let mut kernel = Kernel::load();
    kernel.list(Level::Prefix([198, 51, 100, 64].into(), 26), DROP);

    let action_of = |kernel: &mut Kernel, last: u8| {
        let packet = Frame::ping(local.ip(), [198, 51, 100, last], 1).build();
        kernel.run(TC_EGRESS, &packet).action
    };

    assert_eq!([63, 64, 127, 128].map(|last| action_of(&mut kernel, last)), [PASS, SHOT, SHOT, PASS]);
}

#[test]
fn the_destination_counts_before_the_source() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        let of_source = kernel.list(Level::Host(local.ip()), DROP);
        let of_destination = kernel.list(Level::Host(listed.ip()), DROP);

        kernel.run(TC_EGRESS, &tcp(local, listed));

        assert_eq!((kernel.hits(of_source).packets, kernel.hits(of_destination).packets), (0, 1));
    }
}

#[test]
fn an_allowed_end_is_not_cut_by_what_lists_it() {
    require_root!();
    for (family, (local, listed)) in pairs().into_iter().enumerate() {
        let mut kernel = Kernel::load();
        list_at_every_level(&mut kernel, family);

        kernel.allow(listed.ip(), if family == 0 { 32 } else { 128 });

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
        assert_eq!(kernel.run(TC_EGRESS, &tcp(listed, local)).action, PASS);
    }
}

#[test]
fn an_allowed_end_does_not_protect_the_other() {
    require_root!();
    for (family, (local, listed)) in pairs().into_iter().enumerate() {
        let mut kernel = Kernel::load();
        let rule = kernel.list(Level::Host(listed.ip()), DROP);
        kernel.list(Level::Host(local.ip()), DROP);

        kernel.allow(local.ip(), if family == 0 { 8 } else { 32 });

        // The IPv6 ends share their first 32 bits.
        let expected = if family == 0 { (SHOT, 1) } else { (PASS, 0) };
        assert_eq!((kernel.run(TC_EGRESS, &tcp(local, listed)).action, kernel.hits(rule).packets), expected);
    }
}

#[test]
fn an_allowed_end_protects_its_five_tuples() {
    require_root!();
    for (family, (local, listed)) in pairs().into_iter().enumerate() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Flow(directed(local, listed, IPPROTO_TCP)), DROP);

        kernel.allow(local.ip(), if family == 0 { 32 } else { 128 });

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
    }
}

#[test]
fn an_expired_verdict_passes() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        let rule = kernel.list(Level::Host(listed.ip()), EXPIRED);

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
        assert_eq!(kernel.hits(rule).packets, 0);
    }
}

#[test]
fn an_expired_verdict_does_not_hide_a_wider_one() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        let wide = kernel.list(Level::Prefix(listed.ip(), 32), DROP);
        kernel.list(Level::Flow(directed(local, listed, IPPROTO_TCP)), EXPIRED);
        kernel.list(Level::Endpoint(listed, IPPROTO_TCP), EXPIRED);
        let host = Level::Host(listed.ip());
        kernel.list(host, EXPIRED);

        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, SHOT);
        assert_eq!(kernel.hits(wide).packets, 1);
    }
}

fn neighbour(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::from((v4.to_bits() + 1).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() + 1).to_be_bytes()),
    }
}
