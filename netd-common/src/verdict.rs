//! The meaning of a verdict: rules, the lookup order, expiry, throttling. The kernel programs and the tests' oracle
//! run this code.
//!
//! A lookup map answers with a rule number; the rule's slot in `RULES` says what to do and until when. So a listed
//! address costs four bytes of value, and changing, expiring or releasing a rule is one write, however many
//! addresses name it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::{Address, Endpoint, FlowKey};

/// Number of a rule: its slot in `RULES` and `HITS`. 0 is "no rule".
pub type RuleId = u32;

/// Slots in `RULES`; slot 0 is never used.
pub const MAX_RULES: u32 = 65_536;

/// What the kernel does with a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Passes and is counted.
    Observe = 1,
    /// Passes up to a rate, then drops.
    Throttle = 2,
    /// Drops.
    Drop = 3,
    /// Drops, and resets the TCP connection of whoever sent it.
    Reset = 4,
}

impl Action {
    /// Returns the action of a rule's number, or `None` for an unknown one, which passes: an appliance that is
    /// confused must not cut the wire.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Observe),
            2 => Some(Self::Throttle),
            3 => Some(Self::Drop),
            4 => Some(Self::Reset),
            _ => None,
        }
    }
}

/// One verdict as the kernel holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rule {
    /// `CLOCK_BOOTTIME`, nanoseconds; `u64::MAX` never expires, 0 is a free slot.
    pub expires_ns: u64,
    /// Throttle: nanoseconds one byte costs (2^16 fixed point), so that the kernel only multiplies.
    pub cost_per_byte: u64,
    /// Throttle: how far ahead of the clock the bucket may run, in nanoseconds.
    pub burst_ns: u64,
    /// An [`Action`].
    pub action: u8,
    /// 1: counted as if it acted, but it passes (shadow mode of this rule alone).
    pub shadow: u8,
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<Rule>() == 32);

impl Rule {
    /// Returns a rule without throttle.
    #[must_use]
    pub const fn new(action: Action, expires_ns: u64) -> Self {
        Self { expires_ns, cost_per_byte: 0, burst_ns: 0, action: action as u8, shadow: 0, pad: [0; 6] }
    }

    /// Returns a rule that passes `bytes_per_second` with a burst of `burst_bytes`.
    #[must_use]
    pub const fn throttle(bytes_per_second: u64, burst_bytes: u64, expires_ns: u64) -> Self {
        let rate = if bytes_per_second == 0 { 1 } else { bytes_per_second };
        let cost_per_byte = (1_000_000_000_u64 << 16) / rate;
        let burst_ns = ((burst_bytes as u128 * cost_per_byte as u128) >> 16) as u64;
        Self { expires_ns, cost_per_byte, burst_ns, action: Action::Throttle as u8, shadow: 0, pad: [0; 6] }
    }

    /// Returns whether the rule holds at `boot_ns`.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, boot_ns: u64) -> bool {
        boot_ns < self.expires_ns
    }
}

/// Packets and bytes a rule met: per CPU, index is the rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Hits {
    /// Acted on (dropped, reset, throttled away), or passed for `Observe`.
    pub packets: u64,
    pub bytes: u64,
    /// Would have been acted on, in shadow mode.
    pub shadow_packets: u64,
    pub shadow_bytes: u64,
}

const _: () = assert!(size_of::<Hits>() == 32);

/// Virtual scheduling (GCRA, ITU-T I.371): returns the bucket's next theoretical arrival time when `bytes` conform
/// at `now_ns`, or `None` when they exceed the rate.
#[inline(always)]
#[must_use]
pub const fn conform(rule: &Rule, arrival_ns: u64, now_ns: u64, bytes: u64) -> Option<u64> {
    let start = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    if start - now_ns > rule.burst_ns {
        return None;
    }
    Some(start.saturating_add((bytes.wrapping_mul(rule.cost_per_byte)) >> 16))
}

/// Prefix key of the LPM tries: `bits` of `address`, IPv4 prefixes counted from the mapped address (`/24` is 120).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Prefix {
    pub bits: u32,
    /// As in [`Address`], but unaligned: the trie wants the bits right behind their number.
    pub address: [u8; 16],
}

/// What a packet is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub key: &'a FlowKey,
    /// False for a non-first fragment: only address verdicts apply.
    pub has_ports: bool,
}

/// The verdict maps, as the decision needs them. A rule that no longer holds counts as absent, so that an expired
/// five-tuple does not hide a listed prefix.
pub trait Verdicts {
    /// Returns what may be listed around an address, bits of [`near`]: the coarse bitmap in front of the maps.
    fn near(&self, address: &Address) -> u8;
    fn is_allowed(&self, address: &Address) -> bool;
    fn five_tuple(&self, key: &FlowKey) -> Option<RuleId>;
    fn endpoint(&self, endpoint: &Endpoint) -> Option<RuleId>;
    fn host(&self, address: &Address) -> Option<RuleId>;
    fn prefix(&self, address: &Address) -> Option<RuleId>;
}

/// Returns the rule that applies to a packet: allow-list, then five-tuple, endpoint, host, prefix.
///
/// A match on an end counts unless that end is allow-listed; a five-tuple unless either end is. Both ends are
/// looked up, so a listed address is cut whichever side began. The allow-list is asked last, of a match alone:
/// almost nothing in a listed neighbourhood is listed itself.
#[inline(always)]
pub fn decide<V: Verdicts>(verdicts: &V, subject: Subject<'_>) -> Option<RuleId> {
    let key = subject.key;
    let (src, dst) = (verdicts.near(&key.src), verdicts.near(&key.dst));
    if subject.has_ports
        && src == near::ANYTHING
        && dst == near::ANYTHING
        && let Some(rule) = verdicts.five_tuple(&key.conversation().0.flow(crate::key::Direction::AToB))
        && !verdicts.is_allowed(&key.src)
        && !verdicts.is_allowed(&key.dst)
    {
        return Some(rule);
    }
    if subject.has_ports && dst == near::ANYTHING {
        let end = Endpoint::new(key.dst, key.dst_port, key.proto);
        if let Some(rule) = unless_allowed(verdicts, verdicts.endpoint(&end), &key.dst) {
            return Some(rule);
        }
    }
    if subject.has_ports && src == near::ANYTHING {
        let end = Endpoint::new(key.src, key.src_port, key.proto);
        if let Some(rule) = unless_allowed(verdicts, verdicts.endpoint(&end), &key.src) {
            return Some(rule);
        }
    }
    if let Some(rule) = unless_allowed(verdicts, by_address(verdicts, &key.dst, dst), &key.dst) {
        return Some(rule);
    }
    unless_allowed(verdicts, by_address(verdicts, &key.src, src), &key.src)
}

#[inline(always)]
fn unless_allowed<V: Verdicts>(verdicts: &V, rule: Option<RuleId>, end: &Address) -> Option<RuleId> {
    if rule.is_some() && !verdicts.is_allowed(end) { rule } else { None }
}

#[inline(always)]
fn by_address<V: Verdicts>(verdicts: &V, address: &Address, near: u8) -> Option<RuleId> {
    if near & near::HOST != 0
        && let Some(rule) = verdicts.host(address)
    {
        return Some(rule);
    }
    if near & near::PREFIX != 0 { verdicts.prefix(address) } else { None }
}

/// What the front says of a neighbourhood: two bits. None is exact; so is the absence of either.
///
/// A trie is slow, and most of what lists hold are hosts: they must not send their neighbours there.
pub mod near {
    /// A host is listed there.
    pub const HOST: u8 = 1;
    /// A prefix covers some of it.
    pub const PREFIX: u8 = 2;
    /// Something with ports is listed there, or both of the others.
    pub const ANYTHING: u8 = HOST | PREFIX;
}

/// Bits of each of the front's two halves (IPv4, IPv6); two bits a /24, or a hashed /48.
pub const FRONT_BITS: u32 = 2 << 24;

/// Words of 64 bits in the front.
pub const FRONT_WORDS: u32 = 2 * FRONT_BITS / 64;

/// Generations of lists: one answers while another is filled. `Control::lists` says which.
pub const GENERATIONS: u32 = 2;

/// Returns the first of the front's two bits for an address: exact /24 for IPv4, the hashed /48 for IPv6.
#[inline(always)]
#[must_use]
pub fn front_bit(address: &Address) -> u32 {
    let (high, low) = address.words();
    if address.is_v4() {
        // The first three octets of the IPv4 address, which is the second half of the word.
        (u64::from_be_bytes(low.to_ne_bytes()) as u32 >> 8) << 1
    } else {
        let site = u64::from_be_bytes(high.to_ne_bytes()) >> 16;
        FRONT_BITS + (((site.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32) << 1)
    }
}
