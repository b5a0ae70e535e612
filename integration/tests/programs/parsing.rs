//! What cannot be parsed is counted by its reason and passes; what is odd and can be parsed is judged.

use netd_common::{
    counter::Counter,
    names::{TC_EGRESS, TC_INGRESS},
    packet::MAX_EXTENSIONS,
    verdict::{Action, Rule},
};
use netd_lab::{
    frames::{Extension, Frame, flags},
    require_root,
};

use crate::{
    kernel::{Kernel, Level, PASS, SHOT, XDP_DROP, XDP_PASS},
    pair, pairs, tcp,
};

const REASONS: [Counter; 7] = [
    Counter::UnparsedNotIp,
    Counter::UnparsedTruncatedLink,
    Counter::UnparsedTruncatedNetwork,
    Counter::UnparsedTruncatedTransport,
    Counter::UnparsedBadHeader,
    Counter::UnparsedTooManyExtensions,
    Counter::UnparsedTooManyTags,
];

/// Drops the listed hosts of both families.
fn dropping() -> Kernel {
    let mut kernel = Kernel::load();
    for (_, listed) in pairs() {
        kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, u64::MAX));
    }
    kernel
}

/// Runs frames through both hooks; every one must pass, XDP too, and be counted under `reason` and no other.
fn pass_counted_as(reason: Counter, frames: &[Frame]) {
    let mut kernel = dropping();
    for frame in frames {
        let packet = frame.build();
        let before = REASONS.map(|reason| kernel.count(reason));

        let actions = [TC_INGRESS, TC_EGRESS].map(|program| kernel.run(program, &packet).action);

        assert_eq!((actions, kernel.run_xdp(&packet)), ([PASS; 2], XDP_PASS), "{frame:?}");
        let counted: Vec<u64> = REASONS.iter().zip(before).map(|(reason, n)| kernel.count(*reason) - n).collect();
        let expected: Vec<u64> = REASONS.iter().map(|other| if *other == reason { 2 } else { 0 }).collect();
        assert_eq!(counted, expected, "{frame:?}");
    }
    assert_eq!(kernel.count(Counter::IngressPackets), frames.len() as u64);
    assert_eq!(kernel.count(Counter::AccountedPackets), 0);
}

/// Runs frames through all hooks; every one must be dropped.
fn are_judged(frames: &[Frame]) {
    let mut kernel = dropping();
    for frame in frames {
        let packet = frame.build();

        let actions = [TC_INGRESS, TC_EGRESS].map(|program| kernel.run(program, &packet).action);

        assert_eq!((actions, kernel.run_xdp(&packet)), ([SHOT; 2], XDP_DROP), "{frame:?}");
    }
    assert_eq!(REASONS.map(|reason| kernel.count(reason)), [0; 7]);
}

fn frames() -> [Frame; 2] {
    pairs().map(|(local, listed)| Frame::tcp(local, listed).payload(b"payload"))
}

#[test]
fn what_is_not_ip_is_counted() {
    require_root!();
    let kinds = [0x0806, 0x88cc, 0x8847, 0x0000, 0x05dc];
    pass_counted_as(Counter::UnparsedNotIp, &kinds.map(|kind| frames()[0].clone().claim_ether_type(kind)));
}

#[test]
fn a_frame_that_ends_in_its_tags_is_counted() {
    require_root!();
    pass_counted_as(Counter::UnparsedTruncatedLink, &[frames()[0].clone().vlan(5).truncate(17)]);
}

#[test]
fn a_frame_that_ends_in_its_network_header_is_counted() {
    require_root!();
    let [v4, v6] = frames();
    let frames = [
        v4.clone().vlan(5).truncate(18),
        v4.vlan(5).truncate(37),
        v6.clone().vlan(5).truncate(57),
        v6.extension(Extension::HopByHop).truncate(61),
    ];
    pass_counted_as(Counter::UnparsedTruncatedNetwork, &frames);
}

#[test]
fn a_frame_that_ends_in_its_transport_header_is_counted() {
    require_root!();
    let (local, listed) = pair();
    let [v4, v6] = frames();
    let frames = [
        v4.truncate(53),
        v6.truncate(73),
        Frame::udp(local, listed).truncate(41),
        Frame::ping(local.ip(), listed.ip(), 1).truncate(41),
    ];
    pass_counted_as(Counter::UnparsedTruncatedTransport, &frames);
}

#[test]
fn a_header_that_contradicts_itself_is_counted() {
    require_root!();
    let [v4, v6] = frames();
    let frames = [
        v4.clone().claim_version(6),
        v4.clone().claim_version(5),
        v6.clone().claim_version(4),
        v4.clone().claim_header_words(4),
        v4.clone().claim_header_words(0),
        v4.clone().claim_ip_length(19),
        v4.clone().claim_tcp_words(4),
        v4.claim_tcp_words(15),
        v6.extension(Extension::DestinationOptions(30)).claim_ip_length(16),
    ];
    pass_counted_as(Counter::UnparsedBadHeader, &frames);
}

#[test]
fn more_extension_headers_than_are_walked_are_counted() {
    require_root!();
    let [_, v6] = frames();
    let frame = (0..=MAX_EXTENSIONS).fold(v6, |frame, _| frame.extension(Extension::DestinationOptions(6)));
    pass_counted_as(Counter::UnparsedTooManyExtensions, &[frame]);
}

#[test]
fn a_third_tag_is_counted() {
    require_root!();
    let [v4, v6] = frames();
    let frames = [v4, v6].map(|frame| frame.service_vlan(1).vlan(2).vlan(3));
    pass_counted_as(Counter::UnparsedTooManyTags, &frames);
}

#[test]
fn tags_do_not_hide_a_packet() {
    require_root!();
    for frame in frames() {
        are_judged(&[
            frame.clone().vlan(5),
            // A priority tag.
            frame.clone().vlan(0),
            frame.clone().service_vlan(5).vlan(6),
            frame.clone().vlan(5).vlan(6),
            frame.tag(0x9100, 5).vlan(6),
        ]);
    }
}

#[test]
fn ipv4_options_do_not_hide_a_packet() {
    require_root!();
    let lengths = [4, 12, 20, 40];
    are_judged(&lengths.map(|length| frames()[0].clone().ipv4_options(&vec![1; length])));
}

#[test]
fn a_chain_of_extension_headers_does_not_hide_a_packet() {
    require_root!();
    let [_, v6] = frames();
    let kinds = [
        Extension::HopByHop,
        Extension::DestinationOptions(6),
        Extension::Routing,
        Extension::AtomicFragment,
        Extension::Authentication,
        Extension::Mobility,
        Extension::DestinationOptions(120),
        Extension::Other { number: 139, body: vec![0; 30] },
    ];
    let mut chains = vec![v6];
    for kind in kinds {
        let longer = chains[chains.len() - 1].clone().extension(kind);
        chains.push(longer);
    }
    assert_eq!(chains.len(), MAX_EXTENSIONS + 1);
    are_judged(&chains);
}

#[test]
fn a_protocol_without_ports_is_judged_by_its_addresses() {
    require_root!();
    // ESP, GRE, no next header, SCTP, one that nobody has assigned.
    for (local, listed) in pairs() {
        are_judged(&[50, 47, 59, 132, 253].map(|proto| Frame::protocol(local.ip(), listed.ip(), proto).payload(&[7])));
    }
}

#[test]
fn a_length_that_claims_more_than_there_is_does_not_hide_a_packet() {
    require_root!();
    let [v4, v6] = frames();
    are_judged(&[
        v4.clone().claim_ip_length(65_535),
        v6.clone().claim_ip_length(65_535),
        // Zero: as offload leaves it.
        v4.claim_ip_length(0),
        v6.claim_ip_length(0),
    ]);
}

#[test]
fn a_packet_cut_anywhere_is_seen_and_either_parsed_or_counted() {
    require_root!();
    let [v4, v6] = frames();
    let v6 = v6.extension(Extension::HopByHop).extension(Extension::Authentication).vlan(7);
    // A test run refuses an untagged packet that ends in its IP header.
    for frame in [v4.vlan(7).payload(&[1; 100]), v6.payload(&[1; 40])] {
        let mut kernel = Kernel::load();
        for length in 14..=120 {
            let program = if length % 2 == 0 { TC_INGRESS } else { TC_EGRESS };
            let packet = frame.clone().truncate(length).build();

            assert_eq!(kernel.run(program, &packet).action, PASS);
        }

        let seen = kernel.count(Counter::IngressPackets) + kernel.count(Counter::EgressPackets);
        let unparsed: u64 = REASONS.map(|reason| kernel.count(reason)).iter().sum();
        assert_eq!(seen, 107);
        assert_eq!(kernel.count(Counter::AccountedPackets) + unparsed, seen);
    }
}

#[test]
fn a_syn_with_data_is_parsed() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::tcp(local, listed).flags(flags::SYN).payload(&[1; 10]).build());

    let slot = kernel.slot(&crate::tcp_conversation(local, listed)).unwrap().0;
    assert_eq!(slot.payload.iter().sum::<u64>(), 10);
}

#[test]
fn an_ipv4_mapped_ipv6_packet_meets_the_verdict_of_the_ipv4_address() {
    require_root!();
    let mut kernel = dropping();
    let (local, listed) = ("[::ffff:10.0.0.7]:40000".parse().unwrap(), "[::ffff:198.51.100.9]:443".parse().unwrap());

    assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, SHOT);
}
