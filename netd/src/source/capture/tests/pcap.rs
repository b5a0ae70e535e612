use super::super::{Damage, Error, Link, MAX_CAPTURED};
use super::write::Pcap;
use super::{ORDERS, Order, Packet, read, read_all};

const DATA: &[u8] = b"a frame of 21 bytes..";

#[test]
fn times_are_nanoseconds_in_each_of_the_four_variants() {
    for order in ORDERS {
        for (magic, time_ns) in
            [(Pcap::MICROSECONDS, 1_700_000_000_123_456_000), (Pcap::NANOSECONDS, 1_700_000_000_000_123_456)]
        {
            let file = Pcap::new(order, magic, 1).packet(1_700_000_000, 123_456, DATA);

            let packet = Packet { time_ns, link: Link::Ethernet, data: DATA.to_vec(), wire_len: 21, index: 1 };
            assert_eq!(read_all(&file.bytes), [packet]);
        }
    }
}

#[test]
fn the_last_second_of_the_format_does_not_overflow() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(u32::MAX, u32::MAX, DATA);

    assert_eq!(read_all(&file.bytes)[0].time_ns, 4_294_967_295_000_000_000 + 4_294_967_295_000);
}

#[test]
fn every_supported_link_type_is_recognised() {
    let links = [
        (1, Link::Ethernet),
        (12, Link::RawIp),
        (14, Link::RawIp),
        (101, Link::RawIp),
        (228, Link::RawIp),
        (229, Link::RawIp),
        (113, Link::LinuxCooked),
        (276, Link::LinuxCooked2),
        (0, Link::BsdLoopback),
        (108, Link::BsdLoopback),
    ];
    for (link_type, link) in links {
        let file = Pcap::new(Order::Big, Pcap::MICROSECONDS, link_type).packet(1, 2, DATA);

        assert_eq!(read_all(&file.bytes)[0].link, link);
    }
}

#[test]
fn the_length_of_the_frame_check_sequence_is_not_part_of_the_link_type() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 0x2400_0001).packet(1, 2, DATA);

    assert_eq!(read_all(&file.bytes)[0].link, Link::Ethernet);
}

#[test]
fn an_unsupported_link_type_is_named() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 127).packet(1, 2, DATA);

    let (packets, error) = read(&file.bytes);

    assert_eq!(packets, []);
    assert_eq!(
        error.unwrap().to_string(),
        "no packet of test.pcap can be read: its link type is 127 (Wi-Fi in monitor mode); these can: Ethernet (1), \
         raw IP (12, 14, 101, 228, 229), Linux cooked (113, 276), BSD loopback (0, 108)"
    );
}

#[test]
fn a_capture_without_packets_is_fine() {
    assert_eq!(read_all(&Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).bytes), []);
}

#[test]
fn an_empty_packet_is_a_packet() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, b"").packet(3, 4, DATA);

    assert_eq!(read_all(&file.bytes).len(), 2);
}

#[test]
fn a_packet_cut_by_the_snapshot_length_keeps_its_length_on_the_wire() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).record([1, 2, 21, 1514], DATA);

    let packets = read_all(&file.bytes);

    assert_eq!((packets[0].data.len(), packets[0].wire_len), (21, 1514));
}

#[test]
fn the_length_on_the_wire_is_never_less_than_what_was_captured() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).record([1, 2, 21, 5], DATA);

    assert_eq!(read_all(&file.bytes)[0].wire_len, 21);
}

#[test]
fn the_two_lengths_of_an_old_version_are_swapped() {
    for (minor, header) in [(2, [1, 2, 1514, 21]), (3, [1, 2, 1514, 21]), (3, [1, 2, 21, 1514])] {
        let mut file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).record(header, DATA);
        file.bytes[6] = minor;

        let packets = read_all(&file.bytes);

        assert_eq!((packets[0].data.len(), packets[0].wire_len), (21, 1514));
    }
}

#[test]
fn the_longest_packet_is_read() {
    let data = vec![7; MAX_CAPTURED as usize];
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, &data).packet(3, 4, DATA);

    let packets = read_all(&file.bytes);

    assert_eq!((packets[0].data.len(), packets[1].data.as_slice()), (262_144, DATA));
}

#[test]
fn an_absurd_length_is_damage_after_all_packets_before_it() {
    let file =
        Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, DATA).record([3, 4, MAX_CAPTURED + 1, 60], DATA);

    let (packets, error) = read(&file.bytes);

    assert_eq!(packets.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "test.pcap: packet 2, byte 61: the capture is damaged: a packet of 262145 bytes; none is longer than 262144"
    );
}

#[test]
fn an_unknown_version_is_refused() {
    let mut file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1);
    file.bytes[4] = 3;

    let (_, error) = read(&file.bytes);

    assert!(matches!(error, Some(Error::Damaged { damage: Damage::Version { major: 3, minor: 4 }, .. })), "{error:?}");
}

#[test]
fn a_truncated_file_gives_what_is_whole_and_then_names_packet_and_byte() {
    for order in ORDERS {
        let mut file = Pcap::new(order, Pcap::NANOSECONDS, 101);
        let mut ends = vec![file.bytes.len()];
        for length in [21, 0, 7] {
            file = file.packet(1, 2, &DATA[..length]);
            ends.push(file.bytes.len());
        }

        for cut in 1..=file.bytes.len() {
            let (packets, error) = read(&file.bytes[..cut]);

            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(packets.len(), whole.saturating_sub(1), "cut at {cut}");
            let begin = if whole == 0 { 0 } else { ends[whole - 1] };
            match error {
                None => assert_eq!(begin, cut),
                Some(Error::Truncated { at, needed, available, .. }) => {
                    assert_eq!((at.packet, at.offset), (packets.len() as u64 + 1, begin as u64), "cut at {cut}");
                    assert_eq!(available, cut - begin);
                    assert!(needed > available);
                }
                Some(error) => panic!("cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn a_truncation_says_what_is_missing() {
    let file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, DATA).packet(3, 4, DATA);

    let (_, error) = read(&file.bytes[..file.bytes.len() - 1]);

    assert_eq!(
        error.unwrap().to_string(),
        "test.pcap: packet 2, byte 61: the capture is truncated: its record takes 37 bytes, and 36 are left"
    );
}
