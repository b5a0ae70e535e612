//! The packet parser: one for kernel and host.
//!
//! It reads Ethernet with up to two VLAN tags, IPv4 with options, IPv6 with a bounded walk of extension headers,
//! TCP, UDP, ICMP and ICMPv6. It never reads ports from a non-first fragment, and believes no length that the packet
//! contradicts. What it cannot parse is an error with a reason; the packet then passes and is counted.

use crate::{
    bytes::Bytes,
    key::{Address, ConversationKey, Direction, FlowKey},
};

/// Why a packet could not be parsed. Each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParseError {
    /// Neither IPv4 nor IPv6: ARP, LLDP and the like.
    NotIp,
    TruncatedLink,
    TruncatedNetwork,
    TruncatedTransport,
    /// A version, length or offset that contradicts itself.
    BadHeader,
    /// More IPv6 extension headers than [`MAX_EXTENSIONS`].
    TooManyExtensions,
    /// More than two VLAN tags.
    TooManyTags,
}

impl ParseError {
    /// Every reason, in counter order.
    pub const ALL: [Self; 7] = [
        Self::NotIp,
        Self::TruncatedLink,
        Self::TruncatedNetwork,
        Self::TruncatedTransport,
        Self::BadHeader,
        Self::TooManyExtensions,
        Self::TooManyTags,
    ];

    /// Returns the reason's name in reports, snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::TruncatedLink => "truncated_link",
            Self::TruncatedNetwork => "truncated_network",
            Self::TruncatedTransport => "truncated_transport",
            Self::BadHeader => "bad_header",
            Self::TooManyExtensions => "too_many_extensions",
            Self::TooManyTags => "too_many_tags",
        }
    }
}

pub const ETH_P_IP: u16 = 0x0800;
pub const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const ETH_P_QINQ_OLD: u16 = 0x9100;

pub const IPPROTO_ICMP: u8 = 1;
pub const IPPROTO_TCP: u8 = 6;
pub const IPPROTO_UDP: u8 = 17;
pub const IPPROTO_ICMPV6: u8 = 58;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_DSTOPTS: u8 = 60;
const IPPROTO_MOBILITY: u8 = 135;
const IPPROTO_HIP: u8 = 139;
const IPPROTO_SHIM6: u8 = 140;

/// Extension headers walked before giving up; real packets have at most three or four.
pub const MAX_EXTENSIONS: usize = 8;

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;

/// TCP flag bits, as in the header.
pub mod tcp {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 1 << 1;
    pub const RST: u8 = 1 << 2;
    pub const PSH: u8 = 1 << 3;
    pub const ACK: u8 = 1 << 4;
    pub const URG: u8 = 1 << 5;
}

/// Where in its datagram a packet stands.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    Whole,
    First,
    /// Not the first: holds no transport header, so the key has ports 0.
    Later,
}

/// What accounting and verdicts need of a packet.
///
/// It holds the conversation and not the flow: the table is asked by conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub conversation: ConversationKey,
    /// A [`Direction`], as a bit: kept in a map, so the verifier believes a mask and no enum.
    pub direction: u8,
    pub fragment: Fragment,
    /// TCP flags, or the ICMP type.
    pub flags: u8,
    /// ICMP code, 0 otherwise.
    pub code: u8,
    /// Outermost VLAN identifier, 0 for none.
    pub vlan: u16,
    /// Offset of the network header from the first byte.
    pub network_offset: u32,
    /// Offset of the transport header.
    pub transport_offset: u32,
    /// Offset of the transport payload.
    pub payload_offset: u32,
    /// Transport payload on the wire in bytes, link padding left out.
    pub payload_len: u32,
    /// TCP sequence number, 0 otherwise.
    pub seq: u32,
}

impl Packet {
    /// A packet before it is parsed.
    pub const EMPTY: Self = Self {
        conversation: ConversationKey {
            a: Address::UNSPECIFIED,
            b: Address::UNSPECIFIED,
            a_port: [0; 2],
            b_port: [0; 2],
            proto: 0,
            pad: [0; 3],
        },
        direction: Direction::AToB as u8,
        fragment: Fragment::Whole,
        flags: 0,
        code: 0,
        vlan: 0,
        network_offset: 0,
        transport_offset: 0,
        payload_offset: 0,
        payload_len: 0,
        seq: 0,
    };

    /// Returns whether the key's ports were read from this packet.
    #[inline(always)]
    #[must_use]
    pub const fn has_ports(&self) -> bool {
        !matches!(self.fragment, Fragment::Later)
    }

    /// Returns the IANA protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn proto(&self) -> u8 {
        self.conversation.proto
    }

    /// Returns the directed five-tuple.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self) -> FlowKey {
        self.conversation.flow(self.direction())
    }

    /// Returns which way the packet goes.
    #[inline(always)]
    #[must_use]
    pub const fn direction(&self) -> Direction {
        Direction::from_bit(self.direction)
    }

    /// Parses an Ethernet frame of `wire_len` bytes: see [`ethernet`].
    ///
    /// # Errors
    /// The reason why it cannot be accounted to a flow.
    pub fn from_ethernet<B: Bytes + ?Sized>(frame: &B, wire_len: u32) -> Result<Self, ParseError> {
        let mut packet = Self::EMPTY;
        ethernet(frame, wire_len, None, &mut packet).map(|()| packet)
    }

    /// Parses a packet whose network header stands at `offset`: see [`network`].
    ///
    /// # Errors
    /// The reason why it cannot be accounted to a flow.
    pub fn from_network<B: Bytes + ?Sized>(
        bytes: &B,
        ethertype: u16,
        offset: usize,
        wire_len: u32,
    ) -> Result<Self, ParseError> {
        let mut packet = Self::EMPTY;
        let start = Start { offset, wire_len, vlan: 0 };
        tagged(bytes, ethertype, start, 0, &mut packet).map(|()| packet)
    }
}

/// The VLAN tag that the kernel took out of the frame: `None` when it left it in.
pub type StrippedTag = Option<u16>;

/// Where a header starts, and what is known before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub offset: usize,
    /// Length of the whole packet on the wire.
    pub wire_len: u32,
    pub vlan: u16,
}

/// Parses an Ethernet frame of `wire_len` bytes into `packet`, which is written in place: the kernel's stack holds one.
///
/// # Errors
/// The reason why it cannot be accounted to a flow; `packet` then holds nothing of use.
#[inline(always)]
pub fn ethernet<B: Bytes + ?Sized>(
    frame: &B,
    wire_len: u32,
    stripped: StrippedTag,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    let header = frame.block::<ETHERNET>(0).ok_or(ParseError::TruncatedLink)?;
    let ethertype = u16::from_be_bytes(octets(header, 12));
    let start = Start { offset: ETHERNET, wire_len, vlan: stripped.unwrap_or(0) };
    tagged(frame, ethertype, start, u8::from(stripped.is_some()), packet)
}

/// Parses what follows an EtherType: VLAN tags, of which `tags` have been met, then the network header.
#[inline(always)]
fn tagged<B: Bytes + ?Sized>(
    frame: &B,
    mut ethertype: u16,
    mut start: Start,
    mut tags: u8,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    while is_tag(ethertype) {
        if tags == 2 {
            return Err(ParseError::TooManyTags);
        }
        let tag = frame.block::<4>(start.offset).ok_or(ParseError::TruncatedLink)?;
        if tags == 0 {
            start.vlan = u16::from_be_bytes(octets(tag, 0)) & 0x0fff;
        }
        ethertype = u16::from_be_bytes(octets(tag, 2));
        start.offset += 4;
        tags += 1;
    }
    network(frame, ethertype, start, packet)
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETH_P_8021Q | ETH_P_8021AD | ETH_P_QINQ_OLD)
}

/// Parses a network header of the protocol `ethertype`, and what follows it, into `packet`.
///
/// # Errors
/// The reason why it cannot be accounted to a flow; `packet` then holds nothing of use.
#[inline(always)]
pub fn network<B: Bytes + ?Sized>(
    bytes: &B,
    ethertype: u16,
    start: Start,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    packet.network_offset = start.offset as u32;
    packet.vlan = start.vlan;
    packet.seq = 0;
    packet.flags = 0;
    packet.code = 0;
    let transport_at = match ethertype {
        ETH_P_IP => ipv4(bytes, start, packet)?,
        ETH_P_IPV6 => ipv6(bytes, start, packet)?,
        _ => return Err(ParseError::NotIp),
    };
    transport(bytes, transport_at, packet)
}

/// Writes the two ends into the packet in the conversation's order, ports still 0.
#[inline(always)]
fn set_ends(packet: &mut Packet, src: &Address, dst: &Address, proto: u8) {
    let conversation = &mut packet.conversation;
    conversation.proto = proto;
    (conversation.a_port, conversation.b_port) = ([0; 2], [0; 2]);
    if src.precedes(dst) {
        packet.direction = Direction::AToB as u8;
        (conversation.a, conversation.b) = (*src, *dst);
    } else {
        packet.direction = Direction::BToA as u8;
        (conversation.a, conversation.b) = (*dst, *src);
    }
}

/// Writes the ports; between two ports of one address they alone decide the order.
#[inline(always)]
fn set_ports(packet: &mut Packet, src_port: [u8; 2], dst_port: [u8; 2]) {
    let conversation = &mut packet.conversation;
    if conversation.a == conversation.b {
        let ordered = u16::from_ne_bytes(src_port) <= u16::from_ne_bytes(dst_port);
        packet.direction = u8::from(!ordered);
    }
    (conversation.a_port, conversation.b_port) =
        if packet.direction == Direction::AToB as u8 { (src_port, dst_port) } else { (dst_port, src_port) };
}

/// Returns the transport header's offset. Sets the bytes after the network headers as `payload_len`.
#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(bytes: &B, start: Start, packet: &mut Packet) -> Result<usize, ParseError> {
    let h = bytes.block::<20>(start.offset).ok_or(ParseError::TruncatedNetwork)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return Err(ParseError::BadHeader);
    }
    let on_wire = start.wire_len.saturating_sub(start.offset as u32);
    // Zero is what segmentation offload leaves in a frame captured before the device filled it in.
    let total = match u16::from_be_bytes(octets(h, 2)) {
        0 => on_wire,
        total => u32::from(total).min(on_wire),
    };
    packet.payload_len = total.checked_sub(header_len as u32).ok_or(ParseError::BadHeader)?;
    packet.fragment = match u16::from_be_bytes(octets(h, 6)) & 0x3fff {
        0 => Fragment::Whole,
        0x2000 => Fragment::First,
        _ => Fragment::Later,
    };
    let (src, dst) = (Address::v4(octets(h, 12)), Address::v4(octets(h, 16)));
    set_ends(packet, &src, &dst, h[9]);
    Ok(start.offset + header_len)
}

/// As [`ipv4`].
#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(bytes: &B, start: Start, packet: &mut Packet) -> Result<usize, ParseError> {
    let h = bytes.block::<40>(start.offset).ok_or(ParseError::TruncatedNetwork)?;
    if h[0] >> 4 != 6 {
        return Err(ParseError::BadHeader);
    }
    let on_wire = start.wire_len.saturating_sub(start.offset as u32 + 40);
    // Zero is a jumbogram or a BIG TCP super-packet.
    let payload = match u16::from_be_bytes(octets(h, 4)) {
        0 => on_wire,
        len => u32::from(len).min(on_wire),
    };
    let mut proto = h[6];
    let mut at = start.offset + 40;
    let mut fragment = Fragment::Whole;
    let mut walked = 0;
    while is_extension(proto) && !matches!(fragment, Fragment::Later) {
        if walked == MAX_EXTENSIONS {
            return Err(ParseError::TooManyExtensions);
        }
        let e = bytes.block::<8>(at).ok_or(ParseError::TruncatedNetwork)?;
        let len = match proto {
            IPPROTO_AH => (usize::from(e[1]) + 2) * 4,
            IPPROTO_FRAGMENT => {
                let word = u16::from_be_bytes(octets(e, 2));
                if word & 0xfff8 != 0 {
                    fragment = Fragment::Later;
                } else if word & 1 != 0 {
                    fragment = Fragment::First;
                }
                8
            }
            _ => (usize::from(e[1]) + 1) * 8,
        };
        proto = e[0];
        at = bytes.joined(at + len);
        walked += 1;
    }
    packet.payload_len = payload.checked_sub((at - start.offset - 40) as u32).ok_or(ParseError::BadHeader)?;
    packet.fragment = fragment;
    set_ends(packet, &address(h, 8), &address(h, 24), proto);
    Ok(at)
}

#[inline(always)]
const fn is_extension(proto: u8) -> bool {
    matches!(
        proto,
        IPPROTO_HOPOPTS
            | IPPROTO_ROUTING
            | IPPROTO_FRAGMENT
            | IPPROTO_AH
            | IPPROTO_DSTOPTS
            | IPPROTO_MOBILITY
            | IPPROTO_HIP
            | IPPROTO_SHIM6
    )
}

#[inline(always)]
fn address(header: &[u8; 40], at: usize) -> Address {
    let words = [u64::from_ne_bytes(octets(header, at)), u64::from_ne_bytes(octets(header, at + 8))];
    Address(zerocopy::transmute!(words))
}

/// Returns octets of a header, in one load: taken one by one they would be loaded one by one.
#[inline(always)]
fn octets<const N: usize, const L: usize>(header: &[u8; L], at: usize) -> [u8; N] {
    match header.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(octets) => *octets,
        None => [0; N],
    }
}

#[inline(always)]
fn transport<B: Bytes + ?Sized>(bytes: &B, at: usize, packet: &mut Packet) -> Result<(), ParseError> {
    packet.transport_offset = at as u32;
    packet.payload_offset = at as u32;
    if matches!(packet.fragment, Fragment::Later) {
        return Ok(());
    }
    let proto = packet.proto();
    let len = packet.payload_len;
    let header_len = match proto {
        IPPROTO_TCP => {
            let Some(h) = bytes.block::<20>(at) else { return too_short(packet) };
            if len < 20 {
                return too_short(packet);
            }
            set_ports(packet, octets(h, 0), octets(h, 2));
            packet.seq = u32::from_be_bytes(octets(h, 4));
            packet.flags = h[13];
            let header_len = u32::from(h[12] >> 4) * 4;
            if header_len < 20 {
                return Err(ParseError::BadHeader);
            }
            header_len
        }
        IPPROTO_UDP => {
            let Some(h) = bytes.block::<8>(at) else { return too_short(packet) };
            if len < 8 {
                return too_short(packet);
            }
            set_ports(packet, octets(h, 0), octets(h, 2));
            8
        }
        IPPROTO_ICMP | IPPROTO_ICMPV6 => {
            let Some(h) = bytes.block::<8>(at) else { return too_short(packet) };
            (packet.flags, packet.code) = (h[0], h[1]);
            if is_echo(proto, h[0]) {
                set_ports(packet, octets(h, 4), octets(h, 4));
            }
            8
        }
        _ => 0,
    };
    packet.payload_len = match len.checked_sub(header_len) {
        Some(payload) => payload,
        // A first fragment may end inside the options.
        None if matches!(packet.fragment, Fragment::First) => 0,
        None => return Err(ParseError::BadHeader),
    };
    packet.payload_offset = at as u32 + header_len;
    Ok(())
}

/// A first fragment too short for its transport header is judged by its addresses alone, as its followers are:
/// otherwise tiny fragments would slip past an address verdict.
#[inline(always)]
fn too_short(packet: &mut Packet) -> Result<(), ParseError> {
    match packet.fragment {
        Fragment::First => {
            packet.fragment = Fragment::Later;
            Ok(())
        }
        Fragment::Whole | Fragment::Later => Err(ParseError::TruncatedTransport),
    }
}

/// Returns whether an ICMP type is an echo request or reply, whose identifier joins the two.
#[inline(always)]
#[must_use]
pub const fn is_echo(proto: u8, kind: u8) -> bool {
    matches!((proto, kind), (IPPROTO_ICMP, 8 | 0) | (IPPROTO_ICMPV6, 128 | 129))
}

/// Returns whether an ICMP type is an echo request: its sender is the originator.
#[inline(always)]
#[must_use]
pub const fn is_echo_request(proto: u8, kind: u8) -> bool {
    matches!((proto, kind), (IPPROTO_ICMP, 8) | (IPPROTO_ICMPV6, 128))
}
