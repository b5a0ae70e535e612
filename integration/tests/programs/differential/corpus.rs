//! Packets of every shape between few ends, so that they meet again, and a third of them damaged.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use netd_lab::frames::{Extension, Frame, flags};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

/// The first four ends of each family are local, the others far away.
pub(super) const ENDS: u8 = 12;
pub(super) const PORTS: [u16; 7] = [40_000, 40_001, 443, 80, 53, 123, 0];

/// Returns an end of one family.
pub(super) fn end(is_v4: bool, number: u8) -> IpAddr {
    match (is_v4, number < 4) {
        (true, true) => [10, 0, 0, number].into(),
        (true, false) => [198, 51, 100 + (number & 1), number].into(),
        (false, true) => [0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, number].into(),
        (false, false) => [0x20, 1, 0xd, 0xb8, 0, 9 + (number & 1), 0, 0, 0, 0, 0, 0, 0, 0, 0, number].into(),
    }
}

/// A packet as the programs meet it.
pub(super) struct Sent {
    pub(super) frame: Vec<u8>,
    /// Of an offloaded super-packet: its segments on the wire, and the payload of each.
    pub(super) segments: u32,
    pub(super) segment: u32,
}

impl From<Vec<u8>> for Sent {
    fn from(frame: Vec<u8>) -> Self {
        Self { frame, segments: 0, segment: 0 }
    }
}

pub(super) struct Corpus {
    pub(super) random: ChaCha8Rng,
    /// The rest of an exchange that has begun.
    exchange: VecDeque<Sent>,
}

impl Corpus {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), exchange: VecDeque::new() }
    }

    pub(super) fn next(&mut self) -> Sent {
        if self.exchange.is_empty() && self.chance(12) {
            self.exchange = self.exchange();
        }
        // Packets of others come in between.
        let is_others = self.chance(4);
        let next = if is_others { None } else { self.exchange.pop_front() };
        next.unwrap_or_else(|| self.any_frame().into())
    }

    fn any_frame(&mut self) -> Vec<u8> {
        let frame = self.frame();
        let frame = self.link(frame);
        let frame = self.network(frame);
        let mut bytes = self.lie(frame).build();
        if self.random.random_ratio(1, 3) {
            self.damage(&mut bytes);
        }
        bytes
    }

    pub(super) fn chance(&mut self, of: u32) -> bool {
        self.random.random_ratio(1, of)
    }

    fn frame(&mut self) -> Frame {
        let is_v4 = self.random.random();
        let [from, to] = [(); 2].map(|()| {
            let port = *PORTS.choose(&mut self.random).expect("there are ports");
            SocketAddr::new(end(is_v4, self.random.random_range(0..ENDS)), port)
        });
        // Mostly one exchange of long life, so that flows have more packets than one.
        let (from, to) = match self.random.random_range(0..4) {
            0 => (SocketAddr::new(end(is_v4, 1), 40_000), SocketAddr::new(end(is_v4, 9), 443)),
            1 => (SocketAddr::new(end(is_v4, 9), 443), SocketAddr::new(end(is_v4, 1), 40_000)),
            _ => (from, to),
        };
        let payload = self.payload();
        let frame = match self.random.random_range(0..10) {
            0..5 => {
                let bits = [flags::SYN, flags::SYN | flags::ACK, flags::ACK, flags::PSH, flags::FIN, flags::RST];
                let mut bits = *bits.choose(&mut self.random).expect("there are flags");
                if self.chance(4) {
                    bits |= flags::ACK;
                }
                // Sequence numbers that meet, overlap, go back and wrap.
                let sequence = 0xffff_ffe0_u32.wrapping_add(self.random.random_range(0..120));
                Frame::tcp(from, to).flags(bits).sequence(sequence).acknowledgement(self.random.random())
            }
            5..7 => Frame::udp(from, to),
            7 => {
                let kinds = [0, 8, 128, 129, 3, 1, 135];
                let kind = *kinds.choose(&mut self.random).expect("there are kinds");
                Frame::icmp(from.ip(), to.ip(), kind, 0, [0, 1, 0, self.random.random_range(0..3)])
            }
            8 => Frame::protocol(from.ip(), to.ip(), self.random.random()),
            _ => Frame::protocol(from.ip(), to.ip(), *[47, 50, 59, 6, 17].choose(&mut self.random).expect("some")),
        };
        frame.payload(&payload)
    }

    fn payload(&mut self) -> Vec<u8> {
        let length = match self.random.random_range(0..8) {
            0..3 => 0,
            3..6 => self.random.random_range(1..40),
            6 => self.random.random_range(1..600),
            _ => self.random.random_range(1460..1600),
        };
        let mut payload = vec![0; length];
        self.random.fill(&mut payload[..]);
        payload
    }

    fn link(&mut self, mut frame: Frame) -> Frame {
        if self.chance(5) {
            for _ in 0..self.random.random_range(1..4) {
                let kind = *[0x8100, 0x88a8, 0x9100].choose(&mut self.random).expect("there are kinds");
                frame = frame.tag(kind, self.random.random());
            }
        }
        if self.chance(8) {
            frame = frame.trailer(self.random.random_range(1..30));
        }
        frame
    }

    fn network(&mut self, mut frame: Frame) -> Frame {
        if self.chance(6) {
            frame = frame.ipv4_options(&vec![1; self.random.random_range(1..=40)]);
        }
        if self.chance(3) {
            for _ in 0..self.random.random_range(1..=9) {
                let extension = self.extension();
                frame = frame.extension(extension);
            }
        }
        if self.chance(6) {
            let offset = if self.random.random() { 0 } else { 8 * self.random.random_range(1..0x1fff) };
            frame = frame.fragment(offset, self.random.random(), self.random.random());
        }
        frame
    }

    fn extension(&mut self) -> Extension {
        match self.random.random_range(0..8) {
            0 => Extension::HopByHop,
            1 => Extension::Routing,
            2 => Extension::AtomicFragment,
            3 => Extension::Authentication,
            4 => Extension::Mobility,
            5 => {
                let number = *[139, 140, 43, 60, 50, 253].choose(&mut self.random).expect("there are numbers");
                Extension::Other { number, body: vec![0; self.random.random_range(0..60)] }
            }
            _ => Extension::DestinationOptions(self.random.random_range(0..80)),
        }
    }

    fn lie(&mut self, frame: Frame) -> Frame {
        if !self.chance(5) {
            return frame;
        }
        match self.random.random_range(0..7) {
            0 => frame.claim_version(self.random.random_range(0..16)),
            1 => frame.claim_ip_length(self.random.random()),
            2 => frame.claim_ip_length(self.random.random_range(0..80)),
            3 => frame.claim_header_words(self.random.random_range(0..16)),
            4 => frame.claim_tcp_words(self.random.random_range(0..16)),
            5 => frame.claim_udp_length(self.random.random()),
            _ => frame.claim_ether_type(*[0x0800, 0x86dd, 0x0806, 0x8847].choose(&mut self.random).expect("some")),
        }
    }

    /// Cuts a packet short, or changes some of its first bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        if self.chance(2) {
            bytes.truncate(self.random.random_range(0..=bytes.len().min(140)));
            return;
        }
        let headers = bytes.len().min(120);
        for _ in 0..self.random.random_range(1..5) {
            let at = self.random.random_range(0..headers);
            bytes[at] = if self.random.random() { self.random.random() } else { bytes[at] ^ 1 << (at % 8) };
        }
    }
}
