//! The flow table: set-associative, one part per CPU, mapped into the daemon's memory.
//!
//! A set is one cache line of tags and ages, then eight slots of two lines each. A look-up reads the tag line and the
//! one slot that matches; replacement decides from the tag line alone. State is per CPU, so two CPUs on one
//! conversation share no line: the daemon adds their parts up.
//!
//! Nothing is lost silently: a slot is given to another conversation only after its last counters are in the ring
//! buffer. When the ring buffer is full the newcomer's packets are counted as unaccounted, and whoever has a slot
//! keeps it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::ConversationKey;

/// Slots in a set.
pub const WAYS: usize = 8;

/// A point in time in units of 2^20 ns (1.05 ms), modulo 2^32 (52 days). A shift, because the kernel divides slowly.
pub type Tick = u32;

/// Returns the tick of a time in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn tick(now_ns: u64) -> Tick {
    (now_ns >> 20) as u32
}

/// Returns the ticks of a duration in nanoseconds, rounded down, at least 1.
#[must_use]
pub const fn ticks(duration_ns: u64) -> Tick {
    let ticks = tick(duration_ns);
    if ticks == 0 { 1 } else { ticks }
}

/// Returns the nanoseconds of a number of ticks.
#[inline(always)]
#[must_use]
pub const fn nanoseconds(ticks: Tick) -> u64 {
    (ticks as u64) << 20
}

/// What a slot's conversation has done, for replacement; the two low bits of its tag.
pub mod class {
    /// Only one direction seen: a scan, a flood, an unanswered attempt.
    pub const ONE_WAY: u32 = 0;
    pub const TWO_WAY: u32 = 1;
    pub const ENDED: u32 = 2;
    pub const MASK: u32 = 3;
}

/// How much longer, in ticks, a two-way conversation may be idle than a one-way one before it is replaced: about ten
/// minutes, so that a flood of unanswered packets replaces itself and not the connections people use.
const ONE_WAY_PENALTY: Tick = 600_000;
const ENDED_PENALTY: Tick = 1 << 30;

/// Eight slots and the line that finds them.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Set {
    /// 0 is free; otherwise hash bits, with a [`class`] in the two lowest.
    pub tags: [u32; WAYS],
    /// Tick of the last packet.
    pub last: [Tick; WAYS],
    pub slots: [Slot; WAYS],
}

const _: () = assert!(size_of::<Set>() == 1088);

/// One conversation as one CPU sees it. Arrays are indexed by [`crate::key::Direction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Slot {
    pub key: ConversationKey,
    pub bytes: [u64; 2],
    pub payload: [u64; 2],
    /// Modulo 2^32.
    pub packets: [u32; 2],
    /// TCP: sequence number after the last new payload byte, 0 when none was seen.
    pub next_seq: [u32; 2],
    pub first: Tick,
    /// Last new payload, either direction; valid when [`crate::record::state::PAYLOAD`] is set.
    pub last_payload: Tick,
    /// Last flow record.
    pub reported: Tick,
    /// Generation of the verdict maps under which `rule` was decided.
    pub generation: u32,
    pub rule: u32,
    pub ifindex: u32,
    pub vlan: u16,
    pub flags: [u8; 2],
    /// [`crate::record::state`] bits.
    pub state: u8,
    /// [`mark`] bits.
    pub marks: u8,
    /// ICMP code of the first packet, 0 otherwise.
    pub icmp_code: u8,
    pub pad: u8,
    /// Socket cookie of this host's end, 0 when forwarded or not known.
    pub cookie: u64,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// Bits of [`Slot::marks`], which stay in the table.
pub mod mark {
    /// Two bits for a, two for b: how many records of its first flight have been exported, all set when it is over.
    pub const FLIGHT: [u8; 2] = [3, 3 << 2];
    /// Where each side's two bits start.
    pub const FLIGHT_SHIFT: [u8; 2] = [0, 2];
    /// Counters have changed since the last flow record.
    pub const DIRTY: u8 = 1 << 4;
    /// The socket cookie has been asked for.
    pub const COOKIE_ASKED: u8 = 1 << 5;
    /// TCP sequence numbers of a / of b were skipped: what fills them is no retransmission.
    pub const HOLE: [u8; 2] = [1 << 6, 1 << 7];
}

impl Set {
    /// A set without conversations.
    pub const EMPTY: Self = Self {
        tags: [0; WAYS],
        last: [0; WAYS],
        slots: [Slot {
            key: ConversationKey {
                a: crate::key::Address::UNSPECIFIED,
                b: crate::key::Address::UNSPECIFIED,
                a_port: [0; 2],
                b_port: [0; 2],
                proto: 0,
                pad: [0; 3],
            },
            bytes: [0; 2],
            payload: [0; 2],
            packets: [0; 2],
            next_seq: [0; 2],
            first: 0,
            last_payload: 0,
            reported: 0,
            generation: 0,
            rule: 0,
            ifindex: 0,
            vlan: 0,
            flags: [0; 2],
            state: 0,
            marks: 0,
            icmp_code: 0,
            pad: 0,
            cookie: 0,
        }; WAYS],
    };

    /// Returns the way that holds `key`.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, tag: u32, key: &ConversationKey) -> Option<usize> {
        let mut way = 0;
        while way < WAYS {
            if self.tags[way] & !class::MASK == tag && self.slots[way].key.is(key) {
                return Some(way);
            }
            way += 1;
        }
        None
    }

    /// Returns the way to give to a newcomer at `now`: a free one, else the one that has ended, or been idle, longest.
    #[inline(always)]
    #[must_use]
    pub fn victim(&self, now: Tick) -> usize {
        let mut best = 0;
        let mut best_age = 0;
        let mut way = 0;
        while way < WAYS {
            let tag = self.tags[way];
            if tag == 0 {
                return way;
            }
            let idle = now.wrapping_sub(self.last[way]);
            // Half the tick range is two years' worth of nothing: clamp, so that penalties cannot wrap.
            let idle = if idle > (1 << 29) { 1 << 29 } else { idle };
            let age = idle
                + match tag & class::MASK {
                    class::ENDED => ENDED_PENALTY,
                    class::ONE_WAY => ONE_WAY_PENALTY,
                    _ => 0,
                };
            if age >= best_age {
                best_age = age;
                best = way;
            }
            way += 1;
        }
        best
    }

    /// Frees every slot.
    pub fn clear(&mut self) {
        *self = Self::EMPTY;
    }
}

/// Secret coefficients of the table's hash.
///
/// Attackers choose five-tuples; they must not be able to choose collisions. Multilinear hashing (Lemire and Kaser,
/// "Strongly universal string hashing is fast", 2014, MULTILINEAR-HM) with secret 64-bit coefficients makes any two
/// keys collide with probability 2^-32 in the upper half of the sum, at one multiplication for each eight bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HashKeys(pub [u64; 11]);

impl HashKeys {
    /// Returns coefficients drawn from `seed` (SplitMix64, Steele et al. 2014).
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        let mut keys = [0; 11];
        let mut state = seed;
        let mut i = 0;
        while i < keys.len() {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            keys[i] = z ^ (z >> 31);
            i += 1;
        }
        Self(keys)
    }

    /// Returns the hash of a key.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, key: &ConversationKey) -> u32 {
        let k = &self.0;
        let (a0, a1) = key.a.words();
        let (b0, b1) = key.b.words();
        let [p, q] = key.a_port;
        let [r, s] = key.b_port;
        let ports = u64::from(u32::from_ne_bytes([p, q, r, s])) | u64::from(key.proto) << 32;
        let sum = k[0]
            .wrapping_add(pair(a0, k[1], k[2]))
            .wrapping_add(pair(a1, k[3], k[4]))
            .wrapping_add(pair(b0, k[5], k[6]))
            .wrapping_add(pair(b1, k[7], k[8]))
            .wrapping_add(pair(ports, k[9], k[10]));
        mixed((sum >> 32) as u32)
    }
}

/// Spreads the sum over all bits, one to one. Of keys in a row (a scan, one host's ports) the sums are in a row too,
/// and one secret in some hundred would put them all into a few sets.
#[inline(always)]
const fn mixed(sum: u32) -> u32 {
    let product = (sum ^ sum >> 16).wrapping_mul(0x85eb_ca6b);
    product ^ product >> 13
}

#[inline(always)]
const fn pair(word: u64, k1: u64, k2: u64) -> u64 {
    k1.wrapping_add(word & 0xffff_ffff).wrapping_mul(k2.wrapping_add(word >> 32))
}

/// Returns the tag of a hash: never 0, class bits clear.
#[inline(always)]
#[must_use]
pub const fn tag(hash: u32) -> u32 {
    let tag = hash & !class::MASK;
    if tag == 0 { 4 } else { tag }
}
