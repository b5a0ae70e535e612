//! The parser against etherparse: frames of every shape, whole, cut and damaged.

mod frames;
mod oracle;

use frames::{Frame, frame};
use netd_common::packet::{ETHERNET, Fragment, MAX_EXTENSIONS, Packet, ParseError, Start, ethernet, network};
use oracle::agrees;
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Packet, ParseError> {
    Packet::from_ethernet(bytes, bytes.len() as u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_frame_is_read_as_etherparse_reads_it(frame in frame()) {
        let bytes = frame.build();

        agrees(&bytes, parse(&bytes))?;
    }

    #[test]
    fn a_damaged_frame_is_read_as_etherparse_reads_it(
        frame in frame(),
        damage in prop::collection::vec((0_usize..120, any::<u8>()), 1..5),
    ) {
        let mut bytes = frame.build();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }

        agrees(&bytes, parse(&bytes))?;
    }

    #[test]
    fn a_cut_frame_is_read_as_etherparse_reads_it(frame in frame(), length in 0_usize..=120) {
        let mut bytes = frame.build();
        bytes.truncate(length);

        agrees(&bytes, parse(&bytes))?;
    }

    #[test]
    fn what_is_parsed_lies_within_the_frame(frame in frame(), length in 0_usize..200, wire in 0_u32..70_000) {
        let mut bytes = frame.build();
        bytes.truncate(length);

        if let Ok(packet) = Packet::from_ethernet(bytes.as_slice(), wire) {
            // A lie about the length on the wire reaches no further than the wire.
            prop_assert!(packet.payload_len <= wire);
            prop_assert!(packet.network_offset <= packet.transport_offset);
            prop_assert!(packet.transport_offset <= packet.payload_offset);
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), wire in any::<u32>()) {
        let _ = Packet::from_ethernet(bytes.as_slice(), wire);
        for ethertype in [0x0800, 0x86dd, 0x8100] {
            let _ = Packet::from_network(bytes.as_slice(), ethertype, 0, wire);
        }
    }

    #[test]
    fn any_network_header_is_parsed_or_refused(
        version in prop::sample::select(vec![0x45_u8, 0x4f, 0x60]),
        mut bytes in prop::collection::vec(any::<u8>(), 40..200),
    ) {
        bytes[0] = version;
        let ethertype = if version == 0x60 { 0x86dd } else { 0x0800 };

        let _ = Packet::from_network(bytes.as_slice(), ethertype, 0, bytes.len() as u32);
    }

    #[test]
    fn the_same_packet_without_its_link_is_the_same_flow(frame in frame()) {
        let frame = Frame { tags: Vec::new(), ..frame };
        let bytes = frame.build();
        let raw = &bytes[ETHERNET..];

        let with_link = parse(&bytes);
        let without = Packet::from_network(raw, frame.ethertype(), 0, raw.len() as u32);

        prop_assert_eq!(with_link.map(|packet| packet.flow()), without.map(|packet| packet.flow()));
        prop_assert_eq!(with_link.map(|packet| packet.payload_len), without.map(|packet| packet.payload_len));
    }

    #[test]
    fn a_stripped_tag_changes_nothing_but_the_vlan(frame in frame(), tag in 1_u16..4095) {
        let inside = Frame { tags: vec![(0x8100, tag)], ..frame.clone() };
        let stripped = Frame { tags: Vec::new(), ..frame };
        let (inside, bytes) = (parse(&inside.build()), stripped.build());

        let mut packet = Packet::EMPTY;
        let outside = ethernet(bytes.as_slice(), bytes.len() as u32, Some(tag), &mut packet).map(|()| packet);

        prop_assert_eq!(inside.map(|packet| packet.flow()), outside.map(|packet| packet.flow()));
        prop_assert_eq!(inside.map(|packet| packet.vlan), outside.map(|packet| packet.vlan));
        prop_assert_eq!(inside.map(|packet| packet.payload_len), outside.map(|packet| packet.payload_len));
    }
}

#[test]
fn a_capture_cut_in_the_headers_is_called_truncated() {
    for is_v4 in [true, false] {
        let whole = Frame { extensions: vec![0, 51, 43], payload: vec![1; 80], ..Frame::tcp(is_v4) }.build();
        for length in 0..=120 {
            let cut = &whole[..length];

            let parsed = Packet::from_ethernet(cut, whole.len() as u32);

            let truncated = [ParseError::TruncatedLink, ParseError::TruncatedNetwork, ParseError::TruncatedTransport];
            let headers = whole.len() - 80;
            if length < headers {
                assert!(parse(cut).is_err(), "{length}");
                assert!(parsed.is_err_and(|error| truncated.contains(&error)), "{length}: {parsed:?}");
            } else {
                assert!(parsed.is_ok(), "{length}: {parsed:?}");
            }
        }
    }
}

#[test]
fn eight_extension_headers_are_walked_and_no_ninth() {
    for count in 0..=9 {
        let frame = Frame { extensions: vec![60; count], ..Frame::tcp(false) };

        let parsed = parse(&frame.build());

        if count <= MAX_EXTENSIONS {
            assert_eq!(parsed.unwrap().flow().dst_port(), 443, "{count}");
        } else {
            assert_eq!(parsed.unwrap_err(), ParseError::TooManyExtensions);
        }
    }
}

#[test]
fn a_chain_ends_at_what_is_no_extension_header() {
    // ESP, no next header, unassigned.
    for proto in [50, 59, 253] {
        let frame = Frame { extensions: vec![0, 60], proto, ..Frame::tcp(false) };

        let packet = parse(&frame.build()).unwrap();

        assert_eq!((packet.proto(), packet.flow().src_port, packet.has_ports()), (proto, [0; 2], true));
    }
}

#[test]
fn a_later_fragment_has_no_ports() {
    for is_v4 in [true, false] {
        for more in [true, false] {
            let frame = Frame { fragment: Some((1, more)), ..Frame::tcp(is_v4) };

            let packet = parse(&frame.build()).unwrap();

            assert_eq!(packet.fragment, Fragment::Later);
            assert_eq!((packet.flow().src_port, packet.flow().dst_port, packet.proto()), ([0; 2], [0; 2], 6));
        }
    }
}

#[test]
fn a_first_fragment_too_short_for_its_header_is_judged_as_a_later_one() {
    for is_v4 in [true, false] {
        for kept in 0..20 {
            let frame = Frame { fragment: Some((0, true)), payload: Vec::new(), ..Frame::tcp(is_v4) };
            let whole = frame.build();
            let tiny = &whole[..whole.len() - 20 + kept];

            let packet = parse(tiny).unwrap();

            assert_eq!((packet.fragment, packet.flow().dst_port), (Fragment::Later, [0; 2]), "{kept}");
        }
    }
}

#[test]
fn a_first_fragment_with_its_header_has_ports() {
    for is_v4 in [true, false] {
        let frame = Frame { fragment: Some((0, true)), ..Frame::tcp(is_v4) };

        let packet = parse(&frame.build()).unwrap();

        assert_eq!((packet.fragment, packet.flow().dst_port()), (Fragment::First, 443));
    }
}

#[test]
fn both_ways_of_an_echo_are_one_conversation() {
    for (is_v4, proto, kinds) in [(true, 1, [8, 0]), (false, 58, [128, 129])] {
        let echo = |kind: u8| Frame { proto, payload: vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1], ..Frame::tcp(is_v4) };
        let request = parse(&echo(kinds[0]).build()).unwrap();
        let mut reply = echo(kinds[1]);
        (reply.src, reply.dst) = (reply.dst, reply.src);

        let reply = parse(&reply.build()).unwrap();

        assert_eq!(request.conversation, reply.conversation);
        assert_eq!(request.conversation.a_port, [0x12, 0x34]);
        assert_ne!(request.direction, reply.direction);
    }
}

#[test]
fn a_length_of_zero_is_the_length_on_the_wire() {
    for is_v4 in [true, false] {
        let frame = Frame { payload: vec![0; 100], ..Frame::tcp(is_v4) };
        let mut bytes = frame.build();
        let at = if is_v4 { 16 } else { 18 };
        bytes[at..at + 2].fill(0);

        assert_eq!(parse(&bytes).unwrap().payload_len, 100);
    }
}

#[test]
fn a_super_packet_has_the_payload_of_the_wire_and_not_of_its_length_field() {
    let bytes = Frame { payload: Vec::new(), ..Frame::tcp(false) }.build();
    let start = Start { offset: ETHERNET, wire_len: 200_000, vlan: 0 };
    let mut packet = Packet::EMPTY;
    let mut big = bytes.clone();
    big[18..20].fill(0);

    network(big.as_slice(), 0x86dd, start, &mut packet).unwrap();

    assert_eq!(packet.payload_len, 200_000 - bytes.len() as u32);
}
