//! What comes before the network.

use serde::Deserialize;

/// What `netd boot` does when it cannot put everything in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// It says so, and the network comes up.
    #[default]
    Open,
    /// It fails, and whatever requires it does not start. What it put in force has no end for want of a daemon.
    Closed,
}
