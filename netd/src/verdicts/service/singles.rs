//! The index of single entries: which there are, what is said of them, what a list's tag makes of them.

use std::collections::BTreeMap;

use netd_engine::feed::Reach;
use netd_engine::listed::NameSet;
use netd_engine::time::Timestamp;
use netd_engine::verdict::Origin;

use super::Service;
use super::claims::{Held, HeldList};
use super::saved::{SavedEntry, SavedName};
use crate::verdicts::blocklist::{EntryValue, Item, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;

/// What is said of a single entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) reason: String,
    pub(super) created: Timestamp,
    pub(super) until: Option<Timestamp>,
}

impl Note {
    pub(super) fn has_ended(&self, now: Now) -> bool {
        self.until.is_some_and(|until| until <= now.wall)
    }
}

/// The single entries of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Singles {
    /// By the verdict that each is.
    pub(super) items: BTreeMap<Item, u64>,
    pub(super) names: BTreeMap<(Box<str>, Reach), Note>,
}

impl Singles {
    fn len(&self) -> u64 {
        (self.items.len() + self.names.len()) as u64
    }

    pub(super) fn name_set(&self) -> NameSet {
        NameSet::new(self.names.keys().cloned().collect())
    }
}

/// The single entries by list; lists without any are left out.
pub(super) type Entries = BTreeMap<ListName, Singles>;

impl<M: Maps> Service<M> {
    /// Ends what has expired of the names; addresses expire as verdicts do. Returns whether anything did.
    pub(super) fn expire_names(&mut self, now: Now) -> bool {
        let mut expired = false;
        for singles in self.entries.values_mut() {
            singles.names.retain(|_, note| {
                expired |= note.has_ended(now);
                !note.has_ended(now)
            });
        }
        if expired {
            self.entries.retain(|_, singles| singles.len() > 0);
            self.pending.verdicts = true;
            self.publish_names(now);
        }
        expired
    }

    /// Notes a verdict that is a single entry.
    pub(super) fn index_entry(&mut self, held: &Held) {
        if let Some((list, item)) = single_of(held) {
            self.entries.entry(list).or_default().items.insert(item, held.id);
        }
    }

    /// Forgets a verdict that was a single entry.
    pub(super) fn unindex_entry(&mut self, held: &Held) {
        let Some((list, item)) = single_of(held) else { return };
        let Some(singles) = self.entries.get_mut(&list) else { return };
        singles.items.remove(&item);
        if singles.len() == 0 {
            self.entries.remove(&list);
        }
    }

    /// Returns a list's tag: that of its content where it has no single entries.
    pub(super) fn tag_of(&self, name: &ListName, held: &HeldList) -> String {
        let Some(singles) = self.entries.get(name).filter(|singles| singles.len() > 0) else { return held.tag.clone() };
        let mut hasher = blake3::Hasher::new();
        hasher.update(held.tag.as_bytes());
        for (item, id) in &singles.items {
            let Some(held) = self.claims.verdict(*id) else { continue };
            hasher.update(format!("{item} {:?} {:?}\n", held.verdict.until, held.verdict.reason).as_bytes());
        }
        for ((name, reach), note) in &singles.names {
            hasher.update(format!("{name} {reach:?} {:?} {:?}\n", note.until, note.reason).as_bytes());
        }
        format!("\"b3-{}\"", &hasher.finalize().to_hex()[..32])
    }

    /// Returns the tag of a list that there is.
    #[must_use]
    pub fn tag(&self, name: &ListName) -> Option<String> {
        self.current_tag(name)
    }

    pub(super) fn current_tag(&self, name: &ListName) -> Option<String> {
        self.claims.lists().get(name).map(|held| self.tag_of(name, held))
    }

    pub(super) fn count_entries(&self, name: &ListName) -> u64 {
        self.entries.get(name).map_or(0, Singles::len)
    }

    /// Returns a single entry as it would be saved.
    pub(super) fn single(&self, list: &ListName, value: &EntryValue) -> Option<SavedEntry> {
        let singles = self.entries.get(list)?;
        match value {
            EntryValue::Item(item) => {
                let held = self.claims.verdict(*singles.items.get(item)?)?;
                let (reason, until) = (held.verdict.reason.clone(), held.verdict.until);
                Some(SavedEntry { value: value.to_string(), reason, created: held.created, until })
            }
            EntryValue::Name(name, reach) => {
                let note = singles.names.get(&(name.clone(), *reach))?.clone();
                Some(SavedEntry {
                    value: value.to_string(),
                    reason: note.reason,
                    created: note.created,
                    until: note.until,
                })
            }
        }
    }

    /// Returns every single entry of a list as it would be saved.
    pub(super) fn singles(&self, list: &ListName) -> Vec<SavedEntry> {
        let Some(singles) = self.entries.get(list) else { return Vec::new() };
        let items = singles.items.keys().map(|item| EntryValue::Item(*item));
        let names = singles.names.keys().map(|(name, reach)| EntryValue::Name(name.clone(), *reach));
        items.chain(names).filter_map(|value| self.single(list, &value)).collect()
    }

    /// Reads the saved names; what has expired is left out.
    pub(super) fn load_names(&mut self, saved: Vec<SavedName>, now: Now) {
        for SavedName { list, entry: SavedEntry { value, reason, created, until } } in saved {
            let note = Note { reason, created, until };
            let (Ok(list), Ok(EntryValue::Name(name, reach))) = (list.parse::<ListName>(), value.parse()) else {
                continue;
            };
            if !note.has_ended(now) && self.claims.lists().contains_key(&list) {
                self.entries.entry(list).or_default().names.insert((name, reach), note);
            }
        }
    }

    /// Returns every single name as it is saved.
    pub(super) fn saved_names(&self) -> Vec<SavedName> {
        let of = |(list, singles): (&ListName, &Singles)| {
            let names = singles.names.keys().map(|(name, reach)| EntryValue::Name(name.clone(), *reach));
            let saved = names.filter_map(|value| self.single(list, &value));
            saved.map(|entry| SavedName { list: list.to_string(), entry }).collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(of).collect()
    }
}

/// Returns the list and the item of a verdict that is a single entry.
fn single_of(held: &Held) -> Option<(ListName, Item)> {
    match &held.verdict.origin {
        Origin::List { list, name: None } => Some((list.parse().ok()?, Item::from_key(&held.key)?)),
        Origin::List { name: Some(_), .. } | Origin::Finding { .. } | Origin::Manual => None,
    }
}
