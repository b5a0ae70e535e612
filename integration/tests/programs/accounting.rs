//! What the table and the counters hold of packets.

use netd_common::{
    counter::Counter,
    key::Direction,
    names::{TC_EGRESS, TC_INGRESS},
    packet::tcp as bits,
    record::state,
};
use netd_lab::{
    frames::{Frame, flags},
    require_root,
};

use crate::{
    kernel::{Kernel, SkBuff},
    pair, pairs, tcp_conversation,
};

#[test]
fn both_directions_are_counted_each_by_itself() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();
        let request = Frame::tcp(local, other).payload(&[1; 100]).build();
        let answer = Frame::tcp(other, local).payload(&[2; 700]).build();

        kernel.run(TC_EGRESS, &request);
        kernel.run(TC_INGRESS, &answer);
        kernel.run(TC_INGRESS, &Frame::tcp(other, local).sequence(701).build());

        let slot = kernel.slot(&tcp_conversation(local, other)).unwrap().0;
        let sent = crate::kernel::directed(local, other, 6).conversation().1 as usize;
        let pure = answer.len() as u64 - 700;
        assert_eq!((slot.packets[sent], slot.packets[1 - sent]), (1, 2));
        assert_eq!((slot.bytes[sent], slot.bytes[1 - sent]), (request.len() as u64, answer.len() as u64 + pure));
        assert_eq!((slot.payload[sent], slot.payload[1 - sent]), (100, 700));
    }
}

#[test]
fn padding_of_the_link_is_bytes_and_no_payload() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::tcp(local, other).payload(&[1]).trailer(5).build());

    let slot = kernel.slot(&tcp_conversation(local, other)).unwrap().0;
    assert_eq!((slot.bytes.iter().sum::<u64>(), slot.payload.iter().sum::<u64>()), (60, 1));
}

#[test]
fn a_super_packet_counts_as_its_segments_on_the_wire() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    let payload = 2_500_u64;
    let packet = Frame::tcp(local, other).payload(&vec![1; payload as usize]).build();
    let offload = SkBuff { gso_segs: 3, gso_size: 1000, ..SkBuff::default() };

    kernel.run_with(TC_EGRESS, &packet, &offload);

    let slot = kernel.slot(&tcp_conversation(local, other)).unwrap().0;
    // Three segments, each with Ethernet, IPv4 and TCP headers.
    let on_the_wire = 3 * 54 + payload;
    assert_eq!((slot.packets.iter().sum::<u32>(), slot.bytes.iter().sum::<u64>()), (3, on_the_wire));
    assert_eq!(slot.payload.iter().sum::<u64>(), payload);
    assert_eq!((kernel.count(Counter::EgressPackets), kernel.count(Counter::EgressBytes)), (3, on_the_wire));
    assert_eq!(kernel.count(Counter::AccountedPackets), 3);
}

#[test]
fn every_hook_counts_what_it_sees_by_itself() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();
    let packet = Frame::udp(local, other).payload(&[0; 58]).build();

    for _ in 0..2 {
        kernel.run(TC_EGRESS, &packet);
    }
    for _ in 0..3 {
        kernel.run(TC_INGRESS, &packet);
    }

    assert_eq!((kernel.count(Counter::EgressPackets), kernel.count(Counter::EgressBytes)), (2, 200));
    assert_eq!((kernel.count(Counter::IngressPackets), kernel.count(Counter::IngressBytes)), (3, 300));
}

#[test]
fn a_vlan_tag_is_remembered_by_its_outermost_number() {
    require_root!();
    let (local, other) = pair();
    let frame = Frame::tcp(local, other);
    for (packet, expected) in
        [(frame.clone(), 0), (frame.clone().vlan(77), 77), (frame.service_vlan(4094).vlan(77), 4094)]
    {
        let mut kernel = Kernel::load();

        kernel.run(TC_INGRESS, &packet.build());

        assert_eq!(kernel.slot(&tcp_conversation(local, other)).unwrap().0.vlan, expected);
    }
}

#[test]
fn the_interface_of_the_first_packet_is_remembered() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    // A test run without an interface of its own is on the loopback.
    kernel.run(TC_INGRESS, &crate::tcp(local, other));

    assert_eq!(kernel.slot(&tcp_conversation(local, other)).unwrap().0.ifindex, 1);
}

#[test]
fn flags_of_each_side_add_up() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::SYN).build());
    kernel.run(TC_INGRESS, &Frame::tcp(other, local).flags(flags::SYN | flags::ACK).build());
    kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::ACK | flags::PSH).sequence(2).build());

    let slot = kernel.slot(&tcp_conversation(local, other)).unwrap().0;
    let sent = crate::kernel::directed(local, other, 6).conversation().1 as usize;
    assert_eq!(slot.flags[sent], bits::SYN | bits::ACK | bits::PSH);
    assert_eq!(slot.flags[1 - sent], bits::SYN | bits::ACK);
}

#[test]
fn the_sender_of_a_syn_is_the_certain_originator() {
    require_root!();
    for (local, other) in pairs() {
        let is_b = crate::kernel::directed(local, other, 6).conversation().1 == Direction::BToA;
        let cases = [
            (Frame::tcp(local, other).flags(flags::SYN), true),
            (Frame::tcp(other, local).flags(flags::SYN | flags::ACK), true),
            (Frame::tcp(local, other).flags(flags::ACK), false),
        ];
        for (first, is_certain) in cases {
            let mut kernel = Kernel::load();

            kernel.run(TC_INGRESS, &first.build());

            let slot = kernel.slot(&tcp_conversation(local, other)).unwrap().0;
            assert_eq!(slot.state & state::ORIGINATOR_IS_B != 0, is_b);
            assert_eq!(slot.state & state::ORIGINATOR_CERTAIN != 0, is_certain);
        }
    }
}

#[test]
fn a_packet_that_this_host_sends_names_its_socket() {
    require_root!();
    let (local, other) = pair();
    let key = tcp_conversation(local, other);
    let cookie_after = |program, context: &SkBuff| {
        let mut kernel = Kernel::load();
        // A test run's packet belongs to a socket of its own.
        kernel.run_with(program, &crate::tcp(local, other), context);
        kernel.slot(&key).unwrap().0.cookie
    };

    let sent = cookie_after(TC_EGRESS, &SkBuff::default());
    let received = cookie_after(TC_INGRESS, &SkBuff::default());
    let forwarded = cookie_after(TC_EGRESS, &SkBuff { ingress_ifindex: 1, ..SkBuff::default() });

    assert_ne!(sent, 0);
    assert_eq!((received, forwarded), (0, 0));
}

#[test]
fn an_echo_and_its_reply_are_one_conversation() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();
        let (local, other) = (local.ip(), other.ip());
        let reply = if local.is_ipv4() { 0 } else { 129 };

        kernel.run(TC_EGRESS, &Frame::ping(local, other, 3).build());
        kernel.run(TC_INGRESS, &Frame::icmp(other, local, reply, 0, [0x4e, 0x44, 0, 3]).build());

        let slots = kernel.slots();
        assert_eq!(slots.len(), 1);
        assert_eq!(slots[0].packets, [1, 1]);
    }
}
