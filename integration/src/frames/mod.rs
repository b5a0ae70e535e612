//! Packets for tests, well-formed and otherwise.
//!
//! Every byte is written here, not by a library: tests of a parser need lengths that lie and headers that stop in the
//! middle. The checksums are etherparse's, and the tests below read the well-formed ones back with it.

mod layers;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use layers::{Extension, flags};
use layers::{ipv4, ipv6, transport};

/// A packet in the making.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    macs: [[u8; 6]; 2],
    vlans: Vec<Tag>,
    pub(crate) transport: Transport,
    pub(crate) ttl: u8,
    pub(crate) identification: u32,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) options: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) payload: Vec<u8>,
    pub(crate) lies: Lies,
    link: Link,
    truncate: Option<usize>,
    trailer: usize,
}

/// A VLAN tag with its Ethernet type.
#[derive(Clone, Copy, Debug)]
struct Tag {
    kind: u16,
    id: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    /// In units of 8 bytes.
    pub(crate) offset: u16,
    pub(crate) more: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    Udp {
        source: u16,
        destination: u16,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    /// The payload follows the IP header at once.
    Other(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
}

/// Fields that say other than what is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lies {
    pub(crate) ip_version: Option<u8>,
    pub(crate) ip_length: Option<u16>,
    pub(crate) header_words: Option<u8>,
    pub(crate) tcp_offset: Option<u8>,
    pub(crate) udp_length: Option<u16>,
    pub(crate) ether_type: Option<u16>,
}

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    /// Nothing: LINKTYPE_RAW.
    Raw,
    /// Linux cooked, v1 and v2.
    Cooked,
    Cooked2,
    /// The BSD loopback header in the byte order of the machine that wrote it.
    Null {
        big_endian: bool,
    },
    /// OpenBSD's loopback header, in network byte order.
    Loop,
}

impl Frame {
    /// A TCP segment, ACK alone unless [`Frame::flags`] says otherwise. Addresses are as in `([10, 0, 0, 7], 443)`.
    #[must_use]
    pub fn tcp(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Self {
        let (source, destination) = (source.into(), destination.into());
        let tcp = Tcp {
            source: source.port(),
            destination: destination.port(),
            sequence: 1,
            acknowledgement: 0,
            flags: flags::ACK,
            window: 64_240,
        };
        Self::new(source.ip(), destination.ip(), Transport::Tcp(tcp))
    }

    #[must_use]
    pub fn udp(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Self {
        let (source, destination) = (source.into(), destination.into());
        let ports = Transport::Udp { source: source.port(), destination: destination.port() };
        Self::new(source.ip(), destination.ip(), ports)
    }

    /// An ICMP message, ICMPv6 between IPv6 addresses; the last four bytes of its header are `rest`.
    #[must_use]
    pub fn icmp(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self::new(source.into(), destination.into(), Transport::Icmp { kind, code, rest })
    }

    /// An echo request.
    #[must_use]
    pub fn ping(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, number: u16) -> Self {
        let source = source.into();
        let kind = if source.is_ipv4() { 8 } else { 128 };
        let [high, low] = number.to_be_bytes();
        Self::icmp(source, destination, kind, 0, [0x4e, 0x44, high, low])
    }

    /// A packet of any other protocol.
    #[must_use]
    pub fn protocol(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, protocol: u8) -> Self {
        Self::new(source.into(), destination.into(), Transport::Other(protocol))
    }

    fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        // A frame has one IP version; with one IPv6 address the other becomes IPv4-mapped.
        let (source, destination) = match (source, destination) {
            (IpAddr::V4(one), IpAddr::V6(_)) => (one.to_ipv6_mapped().into(), destination),
            (IpAddr::V6(_), IpAddr::V4(other)) => (source, other.to_ipv6_mapped().into()),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (source, destination),
        };
        Self {
            source,
            destination,
            macs: [[2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 1]],
            vlans: Vec::new(),
            transport,
            ttl: 64,
            identification: 0,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            payload: Vec::new(),
            lies: Lies::default(),
            link: Link::Ethernet,
            truncate: None,
            trailer: 0,
        }
    }

    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Sets the TCP flags: see [`flags`].
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        self.change_tcp(|tcp| tcp.flags = flags)
    }

    #[must_use]
    pub fn sequence(self, sequence: u32) -> Self {
        self.change_tcp(|tcp| tcp.sequence = sequence)
    }

    #[must_use]
    pub fn acknowledgement(self, acknowledgement: u32) -> Self {
        self.change_tcp(|tcp| tcp.acknowledgement = acknowledgement)
    }

    fn change_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            change(tcp);
        }
        self
    }

    /// Adds an 802.1Q tag inside those that are there.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// Adds an 802.1ad service tag.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Self {
        self.tag(0x88a8, id)
    }

    /// Adds a tag of any Ethernet type.
    #[must_use]
    pub fn tag(mut self, kind: u16, id: u16) -> Self {
        self.vlans.push(Tag { kind, id });
        self
    }

    #[must_use]
    pub fn macs(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        self.macs = [source, destination];
        self
    }

    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the options of the IPv4 header, padded to whole words; 40 bytes at most.
    #[must_use]
    pub fn ipv4_options(mut self, options: &[u8]) -> Self {
        self.options = options[..options.len().min(40)].to_vec();
        self.options.resize(self.options.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an IPv6 extension header behind those that are there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Makes it a fragment at `offset` bytes (a multiple of 8), with more to follow or none. The first has offset 0.
    /// The payload of a later one follows the IP header at once.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool, identification: u32) -> Self {
        self.fragment = Some(Fragment { offset: offset / 8, more });
        self.identification = identification;
        self
    }

    /// Sets what stands before the IP header.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// Cuts the packet to its first `length` bytes.
    #[must_use]
    pub fn truncate(mut self, length: usize) -> Self {
        self.truncate = Some(length);
        self
    }

    /// Adds zeroes behind the IP packet, as Ethernet does to short ones.
    #[must_use]
    pub fn trailer(mut self, length: usize) -> Self {
        self.trailer = length;
        self
    }

    /// Makes the IP header name another version.
    #[must_use]
    pub fn claim_version(mut self, version: u8) -> Self {
        self.lies.ip_version = Some(version);
        self
    }

    /// Makes the IP header name another length: the total length of IPv4, the payload length of IPv6.
    #[must_use]
    pub fn claim_ip_length(mut self, length: u16) -> Self {
        self.lies.ip_length = Some(length);
        self
    }

    /// Makes the IPv4 header name another length of itself, in words.
    #[must_use]
    pub fn claim_header_words(mut self, words: u8) -> Self {
        self.lies.header_words = Some(words);
        self
    }

    /// Makes the TCP header name another length of itself, in words.
    #[must_use]
    pub fn claim_tcp_words(mut self, words: u8) -> Self {
        self.lies.tcp_offset = Some(words);
        self
    }

    #[must_use]
    pub fn claim_udp_length(mut self, length: u16) -> Self {
        self.lies.udp_length = Some(length);
        self
    }

    /// Makes the link header name another kind of packet.
    #[must_use]
    pub fn claim_ether_type(mut self, ether_type: u16) -> Self {
        self.lies.ether_type = Some(ether_type);
        self
    }

    /// Returns the bytes of the packet.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = self.link_header();
        bytes.extend(self.ip());
        bytes.resize(bytes.len() + self.trailer, 0);
        if let Some(length) = self.truncate {
            bytes.truncate(length);
        }
        bytes
    }

    fn ip(&self) -> Vec<u8> {
        let is_first = self.fragment.is_none_or(|fragment| fragment.offset == 0);
        let body = if is_first { transport(self) } else { self.payload.clone() };
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4(self, source, destination, &body),
            (source, destination) => ipv6(self, as_v6(source), as_v6(destination), &body),
        }
    }

    fn link_header(&self) -> Vec<u8> {
        let ether_type = self.lies.ether_type.unwrap_or(if self.source.is_ipv4() { 0x0800 } else { 0x86dd });
        let [source, destination] = self.macs;
        // BSD's numbers: 2 is IPv4 everywhere, 24 is IPv6 on NetBSD and OpenBSD.
        let family: u32 = if self.source.is_ipv4() { 2 } else { 24 };
        match self.link {
            Link::Ethernet => {
                let mut header = [destination, source].concat();
                for tag in &self.vlans {
                    header.extend(tag.kind.to_be_bytes());
                    header.extend(tag.id.to_be_bytes());
                }
                header.extend(ether_type.to_be_bytes());
                header
            }
            Link::Raw => Vec::new(),
            Link::Cooked => {
                // Sent by us, ARPHRD_ETHER, six bytes of address.
                let mut header = vec![0, 4, 0, 1, 0, 6];
                header.extend(source);
                header.extend([0, 0]);
                header.extend(ether_type.to_be_bytes());
                header
            }
            Link::Cooked2 => {
                let mut header = ether_type.to_be_bytes().to_vec();
                header.extend([0, 0, 0, 0, 0, 2, 0, 1, 4, 6]);
                header.extend(source);
                header.extend([0, 0]);
                header
            }
            Link::Null { big_endian: true } | Link::Loop => family.to_be_bytes().to_vec(),
            Link::Null { big_endian: false } => family.to_le_bytes().to_vec(),
        }
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests;
