//! Messages and streams of them, as they are and damaged.

use std::net::{IpAddr, Ipv4Addr};

use netd_common::key::{ConversationKey, Direction};
use proptest::prelude::*;

use super::stream::{Segment, Streams};
use super::{Labels, read};

const TXT: u16 = 16;

/// A response: a question for A, an alias, and the alias's address.
fn response() -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
    bytes.extend(b"\x03WWW\x07example\x03org\x00\x00\x01\x00\x01");
    bytes.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03cdn\xc0\x10");
    bytes.extend(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x78\x00\x04\xc6\x33\x64\x09");
    bytes
}

/// A query with an EDNS client subnet.
fn query() -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1];
    bytes.extend(b"\x04\xff\x00.A\x07example\x03org\x00\x00\x10\x00\x01");
    bytes.extend(b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x0b\x00\x08\x00\x07\x00\x01\x18\x00\xc6\x33\x64");
    bytes
}

fn addresses(bytes: &[u8]) -> Vec<IpAddr> {
    let answers = read(bytes).unwrap().answers;
    answers.iter().flat_map(|answer| answer.addresses.iter().copied()).collect()
}

#[test]
fn an_address_is_named_as_the_client_asked_not_as_its_alias() {
    let message = read(&response()).unwrap();

    assert!(message.is_answered());
    assert_eq!(message.question.unwrap().name.host_name().as_deref(), Some("www.example.org"));
    assert_eq!(addresses(&response()), [IpAddr::from(Ipv4Addr::new(198, 51, 100, 9))]);
    assert_eq!(message.answers[1].ttl_s, 120);
}

#[test]
fn an_address_of_somebody_else_in_the_answer_is_nobodys() {
    let mut bytes = response();
    // The alias leads elsewhere: the address no longer belongs to what was asked for.
    let at = bytes.windows(3).position(|three| three == b"cdn").unwrap();
    bytes[at..at + 3].copy_from_slice(b"cdx");
    let owner = bytes.len() - 16;
    bytes[owner..owner + 2].copy_from_slice(b"\xc0\x10");

    assert_eq!(addresses(&bytes), Vec::<IpAddr>::new());
}

#[test]
fn hints_of_a_service_are_addresses_of_its_name() {
    let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    bytes.extend(b"\x03www\x07example\x03org\x00\x00\x41\x00\x01");
    let mut data = b"\x00\x01\x00".to_vec();
    data.extend(b"\x00\x01\x00\x03\x02h2");
    data.extend(b"\x00\x04\x00\x08\xc6\x33\x64\x09\xc6\x33\x64\x0a");
    data.extend(b"\x00\x06\x00\x10\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09");
    bytes.extend(b"\xc0\x0c\x00\x41\x00\x01\x00\x00\x00\x3c");
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);

    let expected: [IpAddr; 3] =
        ["198.51.100.9", "198.51.100.10", "2001:db8::9"].map(|address| address.parse().unwrap());
    assert_eq!(addresses(&bytes), expected);
}

#[test]
fn a_message_cut_short_yields_the_answers_before_the_cut() {
    let whole = response();
    let cut = read(&whole[..whole.len() - 2]).unwrap();

    assert_eq!(cut.question.unwrap().name, Labels::from("www.example.org"));
    assert!(cut.answers.iter().all(|answer| answer.addresses.is_empty()));
}

#[test]
fn a_long_answer_cut_short_still_says_its_length() {
    let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    bytes.extend(b"\x01t\x07example\x03org\x00\x00\x10\x00\x01\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x00\x02\x00");
    bytes.extend([b'x'; 100]);
    let answers = read(&bytes).unwrap().answers;

    assert_eq!((answers[0].rtype, answers[0].len), (TXT, 512));
}

#[test]
fn labels_of_any_bytes_are_kept() {
    let question = read(&query()).unwrap().question.unwrap();

    assert_eq!(question.name.label(0), b"\xff\x00.a");
    assert_eq!(question.rtype, TXT);
}

#[test]
fn what_is_no_dns_is_not_taken_for_it() {
    assert_eq!(read(b"SSH-2.0-OpenSSH_9.6\r\n"), None);
    assert_eq!(read(b""), None);
}

#[test]
fn a_loop_of_pointers_ends() {
    let mut bytes = query();
    bytes.truncate(12);
    bytes.extend(b"\xc0\x0c\x00\x01\x00\x01");

    assert_eq!(read(&bytes), None);
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = |message: &Vec<u8>| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    messages.iter().flat_map(framed).collect()
}

fn push(streams: &mut Streams, bytes: &[u8], missing: usize) -> Vec<Vec<u8>> {
    let (key, direction) = (ConversationKey::default(), Direction::AToB);
    streams.push(&Segment { key, direction, bytes, missing, at_ns: 1 })
}

#[test]
fn messages_are_read_however_they_are_cut_into_segments() {
    let messages = [query(), response(), query()];
    let stream = framed(&messages);
    for size in 1..stream.len() {
        let mut streams = Streams::default();
        let read: Vec<Vec<u8>> = stream.chunks(size).flat_map(|chunk| push(&mut streams, chunk, 0)).collect();

        assert_eq!(read, messages, "segments of {size}");
    }
}

#[test]
fn what_was_not_captured_of_a_message_is_skipped() {
    let (long, next) = (vec![7; 3_000], query());
    let stream = framed(&[long, next.clone()]);
    let mut streams = Streams::default();

    // A segment of 2,000 bytes of which 1,472 were captured.
    let first = push(&mut streams, &stream[..1_472], 528);
    let second = push(&mut streams, &stream[2_000..], 0);

    assert_eq!(first, [vec![7; 1_470]]);
    assert_eq!(second, [next]);
}

proptest! {
    #[test]
    fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn no_damage_is_a_danger(at in 0usize..120, value: u8, other in 0usize..120, second: u8) {
        for whole in [response(), query()] {
            let mut bytes = whole;
            let len = bytes.len();
            bytes[at % len] = value;
            bytes[other % len] = second;
            if let Some(message) = read(&bytes) {
                prop_assert!(message.answers.len() <= 64);
            }
        }
    }

    #[test]
    fn a_hostile_stream_is_bounded(segments in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..1_472), 0usize..3_000), 1..12)) {
        let mut streams = Streams::default();
        for (bytes, missing) in segments {
            let read: usize = push(&mut streams, &bytes, missing).iter().map(Vec::len).sum();
            prop_assert!(read <= 4_098 + 1_472);
        }
    }
}
