//! Whether a change of a list fits the kernel's tables.

use super::Service;
use super::claims::HeldList;
use super::fill::Merged;
use crate::verdicts::blocklist::{Item, ListName};
use crate::verdicts::maps::{MapKey, Maps, Table};
use crate::verdicts::refusal::Refusal;

/// What a list has to share its tables with, and how large they are.
#[derive(Debug)]
pub(super) struct Room {
    /// Every other list.
    others: Vec<HeldList>,
    /// Hosts and prefixes that verdicts name.
    claimed: Vec<MapKey>,
    hosts: u64,
    prefixes: u64,
}

impl<M: Maps> Service<M> {
    /// Returns the room there is for a list of this name.
    pub(super) fn room_beside(&self, name: Option<&ListName>) -> Room {
        let others = self.claims.lists().iter().filter(|(other, _)| Some(*other) != name);
        Room {
            others: others.map(|(_, held)| held.clone()).collect(),
            claimed: self.claims.listable().collect(),
            hosts: self.maps.capacity(Table::Hosts),
            prefixes: self.maps.capacity(Table::Prefixes),
        }
    }
}

impl Room {
    /// Returns the lists of a generation in which the list that changes is `new`.
    pub(super) fn lists<'a>(&'a self, new: Option<&'a HeldList>) -> impl Iterator<Item = &'a HeldList> {
        self.others.iter().chain(new)
    }

    /// Returns how many hosts and prefixes that generation holds at most, or which table cannot hold them.
    pub(super) fn check(&self, new: Option<&HeldList>) -> Result<(u64, u64), Refusal> {
        let (mut hosts, mut prefixes) = self.claimed(|_| true);
        for held in self.lists(new) {
            hosts += held.list.hosts() as u64;
            prefixes += (held.list.len() - held.list.hosts()) as u64;
        }
        if hosts > self.hosts || prefixes > self.prefixes {
            // What several hold was counted as often: look closely.
            let mut merged = Merged::new(self.lists(new).collect());
            merged.by_ref().for_each(drop);
            let is_listed = |item: &Item| self.lists(new).any(|held| held.list.lists(item));
            let unlisted = self.claimed(|key| !Item::from_key(key).is_some_and(|item| is_listed(&item)));
            (hosts, prefixes) = (merged.hosts + unlisted.0, merged.prefixes + unlisted.1);
        }
        for (table, wanted, capacity) in [(Table::Hosts, hosts, self.hosts), (Table::Prefixes, prefixes, self.prefixes)]
        {
            if wanted > capacity {
                return Err(Refusal::TableFull { table: table.name(), wanted, capacity });
            }
        }
        Ok((hosts, prefixes))
    }

    /// Counts the hosts and prefixes among what verdicts name and `counts` picks.
    fn claimed(&self, counts: impl Fn(&MapKey) -> bool) -> (u64, u64) {
        let counted = self.claimed.iter().filter(|key| counts(key));
        counted.fold((0, 0), |(hosts, prefixes), key| match key.table() {
            Table::Hosts => (hosts + 1, prefixes),
            Table::Flows | Table::Endpoints | Table::Prefixes | Table::Allow => (hosts, prefixes + 1),
        })
    }
}
