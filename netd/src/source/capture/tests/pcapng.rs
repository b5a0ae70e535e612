use super::super::{Damage, Error, Link, MAX_BLOCK, MAX_INTERFACES};
use super::write::{Opt, PcapNg};
use super::{ORDERS, Order, Packet, read, read_all};

const DATA: &[u8] = b"a frame of 21 bytes..";

fn damage(bytes: &[u8]) -> Damage {
    match read(bytes).1 {
        Some(Error::Damaged { damage, .. }) => damage,
        other => panic!("{other:?}"),
    }
}

/// Returns the time of one packet, `units` after the epoch of an interface with `options`.
fn time_ns(options: &[Opt<'_>], units: u64) -> u64 {
    let file = PcapNg::new(Order::Little).interface(1, 0, options).enhanced(0, units, DATA);
    read_all(&file.bytes)[0].time_ns
}

#[test]
fn every_kind_of_packet_block_is_read() {
    for order in ORDERS {
        let file = PcapNg::new(order)
            .interface(1, 0, &[])
            .enhanced(0, 1_700_000_000_123_456, DATA)
            .obsolete(0, 1_700_000_000_123_457, DATA)
            .simple(21, DATA);

        let packet = |time_ns, index| Packet { time_ns, link: Link::Ethernet, data: DATA.into(), wire_len: 21, index };
        assert_eq!(
            read_all(&file.bytes),
            [
                packet(1_700_000_000_123_456_000, 1),
                packet(1_700_000_000_123_457_000, 2),
                packet(1_700_000_000_123_457_000, 3),
            ]
        );
    }
}

#[test]
fn sections_have_their_own_byte_order_and_interfaces() {
    let file = PcapNg::new(Order::Little)
        .interface(1, 0, &[])
        .interface(113, 0, &[(9, &[9])])
        .enhanced(1, 5, DATA)
        .enhanced(0, 6, DATA)
        .section(Order::Big)
        .interface(276, 0, &[])
        .enhanced(0, 7, DATA)
        .section(Order::Little)
        .interface(108, 0, &[])
        .enhanced(0, 8, DATA);

    let found: Vec<_> = read_all(&file.bytes).iter().map(|p| (p.link, p.time_ns, p.index)).collect();

    assert_eq!(
        found,
        [
            (Link::LinuxCooked, 5, 1),
            (Link::Ethernet, 6_000, 2),
            (Link::LinuxCooked2, 7_000, 3),
            (Link::BsdLoopback, 8_000, 4),
        ]
    );
}

#[test]
fn an_interface_of_an_earlier_section_is_unknown() {
    let file = PcapNg::new(Order::Little).interface(1, 0, &[]).section(Order::Little).enhanced(0, 1, DATA);

    assert_eq!(damage(&file.bytes), Damage::UnknownInterface { interface: 0, described: 0 });
}

#[test]
fn a_resolution_may_be_a_power_of_ten() {
    let cases =
        [(0, 3, 3_000_000_000), (3, 3, 3_000_000), (6, 3, 3_000), (9, 3, 3), (12, 3_999, 3), (0x7f, u64::MAX - 1, 0)];
    for (exponent, units, ns) in cases {
        assert_eq!(time_ns(&[(9, &[exponent])], units), ns, "10^-{exponent}");
    }
}

#[test]
fn a_resolution_may_be_a_power_of_two() {
    let cases = [(0, 3, 3_000_000_000), (1, 3, 1_500_000_000), (32, 3 << 31, 1_500_000_000), (0x7f, u64::MAX, 0)];
    for (exponent, units, ns) in cases {
        assert_eq!(time_ns(&[(9, &[0x80 | exponent])], units), ns, "2^-{exponent}");
    }
}

#[test]
fn an_offset_of_seconds_is_added() {
    for order in ORDERS {
        let offset = |seconds: i64| match order {
            Order::Little => seconds.to_le_bytes(),
            Order::Big => seconds.to_be_bytes(),
        };
        for (seconds, units, ns) in [(1_700_000_000, 5, 1_700_000_000_000_005_000), (-2, 3_000_000, 1_000_000_000)] {
            let file = PcapNg::new(order).interface(1, 0, &[(14, &offset(seconds))]).enhanced(0, units, DATA);

            assert_eq!(read_all(&file.bytes)[0].time_ns, ns);
        }
    }
}

#[test]
fn options_that_do_not_matter_are_skipped() {
    let options: &[Opt<'_>] = &[(2, b"eth0"), (3, b"odd"), (9, &[9]), (0xffff, b"")];

    assert_eq!(time_ns(options, 4), 4);
}

#[test]
fn options_behind_their_end_are_not_read() {
    assert_eq!(time_ns(&[(0, &[]), (9, &[9])], 4), 4_000);
}

#[test]
fn an_option_that_does_not_fit_is_damage() {
    let file = PcapNg::new(Order::Little);
    let body = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 5, 0, b'e', b't', b'h', b'0'];
    assert_eq!(damage(&file.block(1, &body).bytes), Damage::Option { code: 2, length: 5 });

    let file = PcapNg::new(Order::Little).interface(1, 0, &[(9, &[6, 6])]);
    assert_eq!(damage(&file.bytes), Damage::Option { code: 9, length: 2 });
}

#[test]
fn a_time_outside_the_range_is_damage() {
    let before = (-1_i64).to_le_bytes();
    let far = i64::MAX.to_le_bytes();
    let cases: [(&[Opt<'_>], u64); 4] =
        [(&[(9, &[0])], u64::MAX), (&[(9, &[0x80])], u64::MAX), (&[(14, &before)], 5), (&[(14, &far)], 5)];
    for (options, units) in cases {
        let file = PcapNg::new(Order::Little).interface(1, 0, options).enhanced(0, units, DATA);

        assert_eq!(damage(&file.bytes), Damage::TimeRange { units, interface: 0 });
    }
}

#[test]
fn a_simple_packet_is_cut_by_the_snapshot_length_of_the_first_interface() {
    let file = PcapNg::new(Order::Big).interface(1, 6, &[]).interface(1, 3, &[]).simple(1514, &DATA[..8]);

    let packets = read_all(&file.bytes);

    assert_eq!((packets[0].data.as_slice(), packets[0].wire_len), (&DATA[..6], 1514));
}

#[test]
fn a_packet_cut_by_the_snapshot_length_keeps_its_length_on_the_wire() {
    let file = PcapNg::new(Order::Big).interface(1, 0, &[]).enhanced_with([0, 0, 1, 21, 1514], DATA);

    assert_eq!(read_all(&file.bytes)[0].wire_len, 1514);
}

#[test]
fn unknown_blocks_are_skipped() {
    let file = PcapNg::new(Order::Little)
        .block(0x8000_0bad, &[])
        .interface(1, 0, &[])
        .block(4, b"names")
        .enhanced(0, 1, DATA)
        .block(5, &[0xff; 999]);

    assert_eq!(read_all(&file.bytes).len(), 1);
}

#[test]
fn an_unsupported_interface_does_not_cost_the_packets_of_the_others() {
    let file = PcapNg::new(Order::Little)
        .interface(189, 0, &[])
        .interface(1, 0, &[])
        .enhanced(0, 1, DATA)
        .enhanced(1, 2, DATA)
        .enhanced(0, 3, DATA);

    let links: Vec<_> = read_all(&file.bytes).iter().map(|packet| packet.link).collect();

    assert_eq!(links, [Link::Unsupported(189), Link::Ethernet, Link::Unsupported(189)]);
}

#[test]
fn a_capture_of_unsupported_packets_only_ends_with_an_error() {
    let file = PcapNg::new(Order::Little).interface(189, 0, &[]).interface(1, 0, &[]).enhanced(0, 1, DATA);

    let (packets, error) = read(&file.bytes);

    assert_eq!(packets.len(), 1);
    assert!(matches!(error, Some(Error::UnsupportedLink { link_type: 189, .. })), "{error:?}");
}

#[test]
fn a_capture_without_packets_is_fine() {
    assert_eq!(read_all(&PcapNg::new(Order::Little).bytes), []);
    assert_eq!(read_all(&PcapNg::new(Order::Big).interface(189, 0, &[]).bytes), []);
}

#[test]
fn a_packet_longer_than_its_block_is_damage() {
    let base = || PcapNg::new(Order::Little).interface(1, 0, &[]);

    let file = base().enhanced_with([0, 0, 1, 25, 25], DATA);
    assert_eq!(damage(&file.bytes), Damage::PacketOverrun { captured: 25, room: 24 });

    let file = base().enhanced_with([0, 0, 1, u32::MAX, 60], DATA);
    assert_eq!(damage(&file.bytes), Damage::PacketOverrun { captured: u32::MAX, room: 24 });

    let file = base().simple(60, DATA);
    assert_eq!(damage(&file.bytes), Damage::PacketOverrun { captured: 60, room: 24 });
}

#[test]
fn a_block_too_short_for_its_fields_is_damage() {
    for (kind, length) in [(1, 4), (2, 16), (3, 0), (6, 16), (0x0a0d_0d0a, 12)] {
        let mut body = vec![0; length];
        if kind == 0x0a0d_0d0a {
            body[..8].copy_from_slice(&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
        }
        let file = PcapNg::new(Order::Little).interface(1, 0, &[]).block(kind, &body);

        let damage = damage(&file.bytes);

        assert!(matches!(damage, Damage::BlockTooShort { length: found, .. } if found == length), "{kind}: {damage}");
    }
}

#[test]
fn an_impossible_block_length_is_damage() {
    for length in [0, 8, 13, MAX_BLOCK + 4, u32::MAX] {
        let mut file = PcapNg::new(Order::Little);
        file.bytes.extend(5_u32.to_le_bytes());
        file.bytes.extend(length.to_le_bytes());

        assert_eq!(damage(&file.bytes), Damage::BlockLength { length, limit: MAX_BLOCK });
    }
}

#[test]
fn the_longest_block_is_read() {
    let data = vec![7; MAX_BLOCK as usize - 32];
    let file = PcapNg::new(Order::Little).interface(1, 0, &[]).enhanced(0, 1, &data).enhanced(0, 2, DATA);

    let packets = read_all(&file.bytes);

    assert_eq!((packets[0].data.len(), packets[1].data.as_slice()), (data.len(), DATA));
}

#[test]
fn a_block_whose_two_lengths_differ_is_damage_after_all_packets_before_it() {
    let mut file = PcapNg::new(Order::Little).interface(1, 0, &[]).enhanced(0, 1, DATA).enhanced(0, 2, DATA);
    let tail = file.bytes.len() - 4;
    file.bytes[tail] = 60;

    let (packets, error) = read(&file.bytes);

    assert_eq!(packets.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "test.pcap: packet 2, byte 104: the capture is damaged: a block of 56 bytes that says 60 at its end"
    );
}

#[test]
fn a_section_of_neither_byte_order_is_damage() {
    let mut file = PcapNg::new(Order::Little);
    file.bytes[8] = 0;

    assert_eq!(damage(&file.bytes), Damage::ByteOrder { found: 0x003c_2b1a });
}

#[test]
fn a_section_of_an_unknown_version_is_refused() {
    let mut file = PcapNg::new(Order::Big);
    file.bytes[13] = 2;

    assert_eq!(damage(&file.bytes), Damage::Version { major: 2, minor: 0 });
}

#[test]
fn the_number_of_interfaces_is_bounded() {
    let mut file = PcapNg::new(Order::Little);
    for _ in 0..=MAX_INTERFACES {
        file = file.interface(1, 0, &[]);
    }

    assert_eq!(damage(&file.bytes), Damage::TooManyInterfaces { limit: MAX_INTERFACES });
}

#[test]
fn a_truncated_file_gives_what_is_whole_and_then_names_packet_and_byte() {
    for order in ORDERS {
        let file = PcapNg::new(order)
            .interface(1, 0, &[(9, &[9])])
            .enhanced(0, 1, DATA)
            .block(5, b"statistics")
            .simple(21, DATA)
            .section(order)
            .interface(113, 0, &[])
            .obsolete(0, 3, b"");
        // Packets among the first n blocks.
        let packets_in = [0, 0, 0, 1, 1, 2, 2, 2, 3];

        for cut in 1..=file.bytes.len() {
            let (packets, error) = read(&file.bytes[..cut]);

            let whole = file.ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(packets.len(), packets_in[whole], "cut at {cut}");
            let begin = if whole == 0 { 0 } else { file.ends[whole - 1] };
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
