//! What payload is exported: each side's first flight, and everything on the DNS port.

use netd_common::{
    account::{EXCERPTS, Excerpt},
    packet::{
        Fragment, Packet,
        tcp::{ACK, FIN, SYN},
    },
    record::{PAYLOAD_SNAP, PayloadKind},
};
use proptest::prelude::*;

use crate::bench::{Bench, icmp, tcp, udp};

const SNAP: u32 = PAYLOAD_SNAP as u32;

/// A connection whose sides' first bytes have the sequence numbers 100 and 500.
fn connection() -> Bench {
    let mut bench = Bench::new();
    bench.add(&tcp(1, 2, SYN, 99, 0));
    bench.add(&tcp(2, 1, SYN | ACK, 499, 0));
    bench
}

fn first_data(offset: u32, len: u32, seq: u32) -> Excerpt {
    Excerpt { kind: PayloadKind::FirstData, offset, len, seq }
}

fn on_port_53(packet: Packet) -> Packet {
    let mut packet = packet;
    packet.conversation.b_port = [0, 53];
    packet
}

#[test]
fn a_first_flight_ends_when_the_other_side_speaks() {
    let mut bench = connection();

    let exported = [
        bench.excerpts(&tcp(1, 2, ACK, 100, 10)),
        bench.excerpts(&tcp(1, 2, ACK, 110, 20)),
        bench.excerpts(&tcp(2, 1, ACK, 500, 30)),
        bench.excerpts(&tcp(1, 2, ACK, 130, 40)),
        bench.excerpts(&tcp(2, 1, ACK, 530, 50)),
    ];

    let one = |len, seq| vec![first_data(0, len, seq)];
    assert_eq!(exported, [one(10, 100), one(20, 110), one(30, 500), vec![], vec![]]);
}

#[test]
fn who_answers_has_a_first_flight_of_as_many_records() {
    let mut bench = connection();
    bench.add(&tcp(1, 2, ACK, 100, 10));

    let exported: Vec<usize> = (0..5).map(|at| bench.excerpts(&tcp(2, 1, ACK, 500 + 10 * at, 10)).len()).collect();

    assert_eq!(exported, [1, 1, 1, 0, 0]);
}

#[test]
fn a_super_packet_takes_several_records_that_follow_each_other() {
    for (len, expected) in [
        (SNAP, vec![first_data(0, SNAP, 100)]),
        (SNAP + 1, vec![first_data(0, SNAP, 100), first_data(SNAP, 1, 100 + SNAP)]),
        (60_000, (0..3).map(|at| first_data(at * SNAP, SNAP, 100 + at * SNAP)).collect()),
    ] {
        let mut bench = connection();

        assert_eq!(bench.excerpts(&tcp(1, 2, ACK, 100, len)), expected);
    }
}

#[test]
fn the_records_of_a_super_packet_count_for_its_flight() {
    let mut bench = connection();
    bench.add(&tcp(1, 2, ACK, 100, SNAP + 300));

    let exported =
        [bench.excerpts(&tcp(1, 2, ACK, 400 + SNAP, 5_000)), bench.excerpts(&tcp(1, 2, ACK, 5_400 + SNAP, 1))];

    assert_eq!(exported, [vec![first_data(0, SNAP, 400 + SNAP)], vec![]]);
}

#[test]
fn a_datagram_of_an_offloaded_batch_has_a_record_of_its_own() {
    let mut bench = Bench { segment: 1_200, ..Bench::new() };

    assert_eq!(
        bench.excerpts(&udp(1, 2, 2_500)),
        [(0, 1_200), (1_200, 1_200), (2_400, 100)].map(|(offset, len)| first_data(offset, len, 0))
    );

    let mut jumbo = Bench { segment: 8_000, ..Bench::new() };

    assert_eq!(jumbo.excerpts(&udp(1, 2, 16_000)).iter().map(|excerpt| excerpt.len).sum::<u32>(), 3 * SNAP);
}

#[test]
fn segments_of_tcp_are_a_stream_whatever_their_size() {
    let mut bench = Bench { segment: 536, ..connection() };

    assert_eq!(bench.excerpts(&tcp(1, 2, ACK, 100, 1_072)), [first_data(0, 1_072, 100)]);
}

#[test]
fn a_retransmission_is_not_exported_twice_and_new_bytes_behind_it_are() {
    let mut bench = connection();
    bench.add(&tcp(1, 2, ACK, 100, 10));

    let exported = [bench.excerpts(&tcp(1, 2, ACK, 100, 10)), bench.excerpts(&tcp(1, 2, ACK, 104, 20))];

    assert_eq!(exported, [vec![], vec![first_data(6, 14, 110)]]);
}

#[test]
fn a_keep_alive_probe_is_not_exported() {
    let mut bench = connection();
    bench.add(&tcp(1, 2, ACK, 100, 10));

    assert_eq!(bench.excerpts(&tcp(1, 2, ACK, 109, 1)), []);
}

#[test]
fn a_segment_that_was_overtaken_is_exported_once() {
    let mut bench = connection();

    let exported = [
        bench.excerpts(&tcp(1, 2, ACK, 110, 20)),
        bench.excerpts(&tcp(1, 2, ACK, 100, 10)),
        bench.excerpts(&tcp(1, 2, ACK, 100, 10)),
        bench.excerpts(&tcp(1, 2, ACK, 130, 5)),
    ];

    assert_eq!(
        exported,
        [vec![first_data(0, 20, 110)], vec![first_data(0, 10, 100)], vec![], vec![first_data(0, 5, 130)]]
    );
    assert_eq!(bench.set.slots[0].payload, [25, 0], "what came late is not counted");
}

#[test]
fn payload_of_a_syn_follows_its_sequence_number() {
    let mut bench = Bench::new();

    assert_eq!(bench.excerpts(&tcp(1, 2, SYN, u32::MAX, 10)), [first_data(0, 10, 0)]);
}

#[test]
fn what_a_fin_brings_is_exported() {
    let mut bench = connection();

    assert_eq!(bench.excerpts(&tcp(1, 2, FIN | ACK, 100, 10)), [first_data(0, 10, 100)]);
}

#[test]
fn datagrams_and_echoes_have_first_flights_too() {
    for packet in [udp as fn(u8, u8, u32) -> Packet, icmp] {
        let mut bench = Bench::new();

        let exported: Vec<usize> = [(1, 2), (1, 2), (2, 1), (1, 2), (2, 1)]
            .into_iter()
            .map(|(from, to)| bench.excerpts(&packet(from, to, 40)).len())
            .collect();

        assert_eq!(exported, [1, 1, 1, 0, 0]);
    }
}

#[test]
fn what_has_no_readable_payload_is_not_exported() {
    let packets = [
        Packet { flags: 3, ..icmp(1, 2, 40) },
        Packet { fragment: Fragment::Later, ..icmp(1, 2, 40) },
        Packet { fragment: Fragment::Later, ..udp(1, 2, 40) },
        Packet { fragment: Fragment::Later, ..tcp(1, 2, 0, 0, 40) },
    ];
    for packet in packets {
        assert_eq!(Bench::new().excerpts(&packet), [], "{packet:?}");
    }
    let first = Packet { fragment: Fragment::First, ..udp(1, 2, 40) };
    assert_eq!(Bench::new().excerpts(&first), [first_data(0, 40, 0)]);
}

#[test]
fn the_dns_port_is_exported_without_end() {
    let mut bench = Bench::new();
    let mut connection = Bench::new();
    for at in 0..20 {
        let seq = 100 + 30 * at;
        for (from, to) in [(1, 2), (2, 1)] {
            let stream = on_port_53(tcp(from, to, ACK, seq, 30));

            let exported = [
                bench.excerpts(&on_port_53(udp(from, to, 30))),
                connection.excerpts(&stream),
                connection.excerpts(&stream),
            ];

            let dns = |seq| vec![Excerpt { kind: PayloadKind::Dns, offset: 0, len: 30, seq }];
            assert_eq!(exported, [dns(0), dns(seq), vec![]]);
        }
    }
    assert_eq!(connection.excerpts(&on_port_53(tcp(1, 2, ACK, 700, 60_000))).len(), usize::from(EXCERPTS));
}

#[test]
fn a_record_that_found_no_room_is_not_tried_again() {
    let mut bench = connection();
    bench.keeps = false;
    bench.add(&tcp(1, 2, ACK, 100, 60_000));
    bench.keeps = true;

    assert_eq!(bench.excerpts(&tcp(1, 2, ACK, 60_100, 10)), []);
}

/// A packet of one conversation: whose, and where in its stream, or how long where there is none.
fn packets() -> impl Strategy<Value = Vec<(bool, u32, u32)>> {
    prop::collection::vec((any::<bool>(), 0..6_000_u32, 1..5_000_u32), 0..40)
}

proptest! {
    #[test]
    fn no_side_exports_more_than_its_flight_and_nothing_that_was_not_sent(
        packets in packets(),
        is_tcp in any::<bool>(),
        start in any::<u32>(),
    ) {
        let mut bench = Bench::new();
        let mut exported = [0; 2];
        for (is_answer, at, len) in packets {
            let (from, to) = if is_answer { (2, 1) } else { (1, 2) };
            let packet = if is_tcp { tcp(from, to, ACK, start.wrapping_add(at), len) } else { udp(from, to, len) };
            for excerpt in bench.excerpts(&packet) {
                exported[usize::from(is_answer)] += 1;
                prop_assert!((1..=SNAP).contains(&excerpt.len));
                prop_assert!(excerpt.offset + excerpt.len <= len);
                let seq = if is_tcp { packet.seq.wrapping_add(excerpt.offset) } else { 0 };
                prop_assert_eq!(excerpt.seq, seq);
            }
        }
        prop_assert!(exported.iter().all(|records| *records <= u32::from(EXCERPTS)));
    }

    #[test]
    fn a_flight_in_order_is_exported_without_a_gap(lens in prop::collection::vec(1..3_000_u32, 1..8), start in any::<u32>()) {
        let mut bench = Bench::new();
        let (mut sent, mut next) = (0_u32, 0_u32);
        for len in &lens {
            for excerpt in bench.excerpts(&tcp(1, 2, ACK, start.wrapping_add(sent), *len)) {
                prop_assert_eq!(excerpt.seq, start.wrapping_add(next));
                next += excerpt.len;
            }
            sent += len;
        }
        let bound = if lens.len() < 2 { SNAP } else { 1 };
        prop_assert!(next >= sent.min(bound * u32::from(EXCERPTS)));
        let first = lens[0].min(SNAP * u32::from(EXCERPTS));
        prop_assert!(next >= first);
    }
}
