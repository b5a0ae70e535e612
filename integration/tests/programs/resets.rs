//! The answer that a reset verdict makes of a packet.

use std::net::SocketAddr;

use etherparse::{Ethernet2Header, NetHeaders, PacketHeaders, TcpHeader};
use netd_common::{
    counter::Counter,
    names::{TC_EGRESS, TC_INGRESS},
    verdict::{Action, Rule},
};
use netd_lab::{
    frames::{Frame, flags},
    require_root,
};

use crate::{
    kernel::{Kernel, Level, Outcome, PASS, REDIRECT, SHOT, SkBuff},
    pair, pairs,
};

/// An answer, read back with its checksums verified.
struct Answer {
    link: Ethernet2Header,
    from: SocketAddr,
    to: SocketAddr,
    tcp: TcpHeader,
}

fn resetting(listed: SocketAddr) -> Kernel {
    let mut kernel = Kernel::load();
    kernel.list(Level::Host(listed.ip()), Rule::new(Action::Reset, u64::MAX));
    kernel
}

fn read(outcome: &Outcome) -> Answer {
    assert_eq!(outcome.action, REDIRECT);
    let headers = PacketHeaders::from_ethernet_slice(&outcome.frame).unwrap();
    assert!(headers.payload.slice().is_empty());
    let tcp = headers.transport.unwrap().tcp().unwrap();
    let (from, to, checksum) = match headers.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!((usize::from(ip.total_len), ip.time_to_live), (40, 64));
            let checksum = tcp.calc_checksum_ipv4(&ip, &[]).unwrap();
            ((ip.source, tcp.source_port).into(), (ip.destination, tcp.destination_port).into(), checksum)
        }
        NetHeaders::Ipv6(ip, _) => {
            assert_eq!((ip.payload_length, ip.hop_limit), (20, 64));
            let checksum = tcp.calc_checksum_ipv6(&ip, &[]).unwrap();
            ((ip.source, tcp.source_port).into(), (ip.destination, tcp.destination_port).into(), checksum)
        }
        NetHeaders::Arp(_) => panic!("an answer is IP"),
    };
    assert_eq!(tcp.checksum, checksum);
    assert_eq!(tcp.data_offset(), 5);
    Answer { link: headers.link.unwrap().ethernet2().unwrap(), from, to, tcp }
}

#[test]
fn a_syn_is_answered_by_a_reset_that_acknowledges_it() {
    require_root!();
    for (local, listed) in pairs() {
        for program in [TC_INGRESS, TC_EGRESS] {
            let mut kernel = resetting(listed);
            let syn = Frame::tcp(local, listed).flags(flags::SYN).sequence(1000).build();

            let answer = read(&kernel.run(program, &syn));

            assert_eq!((answer.from, answer.to), (listed, local));
            assert!(answer.tcp.rst && answer.tcp.ack && !answer.tcp.syn);
            assert_eq!((answer.tcp.sequence_number, answer.tcp.acknowledgment_number), (0, 1001));
        }
    }
}

#[test]
fn an_established_segment_is_answered_with_the_number_its_sender_expects() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = resetting(listed);
        let segment = Frame::tcp(local, listed)
            .flags(flags::ACK | flags::PSH)
            .sequence(5000)
            .acknowledgement(0xffff_fff0)
            .payload(&[0x5a; 700])
            .build();

        let answer = read(&kernel.run(TC_EGRESS, &segment));

        assert_eq!((answer.from, answer.to), (listed, local));
        assert!(answer.tcp.rst && !answer.tcp.ack);
        assert_eq!((answer.tcp.sequence_number, answer.tcp.acknowledgment_number), (0xffff_fff0, 0));
    }
}

#[test]
fn a_segment_without_acknowledgement_is_answered_by_what_it_held() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = resetting(listed);
        let segment = Frame::tcp(local, listed).flags(flags::FIN).sequence(u32::MAX).payload(&[1; 9]).build();

        let answer = read(&kernel.run(TC_EGRESS, &segment));

        // Nine bytes and the FIN.
        assert!(answer.tcp.rst && answer.tcp.ack);
        assert_eq!((answer.tcp.sequence_number, answer.tcp.acknowledgment_number), (0, 9));
    }
}

#[test]
fn an_odd_payload_and_options_leave_the_checksum_right() {
    require_root!();
    for (mut local, listed) in pairs() {
        let mut kernel = resetting(listed);
        for payload in 0..40 {
            local.set_port(50_000 + payload as u16);
            // With 13 words of header, 32 bytes of what follows are options.
            let words = if payload >= 32 { 13 } else { 5 };
            let segment = Frame::tcp(local, listed)
                .payload(&vec![0xff; payload])
                .claim_tcp_words(words)
                .sequence(payload as u32 * 0x0101_0101)
                .acknowledgement(!0)
                .build();

            read(&kernel.run(TC_EGRESS, &segment));
        }
    }
}

#[test]
fn the_frame_goes_back_to_whoever_sent_it() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = resetting(listed);
    let (one, other) = ([2, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]);
    let syn = Frame::tcp(local, listed).flags(flags::SYN).macs(one, other).build();

    let answer = read(&kernel.run(TC_INGRESS, &syn));

    assert_eq!((answer.link.source, answer.link.destination), (other, one));
}

#[test]
fn a_sent_reset_is_counted_and_marked() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = resetting(listed);

    let outcome = kernel.run(TC_EGRESS, &crate::tcp(local, listed));

    assert_eq!((kernel.count(Counter::ResetsSent), kernel.count(Counter::TcDropped)), (1, 1));
    assert_ne!(outcome.context.mark, 0);
}

#[test]
fn our_own_reset_passes_the_hook_it_meets_next_unaccounted() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = resetting(listed);
    let outcome = kernel.run(TC_EGRESS, &crate::tcp(local, listed));
    let accounted = kernel.count(Counter::AccountedPackets);

    let next = SkBuff { mark: outcome.context.mark, ..SkBuff::default() };
    let action = kernel.run_with(TC_INGRESS, &outcome.frame, &next).action;

    assert_eq!((action, kernel.count(Counter::AccountedPackets)), (PASS, accounted));
}

#[test]
fn the_mark_alone_lets_nothing_through() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = resetting(listed);
    let mark = kernel.run(TC_EGRESS, &crate::tcp(local, listed)).context.mark;

    let forged = SkBuff { mark, ..SkBuff::default() };
    let action = kernel.run_with(TC_EGRESS, &crate::tcp(local, listed), &forged).action;

    assert_eq!(action, REDIRECT);
}

#[test]
fn a_reset_is_not_answered_by_another() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = resetting(listed);
        let reset = Frame::tcp(local, listed).flags(flags::RST).build();

        assert_eq!(kernel.run(TC_EGRESS, &reset).action, SHOT);
        assert_eq!((kernel.count(Counter::ResetsSent), kernel.count(Counter::ResetsFailed)), (0, 0));
    }
}

#[test]
fn what_is_not_tcp_is_dropped_without_an_answer() {
    require_root!();
    for (local, listed) in pairs() {
        let mut kernel = resetting(listed);

        assert_eq!(kernel.run(TC_EGRESS, &Frame::udp(local, listed).build()).action, SHOT);
        assert_eq!(kernel.count(Counter::ResetsSent), 0);
    }
}

#[test]
fn a_packet_too_odd_to_turn_round_is_dropped_and_counted() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = resetting(listed);
    let with_options = Frame::tcp(local, listed).ipv4_options(&[1; 4]).build();
    let tagged = Frame::tcp(local, listed).vlan(7).build();

    assert_eq!(kernel.run(TC_EGRESS, &with_options).action, SHOT);
    assert_eq!(kernel.run(TC_EGRESS, &tagged).action, SHOT);
    assert_eq!((kernel.count(Counter::ResetsFailed), kernel.count(Counter::ResetsSent)), (2, 0));
}
