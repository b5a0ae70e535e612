use proptest::prelude::*;

use super::*;
use crate::opening::Protocol;
use crate::opening::tls::hello::tests::hello;

/// RFC 9001, A: the destination connection ID of all examples.
const DESTINATION: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
/// RFC 9001, A.2 and RFC 9369, A.2: the CRYPTO frame, padded to 1162 bytes.
const FRAME: &str = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868\
    04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578\
    616d706c652e636f6dff01000100000a00080006001d00170018001000070005\
    04616c706e000500050100000000003300260024001d00209370b2c9caa47fba\
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400\
    0d0010000e0403050306030203080408050806002d00020101001c0002400100\
    3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000\
    75300901100f088394c8f03e51570806048000ffff";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn padded(frames: &[u8]) -> Vec<u8> {
    let mut payload = frames.to_vec();
    payload.resize(1_162, 0);
    payload
}

fn keys(version: Version) -> ClientKeys {
    ClientKeys::new(version, &DESTINATION).unwrap()
}

/// The example packet of a version's RFC.
pub(in crate::opening) fn example() -> Vec<u8> {
    keys(Version::V1).seal(&bytes("c300000001088394c8f03e5157080000449e00000002"), 2, &padded(&bytes(FRAME)))
}

fn example_v2() -> Vec<u8> {
    keys(Version::V2).seal(&bytes("d36b3343cf088394c8f03e5157080000449e00000002"), 2, &padded(&bytes(FRAME)))
}

/// An Initial packet of version 1 to a connection ID, sealed with the keys of [`DESTINATION`].
fn initial(destination: &[u8], number: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0xc3, 0, 0, 0, 1, destination.len() as u8];
    header.extend(destination);
    header.extend([0, 0]);
    header.extend((0x4000 | (4 + payload.len() as u16 + 16)).to_be_bytes());
    header.extend(number.to_be_bytes());
    keys(Version::V1).seal(&header, number, payload)
}

fn crypto(offset: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![6];
    frame.extend((0x4000 | offset).to_be_bytes());
    frame.extend((0x4000 | data.len() as u16).to_be_bytes());
    frame.extend(data);
    frame
}

fn message(name: &str) -> Vec<u8> {
    let body = hello(Some(name), &[]);
    let mut message = vec![CLIENT_HELLO];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    message
}

fn read(datagrams: &[Vec<u8>]) -> Hello {
    client_hello(datagrams.iter().map(Vec::as_slice))
}

#[test]
fn the_examples_of_both_rfcs_are_sealed_as_published() {
    let v1 = example();
    assert_eq!(v1[..38], bytes("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b"));
    assert_eq!(v1[v1.len() - 16..], bytes("e221af44860018ab0856972e194cd934"));
    let v2 = example_v2();
    assert_eq!(v2[..38], bytes("d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071"));
}

#[test]
fn the_examples_of_both_rfcs_are_read() {
    for packet in [example(), example_v2()] {
        let hello = read(&[packet]);

        assert!(hello.is_whole);
        assert_eq!(hello.opening.protocol, Protocol::Quic);
        assert_eq!(hello.opening.name.as_deref(), Some("example.com"));
        assert_eq!(hello.opening.alpn.as_deref(), Some("alpn"));
        assert!(hello.opening.ja4.unwrap().starts_with("q13d0211an_"));
    }
}

#[test]
fn a_hello_over_three_datagrams_in_any_order_is_read() {
    let message = message("split.example.org");
    let parts = [&message[..20], &message[20..60], &message[60..]];
    let datagram = |n: usize| {
        let offset = [0, 20, 60][n];
        initial(&DESTINATION, n as u32, &padded(&[&[1, 0, 0][..], &crypto(offset, parts[n])].concat()))
    };

    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let hello = read(&order.map(datagram));

        assert!(hello.is_whole, "{order:?}");
        assert_eq!(hello.opening.name.as_deref(), Some("split.example.org"));
    }
    assert!(!read(&[datagram(0), datagram(2)]).is_whole);
}

#[test]
fn the_keys_stay_when_the_server_chooses_another_connection_id() {
    let message = message("later.example.org");
    let first = initial(&DESTINATION, 0, &padded(&crypto(0, &message[..30])));
    let ack = [2, 0, 0, 0, 0];
    let second = initial(&[1, 2, 3, 4], 1, &padded(&[&ack[..], &crypto(30, &message[30..])].concat()));

    assert_eq!(read(&[first, second]).opening.name.as_deref(), Some("later.example.org"));
}

#[test]
fn coalesced_packets_and_chaotic_frames_are_read() {
    let message = message("chaos.example.org");
    // From the last byte to the first, a PING after each.
    let frames: Vec<u8> = (0..40)
        .rev()
        .flat_map(|at| [crypto(at, &message[usize::from(at)..usize::from(at) + 1]), vec![1]].concat())
        .collect();
    let mut datagram = initial(&DESTINATION, 0, &frames);
    datagram.extend(initial(&DESTINATION, 1, &crypto(40, &message[40..])));

    assert_eq!(read(&[datagram]).opening.name.as_deref(), Some("chaos.example.org"));
}

#[test]
fn a_packet_that_was_tampered_with_tells_nothing() {
    let mut packet = example();
    packet[100] ^= 1;

    let hello = read(&[packet]);

    assert!(!hello.is_whole);
    assert_eq!(hello.opening.name, None);
    assert_eq!(hello.opening.protocol, Protocol::Quic);
}

proptest! {
    #[test]
    fn no_damage_to_a_packet_is_a_danger(at in 0usize..40, value: u8, cut in 0usize..1_300) {
        let mut packet = example();
        packet[at] = value;
        packet.truncate(cut);

        is_long_header(&packet);
        read(&[packet]);
    }

    #[test]
    fn no_frames_are_a_danger(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let mut stream = Crypto::default();
        for payload in &payloads {
            stream.read(payload);
        }

        prop_assert!(stream.prefix().len() <= 8_192);
        from_crypto(&stream);
    }
}
