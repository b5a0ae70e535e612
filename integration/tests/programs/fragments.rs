//! Fragments: addresses are judged in every one, ports are read from none but the first.

use netd_common::{
    counter::Counter,
    key::ConversationKey,
    names::TC_INGRESS,
    packet::{IPPROTO_TCP, IPPROTO_UDP},
    verdict::{Action, Rule},
};
use netd_lab::{frames::Frame, require_root};

use crate::{
    kernel::{Kernel, Level, PASS, SHOT, XDP_DROP, XDP_PASS, directed},
    pairs,
};

const DROP: Rule = Rule::new(Action::Drop, u64::MAX);

/// A payload that reads as the ports of the listed connection, were it taken for a transport header.
fn like_a_header(ports: [u16; 2]) -> Vec<u8> {
    let mut payload = ports.map(u16::to_be_bytes).concat();
    payload.resize(40, 0);
    payload
}

#[test]
fn a_later_fragment_meets_the_address_verdict() {
    require_root!();
    for (local, listed) in pairs() {
        for level in [Level::Host(listed.ip()), Level::Prefix(listed.ip(), 32)] {
            let mut kernel = Kernel::load();
            kernel.list(level, DROP);

            for more in [true, false] {
                let later = Frame::udp(local, listed).payload(&[0; 64]).fragment(1480, more, 5).build();
                assert_eq!(kernel.run(TC_INGRESS, &later).action, SHOT);
                assert_eq!(kernel.run_xdp(&later), XDP_DROP);
            }
        }
    }
}

#[test]
fn a_later_fragment_never_meets_a_port_verdict() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        for proto in [IPPROTO_TCP, IPPROTO_UDP] {
            kernel.list(Level::Endpoint(listed, proto), DROP);
            kernel.list(Level::Flow(directed(local, listed, proto)), DROP);
        }
        let payload = like_a_header([local.port(), listed.port()]);

        for whole in [Frame::tcp(local, listed), Frame::udp(local, listed)] {
            let later = whole.payload(&payload).fragment(8, false, 5).build();
            assert_eq!(kernel.run(TC_INGRESS, &later).action, PASS);
            assert_eq!(kernel.run_xdp(&later), XDP_PASS);
        }
    }
}

#[test]
fn a_first_fragment_meets_the_port_verdict() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Endpoint(listed, IPPROTO_UDP), DROP);

        let first = Frame::udp(local, listed).payload(&[0; 64]).fragment(0, true, 5).build();

        assert_eq!(kernel.run(TC_INGRESS, &first).action, SHOT);
        assert_eq!(kernel.run_xdp(&first), XDP_DROP);
    }
}

#[test]
fn a_first_fragment_too_short_for_its_ports_meets_the_address_verdict() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        kernel.list(Level::Host(listed.ip()), DROP);
        let whole = Frame::tcp(local, listed).fragment(0, true, 5).build();

        // Eight bytes of the transport header, as the smallest fragment holds.
        let tiny = &whole[..whole.len() - 12];

        assert_eq!(kernel.run(TC_INGRESS, tiny).action, SHOT);
        assert_eq!(kernel.count(Counter::UnparsedTruncatedTransport), 0);
    }
}

#[test]
fn later_fragments_are_a_conversation_without_ports() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = Kernel::load();
        let payload = like_a_header([local.port(), listed.port()]);

        kernel.run(TC_INGRESS, &Frame::udp(local, listed).payload(&payload).fragment(16, true, 5).build());

        let key = crate::udp_conversation(local, listed);
        let without_ports = ConversationKey { a_port: [0; 2], b_port: [0; 2], ..key };
        assert!(kernel.slot(&key).is_none());
        assert_eq!(kernel.slot(&without_ports).unwrap().0.packets.iter().sum::<u32>(), 1);
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    require_root!();
    let [_, (local, listed)] = pairs();
    let mut kernel = Kernel::load();
    kernel.list(Level::Endpoint(listed, IPPROTO_TCP), DROP);

    let atomic = Frame::tcp(local, listed).fragment(0, false, 5).build();

    assert_eq!(kernel.run(TC_INGRESS, &atomic).action, SHOT);
}
