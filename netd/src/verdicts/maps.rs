//! What the verdict service needs of the kernel's maps. The kernel room implements it; tests have a fake.

use std::net::IpAddr;

use netd_common::control::Mode;
use netd_common::key::{Address, Endpoint, FlowKey};
use netd_common::verdict::{Hits, Prefix, Rule, RuleId};
use netd_engine::verdict::Target;

use super::proof::Proof;

/// A key of one of the lookup maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MapKey {
    /// `BLOCK_FLOWS`: the conversation's a-to-b five-tuple.
    Flow(FlowKey),
    /// `BLOCK_ENDPOINTS`.
    Endpoint(Endpoint),
    /// `BLOCK_HOSTS`.
    Host(Address),
    /// `BLOCK_PREFIXES`; host bits are zero.
    Prefix(Prefix),
    /// `ALLOW`; host bits are zero. Its value is 1, not a rule.
    Allow(Prefix),
}

/// One of the lookup maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Flows,
    Endpoints,
    Hosts,
    Prefixes,
    Allow,
}

impl Table {
    /// Every table, in lookup order after the allow-list.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Flows, Self::Endpoints, Self::Hosts, Self::Prefixes];

    /// Returns the name the API and the metrics call it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flows => "block_flows",
            Self::Endpoints => "block_endpoints",
            Self::Hosts => "block_hosts",
            Self::Prefixes => "block_prefixes",
            Self::Allow => "allow",
        }
    }
}

impl MapKey {
    /// Returns the table the key belongs to.
    #[must_use]
    pub const fn table(&self) -> Table {
        match self {
            Self::Flow(_) => Table::Flows,
            Self::Endpoint(_) => Table::Endpoints,
            Self::Host(_) => Table::Hosts,
            Self::Prefix(_) => Table::Prefixes,
            Self::Allow(_) => Table::Allow,
        }
    }
}

/// Where a piecemeal reading of all tables stands; the default is the beginning, `table` is `None` at the end.
#[derive(Clone, Debug)]
pub struct Place {
    pub table: Option<Table>,
    pub at: Cursor,
}

/// Where the reading of one table stands, in the kernel's own terms; `None` is its beginning.
#[derive(Clone, Debug, Default)]
pub struct Cursor(pub Option<Vec<u8>>);

impl Default for Place {
    fn default() -> Self {
        Self { table: Some(Table::ALL[0]), at: Cursor::default() }
    }
}

impl Place {
    /// Returns the beginning of the next table.
    #[must_use]
    pub fn following(&self) -> Self {
        let after = Table::ALL.iter().position(|table| Some(*table) == self.table).map(|index| index + 1);
        Self { table: after.and_then(|index| Table::ALL.get(index)).copied(), at: Cursor::default() }
    }
}

/// Why the kernel did not take a change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the kernel's {table} table is full", table = table.name())]
    Full { table: Table },
    #[error("{wanted} entries take about {needed} MiB of memory, and {available} MiB are available")]
    NoMemory { wanted: u64, needed: u64, available: u64 },
    /// `attempt` names the operation and the map: "insert into BLOCK_HOSTS".
    #[error("cannot {attempt}")]
    Call { attempt: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Waits until no packet is judged by the generation that was replaced, and frees it. It may take long, on any thread.
pub type Retire = Box<dyn FnOnce() + Send>;

/// A generation of hosts and prefixes that does not answer yet: filled on any thread, given up by dropping it.
pub trait Coming: Send + 'static {
    /// Takes the memory for so many.
    fn make(&mut self, hosts: u64, prefixes: u64) -> Result<(), Error>;
    /// As [`Maps::insert`]; hosts and prefixes alone.
    fn stage(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), Error>;
    /// As [`Maps::remove`].
    fn unstage(&mut self, keys: &[MapKey]) -> Result<(), Error>;
    /// As [`Maps::write_front`]. What the front held before is not known.
    fn stage_front(&mut self, words: &[(u32, u64)]) -> Result<(), Error>;
    /// Puts it where packets' programs will look for it after the swap: what takes long of a swap.
    fn ready(&mut self) -> Result<(), Error>;
}

/// The kernel's verdict maps, seen by their only writer.
///
/// Every call has happened when it returns. None of them orders anything by itself: the service calls them so that
/// nothing is ever half-active (rule, front, key; on removal key first; generation last).
pub trait Maps: Send {
    /// What [`Maps::coming`] returns.
    type Coming: Coming;

    /// Writes a rule's slot in `RULES` (and empties its throttle bucket).
    fn write_rule(&mut self, id: RuleId, rule: &Rule) -> Result<(), Error>;
    /// Zeroes a rule's slot: it no longer holds.
    fn clear_rule(&mut self, id: RuleId) -> Result<(), Error>;

    /// Inserts or replaces keys. A replacement is atomic: a reader meets the old rule or the new one, never none.
    /// After an error some of the keys may have been written.
    fn insert(&mut self, entries: &[(MapKey, RuleId)]) -> Result<(), Error>;
    /// Removes keys; one that is not there is no error.
    fn remove(&mut self, keys: &[MapKey]) -> Result<(), Error>;
    /// Calls `visit` for every key of every lookup map, `ALLOW` included (with rule 1).
    fn for_each(&self, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), Error>;
    /// Calls `visit` for the next keys at `place`, a few thousand at most, and moves it on.
    fn read(&self, place: &mut Place, visit: &mut dyn FnMut(MapKey, RuleId)) -> Result<(), Error>;
    /// Returns the rule a key carries.
    fn get(&self, key: &MapKey) -> Result<Option<RuleId>, Error>;
    /// Returns a rule's slot, zeros when it is free.
    fn rule(&self, id: RuleId) -> Result<Rule, Error>;
    /// Returns how many keys a table can ever hold.
    fn capacity(&self, table: Table) -> u64;

    /// Returns how many keys a table takes before another generation has to be made for more.
    fn room(&self, table: Table) -> u64;

    /// Returns the generation of hosts and prefixes beside the one that answers packets, yet to be made. There is one at a
    /// time: the former one has been dropped, or swapped in and what it replaced retired.
    fn coming(&self) -> Result<Self::Coming, Error>;
    /// Lets a generation that is ready answer, all at once, and changes `Control::generation`. After an error the former
    /// one goes on answering.
    fn swap(&mut self, coming: Self::Coming, short_v6: bool) -> Result<Retire, Error>;
    /// Makes the pins of the generation that answers again; returns how many somebody has removed.
    fn restore_pins(&mut self) -> Result<u64, Error>;

    /// Returns every word of `FRONT`, `FRONT_WORDS` of them.
    fn front(&self) -> Result<Vec<u64>, Error>;
    /// Reads as many words of `FRONT` as `words` has room for, from index `first` on.
    fn read_front(&self, first: u32, words: &mut [u64]) -> Result<(), Error>;
    /// Writes words of `FRONT`, by index; each word as one store.
    fn write_front(&mut self, words: &[(u32, u64)]) -> Result<(), Error>;
    /// Sets `Control::short_v6_prefixes`.
    fn set_short_v6_prefixes(&mut self, on: bool) -> Result<(), Error>;

    /// Changes `Control::generation`: every flow decides again at its next packet.
    fn bump_generation(&mut self) -> Result<(), Error>;

    /// Returns a rule's hits, summed over the CPUs.
    fn hits(&self, id: RuleId) -> Result<Hits, Error>;
    /// Zeroes a rule's hits, before its number is given to another rule.
    fn clear_hits(&mut self, id: RuleId) -> Result<(), Error>;

    /// Asks every hook whether it denies what a verdict names, while [`super::NOBODY4`] and [`super::NOBODY6`] are cut.
    fn prove(&self) -> Vec<Proof>;

    /// Returns the mode in `Control`, whatever the kill switch says.
    fn mode(&self) -> Result<Mode, Error>;
    fn set_mode(&mut self, mode: Mode) -> Result<(), Error>;
    fn kill_switch(&self) -> Result<bool, Error>;
    fn set_kill_switch(&mut self, on: bool) -> Result<(), Error>;

    /// Destroys this host's TCP sockets whose conversation `target` names, except those whose remote address is
    /// `spared`, and returns how many. A host or a prefix is the remote end; an endpoint either end.
    fn destroy_sockets(&mut self, target: &Target, spared: &dyn Fn(IpAddr) -> bool) -> Result<u64, Error>;
}
