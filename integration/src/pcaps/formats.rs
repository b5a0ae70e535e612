//! Small captures of every link type and file format, and of packets that are hard to read.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Capture, Expected};
use crate::capture::{Format, LINKTYPE_IPV4, LINKTYPE_IPV6, Order, Packet, Resolution};
use crate::frames::{Extension, Frame, Link};
use crate::lab::{IMPLANT, PEOPLE, WEB, v6};
use crate::synth::{Path, Tape, Tcp, datagrams};
use crate::traffic::dice::Dice;
use crate::traffic::payload::Look;

pub(super) fn all() -> Vec<Capture> {
    let pcap = Format::pcap;
    let only = |link_type| Format { link_type, ..pcap(Link::Raw) };
    let null = |big_endian| Link::Null { big_endian };
    vec![
        sample("link-ethernet", Link::Ethernet, pcap(Link::Ethernet), Versions::Both),
        sample("link-ethernet-be-micro-ng", Link::Ethernet, ng(Order::Big, Resolution::Micro), Versions::Both),
        sample("link-ethernet-le-nano-ng", Link::Ethernet, ng(Order::Little, Resolution::Nano), Versions::Both)
            .gzipped(),
        sample("link-raw", Link::Raw, pcap(Link::Raw), Versions::Both),
        sample("link-ipv4", Link::Raw, only(LINKTYPE_IPV4), Versions::Only4),
        sample("link-ipv6", Link::Raw, only(LINKTYPE_IPV6), Versions::Only6),
        sample("link-cooked", Link::Cooked, pcap(Link::Cooked), Versions::Both),
        sample("link-cooked2", Link::Cooked2, pcap(Link::Cooked2), Versions::Both),
        sample("link-null-le", null(false), pcap(null(false)), Versions::Both),
        sample("link-null-be", null(true), pcap(null(true)).order(Order::Big), Versions::Both),
        sample("link-loop", Link::Loop, pcap(Link::Loop), Versions::Both),
        tags(),
        fragments(),
        extensions(),
        unreadable(),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    Both,
    Only4,
    Only6,
}

fn ng(order: Order, resolution: Resolution) -> Format {
    Format::pcapng(Link::Ethernet).order(order).resolution(resolution)
}

/// A connection and a datagram with its answer, of each version of IP.
fn sample(name: &'static str, link: Link, format: Format, versions: Versions) -> Capture {
    let mut tape = Tape::new(link);
    if versions != Versions::Only6 {
        small_talk(&mut tape, (PEOPLE[0], 50_001).into(), (WEB[0], 443).into());
    }
    if versions != Versions::Only4 {
        small_talk(&mut tape, (v6(PEOPLE[0]), 50_002).into(), (v6(WEB[0]), 443).into());
    }
    let expected = Expected::nothing("A few packets with this link header, in this file format.");
    Capture::new(name, format, tape.packets(), expected)
}

fn small_talk(tape: &mut Tape, client: SocketAddr, server: SocketAddr) {
    let mut dice = Dice::new(u64::from(client.port()));
    let path = Path::new(client, server);
    let look = Look::Tls { name: Some("www.example".to_owned()) };
    let (mut connection, ready) = Tcp::open(tape, Duration::from_millis(100), path, &mut dice);
    let (request, answer) = (look.request(true, 320, &mut dice), look.answer(true, 400, &mut dice));
    let done = connection.exchange(tape, ready, &request, &answer);
    connection.close(tape, done);
    let path = Path::new((client.ip(), 40_053), (server.ip(), 3_478));
    datagrams(tape, done + Duration::from_millis(50), path, [&[1; 20], &[2; 32]]);
}

fn tags() -> Capture {
    let mut tape = Tape::new(Link::Ethernet).tagged(&[42]);
    small_talk(&mut tape, (PEOPLE[0], 50_001).into(), (WEB[0], 443).into());
    let mut double = Tape::new(Link::Ethernet).tagged(&[7, 42]);
    small_talk(&mut double, (v6(PEOPLE[0]), 50_002).into(), (v6(WEB[0]), 443).into());
    let mut packets = [tape.packets(), double.packets()].concat();
    packets.sort_by_key(|packet| packet.time_ns);
    let expected = Expected::nothing("One VLAN tag over IPv4, and two over IPv6.");
    Capture::new("vlan", Format::pcap(Link::Ethernet), packets, expected)
}

/// Datagrams in pieces, the pieces also in the wrong order.
fn fragments() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    for (index, (client, server)) in [
        (SocketAddr::from((PEOPLE[1], 40_100)), SocketAddr::from((WEB[1], 2_049))),
        (SocketAddr::from((v6(PEOPLE[1]), 40_100)), SocketAddr::from((v6(WEB[1]), 2_049))),
    ]
    .into_iter()
    .enumerate()
    {
        let whole = vec![0x5a; 1_472];
        let first = Frame::udp(client, server).payload(&whole).claim_udp_length(8 + 1_472 + 1_480 + 100);
        let pieces = [
            first.clone().fragment(0, true, 77),
            first.clone().payload(&[0x5b; 1_480]).fragment(1_480, true, 77),
            first.payload(&[0x5c; 100]).fragment(2_960, false, 77),
        ];
        for (step, order) in [[0, 1, 2], [2, 1, 0]].iter().enumerate() {
            for (place, piece) in order.iter().enumerate() {
                let at = Duration::from_millis(10 + 100 * index as u64 + 40 * step as u64 + place as u64);
                tape.put(at, pieces[*piece].clone());
            }
        }
    }
    let expected = Expected::nothing("Datagrams in three fragments, forwards and backwards, of both versions of IP.");
    Capture::new("fragments", Format::pcap(Link::Ethernet), tape.packets(), expected)
}

fn extensions() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let (client, server) = ((v6(PEOPLE[2]), 40_200), (v6(WEB[2]), 4_500));
    let chains = [
        vec![Extension::HopByHop],
        vec![Extension::DestinationOptions(6), Extension::Routing],
        vec![Extension::HopByHop, Extension::Routing, Extension::DestinationOptions(30), Extension::Authentication],
        vec![Extension::AtomicFragment],
    ];
    for (index, chain) in chains.into_iter().enumerate() {
        let frame = chain.into_iter().fold(Frame::udp(client, server).payload(b"behind"), Frame::extension);
        tape.put(Duration::from_millis(10 * index as u64), frame);
    }
    let options = Frame::udp((PEOPLE[2], 40_200), (WEB[2], 4_500)).ipv4_options(&[0x94, 4, 0, 0, 1, 1, 1, 0]);
    tape.put(Duration::from_millis(90), options.payload(b"behind"));
    tape.put(Duration::from_millis(95), Frame::ping(PEOPLE[2], WEB[2], 1).payload(&[7; 56]));
    tape.put(Duration::from_millis(96), Frame::ping(v6(PEOPLE[2]), v6(WEB[2]), 1).payload(&[7; 56]));
    let expected = Expected::nothing("Datagrams behind IPv6 extension headers and IPv4 options, and pings.");
    Capture::new("extensions", Format::pcapng(Link::Ethernet), tape.packets(), expected)
}

/// Packets that end too early or contradict themselves, between two that are whole.
fn unreadable() -> Capture {
    let (client, server) = ((IMPLANT, 40_300), (WEB[3], 443));
    let frame = || Frame::tcp(client, server).payload(&[0x61; 20]);
    let bad = [
        frame().truncate(10),
        frame().truncate(20),
        frame().truncate(14 + 20 + 10),
        frame().claim_header_words(4),
        frame().claim_version(7),
        frame().claim_ether_type(0x86dd),
        frame().claim_tcp_words(3),
        Frame::udp((v6(IMPLANT), 40_300), (v6(WEB[3]), 443)).extension(Extension::HopByHop).truncate(14 + 40 + 3),
    ];
    let good = frame().build();
    let frames = [vec![good.clone()], bad.iter().map(Frame::build).collect(), vec![good]].concat();
    let start = 1_767_603_600_000_000_000;
    let numbered = (0_u64..).zip(frames);
    let packets = numbered.map(|(number, frame)| Packet::new(start + number * 1_000_000, frame)).collect();
    let expected = Expected {
        unparsed: Some(bad.len()),
        ..Expected::nothing("Packets that end too early or contradict themselves, between two that are whole.")
    };
    Capture::new("unreadable", Format::pcap(Link::Ethernet), packets, expected)
}
