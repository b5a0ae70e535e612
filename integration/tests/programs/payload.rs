//! Payload out of the ring buffer: first flights, the DNS port, and what is left out when the buffer fills up.

use netd_common::{
    account::EXCERPTS,
    counter::Counter,
    names::{TC_EGRESS, TC_INGRESS},
    record::{PAYLOAD_SNAP, PayloadKind},
};
use netd_lab::{
    frames::{Frame, flags},
    require_root,
};

use crate::{
    kernel::{Kernel, Record, Sizes, SkBuff},
    pair, pairs, socket,
};

/// A payload record as a test compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    kind: u8,
    data: Vec<u8>,
    wire_len: u32,
    seq: u32,
    offset: u32,
}

fn pieces(records: &[Record]) -> Vec<Piece> {
    let piece = |record: &Record| {
        let (head, data) = record.payload()?;
        assert_eq!(usize::from(head.captured), data.len());
        let (wire_len, seq, offset) = (head.wire_len, head.seq, head.offset);
        Some(Piece { kind: head.kind, data: data.to_vec(), wire_len, seq, offset })
    };
    records.iter().filter_map(piece).collect()
}

/// A packet's only record.
fn whole(kind: PayloadKind, data: &[u8], seq: u32) -> Piece {
    Piece { kind: kind as u8, data: data.to_vec(), wire_len: data.len() as u32, seq, offset: 0 }
}

/// The records of a packet's payload that end every `step` bytes.
fn cut(data: &[u8], step: usize, seq: Option<u32>) -> Vec<Piece> {
    let kind = PayloadKind::FirstData as u8;
    let piece = |(at, data): (usize, &[u8])| {
        let offset = (at * step) as u32;
        Piece { kind, data: data.to_vec(), wire_len: 0, seq: seq.map_or(0, |seq| seq + offset), offset }
    };
    let pieces = data.chunks(step).take(usize::from(EXCERPTS)).enumerate().map(piece);
    pieces.map(|piece| Piece { wire_len: data.len() as u32, ..piece }).collect()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn the_first_flight_of_each_side_is_exported() {
    require_root!();
    for (local, other) in pairs() {
        let mut kernel = Kernel::load();
        let from_here = |sequence, data: &[u8]| Frame::tcp(local, other).sequence(sequence).payload(data).build();
        let from_there = |sequence, data: &[u8]| Frame::tcp(other, local).sequence(sequence).payload(data).build();

        kernel.run(TC_EGRESS, &Frame::tcp(local, other).flags(flags::SYN).sequence(99).build());
        kernel.run(TC_EGRESS, &from_here(100, b"client hello"));
        kernel.run(TC_EGRESS, &from_here(112, b"its rest"));
        kernel.run(TC_EGRESS, &from_here(112, b"its rest"));
        kernel.run(TC_INGRESS, &from_there(500, b"server hello"));
        kernel.run(TC_EGRESS, &from_here(120, b"a request"));
        kernel.run(TC_INGRESS, &from_there(512, b"an answer"));

        let kind = PayloadKind::FirstData;
        let expected =
            [whole(kind, b"client hello", 100), whole(kind, b"its rest", 112), whole(kind, b"server hello", 500)];
        assert_eq!(pieces(&kernel.drain()), expected);
    }
}

#[test]
fn a_long_packet_takes_several_records() {
    require_root!();
    let (local, other) = pair();
    let long = bytes(3_400);
    for length in [1, 8, 9, PAYLOAD_SNAP - 1, PAYLOAD_SNAP, PAYLOAD_SNAP + 1, 2 * PAYLOAD_SNAP, 3_400] {
        let mut kernel = Kernel::load();

        kernel.run(TC_EGRESS, &Frame::tcp(local, other).sequence(7).payload(&long[..length]).build());

        assert_eq!(pieces(&kernel.drain()), cut(&long[..length], PAYLOAD_SNAP, Some(7)), "{length} bytes");
    }
}

#[test]
fn each_datagram_of_an_offloaded_batch_takes_a_record() {
    require_root!();
    let (local, other) = pair();
    for (length, size) in [(2_500, 1_200), (3_400, 700), (3_000, 1_472)] {
        let mut kernel = Kernel::load();
        let batch = bytes(length);
        let offload = SkBuff { gso_segs: length.div_ceil(size) as u32, gso_size: size as u32, ..SkBuff::default() };

        kernel.run_with(TC_EGRESS, &Frame::udp(local, other).payload(&batch).build(), &offload);

        assert_eq!(pieces(&kernel.drain()), cut(&batch, size, None), "{length} bytes, {size} in each datagram");
    }
}

#[test]
fn datagrams_and_echoes_have_first_flights_too() {
    require_root!();
    for (local, other) in pairs() {
        let kinds = if local.is_ipv4() { [8, 0] } else { [128, 129] };
        let echo = |kind: usize| {
            let (from, to) = if kind == 0 { (local, other) } else { (other, local) };
            Frame::icmp(from.ip(), to.ip(), kinds[kind], 0, [0, 7, 0, 1])
        };
        for [ask, answer] in [[Frame::udp(local, other), Frame::udp(other, local)], [echo(0), echo(1)]] {
            let mut kernel = Kernel::load();

            kernel.run(TC_EGRESS, &ask.clone().payload(b"question").build());
            kernel.run(TC_INGRESS, &answer.payload(b"answer").build());
            kernel.run(TC_EGRESS, &ask.payload(b"another").build());

            let kind = PayloadKind::FirstData;
            assert_eq!(pieces(&kernel.drain()), [whole(kind, b"question", 0), whole(kind, b"answer", 0)]);
        }
    }
}

#[test]
fn every_dns_message_is_exported() {
    require_root!();
    let (local, server) = (socket("10.0.0.7:5353"), socket("192.0.2.53:53"));
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::udp(local, server).payload(b"question").build());
    kernel.run(TC_INGRESS, &Frame::udp(server, local).payload(b"answer").build());
    kernel.run(TC_EGRESS, &Frame::udp(local, server).payload(b"another").build());

    let kind = PayloadKind::Dns;
    assert_eq!(
        pieces(&kernel.drain()),
        [whole(kind, b"question", 0), whole(kind, b"answer", 0), whole(kind, b"another", 0)]
    );
}

#[test]
fn every_piece_of_a_dns_connection_is_exported_once() {
    require_root!();
    let (local, server) = (socket("10.0.0.7:5353"), socket("192.0.2.53:53"));
    let mut kernel = Kernel::load();
    let mut expected = Vec::new();
    for at in 0..8 {
        let sequence = 100 + 10 * at;
        for (program, from, to) in [(TC_EGRESS, local, server), (TC_INGRESS, server, local)] {
            let piece = Frame::tcp(from, to).sequence(sequence).payload(b"ten bytes!").build();
            kernel.run(program, &piece);
            kernel.run(program, &piece);
            expected.push(whole(PayloadKind::Dns, b"ten bytes!", sequence));
        }
    }

    assert_eq!(pieces(&kernel.drain()), expected);
}

#[test]
fn padding_of_the_link_is_not_exported() {
    require_root!();
    let (local, other) = pair();
    let mut kernel = Kernel::load();

    kernel.run(TC_EGRESS, &Frame::tcp(local, other).payload(b"x").trailer(5).build());

    assert_eq!(pieces(&kernel.drain())[0].data, b"x");
}

#[test]
fn the_last_quarter_of_the_ring_buffer_is_kept_for_flows() {
    require_root!();
    const FLOWS: u32 = 400;
    let target = socket("198.51.100.9:443");
    let events = 65_536;
    let mut kernel = Kernel::with_sizes(Sizes { sets: 1_024, events });
    let payload = bytes(500);

    for number in 0..FLOWS {
        let [_, a, b, c] = number.to_be_bytes();
        kernel.answer(TC_INGRESS, &Frame::udp(([10, a, b, c], 4_000), target).payload(&payload).build()).unwrap();
        if kernel.count(Counter::PayloadRecordsLost) == 1 {
            break;
        }
    }
    let told = kernel.count(Counter::PayloadRecords);
    let more = u64::from(events) / 5 / 144;
    for number in 0..more {
        let [a, b] = (number as u16).to_be_bytes();
        kernel.answer(TC_INGRESS, &Frame::udp(([10, 99, a, b], 4_000), target).payload(&payload).build()).unwrap();
    }

    // A flow's record and its payload's, each behind eight bytes of the buffer's own.
    let each = 144 + (72 + 500 + 8_u64).next_multiple_of(8);
    assert!(
        told.abs_diff(u64::from(events) * 3 / 4 / each) <= 1,
        "{told} payload records of {each} bytes with the flow's"
    );
    assert_eq!(kernel.count(Counter::PayloadRecords), told);
    assert_eq!(kernel.count(Counter::PayloadRecordsLost), 1 + more);
    assert_eq!(kernel.count(Counter::FlowRecordsLost), 0);
    let flows = kernel.drain().iter().filter(|record| matches!(record, Record::Flow(_))).count() as u64;
    assert_eq!(flows, kernel.count(Counter::FlowsBegun));
    assert_eq!(flows, told + 1 + more);
}

#[test]
fn payload_is_exported_again_when_the_ring_buffer_has_been_read() {
    require_root!();
    let target = socket("198.51.100.9:443");
    let mut kernel = Kernel::with_sizes(Sizes { sets: 64, events: 4_096 });
    let payload = bytes(1_000);
    let send = |kernel: &mut Kernel, number: u8| {
        kernel.answer(TC_INGRESS, &Frame::udp(([10, 0, 0, number], 4_000), target).payload(&payload).build()).unwrap();
        pieces(&kernel.drain()).len()
    };
    for number in 0..5 {
        let frame = Frame::udp(([10, 9, 0, number], 4_000), target).payload(&bytes(1_000)).build();
        kernel.answer(TC_INGRESS, &frame).unwrap();
    }
    assert!(kernel.count(Counter::PayloadRecordsLost) > 0);
    kernel.drain();

    let after: Vec<usize> = (0..10).map(|number| send(&mut kernel, number)).collect();

    assert_eq!(after, [1; 10]);
}
