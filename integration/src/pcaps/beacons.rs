//! Captures in which something calls home.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ordinary::{neighbours, servers};
use super::{Capture, Expected, Found, Rhythm};
use crate::capture::{Format, Order, Resolution};
use crate::frames::Link;
use crate::lab::{C2, IMPLANT, PEOPLE, v6};
use crate::synth::{Browsing, Calls, Path, Side, Tape, Tcp};
use crate::traffic::dice::Dice;
use crate::traffic::exchange::Lengths;
use crate::traffic::payload::Look;
use crate::traffic::timer::{Jitter, Timer};

pub(super) fn all() -> Vec<Capture> {
    vec![tls(), inside(), acceptor(), ipv6(), udp(), missed(), vlan(), snaplen()]
}

/// New connections every minute, among people.
fn tls() -> Capture {
    let calls = Calls { timer: every(60, Jitter::Below(0.2)), ..calls(443) };
    let mut tape = Tape::new(Link::Ethernet);
    calls.apart(&mut tape);
    let servers = servers();
    for (seed, from) in PEOPLE[..2].iter().enumerate() {
        let until = Duration::from_secs(1_200);
        let pause = Duration::from_secs(150);
        Browsing { from: (*from).into(), servers: &servers, pause, until, seed: 70 + seed as u64 }.put(&mut tape);
    }
    let about = "An implant checks in every 60 s with 20 % jitter, each time in a new TLS connection without a name, \
                 among two people who browse.";
    let expected = Expected::found(about, found(&calls, "tcp", 20, [46, 62]));
    Capture::new("beacon-tls", Format::pcap(Link::Ethernet), tape.packets(), expected)
}

/// Check-ins inside one long connection, which connection logs show as one row.
fn inside() -> Capture {
    let calls =
        Calls { timer: every(45, Jitter::Around(0.2)), lengths: Lengths { request: 170, answer: 90 }, ..calls(8_443) };
    let mut tape = Tape::new(Link::Ethernet);
    calls.inside(&mut tape);
    neighbours(&mut tape, Duration::from_secs(1_800), 90);
    let about =
        "An implant checks in every 45 s with 20 % jitter either way, inside one TLS connection of half an hour.";
    let expected = Expected::found(about, found(&calls, "tcp", 25, [34, 56]));
    Capture::new("beacon-inside", Format::pcapng(Link::Ethernet), tape.packets(), expected)
}

/// The other side of a long connection asks; the agent answers.
fn acceptor() -> Capture {
    let path = Path::new((IMPLANT, 50_100), (C2, 4_433));
    let timer = every(30, Jitter::Below(0.1));
    let mut tape = Tape::new(Link::Ethernet);
    let (mut sleeps, mut payloads) = (Dice::new(31), Dice::new(32));
    let (mut connection, mut at) = Tcp::open(&mut tape, Duration::from_secs(3), path, &mut payloads);
    connection.exchange(&mut tape, at, &Look::Raw.request(true, 120, &mut payloads), &[]);
    for _ in 0..40 {
        at += timer.next(&mut sleeps);
        connection.data(&mut tape, at, Side::Server, &Look::Raw.request(false, 48, &mut payloads));
        connection.data(&mut tape, at + path.round_trip, Side::Client, &Look::Raw.request(false, 96, &mut payloads));
    }
    connection.close(&mut tape, at + Duration::from_secs(8));
    neighbours(&mut tape, Duration::from_secs(1_200), 91);
    let about =
        "An agent connects once; from then on the server asks every 30 s with 10 % jitter and the agent answers.";
    let found = Found {
        detector: "beacon",
        originator: path.client,
        responder: path.server,
        protocol: "tcp",
        rhythm: Some(Rhythm { min_turns: MIN_TURNS, by_turn: 20, interval_s: [26, 31] }),
        block: TIMING_ALONE,
    };
    let expected = Expected::found(about, found);
    Capture::new("beacon-acceptor", Format::pcap(Link::Ethernet), tape.packets(), expected)
}

fn ipv6() -> Capture {
    let calls = Calls {
        path: Path::new((v6(IMPLANT), 50_000), (v6(C2), 8_080)),
        timer: every(60, Jitter::Below(0.1)),
        look: Look::Http { host: "updates.example".to_owned() },
        count: 30,
        ..calls(8_080)
    };
    let mut tape = Tape::new(Link::Ethernet);
    calls.apart(&mut tape);
    neighbours(&mut tape, Duration::from_secs(1_800), 92);
    let about = "An implant checks in every 60 s with 10 % jitter over IPv6, in clear HTTP on port 8080.";
    let expected = Expected::found(about, found(&calls, "tcp", 15, [53, 62]));
    // A big-endian file in nanoseconds: rare, and read all the same.
    let format = Format::pcap(Link::Ethernet).order(Order::Big).resolution(Resolution::Nano);
    Capture::new("beacon-ipv6", format, tape.packets(), expected)
}

fn udp() -> Capture {
    let calls = Calls {
        path: Path::new((IMPLANT, 41_641), (C2, 5_355)),
        timer: every(30, Jitter::Below(0.25)),
        look: Look::Raw,
        lengths: Lengths { request: 96, answer: 64 },
        ..calls(5_355)
    };
    let mut tape = Tape::new(Link::Ethernet);
    calls.datagrams(&mut tape);
    neighbours(&mut tape, Duration::from_secs(1_000), 93);
    let about = "An implant checks in over UDP every 30 s with 25 % jitter.";
    let expected = Expected::found(about, found(&calls, "udp", 22, [22, 31]));
    Capture::new("beacon-udp", Format::pcap(Link::Ethernet), tape.packets(), expected).gzipped()
}

fn missed() -> Capture {
    let calls = Calls { timer: every(60, Jitter::Below(0.1)).missing(0.2), count: 45, ..calls(443) };
    let mut tape = Tape::new(Link::Ethernet);
    calls.apart(&mut tape);
    neighbours(&mut tape, Duration::from_secs(2_400), 94);
    let about = "An implant checks in every 60 s with 10 % jitter, but one beat in five does not come.";
    let expected = Expected::found(about, found(&calls, "tcp", 25, [53, 75]));
    Capture::new("beacon-missed", Format::pcapng(Link::Ethernet), tape.packets(), expected)
}

fn vlan() -> Capture {
    let calls = Calls { timer: every(20, Jitter::None), count: 20, ..calls(443) };
    let mut tape = Tape::new(Link::Ethernet).tagged(&[7, 42]);
    calls.apart(&mut tape);
    let about = "An implant checks in every 20 s on the dot, behind two VLAN tags.";
    let expected = Expected::found(about, found(&calls, "tcp", 12, [19, 21]));
    Capture::new("beacon-vlan", Format::pcap(Link::Ethernet), tape.packets(), expected)
}

fn snaplen() -> Capture {
    let calls = Calls { timer: every(60, Jitter::Below(0.2)), count: 35, ..calls(443) };
    let mut tape = Tape::new(Link::Ethernet);
    calls.apart(&mut tape);
    let about = "An implant checks in every 60 s with 20 % jitter; the capture kept the first 68 bytes of each packet.";
    let expected = Expected::found(about, found(&calls, "tcp", 20, [46, 62]));
    Capture::new("beacon-snaplen", Format::pcap(Link::Ethernet).snaplen(68), tape.packets(), expected)
}

/// No finding rests on fewer.
const MIN_TURNS: usize = 4;

fn every(seconds: u64, jitter: Jitter) -> Timer {
    Timer::new(Duration::from_secs(seconds), jitter)
}

fn calls(port: u16) -> Calls {
    Calls {
        path: Path::new((IMPLANT, 50_000), (C2, port)),
        timer: every(60, Jitter::None),
        look: Look::Tls { name: None },
        lengths: Lengths { request: 300, answer: 420 },
        spread: 0,
        count: 40,
        first: Duration::from_secs(2),
        seed: u64::from(port),
    }
}

/// Nobody gives these implants anything to do: what speaks against them is their timing, and that never blocks alone.
const TIMING_ALONE: Option<bool> = Some(false);

fn found(calls: &Calls, protocol: &'static str, by_turn: usize, interval_s: [u32; 2]) -> Found {
    Found {
        detector: "beacon",
        originator: anonymous(calls.path.client.ip()),
        responder: calls.path.server,
        protocol,
        rhythm: Some(Rhythm { min_turns: MIN_TURNS, by_turn, interval_s }),
        block: TIMING_ALONE,
    }
}

fn anonymous(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}
