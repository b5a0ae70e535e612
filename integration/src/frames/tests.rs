use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::*;

const HERE: ([u8; 4], u16) = ([10, 77, 0, 7], 40_000);
const THERE: ([u8; 4], u16) = ([198, 51, 100, 9], 443);

fn here6() -> SocketAddr {
    (Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 7), 40_000).into()
}

fn there6() -> SocketAddr {
    (Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 9), 443).into()
}

#[test]
fn a_tcp_segment_reads_back_as_it_was_written() {
    let frame = Frame::tcp(HERE, THERE).flags(flags::PSH | flags::ACK).sequence(7).payload(b"hello").build();

    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
    assert_eq!((tcp.source_port(), tcp.destination_port(), tcp.sequence_number()), (40_000, 443, 7));
    assert_eq!(tcp.payload(), b"hello");
    assert!(tcp.psh() && tcp.ack() && !tcp.syn());
    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap());
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
}

#[test]
fn a_datagram_of_ipv6_behind_extensions_reads_back() {
    let chain = [
        Extension::HopByHop,
        Extension::Routing,
        Extension::DestinationOptions(14),
        Extension::Authentication,
        Extension::AtomicFragment,
    ];
    let frame = chain.into_iter().fold(Frame::udp(here6(), there6()).payload(b"hello"), Frame::extension);

    let bytes = frame.build();

    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
    assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (40_000, 443, &b"hello"[..]));
    let header = udp.to_header();
    let (SocketAddr::V6(here), SocketAddr::V6(there)) = (here6(), there6()) else { panic!("not IPv6") };
    let sum = header.calc_checksum_ipv6_raw(here.ip().octets(), there.ip().octets(), b"hello").unwrap();
    assert_eq!(header.checksum, sum);
}

#[test]
fn tags_stand_in_the_order_in_which_they_were_added() {
    let frame = Frame::udp(HERE, THERE).service_vlan(7).vlan(42).build();

    assert_eq!(frame[12..22], [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42, 0x08, 0]);
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    assert_eq!(packet.vlan_ids().iter().map(|id| id.value()).collect::<Vec<_>>(), [7, 42]);
    assert!(packet.transport.is_some());
}

#[test]
fn pings_have_right_checksums() {
    let frame = Frame::ping(HERE.0, THERE.0, 3).payload(b"abc").build();
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!("no ICMP") };
    assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));

    let frame = Frame::ping(here6().ip(), there6().ip(), 3).payload(b"abc").build();
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("no IPv6") };
    assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
}

#[test]
fn a_later_fragment_has_no_ports() {
    let frame = Frame::udp(HERE, THERE).fragment(1480, false, 9).payload(&[1, 2, 3]).build();

    assert_eq!(frame.len(), 14 + 20 + 3);
    assert_eq!(frame[20..22], [0x00, 185]);
    assert!(SlicedPacket::from_ethernet(&frame).unwrap().transport.is_none());
}

#[test]
fn options_are_stepped_over() {
    let frame = Frame::tcp(HERE, THERE).ipv4_options(&[1, 1, 1]).build();

    assert_eq!(frame[14], 0x46);
    assert!(matches!(SlicedPacket::from_ethernet(&frame).unwrap().transport, Some(TransportSlice::Tcp(_))));
}

#[test]
fn a_cooked_header_is_understood() {
    let frame = Frame::tcp(HERE, THERE).link(Link::Cooked).build();

    assert!(SlicedPacket::from_linux_sll(&frame).unwrap().transport.is_some());
    assert_eq!(Frame::tcp(HERE, THERE).link(Link::Cooked2).build().len(), 20 + 40);
}

#[test]
fn lies_and_cuts_stay_as_they_were_told() {
    let frame = Frame::udp(HERE, THERE).claim_header_words(15).claim_udp_length(3).truncate(40).build();

    assert_eq!((frame[14], &frame[38..40], frame.len()), (0x4f, &[0, 3][..], 40));
}
