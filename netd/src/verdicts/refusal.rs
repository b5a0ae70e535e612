//! Why the verdict service did not do what it was asked.

use std::net::IpAddr;
use std::time::Duration;

use super::blocklist::NameError;
use super::maps;
use super::protect::Guard;
use crate::store::audit::Unrecorded;
use crate::store::disk;

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
    #[error("there is no allow-list {name}")]
    NoAllowList { name: String },
    #[error("{value} is no entry of {list}")]
    NoEntry { list: String, value: String },
    #[error("a list has at most {limit} single entries of a kind; a file can have more")]
    EntriesFull { limit: usize },
    #[error("everybody registers below {name}; force accepts it")]
    PublicSuffix { name: String },
    /// Whoever owns a listed name could have an address of this network cut.
    #[error("{name} has the address {address}, which is {what}: it is not cut for a name")]
    NotPublic { address: IpAddr, name: String, what: &'static str },
    #[error("{name} has the address {address}, as {others} other domains lately had: they would be cut, too")]
    Shared { address: IpAddr, name: String, others: u32 },
    #[error("{name} has more addresses than the {limit} that act at once")]
    ManyAddresses { name: String, limit: usize },
    #[error("change {id} of it waits to be confirmed: confirm it, revert it, or let it undo itself")]
    Unconfirmed { id: u64 },
    #[error("no change {id} waits to be confirmed")]
    NoConfirmation { id: u64 },
    #[error("{limit} changes wait to be confirmed, the most that can")]
    ManyUnconfirmed { limit: usize },
    #[error("confirm is from {} s to {} s", shortest.as_secs(), longest.as_secs())]
    BadConfirmTime { shortest: Duration, longest: Duration },
    #[error("how to undo the change could not be written, so it was not made")]
    Undo(#[from] disk::Error),
    #[error("the list's tag is {current}, not the one given")]
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
