//! One address or prefix of a block-list.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use netd_common::key::Address;
use netd_engine::feed::{Refused, Value};
use zerocopy::{Immutable, IntoBytes};

use crate::verdicts::maps::MapKey;
use crate::verdicts::target;

/// An address or a prefix, as the kernel knows it: bits count from the mapped address, a host has 128.
///
/// 17 bytes, because a list may hold millions; a list's file and its tag hold them as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoBytes, Immutable)]
#[repr(C)]
pub struct Item {
    /// As in [`Address`], which is aligned to a word.
    address: [u8; 16],
    bits: u8,
}

const _: () = assert!(size_of::<Item>() == 17);

/// Why something that a list holds is no item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    #[error(transparent)]
    Unread(#[from] Refused),
    #[error("covers the IPv4-mapped addresses too; 2000::/3 is all of global IPv6")]
    CoversIpv4,
    #[error("names a port; a list holds addresses, prefixes and names, a verdict may be about one port")]
    Endpoint,
    #[error("a name, where an address or a prefix is wanted")]
    Name,
    #[error("a fingerprint; a list holds addresses, prefixes and names, threat intelligence holds fingerprints, too")]
    Fingerprint,
}

impl Item {
    /// Returns the item of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address: Address::from(address.to_canonical()).0, bits: 128 }
    }

    /// Returns the item of a prefix; host bits are dropped.
    #[must_use]
    pub fn from_net(net: IpNet) -> Self {
        let (address, bits) = target::mapped(net);
        Self { address: address.0, bits }
    }

    /// Returns the prefix; a host is a /32 or a /128.
    #[must_use]
    pub fn net(&self) -> IpNet {
        target::unmapped(Address(self.address), self.bits)
    }

    /// Returns whether the item is IPv4.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.bits >= 96 && Address(self.address).is_v4()
    }

    /// Returns whether the item is a single address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.bits == 128
    }

    /// Returns the address of an IPv4 host as a number.
    #[must_use]
    pub fn v4_host(&self) -> Option<u32> {
        (self.is_host() && Address(self.address).is_v4()).then(|| self.number() as u32)
    }

    /// Returns the item of an IPv4 host.
    #[must_use]
    pub fn from_v4_host(host: u32) -> Self {
        Self { address: Address::v4(host.to_be_bytes()).0, bits: 128 }
    }

    /// Returns the first and the last IPv4 address of an IPv4 item.
    #[must_use]
    pub fn v4_range(&self) -> (u32, u32) {
        let (first, last) = self.range();
        (first as u32, last as u32)
    }

    /// Returns the prefix of which this item and `other` are the two halves.
    #[must_use]
    pub fn joined_with(&self, other: &Self) -> Option<Self> {
        if self.bits != other.bits || self == other {
            return None;
        }
        let bits = self.bits.checked_sub(1)?;
        let whole = Self { address: masked(self.number(), bits).to_be_bytes(), bits };
        // IPv4 ends at its own first bit.
        (whole.contains(other) && whole.is_v4() == self.is_v4()).then_some(whole)
    }

    /// Returns whether this IPv6 prefix holds the IPv4-mapped addresses, so that the kernel's one trie would apply it
    /// to IPv4.
    #[must_use]
    pub fn covers_ipv4_too(&self) -> bool {
        self.bits < 96 && self.contains(&Self { address: Address::v4([0; 4]).0, bits: 96 })
    }

    /// Returns whether every address of `other` is in this item.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.first() == masked(other.number(), self.bits)
    }

    /// Returns the first and the last address, as numbers.
    #[must_use]
    pub fn range(&self) -> (u128, u128) {
        let host_bits = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
        (self.first(), self.first() | host_bits)
    }

    /// Returns the kernel's key.
    #[must_use]
    pub fn key(&self) -> MapKey {
        match self.bits {
            128 => MapKey::Host(Address(self.address)),
            bits => MapKey::Prefix(target::prefix(Address(self.address), bits)),
        }
    }

    /// Returns the item of a host or prefix key.
    #[must_use]
    pub fn from_key(key: &MapKey) -> Option<Self> {
        match *key {
            MapKey::Host(address) => Some(Self { address: address.0, bits: 128 }),
            MapKey::Prefix(prefix) => Some(Self { address: prefix.address, bits: u8::try_from(prefix.bits).ok()? }),
            MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Allow(_) => None,
        }
    }

    /// Returns address and bits, mapped.
    #[must_use]
    pub fn parts(&self) -> (Address, u8) {
        (Address(self.address), self.bits)
    }

    /// Returns the item of what [`Item::parts`] gave; `None` where host bits are set or IPv4 would be covered, too.
    #[must_use]
    pub fn from_parts(address: Address, bits: u8) -> Option<Self> {
        let item = Self { address: address.0, bits };
        let is_item = bits <= 128 && item.number() == masked(item.number(), bits) && !item.covers_ipv4_too();
        is_item.then_some(item)
    }

    /// Returns the prefixes that hold this item, the narrowest first.
    pub fn enclosing(self) -> impl Iterator<Item = Self> {
        (0..self.bits).rev().map(move |bits| self.widened(bits))
    }

    /// Returns the prefix of so many bits around this item.
    #[must_use]
    pub fn widened(self, bits: u8) -> Self {
        Self { address: masked(self.number(), bits).to_be_bytes(), bits }
    }

    fn first(&self) -> u128 {
        self.number()
    }

    fn number(&self) -> u128 {
        u128::from_be_bytes(self.address)
    }
}

fn masked(address: u128, bits: u8) -> u128 {
    let host_bits = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
    address & !host_bits
}

impl TryFrom<&Value> for Item {
    type Error = ItemError;

    fn try_from(value: &Value) -> Result<Self, ItemError> {
        match value {
            Value::Net(net) => {
                Some(Self::from_net(*net)).filter(|item| !item.covers_ipv4_too()).ok_or(ItemError::CoversIpv4)
            }
            Value::Endpoint(_) => Err(ItemError::Endpoint),
            Value::Name(..) => Err(ItemError::Name),
            Value::Fingerprint(_) => Err(ItemError::Fingerprint),
        }
    }
}

impl FromStr for Item {
    type Err = ItemError;

    fn from_str(text: &str) -> Result<Self, ItemError> {
        (&text.parse::<Value>()?).try_into()
    }
}

/// A host without `/32` or `/128`, a prefix with its length.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            128 => write!(f, "{}", Address(self.address).ip()),
            _ => write!(f, "{}", self.net()),
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_or_refused_with_the_reason() {
        let host_bits = |prefix: &str| Err(ItemError::Unread(Refused::HostBits { prefix: prefix.parse().unwrap() }));
        let bad_length = |longest| Err(ItemError::Unread(Refused::BadLength { longest }));
        let nothing = || Err(ItemError::Unread(Refused::NotAnIndicator));
        let table = [
            ("192.0.2.1", Ok("192.0.2.1")),
            ("192.0.2.1/32", Ok("192.0.2.1")),
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:db8::1", Ok("2001:db8::1")),
            ("2001:DB8:0::/48", Ok("2001:db8::/48")),
            ("2000::/3", Ok("2000::/3")),
            ("::ffff:192.0.2.1", Ok("192.0.2.1")),
            ("::ffff:192.0.2.0/120", Ok("192.0.2.0/24")),
            ("::1", Ok("::1")),
            ("192.0.2.7/24", host_bits("192.0.2.0/24")),
            ("2001:db8::1/32", host_bits("2001:db8::/32")),
            ("192.0.2.0/33", bad_length(32)),
            ("192.0.2.0/", bad_length(32)),
            ("192.0.2.0/+8", bad_length(32)),
            ("192.0.2.0/255.255.255.0", bad_length(32)),
            ("2001:db8::/129", bad_length(128)),
            ("300.1.1.1", nothing()),
            ("010.1.1.1", nothing()),
            ("127.1", nothing()),
            ("0x7f000001", nothing()),
            ("fe80::1%eth0", nothing()),
            ("[::1]", nothing()),
            ("evil.example", Err(ItemError::Name)),
            ("192.0.2.1:443", Err(ItemError::Endpoint)),
            ("::/0", Err(ItemError::CoversIpv4)),
            ("::/64", Err(ItemError::CoversIpv4)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Item>().map(|item| item.to_string()), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_what_lies_inside_and_itself() {
        let item = |text: &str| text.parse::<Item>().unwrap();

        assert!(item("10.0.0.0/8").contains(&item("10.1.2.3")));
        assert!(item("10.0.0.0/8").contains(&item("10.0.0.0/8")));
        assert!(!item("10.0.0.0/8").contains(&item("11.0.0.0/9")));
        assert!(!item("10.1.0.0/16").contains(&item("10.0.0.0/8")));
        assert!(!item("2001:db8::/32").contains(&item("10.1.2.3")));
    }
}
