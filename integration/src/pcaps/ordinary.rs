//! Captures in which nothing is wrong, however regular it looks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Capture, Expected};
use crate::capture::{Format, Resolution};
use crate::frames::Link;
use crate::lab::{PEOPLE, TIME, WEB};
use crate::synth::{Browsing, Calls, Path, Tape, Tcp, datagrams};
use crate::traffic::dice::Dice;
use crate::traffic::exchange::Lengths;
use crate::traffic::payload::{Look, ntp};
use crate::traffic::timer::{Jitter, Timer};

pub(super) fn all() -> Vec<Capture> {
    vec![people(), clocks(), cron(), telemetry(), download()]
}

/// Returns the servers that people visit.
pub(super) fn servers() -> Vec<SocketAddr> {
    WEB.map(|server| (server, 443).into()).into()
}

/// Puts a person who browses now and then beside what a capture is about.
pub(super) fn neighbours(tape: &mut Tape, until: Duration, seed: u64) {
    let from = IpAddr::from(PEOPLE[3]);
    Browsing { from, servers: &servers(), pause: Duration::from_secs(240), until, seed }.put(tape);
}

fn people() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let servers = servers();
    for (seed, from) in PEOPLE[..4].iter().enumerate() {
        let (pause, until) = (Duration::from_secs(40), Duration::from_secs(1_500));
        Browsing { from: (*from).into(), servers: &servers, pause, until, seed: 20 + seed as u64 }.put(&mut tape);
    }
    let expected = Expected::nothing("Four people browse for 25 minutes; the capture kept 100 bytes of each packet.");
    Capture::new("people", Format::pcap(Link::Ethernet).snaplen(100), tape.packets(), expected)
}

/// Three hosts that keep their clocks, each polling two servers.
fn clocks() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let mut dice = Dice::new(123);
    for (index, host) in PEOPLE[..3].iter().enumerate() {
        for server in [TIME, Ipv4Addr::new(198, 51, 100, 124)] {
            // Well-kept clocks slow down: 16 s, then 64 s.
            let poll = if index == 0 { 16 } else { 64 };
            let mut at = Duration::from_secs_f64(dice.between(0.0, 30.0));
            for number in 0..40 {
                let path = Path::new((*host, 123), (server, 123));
                datagrams(&mut tape, at, path, [&ntp(3, number), &ntp(4, number)]);
                // The clocks themselves drift and the programs wake late, by milliseconds.
                at += Duration::from_secs(poll) + Duration::from_secs_f64(dice.between(0.0, 0.02));
            }
        }
    }
    let expected = Expected::nothing("Three hosts ask two time servers every 16 or 64 s.");
    let format = Format::pcap(Link::Ethernet).resolution(Resolution::Nano);
    Capture::new("ntp", format, tape.packets(), expected)
}

/// A job that looks for updates every five minutes on the dot.
fn cron() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let calls = Calls {
        path: Path::new((PEOPLE[4], 50_000), (Ipv4Addr::new(198, 51, 100, 60), 80)),
        timer: Timer::new(Duration::from_secs(300), Jitter::Above(0.003)),
        look: Look::Http { host: "packages.example".to_owned() },
        lengths: Lengths { request: 180, answer: 400 },
        spread: 2_500,
        count: 24,
        first: Duration::from_secs(1),
        seed: 80,
    };
    calls.apart(&mut tape);
    neighbours(&mut tape, Duration::from_secs(2_400), 95);
    let about =
        "A job asks a package server in clear HTTP every 300 s and gets answers of all sizes: regular, not malicious.";
    Capture::new("cron", Format::pcapng(Link::Ethernet), tape.packets(), Expected::no_block(about))
}

/// Two things of the house that keep a connection to their maker alive.
fn telemetry() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let mut dice = Dice::new(1_883);
    let broker = SocketAddr::from(([198, 51, 100, 70], 1_883));
    for (index, thing) in PEOPLE[4..].iter().enumerate() {
        let path = Path::new((*thing, 51_000), broker);
        let begin = Duration::from_secs(5 + 17 * index as u64);
        let (mut connection, mut at) = Tcp::open(&mut tape, begin, path, &mut dice);
        at = connection.exchange(&mut tape, at, &mqtt_connect(index), &[0x20, 2, 0, 0]);
        for beat in 0..30 {
            at += Duration::from_secs(60);
            connection.exchange(&mut tape, at, &[0xc0, 0], &[0xd0, 0]);
            if beat % 7 == 3 {
                let value = format!("{:012}", dice.whole(0, 999));
                let publish = [&[0x30, 20, 0, 6][..], b"t/room", value.as_bytes()].concat();
                connection.exchange(&mut tape, at + Duration::from_secs(11), &publish, &[]);
            }
        }
        connection.close(&mut tape, at + Duration::from_secs(20));
    }
    let about = "Two things keep MQTT connections alive with a ping every 60 s: regular, not malicious.";
    Capture::new("telemetry", Format::pcap(Link::Ethernet), tape.packets(), Expected::no_block(about))
}

/// One transfer that fills the wire.
fn download() -> Capture {
    let mut tape = Tape::new(Link::Ethernet);
    let mut dice = Dice::new(40);
    let path = Path::new((PEOPLE[0], 52_000), ([198, 51, 100, 40], 443));
    let look = Look::Tls { name: Some("mirror.example".to_owned()) };
    let (mut connection, ready) = Tcp::open(&mut tape, Duration::from_secs(1), path, &mut dice);
    let request = look.request(true, 517, &mut dice);
    let answer = look.answer(true, 1_000_000, &mut dice);
    let done = connection.exchange(&mut tape, ready, &request, &answer);
    connection.close(&mut tape, done + Duration::from_millis(3));
    let expected = Expected::nothing("A download of a megabyte; the capture kept 64 bytes of each packet.");
    Capture::new("download", Format::pcapng(Link::Ethernet).snaplen(64), tape.packets(), expected)
}

fn mqtt_connect(index: usize) -> Vec<u8> {
    let id = format!("thing-{index:02}");
    let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4];
    packet.extend(b"MQTT");
    packet.extend([4, 2, 0, 90, 0, id.len() as u8]);
    packet.extend(id.as_bytes());
    packet
}
