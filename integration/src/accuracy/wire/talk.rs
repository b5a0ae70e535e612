//! One conversation, told from its originator's side.

use std::net::SocketAddr;

use netd_common::key::{ConversationKey, Direction, FlowKey};
use netd_common::record::{
    FlowEvent, FlowRecord, Header, Kind, PAYLOAD_SNAP, PayloadKind, PayloadRecord, TurnRecord, state,
};

use super::{Connection, Record, Wire, nanoseconds};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const DNS_PORT: u16 = 53;

const TURN_GAP_S: f64 = 0.75;
const ACTIVE_TIMEOUT_S: f64 = 60.0;
const SETTLED_S: f64 = 5.0;
/// Payload of a full segment, and what is around one: Ethernet, IPv4, TCP with timestamps.
const SEGMENT: u64 = 1_448;
const HEADERS: u64 = 66;
const ETHERNET: u64 = 14;

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Client = 0,
    Server = 1,
}

/// A conversation in the making. Counters are `[client, server]`.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    client: SocketAddr,
    server: SocketAddr,
    key: ConversationKey,
    from: Direction,
    has_begun: bool,
    first_s: f64,
    last_s: f64,
    last_payload_s: f64,
    reported_s: f64,
    state: u8,
    packets: [u32; 2],
    bytes: [u64; 2],
    payload: [u64; 2],
    flags: [u8; 2],
    had_data: [bool; 2],
}

impl Talk {
    fn new(client: SocketAddr, server: SocketAddr, proto: u8) -> Self {
        let flow = FlowKey {
            src: client.ip().into(),
            dst: server.ip().into(),
            src_port: client.port().to_be_bytes(),
            dst_port: server.port().to_be_bytes(),
            proto,
            pad: [0; 3],
        };
        let (key, from) = flow.conversation();
        let side = if from == Direction::BToA { state::ORIGINATOR_IS_B } else { 0 };
        let certain = if proto == UDP { 0 } else { state::ORIGINATOR_CERTAIN };
        Self {
            client,
            server,
            key,
            from,
            has_begun: false,
            first_s: 0.0,
            last_s: 0.0,
            last_payload_s: 0.0,
            reported_s: 0.0,
            state: side | certain,
            packets: [0; 2],
            bytes: [0; 2],
            payload: [0; 2],
            flags: [0; 2],
            had_data: [false; 2],
        }
    }

    /// A TCP connection whose handshake takes one round trip from `at_s` on.
    pub(crate) fn tcp(wire: &mut Wire, at_s: f64, client: SocketAddr, server: SocketAddr, round_trip_s: f64) -> Self {
        let mut talk = Self::attempt(wire, at_s, client, server);
        talk.packets = [2, 1];
        talk.bytes = [74 + HEADERS, 74];
        talk.flags = [SYN | ACK, SYN | ACK];
        talk.last_s = at_s + round_trip_s;
        talk.record(wire, talk.last_s, FlowEvent::Active);
        talk
    }

    /// A SYN.
    fn attempt(wire: &mut Wire, at_s: f64, client: SocketAddr, server: SocketAddr) -> Self {
        let mut talk = Self::new(client, server, TCP);
        (talk.packets, talk.bytes, talk.flags) = ([1, 0], [74, 0], [SYN, 0]);
        talk.begin(wire, at_s);
        talk
    }

    /// An attempt that is refused.
    pub(crate) fn refused(wire: &mut Wire, at_s: f64, client: SocketAddr, server: SocketAddr, round_trip_s: f64) {
        let mut talk = Self::attempt(wire, at_s, client, server);
        talk.reset(wire, at_s + round_trip_s, By::Server);
    }

    /// An attempt that nobody answers, sent again after 1, 3 and 7 s.
    pub(crate) fn unanswered(wire: &mut Wire, at_s: f64, client: SocketAddr, server: SocketAddr) {
        let mut talk = Self::attempt(wire, at_s, client, server);
        (talk.packets, talk.bytes) = ([4, 0], [4 * 74, 0]);
        talk.last_s = at_s + 7.0;
        talk.rest(wire);
        talk.log(wire);
    }

    /// UDP, which begins with its first datagram.
    pub(crate) fn udp(client: SocketAddr, server: SocketAddr) -> Self {
        Self::new(client, server, UDP)
    }

    /// Adds payload of one side; `bytes` is how it begins, asked for only where it would be captured.
    pub(crate) fn say(&mut self, wire: &mut Wire, at_s: f64, by: By, length: u64, bytes: impl FnOnce() -> Vec<u8>) {
        let at_s = at_s.max(self.last_s);
        let is_begin = !self.has_begun;
        let is_first = self.payload == [0; 2];
        let idle_s = at_s - self.last_payload_s;
        if !is_begin && (is_first || idle_s >= TURN_GAP_S) {
            self.turn(wire, at_s, by, length, if is_first { 0.0 } else { idle_s });
        }
        let is_first_answer = !is_begin && self.packets[by as usize] == 0;
        self.count(by, length);
        (self.last_s, self.last_payload_s) = (at_s, at_s);
        self.state |= state::PAYLOAD;
        if is_begin {
            self.begin(wire, at_s);
        } else if is_first_answer {
            self.record(wire, at_s, FlowEvent::Active);
        }
        let is_dns = self.key.proto == UDP && self.server.port() == DNS_PORT;
        if is_dns {
            self.captured(wire, at_s, by, length, PayloadKind::Dns, &bytes());
        } else if !self.had_data[by as usize] {
            self.had_data[by as usize] = true;
            self.captured(wire, at_s, by, length, PayloadKind::FirstData, &bytes());
        }
        if at_s - self.reported_s >= ACTIVE_TIMEOUT_S {
            self.tell(wire, at_s, FlowEvent::Active);
        }
    }

    /// Adds steady streams of payload, `[client, server]` bytes in all.
    pub(crate) fn stream(&mut self, wire: &mut Wire, from_s: f64, to_s: f64, lengths: [u64; 2]) {
        let from_s = from_s.max(self.last_s);
        let pieces = ((to_s - from_s) / ACTIVE_TIMEOUT_S).ceil().max(1.0);
        for number in 0..pieces as u64 {
            let at_s = from_s + (to_s - from_s) * number as f64 / pieces;
            // Within a stream nothing is idle, whatever lies between two pieces.
            if number > 0 {
                self.last_payload_s = at_s;
            }
            for (by, length) in [By::Client, By::Server].into_iter().zip(lengths) {
                let piece = (length as f64 / pieces) as u64;
                if piece > 0 {
                    self.say(wire, at_s, by, piece, Vec::new);
                }
            }
        }
        (self.last_s, self.last_payload_s) = (to_s.max(self.last_s), to_s.max(self.last_s));
    }

    /// Says what is known: nothing happens in the next 5 s.
    pub(crate) fn rest(&mut self, wire: &mut Wire) {
        self.tell(wire, self.last_s + SETTLED_S, FlowEvent::Active);
    }

    /// Ends a connection that no FIN will end, for the log.
    pub(crate) fn over(mut self, wire: &mut Wire) {
        self.rest(wire);
        self.log(wire);
    }

    /// Closes a TCP connection from one side; the other answers after a round trip.
    pub(crate) fn close(mut self, wire: &mut Wire, at_s: f64, by: By, round_trip_s: f64) {
        let at_s = at_s.max(self.last_s);
        let [first, second] = if by == By::Client { [By::Client, By::Server] } else { [By::Server, By::Client] };
        for (side, at_s) in [(first, at_s), (second, at_s + round_trip_s)] {
            self.packets[side as usize] += 1;
            self.bytes[side as usize] += HEADERS;
            self.flags[side as usize] |= FIN;
            let is_a = (self.direction(side)) == Direction::AToB;
            self.state |= if is_a { state::FIN_A } else { state::FIN_B };
            if side == second {
                self.state |= state::ENDED;
            }
            self.last_s = at_s;
            self.tell(wire, at_s, FlowEvent::End);
        }
        self.log(wire);
    }

    pub(crate) fn reset(&mut self, wire: &mut Wire, at_s: f64, by: By) {
        self.packets[by as usize] += 1;
        self.bytes[by as usize] += 54;
        self.flags[by as usize] |= RST;
        self.state |= state::RESET | state::ENDED;
        self.last_s = at_s.max(self.last_s);
        self.tell(wire, self.last_s, FlowEvent::End);
        self.log(wire);
    }

    pub(crate) fn last_s(&self) -> f64 {
        self.last_s
    }

    fn begin(&mut self, wire: &mut Wire, at_s: f64) {
        wire.conversations += 1;
        self.has_begun = true;
        (self.first_s, self.last_s) = (at_s, at_s);
        if self.key.proto == ICMP {
            self.flags = [8, 0];
        }
        self.tell(wire, at_s, FlowEvent::Begin);
    }

    fn count(&mut self, by: By, length: u64) {
        let (sender, other) = (by as usize, 1 - by as usize);
        let most = if self.key.proto == TCP { SEGMENT } else { 1_400 };
        let packets = length.div_ceil(most).max(1);
        self.packets[sender] = self.packets[sender].wrapping_add(packets as u32);
        self.bytes[sender] += length + packets * HEADERS;
        self.payload[sender] += length;
        if self.key.proto == TCP {
            // Every other segment is acknowledged.
            let acknowledgements = packets.div_ceil(2);
            self.packets[other] = self.packets[other].wrapping_add(acknowledgements as u32);
            self.bytes[other] += acknowledgements * HEADERS;
        }
    }

    fn tell(&mut self, wire: &mut Wire, at_s: f64, event: FlowEvent) {
        self.reported_s = at_s;
        self.record(wire, at_s, event);
    }

    fn record(&self, wire: &mut Wire, at_s: f64, event: FlowEvent) {
        let record = FlowRecord {
            header: header(Kind::Flow, at_s),
            key: self.key,
            bytes: self.by_end(self.bytes),
            payload: self.by_end(self.payload),
            packets: self.by_end(self.packets),
            flags: self.by_end(self.flags),
            first_ns: nanoseconds(self.first_s),
            last_ns: nanoseconds(self.last_s),
            state: self.state,
            event: event as u8,
            ..FlowRecord::default()
        };
        wire.put(nanoseconds(at_s), Record::Flow(Box::new(record)));
    }

    fn turn(&self, wire: &mut Wire, at_s: f64, by: By, length: u64, idle_s: f64) {
        let record = TurnRecord {
            header: header(Kind::Turn, at_s),
            key: self.key,
            payload: self.by_end(self.payload),
            first_ns: nanoseconds(self.first_s),
            idle_ns: (idle_s * 1e9) as u64,
            first_len: length.min(SEGMENT) as u32,
            starter: self.direction(by) as u8,
            is_first: u8::from(self.payload == [0; 2]),
            state: self.state,
            pad: 0,
        };
        wire.put(nanoseconds(at_s), Record::Turn(Box::new(record)));
    }

    fn captured(&self, wire: &mut Wire, at_s: f64, by: By, length: u64, kind: PayloadKind, bytes: &[u8]) {
        let most =
            PAYLOAD_SNAP.min(length as usize).min(if self.key.proto == TCP { SEGMENT as usize } else { PAYLOAD_SNAP });
        let bytes = &bytes[..bytes.len().min(most)];
        if bytes.is_empty() {
            return;
        }
        let record = PayloadRecord {
            header: header(Kind::Payload, at_s),
            key: self.key,
            wire_len: length.min(SEGMENT) as u32,
            captured: bytes.len() as u16,
            direction: self.direction(by) as u8,
            kind: kind as u8,
            // One record a side: nothing has to be put in order.
            ..PayloadRecord::default()
        };
        wire.put(nanoseconds(at_s), Record::Payload(Box::new(record), bytes.into()));
    }

    fn log(&self, wire: &mut Wire) {
        let bytes = self.bytes[0].saturating_sub(ETHERNET * u64::from(self.packets[0]));
        let connection = Connection { start_s: self.first_s, end_s: self.last_s, bytes };
        wire.note((self.client.ip(), self.server.ip()), connection);
    }

    fn direction(&self, by: By) -> Direction {
        match by {
            By::Client => self.from,
            By::Server => self.from.opposite(),
        }
    }

    fn by_end<T: Copy>(&self, [client, server]: [T; 2]) -> [T; 2] {
        match self.from {
            Direction::AToB => [client, server],
            Direction::BToA => [server, client],
        }
    }
}

fn header(kind: Kind, at_s: f64) -> Header {
    Header { kind: kind as u16, cpu: 0, len: 0, time_ns: nanoseconds(at_s) }
}
