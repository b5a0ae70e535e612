//! Exchanges whose first flights are long: in order, overtaken, repeated, offloaded.

use std::{collections::VecDeque, net::SocketAddr};

use netd_lab::frames::{Frame, flags};
use rand::Rng as _;

use super::corpus::{Corpus, ENDS, Sent, end};

/// What a test run takes beside the headers.
const LONGEST: usize = 3_400;

#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Udp,
    Echo,
}

impl Corpus {
    /// Returns an exchange of few packets between two ends, one of which speaks more.
    pub(super) fn exchange(&mut self) -> VecDeque<Sent> {
        let is_v4 = self.random.random();
        let transport = match self.random.random_range(0..6) {
            0..4 => Transport::Tcp,
            4 => Transport::Udp,
            _ => Transport::Echo,
        };
        let port = if self.chance(5) { 53 } else { self.random.random_range(1..u16::MAX) };
        let ends = [
            SocketAddr::new(end(is_v4, self.random.random_range(0..4)), self.random.random_range(1024..u16::MAX)),
            SocketAddr::new(end(is_v4, self.random.random_range(4..ENDS)), port),
        ];
        // Sequence numbers wrap in the middle of some.
        let mut sequences = [(); 2].map(|()| 0_u32.wrapping_sub(self.random.random_range(0..9_000)));
        let mut sent: Vec<Sent> = Vec::new();
        if matches!(transport, Transport::Tcp) && self.chance(2) {
            for (side, bits) in [flags::SYN, flags::SYN | flags::ACK].into_iter().enumerate() {
                let frame = Frame::tcp(ends[side], ends[1 - side]).flags(bits).sequence(sequences[side]);
                sequences[side] = sequences[side].wrapping_add(1);
                sent.push(frame.build().into());
            }
        }
        let handshake = sent.len();
        for _ in 0..self.random.random_range(1..8) {
            let side = usize::from(self.chance(4));
            let (from, to) = (ends[side], ends[1 - side]);
            let frame = match transport {
                Transport::Tcp => Frame::tcp(from, to).sequence(sequences[side]),
                Transport::Udp => Frame::udp(from, to),
                Transport::Echo => {
                    let kinds = if is_v4 { [8, 0] } else { [128, 129] };
                    let rest = [(port >> 8) as u8, port as u8, 0, 1];
                    Frame::icmp(from.ip(), to.ip(), kinds[side], self.random.random_range(0..3), rest)
                }
            };
            let (packet, length) = self.packet(frame, transport);
            sequences[side] = sequences[side].wrapping_add(length as u32);
            sent.push(packet);
            if self.chance(5) && sent.len() > handshake + 1 {
                let last = sent.len() - 1;
                sent.swap(last - 1, last);
            }
            if self.chance(6) {
                let Some(Sent { frame, segments, segment }) = sent.last() else { continue };
                sent.push(Sent { frame: frame.clone(), segments: *segments, segment: *segment });
            }
        }
        sent.into()
    }

    /// Returns a packet with payload, which segmentation offload may have made, and the payload's length.
    fn packet(&mut self, frame: Frame, transport: Transport) -> (Sent, usize) {
        let length = match self.random.random_range(0..5) {
            0 => self.random.random_range(1..100),
            1 => self.random.random_range(1_460..1_490),
            2 => self.random.random_range(2_930..2_960),
            _ => self.random.random_range(1..LONGEST),
        };
        let mut payload = vec![0; length];
        self.random.fill(&mut payload[..]);
        let frame = frame.payload(&payload).build();
        let is_offloaded = !matches!(transport, Transport::Echo) && self.chance(2);
        let segment = if is_offloaded { self.random.random_range(1..1_600) } else { 0 };
        let segments = if is_offloaded { (length as u32).div_ceil(segment) } else { 0 };
        (Sent { frame, segments, segment }, length)
    }
}
