//! Why the verdict service did not do what it was asked.

use super::blocklist::NameError;
use super::maps;
use super::protect::Guard;
use crate::store::audit::Unrecorded;

/// Why the verdict service did not do what it was asked. Nothing has changed in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{target} is protected ({guard}): it must not be cut")]
    Protected { target: String, guard: Guard },
    #[error("{prefix} is wider than /{widest}, force accepts it")]
    TooWide { prefix: String, widest: u8 },
    #[error("{prefix} covers the IPv4-mapped addresses too; 2000::/3 is all of global IPv6")]
    CoversIpv4 { prefix: String },
    #[error("source and destination are of different IP versions")]
    MixedVersions,
    #[error("until is not in the future")]
    NotInFuture,
    #[error("throttle needs at least 1 byte per second and a burst of at least one packet (1514 bytes)")]
    BadThrottle,
    #[error("all {limit} rules are in use")]
    RulesFull { limit: u32 },
    #[error("{limit} block-lists exist, the most there can be")]
    ListsFull { limit: usize },
    #[error("the {table} table would hold {wanted} entries of {capacity}")]
    TableFull { table: &'static str, wanted: u64, capacity: u64 },
    #[error("{wanted} entries take about {needed} MiB of kernel memory, and {available} MiB are available")]
    NoMemory { wanted: u64, needed: u64, available: u64 },
    #[error("there is no verdict {id}")]
    NoVerdict { id: u64 },
    #[error("there is no block-list {name}")]
    NoList { name: String },
    #[error("the block-list's tag is {current}, not the one given")]
    Changed { current: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the kernel refused")]
    Kernel(#[source] maps::Error),
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    #[error("netd is shutting down")]
    Stopped,
}

impl From<maps::Error> for Refusal {
    fn from(error: maps::Error) -> Self {
        match error {
            maps::Error::NoMemory { wanted, needed, available } => Self::NoMemory { wanted, needed, available },
            error @ (maps::Error::Full { .. } | maps::Error::Call { .. }) => Self::Kernel(error),
        }
    }
}
