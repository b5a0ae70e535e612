//! Addresses, directed flow keys, undirected conversation keys, endpoints.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

/// An IPv4 or IPv6 address; IPv4 is stored IPv4-mapped (`::ffff:a.b.c.d`), so one map serves both.
///
/// Aligned to a word: the kernel copies and compares it by words, and refuses unaligned words on a program's stack.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The unspecified IPv6 address, which no packet on the wire is sent to.
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// Returns the IPv4-mapped form of four network-order octets.
    #[inline(always)]
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        // By words, as everything here: bytes that are written singly and read as a word stall a CPU.
        let words = [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), u32::from_ne_bytes(octets)];
        Self(transmute!(words))
    }

    /// Returns whether the address is IPv4-mapped.
    #[inline(always)]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        let (high, low) = self.words();
        high == 0 && (low & u64::from_ne_bytes(V4_PREFIX_MASK)) == u64::from_ne_bytes(V4_PREFIX)
    }

    /// Returns the address as two native-order words: a cheap total order and hash input, not a number.
    #[inline(always)]
    #[must_use]
    pub fn words(&self) -> (u64, u64) {
        let [high, low]: [u64; 2] = transmute!(*self);
        (high, low)
    }

    /// Returns whether this address comes first, or equal, in the order of [`Self::words`].
    #[inline(always)]
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        let ((a0, a1), (b0, b1)) = (self.words(), other.words());
        // IPv4 addresses differ in the second word.
        if a1 == b1 { a0 <= b0 } else { a1 < b1 }
    }

    /// Returns the address as the standard library's type, IPv4 unmapped.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }
}

const V4_PREFIX: [u8; 8] = [0, 0, 0xff, 0xff, 0, 0, 0, 0];
const V4_PREFIX_MASK: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(ip: Ipv4Addr) -> Self {
        Self::v4(ip.octets())
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.ip())
    }
}

/// A directed five-tuple. Ports are in network byte order, as on the wire.
///
/// Protocols without ports have both ports 0; an ICMP echo carries its identifier in both, so that request and
/// reply belong to one conversation. A non-first fragment has ports 0: its payload is never read as ports.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowKey {
    pub src: Address,
    pub dst: Address,
    pub src_port: [u8; 2],
    pub dst_port: [u8; 2],
    /// IANA protocol number. A `u8`, not an enum: the kernel may see any value.
    pub proto: u8,
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// Returns the key of the opposite direction.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            proto: self.proto,
            pad: self.pad,
        }
    }

    /// Returns the conversation this flow belongs to, and which of its two directions the flow is.
    #[inline(always)]
    #[must_use]
    pub fn conversation(&self) -> (ConversationKey, Direction) {
        if self.is_a_to_b() {
            let Self { src, dst, src_port, dst_port, proto, pad } = *self;
            (ConversationKey { a: src, b: dst, a_port: src_port, b_port: dst_port, proto, pad }, Direction::AToB)
        } else {
            let Self { src, dst, src_port, dst_port, proto, pad } = *self;
            (ConversationKey { a: dst, b: src, a_port: dst_port, b_port: src_port, proto, pad }, Direction::BToA)
        }
    }

    #[inline(always)]
    fn is_a_to_b(&self) -> bool {
        if self.src == self.dst {
            return u16::from_ne_bytes(self.src_port) <= u16::from_ne_bytes(self.dst_port);
        }
        self.src.precedes(&self.dst)
    }

    /// Returns the source port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn src_port(&self) -> u16 {
        u16::from_be_bytes(self.src_port)
    }

    /// Returns the destination port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn dst_port(&self) -> u16 {
        u16::from_be_bytes(self.dst_port)
    }
}

/// Both directions of a five-tuple joined. Which end is `a` is a fixed but meaningless order (native-word
/// comparison, cheap in the kernel): it says nothing of who began.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ConversationKey {
    pub a: Address,
    pub b: Address,
    pub a_port: [u8; 2],
    pub b_port: [u8; 2],
    pub proto: u8,
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<ConversationKey>() == 40);

impl ConversationKey {
    /// Returns whether two keys are equal: by words, as cheap as it gets.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let ours: [u64; 5] = transmute!(*self);
        let theirs: [u64; 5] = transmute!(*other);
        // The ports first: they are what most often differs.
        ours[4] == theirs[4]
            && ours[0] == theirs[0]
            && ours[1] == theirs[1]
            && ours[2] == theirs[2]
            && ours[3] == theirs[3]
    }

    /// Returns the directed five-tuple of one direction.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self, direction: Direction) -> FlowKey {
        let forward = FlowKey {
            src: self.a,
            dst: self.b,
            src_port: self.a_port,
            dst_port: self.b_port,
            proto: self.proto,
            pad: [0; 3],
        };
        match direction {
            Direction::AToB => forward,
            Direction::BToA => forward.reversed(),
        }
    }
}

/// One of the two directions of a conversation; also used as an index into `[T; 2]` counters.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    AToB = 0,
    BToA = 1,
}

impl Direction {
    /// Returns the direction of a record's or a slot's bit.
    #[inline(always)]
    #[must_use]
    pub const fn from_bit(bit: u8) -> Self {
        if bit & 1 == 0 { Self::AToB } else { Self::BToA }
    }

    /// Returns the opposite direction.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::AToB => Self::BToA,
            Self::BToA => Self::AToB,
        }
    }
}

/// A listening side: what an endpoint verdict names.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Endpoint {
    pub address: Address,
    /// Network byte order.
    pub port: [u8; 2],
    pub proto: u8,
    pub pad: [u8; 5],
}

const _: () = assert!(size_of::<Endpoint>() == 24);

impl Endpoint {
    /// Returns the endpoint of an address, a port in network byte order, and a protocol.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: [u8; 2], proto: u8) -> Self {
        Self { address, port, proto, pad: [0; 5] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow_key() -> impl Strategy<Value = FlowKey> {
        (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 2]>(), any::<[u8; 2]>(), any::<u8>()).prop_map(
            |(src, dst, src_port, dst_port, proto)| FlowKey {
                src: Address(src),
                dst: Address(dst),
                src_port,
                dst_port,
                proto,
                pad: [0; 3],
            },
        )
    }

    proptest! {
        #[test]
        fn both_directions_are_one_conversation(key in flow_key()) {
            let (there, direction) = key.conversation();
            let (back, _) = key.reversed().conversation();

            prop_assert_eq!(there, back);
            prop_assert_eq!(there.flow(direction), key);
        }

        #[test]
        fn an_ipv4_address_survives_being_mapped(octets in any::<[u8; 4]>()) {
            let address = Address::v4(octets);

            prop_assert!(address.is_v4());
            prop_assert_eq!(address.ip(), IpAddr::from(octets));
            prop_assert_eq!(Address::from(address.ip()), address);
        }
    }

    #[test]
    fn an_ipv6_address_is_not_taken_for_ipv4() {
        assert!(!Address::from(IpAddr::V6(Ipv6Addr::LOCALHOST)).is_v4());
    }
}
