//! What every hook needs first: the control record, the counters, the clocks.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use netd_common::{
    control::Control,
    counter::{Counter, Counters, Traffic},
    packet::ParseError,
};

use crate::maps::{CONTROL, COUNTERS};

/// Where a program runs, which decides how it may count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In the network stack: nothing that counts comes in between.
    Network,
    /// In a process: a packet's program, or another process's, may come in between.
    Process,
}

impl Context {
    /// Adds to a counter of this CPU, exactly.
    #[inline(always)]
    pub fn add(self, counter: *mut u64, n: u64) {
        match self {
            // SAFETY: an aligned word of this CPU's element of a map, which nothing else writes meanwhile.
            Self::Network => unsafe { *counter += n },
            // SAFETY: an aligned word of this CPU's element of a map.
            Self::Process => {
                unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n) };
            }
        }
    }
}

/// This CPU's counters.
pub struct Count(*mut Counters);

impl Count {
    /// Returns this CPU's counters; `None` cannot happen, but the verifier wants the case.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        COUNTERS.get_ptr_mut(0).map(Self)
    }

    #[inline(always)]
    pub fn add(&self, counter: Counter, n: u64) {
        // SAFETY: the pointer is this CPU's element, which no other program run on this CPU interleaves with at this
        // instruction; the index is below `SLOTS` by construction.
        unsafe { (*self.0).slots[counter as usize] += n };
    }

    /// Returns what an interface met. For programs in the network stack alone.
    #[inline(always)]
    pub fn traffic(&self, ifindex: u32) -> &mut Traffic {
        // SAFETY: the pointer is this CPU's element, which network programs do not interleave on; the slot is below
        // `SLOTS`.
        unsafe { &mut (*self.0).traffic[Traffic::slot(ifindex)] }
    }

    /// Counts from either context.
    #[inline(always)]
    pub fn add_in(&self, context: Context, counter: Counter, n: u64) {
        // SAFETY: only the address is taken; the index is below `SLOTS` by construction.
        context.add(unsafe { &raw mut (*self.0).slots[counter as usize] }, n);
    }

    /// Counts a packet that could not be parsed.
    #[inline(always)]
    pub fn unparsed(&self, error: ParseError) {
        self.add(
            match error {
                ParseError::NotIp => Counter::UnparsedNotIp,
                ParseError::TruncatedLink => Counter::UnparsedTruncatedLink,
                ParseError::TruncatedNetwork => Counter::UnparsedTruncatedNetwork,
                ParseError::TruncatedTransport => Counter::UnparsedTruncatedTransport,
                ParseError::BadHeader => Counter::UnparsedBadHeader,
                ParseError::TooManyExtensions => Counter::UnparsedTooManyExtensions,
                ParseError::TooManyTags => Counter::UnparsedTooManyTags,
            },
            1,
        );
    }
}

/// Returns the control record.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Returns the monotonic clock to a few milliseconds, at a twentieth of the precise one's cost.
#[inline(always)]
pub fn coarse_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Returns the monotonic clock.
#[inline(always)]
pub fn precise_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Returns the clock that goes on during suspend: verdicts expire by it.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}
