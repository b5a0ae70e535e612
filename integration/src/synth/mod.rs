//! Conversations on paper: the packets that a gateway would see, without a network and in no time.

mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use crate::capture::Packet;
use crate::frames::{Frame, Link};
use crate::traffic::dice::Dice;
use crate::traffic::exchange::Lengths;
use crate::traffic::payload::Look;
use crate::traffic::timer::Timer;

pub use tcp::{Side, Tcp};

/// When captures begin: Monday, 5 January 2026, 09:00 UTC.
const START: Duration = Duration::from_secs(1_767_603_600);

/// Packets in the making, in any order.
#[derive(Clone, Debug)]
pub struct Tape {
    packets: Vec<(Duration, Vec<u8>)>,
    link: Link,
    tags: Vec<u16>,
}

impl Tape {
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { packets: Vec::new(), link, tags: Vec::new() }
    }

    /// Gives every frame from here on these VLAN tags, the outer first.
    #[must_use]
    pub fn tagged(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// Adds a frame at a time since the start of the capture.
    pub fn put(&mut self, at: Duration, frame: Frame) {
        let frame = frame.link(self.link);
        let frame = match self.tags[..] {
            [] => frame,
            [only] => frame.vlan(only),
            [outer, ref inner @ ..] => inner.iter().fold(frame.service_vlan(outer), |frame, tag| frame.vlan(*tag)),
        };
        self.packets.push((at, frame.build()));
    }

    /// Returns the packets in the order of their times.
    #[must_use]
    pub fn packets(mut self) -> Vec<Packet> {
        // Stable: packets of one time stay in the order in which they were put.
        self.packets.sort_by_key(|(at, _)| *at);
        let packets = self.packets.into_iter();
        packets.map(|(at, bytes)| Packet::new((START + at).as_nanos() as u64, bytes)).collect()
    }
}

/// Who talks to whom, and how far apart they are.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub round_trip: Duration,
}

impl Path {
    #[must_use]
    pub fn new(client: impl Into<SocketAddr>, server: impl Into<SocketAddr>) -> Self {
        Self { client: client.into(), server: server.into(), round_trip: Duration::from_millis(38) }
    }

    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.client.set_port(port);
        self
    }
}

/// A timer that asks: what an implant looks like from outside, and much that is none.
#[derive(Clone, Debug)]
pub struct Calls {
    pub path: Path,
    pub timer: Timer,
    pub look: Look,
    pub lengths: Lengths,
    /// How much longer an answer may be than `lengths` says.
    pub spread: usize,
    pub count: usize,
    pub first: Duration,
    pub seed: u64,
}

/// The first of the ports that clients use here.
const EPHEMERAL: u16 = 49_152;

impl Calls {
    /// Every call on a connection of its own.
    pub fn apart(&self, tape: &mut Tape) {
        let (mut sleeps, mut payloads) = (Dice::new(self.seed), Dice::new(!self.seed));
        let mut at = self.first;
        for number in 0..self.count {
            let path = self.path.port(EPHEMERAL + (number as u16 * 7) % 16_000);
            let (mut connection, ready) = Tcp::open(tape, at, path, &mut payloads);
            let (request, answer) = self.payloads(true, &mut payloads);
            let done = connection.exchange(tape, ready, &request, &answer);
            connection.close(tape, done + Duration::from_millis(5));
            at += self.timer.next(&mut sleeps);
        }
    }

    /// All calls on one connection.
    pub fn inside(&self, tape: &mut Tape) {
        let (mut sleeps, mut payloads) = (Dice::new(self.seed), Dice::new(!self.seed));
        let (mut connection, mut at) = Tcp::open(tape, self.first, self.path, &mut payloads);
        let mut done = at;
        for number in 0..self.count {
            let (request, answer) = self.payloads(number == 0, &mut payloads);
            done = connection.exchange(tape, at, &request, &answer);
            at += self.timer.next(&mut sleeps);
        }
        connection.close(tape, done + Duration::from_secs(2));
    }

    /// Every call a datagram, its answer another.
    pub fn datagrams(&self, tape: &mut Tape) {
        let (mut sleeps, mut payloads) = (Dice::new(self.seed), Dice::new(!self.seed));
        let mut at = self.first;
        for _ in 0..self.count {
            let (request, answer) = self.payloads(true, &mut payloads);
            datagrams(tape, at, self.path, [&request, &answer]);
            at += self.timer.next(&mut sleeps);
        }
    }

    fn payloads(&self, first: bool, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
        let answer = self.lengths.answer + dice.whole(0, self.spread);
        (self.look.request(first, self.lengths.request, dice), self.look.answer(first, answer, dice))
    }
}

/// A datagram and its answer; an empty answer is none.
pub fn datagrams(tape: &mut Tape, at: Duration, path: Path, [request, answer]: [&[u8]; 2]) {
    tape.put(at, Frame::udp(path.client, path.server).payload(request));
    if !answer.is_empty() {
        let [source, destination] = Side::Server.macs();
        let frame = Frame::udp(path.server, path.client).macs(source, destination).payload(answer);
        tape.put(at + path.round_trip, frame);
    }
}

/// Someone who browses from the start until `until`.
#[derive(Clone, Copy, Debug)]
pub struct Browsing<'s> {
    pub from: std::net::IpAddr,
    pub servers: &'s [SocketAddr],
    /// Half of the pauses between pages are longer.
    pub pause: Duration,
    pub until: Duration,
    pub seed: u64,
}

impl Browsing<'_> {
    pub fn put(&self, tape: &mut Tape) {
        let mut dice = Dice::new(self.seed);
        let mut port = EPHEMERAL + dice.whole(0, 8_000) as u16;
        let mut at = Duration::from_secs_f64(dice.between(1.0, 60.0));
        while at < self.until {
            for _ in 0..dice.whole(1, 3) {
                let server = self.servers[dice.whole(0, self.servers.len() - 1)];
                port += 1;
                at += self.visit(tape, at, Path::new((self.from, port), server), &mut dice);
            }
            at += Duration::from_secs_f64(dice.lognormal(self.pause.as_secs_f64(), 1.3).clamp(0.4, 900.0));
        }
    }

    /// One connection with a few requests; returns how long it took.
    fn visit(&self, tape: &mut Tape, at: Duration, mut path: Path, dice: &mut Dice) -> Duration {
        path.round_trip = Duration::from_millis(dice.whole(8, 120) as u64);
        let look = Look::Tls { name: Some(format!("www{}.example", path.server.ip().to_string().len())) };
        let (mut connection, ready) = Tcp::open(tape, at, path, dice);
        let mut now = ready;
        for number in 0..dice.whole(1, 3) {
            let request = look.request(number == 0, dice.whole(280, 600), dice);
            let answer = look.answer(number == 0, dice.lognormal(600.0, 0.9).min(3_000.0) as usize, dice);
            now = connection.exchange(tape, now, &request, &answer);
            now += Duration::from_millis(dice.whole(5, 400) as u64);
        }
        connection.close(tape, now);
        now - at
    }
}
