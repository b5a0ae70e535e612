//! The detectors of names: tunnels, idle implants, generated domains, fast flux; and which flows hide their questions.
//!
//! [`Watch`] holds what they share. All of it is bounded, and a message costs a constant.

mod asked;
mod bounded;
mod client;
mod dga;
pub(crate) mod encrypted;
mod flux;
mod look;
mod rhythm;
mod sketch;
mod tunnel;
mod watch;
mod window;
mod zone;

pub(crate) use asked::{Asked, PORT};
use serde::Deserialize;
pub(crate) use watch::{Heard, Seen, Watch};

/// Thresholds: see `weights.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub tunnel_up: f64,
    pub tunnel_down: f64,
    pub ordinary_up: f64,
    pub ordinary_down: f64,
    pub most_folds: f64,
    pub carrier_share: f64,
    pub encoded_share: f64,
    pub long_name: f64,
    pub share_of_queries: f64,
    pub many_queries: u32,
    pub denied_share: f64,
    pub address_share: f64,
    pub many_clients: u32,
    pub direct_domains: u32,
    pub direct_queries: u32,
    pub ln_e_worth_judging: f64,
    pub most_timing: f64,
    pub fresh_share: f64,
    pub least_interval_s: f64,
    pub dga_from: u32,
    pub ordinary_failed: f64,
    pub random_ln_p: f64,
    pub alike_lengths: f64,
    pub flux_ttl_s: u32,
    pub flux_networks: u32,
    pub ordinary_networks: f64,
    pub turnover: f64,
    pub flux_over_s: f64,
}
