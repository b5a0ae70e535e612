//! What the allow-lists hold, and how it reaches the kernel.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netd_engine::listed::NameSet;
use netd_engine::time::Timestamp;

use super::Service;
use super::saved;
use super::singles::Note;
use crate::store::disk::{File, StateDir};
use crate::verdicts::blocklist::{EntryValue, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{Maps, Table};
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;

/// Most allow-lists.
const MOST: usize = 64;

/// An allow-list in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HeldAllow {
    pub(super) list: List,
    pub(super) singles: BTreeMap<EntryValue, Note>,
    pub(super) updated: Timestamp,
}

impl HeldAllow {
    pub(super) fn single_names(&self) -> NameSet {
        let names = self.singles.keys().filter_map(|value| match value {
            EntryValue::Name(name, reach) => Some((name.clone(), *reach)),
            EntryValue::Item(_) => None,
        });
        NameSet::new(names.collect())
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        let singles = self.singles.keys().filter_map(|value| match value {
            EntryValue::Item(item) => Some(*item),
            EntryValue::Name(..) => None,
        });
        self.list.iter().chain(singles)
    }

    pub(super) fn tag(&self) -> String {
        let content = self.list.tag(netd_engine::verdict::Response::Observe, false);
        if self.singles.is_empty() {
            return content;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(content.as_bytes());
        for (value, note) in &self.singles {
            hasher.update(format!("{value} {:?} {:?}\n", note.until, note.reason).as_bytes());
        }
        format!("\"b3-{}\"", &hasher.finalize().to_hex()[..32])
    }
}

/// The allow-lists by name.
pub(super) type Allows = BTreeMap<ListName, HeldAllow>;

impl<M: Maps> Service<M> {
    /// Puts an allow-list in force, or takes it away; the caller saves.
    pub(super) fn put_allow_list(&mut self, name: &ListName, new: Option<HeldAllow>, now: Now) -> Result<(), Refusal> {
        if new.is_some() && !self.allows.contains_key(name) && self.allows.len() >= MOST {
            return Err(Refusal::ListsFull { limit: MOST });
        }
        let old = match new {
            Some(new) => self.allows.insert(name.clone(), new),
            None => self.allows.remove(name),
        };
        self.publish_names(now);
        if let Err(refusal) = self.apply_allow_lists(now) {
            match old {
                Some(old) => self.allows.insert(name.clone(), old),
                None => self.allows.remove(name),
            };
            self.publish_names(now);
            return Err(refusal);
        }
        self.pending.allow_lists.insert(name.clone());
        Ok(())
    }

    /// Makes the kernel pass what the allow-lists and the addresses of their names are.
    pub(super) fn apply_allow_lists(&mut self, now: Now) -> Result<(), Refusal> {
        let prefixes = self.allowed_prefixes();
        let capacity = self.maps.capacity(Table::Allow);
        let mut protected = self.protected.clone();
        protected.set(Guard::AllowList, &prefixes);
        let wanted = protected.keys().len() as u64;
        if wanted > capacity {
            return Err(Refusal::TableFull { table: Table::Allow.name(), wanted, capacity });
        }
        self.protect(Guard::AllowList, &prefixes, now)
    }

    pub(super) fn allowed_prefixes(&self) -> Vec<IpNet> {
        let listed = self.allows.values().flat_map(HeldAllow::items).map(|item| item.net());
        listed.chain(self.names.allowed.keys().copied().map(IpNet::from)).collect()
    }

    /// Ends what has expired: single entries, and addresses of allow-listed names.
    pub(super) fn expire_allow_entries(&mut self, now: Now) {
        let mut changed = self.expire_allowed(now);
        let mut names = false;
        for (name, held) in &mut self.allows {
            let before = held.singles.len();
            held.singles.retain(|_, note| !note.has_ended(now));
            if held.singles.len() < before {
                (changed, names) = (true, true);
                self.pending.allow_lists.insert(name.clone());
            }
        }
        if names {
            self.publish_names(now);
        }
        if changed {
            if let Err(refusal) = self.apply_allow_lists(now) {
                tracing::warn!(%refusal, "an allow-list's entry that has expired still passes; trying again");
            }
            if names {
                self.save(now);
            }
        }
    }

    /// Reads the saved allow-lists; nothing is written to the kernel.
    pub(super) fn load_allow_lists(&mut self, disk: &StateDir, now: Now) {
        for name in disk.allow_lists() {
            let read = disk.read_or_set_aside(File::AllowList(&name), saved::allow_list_from_bytes);
            let Some(mut held) = read else { continue };
            held.singles.retain(|_, note| !note.has_ended(now));
            self.allows.insert(name, held);
        }
        let prefixes = self.allowed_prefixes();
        self.protected.set(Guard::AllowList, &prefixes);
    }

    /// Returns the prefixes that the allow-lists add to `ALLOW` around an item, by list and entry.
    pub(super) fn allowed_around(&self, item: &Item) -> Vec<(ListName, EntryValue)> {
        let of = |(name, held): (&ListName, &HeldAllow)| {
            let around = held.items().filter(|other| other.contains(item)).map(EntryValue::Item);
            around.map(|value| (name.clone(), value)).collect::<Vec<_>>()
        };
        self.allows.iter().flat_map(of).collect()
    }
}
