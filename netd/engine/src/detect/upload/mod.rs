//! Exfiltration: uploads that are none of a host's habits.
//!
//! Volumes are counted in buckets of five minutes and compared as x = ln(1 + bytes): z = (x - median) / (1.4826 MAD).
//! The producer/consumer ratio PCR = (up - down) / (up + down) is Bullard's and Gerth's (FloCon 2014).

mod baseline;
mod evidence;
mod store;

use serde::Deserialize;

pub(crate) use evidence::Upload;
pub(crate) use store::{Uploads, Volume};

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub least_bytes: u64,
    pub least_pcr: f64,
    pub unusual_z: f64,
    pub most_z: f64,
    pub most_doublings: f64,
    pub known_buckets: u32,
    pub slow_bytes: f64,
    pub slow_buckets: u32,
    pub watched_s: f64,
}

/// Returns the producer/consumer ratio, -1 to 1.
fn pcr(up: u64, down: u64) -> f64 {
    (up as f64 - down as f64) / (up as f64 + down as f64).max(1.0)
}
