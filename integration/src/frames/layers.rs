//! The layers of a frame, each from the fields that it has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;

use super::{Fragment, Frame, Tcp, Transport};

/// TCP flags.
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    HopByHop,
    /// With this many bytes of padding; 6 fill the shortest.
    DestinationOptions(u16),
    Routing,
    /// A fragment header of a packet that is not fragmented.
    AtomicFragment,
    Authentication,
    Mobility,
    /// Any number, with these bytes behind its own two; padded to a multiple of 8.
    Other {
        number: u8,
        body: Vec<u8>,
    },
}

const FRAGMENT: u8 = 44;

impl Extension {
    fn number(&self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Routing => 43,
            Self::AtomicFragment => FRAGMENT,
            Self::Authentication => 51,
            Self::DestinationOptions(_) => 60,
            Self::Mobility => 135,
            Self::Other { number, .. } => *number,
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        match self {
            // PadN of four bytes: an option that every node steps over.
            Self::HopByHop => vec![next, 0, 1, 4, 0, 0, 0, 0],
            Self::DestinationOptions(padding) => padded(next, &padding_options(usize::from(*padding))),
            // Segments left 0: the packet has arrived.
            Self::Routing => padded(next, &[0, 0, 0, 0, 0, 0]),
            Self::AtomicFragment => vec![next, 0, 0, 0, 0, 0, 0, 9],
            // Its length counts words less two, unlike all others.
            Self::Authentication => [&[next, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1][..], &[0xaa; 12]].concat(),
            Self::Mobility => padded(next, &[1, 0, 0, 0, 0, 0]),
            Self::Other { body, .. } => padded(next, body),
        }
    }
}

/// Options of `length` bytes that say nothing: PadN as long as they can be.
fn padding_options(length: usize) -> Vec<u8> {
    let mut options = Vec::with_capacity(length);
    while options.len() < length {
        match length - options.len() {
            1 => options.push(0),
            left => {
                let body = (left - 2).min(255);
                options.extend([1, body as u8]);
                options.resize(options.len() + body, 0);
            }
        }
    }
    options
}

fn padded(next: u8, body: &[u8]) -> Vec<u8> {
    let length = (2 + body.len()).next_multiple_of(8);
    let mut bytes = vec![next, (length / 8 - 1) as u8];
    bytes.extend(body);
    bytes.resize(length, 0);
    bytes
}

pub(super) fn ipv4(frame: &Frame, source: Ipv4Addr, destination: Ipv4Addr, body: &[u8]) -> Vec<u8> {
    let words = 5 + (frame.options.len() / 4) as u8;
    let length = (usize::from(words) * 4 + body.len()) as u16;
    let fragment = match frame.fragment {
        // Don't fragment, as almost everything on the net.
        None => 0x4000,
        Some(Fragment { offset, more }) => u16::from(more) << 13 | offset & 0x1fff,
    };
    let mut header = Vec::with_capacity(usize::from(length));
    header.push(frame.lies.ip_version.unwrap_or(4) << 4 | frame.lies.header_words.unwrap_or(words) & 0x0f);
    header.push(0);
    header.extend(frame.lies.ip_length.unwrap_or(length).to_be_bytes());
    header.extend((frame.identification as u16).to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([frame.ttl, protocol(frame), 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(&frame.options);
    // The library sums words in the machine's byte order, so its result goes back in that order.
    let checksum = Sum16BitWords::new().add_slice(&header).ones_complement().to_ne_bytes();
    header[10..12].copy_from_slice(&checksum);
    header.extend(body);
    header
}

pub(super) fn ipv6(frame: &Frame, source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> Vec<u8> {
    let mut numbers: Vec<u8> = frame.extensions.iter().map(Extension::number).collect();
    numbers.extend(frame.fragment.map(|_| FRAGMENT));
    numbers.push(protocol(frame));
    let mut chain = Vec::new();
    for (extension, next) in frame.extensions.iter().zip(&numbers[1..]) {
        chain.extend(extension.bytes(*next));
    }
    if let Some(Fragment { offset, more }) = frame.fragment {
        chain.extend([protocol(frame), 0]);
        chain.extend((offset << 3 | u16::from(more)).to_be_bytes());
        chain.extend(frame.identification.to_be_bytes());
    }
    chain.extend(body);

    let mut packet = vec![frame.lies.ip_version.unwrap_or(6) << 4, 0, 0, 0];
    packet.extend(frame.lies.ip_length.unwrap_or(chain.len() as u16).to_be_bytes());
    packet.extend([numbers[0], frame.ttl]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(chain);
    packet
}

/// The transport header and the payload.
pub(super) fn transport(frame: &Frame) -> Vec<u8> {
    let payload = &frame.payload;
    let (mut bytes, checksum_at) = match frame.transport {
        Transport::Tcp(tcp) => (tcp_header(tcp, frame.lies.tcp_offset), Some(16)),
        Transport::Udp { source, destination } => {
            let length = frame.lies.udp_length.unwrap_or((8 + payload.len()) as u16);
            let fields = [source, destination, length, 0];
            (fields.iter().flat_map(|field| field.to_be_bytes()).collect(), Some(6))
        }
        Transport::Icmp { kind, code, rest } => ([&[kind, code, 0, 0][..], &rest].concat(), Some(2)),
        Transport::Other(_) => (Vec::new(), None),
    };
    bytes.extend(payload);
    if let Some(at) = checksum_at {
        // UDP alone cannot send 0, which there means "none".
        let sum = match (pseudo_header(frame, bytes.len()).add_slice(&bytes).ones_complement(), frame.transport) {
            (0, Transport::Udp { .. }) => 0xffff,
            (sum, Transport::Tcp(_) | Transport::Udp { .. } | Transport::Icmp { .. } | Transport::Other(_)) => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    }
    bytes
}

fn tcp_header(tcp: Tcp, words: Option<u8>) -> Vec<u8> {
    let mut header = Vec::with_capacity(20);
    header.extend(tcp.source.to_be_bytes());
    header.extend(tcp.destination.to_be_bytes());
    header.extend(tcp.sequence.to_be_bytes());
    header.extend(tcp.acknowledgement.to_be_bytes());
    header.extend([words.unwrap_or(5) << 4, tcp.flags]);
    header.extend(tcp.window.to_be_bytes());
    header.extend([0, 0, 0, 0]);
    header
}

fn pseudo_header(frame: &Frame, length: usize) -> Sum16BitWords {
    let protocol = protocol(frame);
    match (frame.source, frame.destination) {
        // ICMP of IPv4 sums its message alone.
        (IpAddr::V4(_), IpAddr::V4(_)) if protocol == 1 => Sum16BitWords::new(),
        (IpAddr::V4(source), IpAddr::V4(destination)) => Sum16BitWords::new()
            .add_4bytes(source.octets())
            .add_4bytes(destination.octets())
            .add_2bytes([0, protocol])
            .add_2bytes((length as u16).to_be_bytes()),
        (source, destination) => Sum16BitWords::new()
            .add_16bytes(super::as_v6(source).octets())
            .add_16bytes(super::as_v6(destination).octets())
            .add_4bytes((length as u32).to_be_bytes())
            .add_2bytes([0, protocol]),
    }
}

fn protocol(frame: &Frame) -> u8 {
    match frame.transport {
        Transport::Tcp(_) => 6,
        Transport::Udp { .. } => 17,
        Transport::Icmp { .. } => {
            if frame.source.is_ipv4() {
                1
            } else {
                58
            }
        }
        Transport::Other(protocol) => protocol,
    }
}
