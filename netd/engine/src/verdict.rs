//! What netd decided, before the kernel hears of it.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_common::verdict::Action;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a verdict is about, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Target {
    /// One conversation, either direction.
    FiveTuple {
        source: IpAddr,
        source_port: u16,
        destination: IpAddr,
        destination_port: u16,
        proto: u8,
    },
    /// A listening side: address, port, protocol.
    Endpoint {
        address: IpAddr,
        port: u16,
        proto: u8,
    },
    Host {
        address: IpAddr,
    },
    Prefix {
        prefix: IpNet,
    },
}

/// What the kernel is to do. The serde names are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Response {
    Observe,
    Throttle { bytes_per_second: u64, burst_bytes: u64 },
    Drop,
    Reset,
}

impl Response {
    /// Returns the kernel's action.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Observe => Action::Observe,
            Self::Throttle { .. } => Action::Throttle,
            Self::Drop => Action::Drop,
            Self::Reset => Action::Reset,
        }
    }
}

/// Who asked for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
pub enum Origin {
    /// A finding, by its number and the policy that turned it into a verdict.
    Finding { finding: u64, policy: String },
    /// An operator, through API or CLI.
    Manual,
    /// A block-list; by `name`, where DNS gave the address to a name that it holds.
    List {
        list: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

/// A verdict as it is asked for; the enforcer gives it its number and its kernel rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub target: Target,
    pub response: Response,
    /// None never expires (lists only).
    pub until: Option<Timestamp>,
    pub origin: Origin,
    pub reason: String,
    /// Counted, not acted on, whatever the global mode.
    #[serde(default)]
    pub shadow: bool,
}
