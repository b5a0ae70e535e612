//! A TCP connection on paper.

use std::time::Duration;

use super::{Path, Tape};
use crate::frames::{Frame, flags};
use crate::traffic::dice::Dice;

const MSS: usize = 1_400;
/// From the arrival of a request to its answer.
const THOUGHT: Duration = Duration::from_millis(4);
/// Between segments of one flight.
const SPACING: Duration = Duration::from_micros(120);

/// An open connection, seen beside the client.
#[derive(Clone, Debug)]
pub struct Tcp {
    path: Path,
    /// Sequence numbers of what comes next from either side.
    next: [u32; 2],
}

/// Which side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    /// The Ethernet addresses of what this side sends, source first.
    pub(super) fn macs(self) -> [[u8; 6]; 2] {
        const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 7];
        const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
        match self {
            Self::Client => [CLIENT, GATEWAY],
            Self::Server => [GATEWAY, CLIENT],
        }
    }
}

impl Tcp {
    /// Puts the handshake on the tape; returns the connection and when it is open.
    pub fn open(tape: &mut Tape, at: Duration, path: Path, dice: &mut Dice) -> (Self, Duration) {
        let mut connection = Self { path, next: [dice.bits() as u32, dice.bits() as u32] };
        let answered = at + path.round_trip;
        connection.segment(tape, at, Side::Client, flags::SYN, &[]);
        connection.segment(tape, answered, Side::Server, flags::SYN | flags::ACK, &[]);
        connection.segment(tape, answered + SPACING, Side::Client, flags::ACK, &[]);
        (connection, answered + 2 * SPACING)
    }

    /// Sends a request and its answer, each acknowledged; returns when the last packet was there. No answer is sent
    /// when it is empty.
    pub fn exchange(&mut self, tape: &mut Tape, at: Duration, request: &[u8], answer: &[u8]) -> Duration {
        let sent = self.data(tape, at, Side::Client, request);
        let arrived = sent + self.path.round_trip;
        self.segment(tape, arrived, Side::Server, flags::ACK, &[]);
        if answer.is_empty() {
            return arrived;
        }
        let answered = self.data(tape, arrived + THOUGHT, Side::Server, answer);
        self.segment(tape, answered + SPACING, Side::Client, flags::ACK, &[]);
        answered + 2 * SPACING
    }

    /// Sends data from one side, without an acknowledgement; returns when the last segment passed.
    pub fn data(&mut self, tape: &mut Tape, at: Duration, side: Side, data: &[u8]) -> Duration {
        let segments = data.chunks(MSS);
        let last = segments.len().saturating_sub(1);
        let mut now = at;
        for (index, part) in segments.enumerate() {
            let push = if index == last { flags::PSH } else { 0 };
            now = at + SPACING * index as u32;
            self.segment(tape, now, side, flags::ACK | push, part);
        }
        now
    }

    /// Closes from both sides, the client first.
    pub fn close(&mut self, tape: &mut Tape, at: Duration) {
        self.segment(tape, at, Side::Client, flags::FIN | flags::ACK, &[]);
        self.segment(tape, at + self.path.round_trip, Side::Server, flags::FIN | flags::ACK, &[]);
        self.segment(tape, at + self.path.round_trip + SPACING, Side::Client, flags::ACK, &[]);
    }

    fn segment(&mut self, tape: &mut Tape, at: Duration, side: Side, flags: u8, payload: &[u8]) {
        let (source, destination, own, other) = match side {
            Side::Client => (self.path.client, self.path.server, 0, 1),
            Side::Server => (self.path.server, self.path.client, 1, 0),
        };
        let acknowledged = if flags & flags::ACK == 0 { 0 } else { self.next[other] };
        let frame = Frame::tcp(source, destination)
            .macs(side.macs()[0], side.macs()[1])
            .flags(flags)
            .sequence(self.next[own])
            .acknowledgement(acknowledged)
            .payload(payload);
        tape.put(at, frame);
        // SYN and FIN count as a byte each.
        let control = u32::from(flags & (flags::SYN | flags::FIN) != 0);
        self.next[own] = self.next[own].wrapping_add(payload.len() as u32 + control);
    }
}
