//! Payload of captured packets: the kernel's records, as far as the capture holds the bytes.

use etherparse::PacketBuilder;
use netd_common::record::{PAYLOAD_SNAP, PayloadKind};

use super::*;

#[derive(Default)]
struct Heard {
    payload: Vec<(PayloadRecord, Vec<u8>)>,
}

impl Records for Heard {
    fn flow(&mut self, _: &FlowRecord) {}

    fn turn(&mut self, _: &TurnRecord) {}

    fn payload(&mut self, record: &PayloadRecord, bytes: &[u8]) {
        assert_eq!(usize::from(record.captured), bytes.len());
        assert_eq!(record.header.len as usize, size_of::<PayloadRecord>() + bytes.len());
        self.payload.push((*record, bytes.to_vec()));
    }
}

impl Heard {
    /// Returns sequence number, offset and length of every record.
    fn places(&self) -> Vec<(u32, u32, usize)> {
        self.payload.iter().map(|(record, bytes)| (record.seq, record.offset, bytes.len())).collect()
    }
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

fn tcp(port: u16, is_answer: bool, seq: u32, payload: &[u8]) -> Vec<u8> {
    let (from, to) = if is_answer { (SERVER, CLIENT) } else { (CLIENT, SERVER) };
    let ports = if is_answer { (port, 40_000) } else { (40_000, port) };
    let builder = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(from, to, 64).tcp(ports.0, ports.1, seq, 1_024);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Accounts frames of which a capture kept `snap` bytes.
fn heard(frames: &[Vec<u8>], snap: usize) -> Heard {
    let mut heard = Heard::default();
    let mut accounting = Accounting::new(&Settings::default());
    for (at, frame) in frames.iter().enumerate() {
        let wire_len = frame.len() as u32;
        let frame = &frame[..frame.len().min(snap)];
        let packet = Packet::from_ethernet(frame, wire_len).unwrap();
        let arrival = Arrival { packet: &packet, frame, wire_len, time_ns: SECOND_NS + at as u64 };
        accounting.account(&arrival, &mut heard);
    }
    heard
}

fn letters(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % 26) as u8).collect()
}

#[test]
fn a_first_flight_in_several_segments_is_told_with_its_sequence_numbers() {
    let hello = letters(1_800);
    let frames = [
        tcp(443, false, 100, &hello[..1_400]),
        tcp(443, false, 100, &hello[..1_400]),
        tcp(443, false, 1_500, &hello[1_400..]),
        tcp(443, true, 900, b"answer"),
        tcp(443, false, 1_900, b"request"),
    ];

    let heard = heard(&frames, usize::MAX);

    assert_eq!(heard.places(), [(100, 0, 1_400), (1_500, 0, 400), (900, 0, 6)]);
    let said: Vec<u8> = heard.payload[..2].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(said, hello);
    assert!(heard.payload.iter().all(|(record, _)| record.kind == PayloadKind::FirstData as u8));
}

#[test]
fn an_offloaded_packet_takes_several_records() {
    let hello = letters(6_000);

    let heard = heard(&[tcp(443, false, 100, &hello)], usize::MAX);

    let snap = PAYLOAD_SNAP as u32;
    let expected = [0, 1, 2].map(|at| (100 + at * snap, at * snap, PAYLOAD_SNAP));
    assert_eq!(heard.places(), expected);
    let said: Vec<u8> = heard.payload.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(said, hello[..3 * PAYLOAD_SNAP]);
}

#[test]
fn what_the_capture_cut_off_is_not_told() {
    let frame = tcp(443, false, 100, &letters(6_000));
    let headers = frame.len() - 6_000;
    for (captured, expected) in [
        (0, vec![]),
        (10, vec![(100, 0, 10)]),
        (PAYLOAD_SNAP, vec![(100, 0, PAYLOAD_SNAP)]),
        (PAYLOAD_SNAP + 5, vec![(100, 0, PAYLOAD_SNAP), (1_572, 1_472, 5)]),
    ] {
        let heard = heard(std::slice::from_ref(&frame), headers + captured);

        assert_eq!(heard.places(), expected, "{captured} bytes of payload captured");
        assert!(heard.payload.iter().all(|(record, _)| record.wire_len == 6_000));
    }
}

#[test]
fn every_piece_of_a_dns_connection_is_told() {
    let frames: Vec<_> = (0..6).map(|at| tcp(53, at % 2 == 1, 100 + at / 2 * 10, b"ten bytes!")).collect();

    let heard = heard(&frames, usize::MAX);

    assert_eq!(heard.payload.len(), 6);
    assert!(heard.payload.iter().all(|(record, _)| record.kind == PayloadKind::Dns as u8));
}
