//! The one record by which the daemon steers every program: mode, kill switch, generation, heartbeat.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::HashKeys;

/// How far the programs go.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Findings only: verdicts are not looked at.
    #[default]
    Observe = 0,
    /// Verdicts are looked up and counted; every packet passes.
    Shadow = 1,
    /// Verdicts act.
    Enforce = 2,
}

impl Mode {
    /// Returns the mode of a control word; an unknown one observes.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Shadow,
            2 => Self::Enforce,
            _ => Self::Observe,
        }
    }
}

/// The single element of `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// `CLOCK_MONOTONIC` of the daemon's last sign of life, nanoseconds.
    pub heartbeat_ns: u64,
    /// Programs pass everything when the heartbeat is older; 0 never (enforcement left in place on purpose).
    pub heartbeat_limit_ns: u64,
    /// Changes whenever a lookup map or the allow-list does: a flow decides again at its next packet.
    pub generation: u32,
    /// A [`Mode`].
    pub mode: u32,
    /// Not 0: every program passes everything.
    pub kill_switch: u32,
    /// Idle time after which payload starts a turn, in [`crate::flow::Tick`]s.
    pub turn_gap: u32,
    /// Active timeout, in ticks.
    pub active_timeout: u32,
    /// A bit a generation of lists: IPv6 prefixes shorter than /48 are listed, so its front cannot rule an IPv6 address
    /// out.
    pub short_v6_prefixes: u32,
    /// Not 0: packets cross two watched interfaces, so ingress leaves a mark for egress.
    pub forwards: u32,
    /// Possible CPUs, for the search of a conversation's other halves.
    pub cpus: u32,
    /// Sets of `FLOWS` per CPU, a power of two, minus one. Written once, when the maps are created.
    pub set_mask: u32,
    /// Which generation of `BLOCK_HOSTS`, `BLOCK_PREFIXES` and `FRONT` answers: this word is what swaps them.
    pub lists: u32,
    /// Secret, written once: it lives here so that a restarted daemon finds the table as it was filled.
    pub hash_keys: HashKeys,
}

const _: () = assert!(size_of::<Control>() == 144);

impl Control {
    /// Returns the mode in force at `now_ns`: observe when the kill switch is on or the daemon is silent too long.
    #[inline(always)]
    #[must_use]
    pub const fn effective_mode(&self, now_ns: u64) -> Mode {
        if self.kill_switch != 0 || self.heartbeat_is_stale(now_ns) {
            return Mode::Observe;
        }
        Mode::from_number(self.mode)
    }

    /// Returns whether the daemon has been silent for longer than the limit.
    #[inline(always)]
    #[must_use]
    pub const fn heartbeat_is_stale(&self, now_ns: u64) -> bool {
        self.heartbeat_limit_ns != 0 && now_ns.saturating_sub(self.heartbeat_ns) > self.heartbeat_limit_ns
    }
}
