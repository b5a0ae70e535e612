//! Port scans and sweeps: many first contacts, few answers.

mod evidence;
mod sources;
mod walk;

use netd_common::key::Address;
use serde::Deserialize;

pub(crate) use evidence::Scan;
pub(crate) use sources::{Noise, Scans};
pub(crate) use walk::Odds;

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub tcp: Odds,
    pub udp: Odds,
    pub alpha: f64,
    pub beta: f64,
    pub most_walk: f64,
    pub vertical_ports: u32,
    pub horizontal_hosts: u32,
    pub mixed_targets: u32,
    pub dense: f64,
    pub quiet_s: f64,
    pub inbound_per_hour: u32,
}

impl Thresholds {
    /// Returns ln eta1, at which the walk decides.
    pub(crate) fn ln_eta1(&self) -> f64 {
        ((1.0 - self.beta) / self.alpha).ln()
    }
}

/// One attempt whose outcome is certain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    pub(crate) originator: Address,
    pub(crate) responder: Address,
    pub(crate) port: u16,
    pub(crate) proto: u8,
    pub(crate) has_failed: bool,
    /// A DNS answer gave the originator the address: it follows a name, and guesses nothing.
    pub(crate) is_named: bool,
    pub(crate) at_ns: u64,
}

/// What a scan goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Ports of one host.
    Vertical(Address),
    /// Hosts on one port.
    Horizontal(u16),
    /// Both at once.
    Mixed,
}
