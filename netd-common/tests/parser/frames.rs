//! Frames from their fields, written byte by byte.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// EtherType and identifier, outermost first.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) is_v4: bool,
    pub(crate) src: u8,
    pub(crate) dst: u8,
    /// IPv4 alone.
    pub(crate) options: usize,
    /// IPv6 alone: numbers of the headers in their order.
    pub(crate) extensions: Vec<u8>,
    /// Offset in units of eight bytes, more to follow.
    pub(crate) fragment: Option<(u16, bool)>,
    pub(crate) proto: u8,
    pub(crate) ports: (u16, u16),
    /// Words of TCP options.
    pub(crate) tcp_options: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) trailer: usize,
}

pub(crate) const EXTENSIONS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Returns frames of every shape, all lengths in them true.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let tag = (prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), any::<u16>());
    let link = (prop::collection::vec(tag, 0..4), prop_oneof![Just(0_usize), 1..30_usize]);
    let proto = prop_oneof![Just(6_u8), Just(17), Just(1), Just(58), Just(50), Just(59), Just(47), any::<u8>()];
    let fragment = prop::option::weighted(0.3, (prop_oneof![Just(0_u16), 0..0x1fff_u16], any::<bool>()));
    let network = (
        any::<bool>(),
        (0..4_u8, 0..4_u8),
        0..=10_usize,
        prop::collection::vec(prop::sample::select(EXTENSIONS.to_vec()), 0..=9),
        fragment,
    );
    let transport = (proto, any::<(u16, u16)>(), 0..=10_u8, prop::collection::vec(any::<u8>(), 0..80));
    (link, network, transport).prop_map(|(link, network, transport)| {
        let (tags, trailer) = link;
        let (is_v4, (src, dst), options, extensions, fragment) = network;
        let (proto, ports, tcp_options, payload) = transport;
        Frame {
            tags,
            is_v4,
            src,
            dst,
            options: options * 4,
            extensions,
            fragment,
            proto,
            ports,
            tcp_options,
            payload,
            trailer,
        }
    })
}

impl Frame {
    /// A plain segment to port 443.
    pub(crate) fn tcp(is_v4: bool) -> Self {
        Self {
            tags: Vec::new(),
            is_v4,
            src: 7,
            dst: 9,
            options: 0,
            extensions: Vec::new(),
            fragment: None,
            proto: 6,
            ports: (40_000, 443),
            tcp_options: 0,
            payload: vec![0; 8],
            trailer: 0,
        }
    }

    pub(crate) fn ethertype(&self) -> u16 {
        if self.is_v4 { 0x0800 } else { 0x86dd }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (kind, id) in &self.tags {
            bytes.extend(kind.to_be_bytes());
            bytes.extend(id.to_be_bytes());
        }
        bytes.extend(self.ethertype().to_be_bytes());
        let is_first = self.fragment.is_none_or(|(offset, _)| offset == 0);
        let body = if is_first { self.transport() } else { self.payload.clone() };
        bytes.extend(if self.is_v4 { self.ipv4(&body) } else { self.ipv6(&body) });
        bytes.resize(bytes.len() + self.trailer, 0);
        bytes
    }

    fn ipv4(&self, body: &[u8]) -> Vec<u8> {
        let header = 20 + self.options;
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let mut bytes = vec![0x40 | (header / 4) as u8, 0];
        bytes.extend(((header + body.len()) as u16).to_be_bytes());
        bytes.extend([0, 9]);
        bytes.extend((offset & 0x1fff | u16::from(more) << 13).to_be_bytes());
        bytes.extend([64, self.proto, 0, 0, 10, 0, 0, self.src, 10, 0, 0, self.dst]);
        // No-operations.
        bytes.resize(header, 1);
        bytes.extend(body);
        bytes
    }

    fn ipv6(&self, body: &[u8]) -> Vec<u8> {
        let mut numbers = self.extensions.clone();
        numbers.extend(self.fragment.map(|_| 44));
        numbers.push(self.proto);
        let mut chain = Vec::new();
        for (at, number) in self.extensions.iter().enumerate() {
            let next = numbers[at + 1];
            chain.extend(match number {
                44 => vec![next, 0, 0, 0, 0, 0, 0, 9],
                51 => [&[next, 4, 0, 0][..], &[0xaa; 20]].concat(),
                _ => vec![next, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            });
        }
        if let Some((offset, more)) = self.fragment {
            chain.extend([self.proto, 0]);
            chain.extend((offset << 3 | u16::from(more)).to_be_bytes());
            chain.extend([0, 0, 0, 9]);
        }
        chain.extend(body);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((chain.len() as u16).to_be_bytes());
        bytes.extend([numbers[0], 64]);
        for end in [self.src, self.dst] {
            bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
        }
        bytes.extend(chain);
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.ports.0, self.ports.1].map(u16::to_be_bytes).concat();
        match self.proto {
            6 => {
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, (5 + self.tcp_options) << 4, 0x18, 0xfa, 0, 0, 0, 0, 0]);
                bytes.resize(20 + usize::from(self.tcp_options) * 4, 1);
            }
            17 => {
                bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
            }
            // The payload is the message.
            _ => bytes.clear(),
        }
        bytes.extend(&self.payload);
        bytes
    }
}
