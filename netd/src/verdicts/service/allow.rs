//! Allow-lists by name: what they hold passes whatever is listed or decided, until they let go of it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netd_engine::listed::{NameSet, is_public_suffix};
use netd_engine::time::Timestamp;

use super::Service;
use super::confirm::{Subject, Undo};
use super::entries::Note;
use super::saved;
use crate::store::disk::{File, StateDir};
use crate::verdicts::blocklist::{EntryValue, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{Maps, Table};
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{
    AllowListView, EntryChange, EntryOptions, EntryView, ListChange, ListOptions, NewEntry, Remark,
};

/// Most allow-lists, and most single entries of one.
const MOST: usize = 64;
const MOST_ENTRIES: usize = 10_000;

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

    fn items(&self) -> impl Iterator<Item = Item> {
        let singles = self.singles.keys().filter_map(|value| match value {
            EntryValue::Item(item) => Some(*item),
            EntryValue::Name(..) => None,
        });
        self.list.items().iter().copied().chain(singles)
    }

    fn tag(&self) -> String {
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
    /// Replaces an allow-list as a whole, single entries included, creating it when there is none. Of `options`, the
    /// action does not matter.
    pub fn replace_allow_list(
        &mut self,
        name: &ListName,
        mut list: List,
        options: ListOptions,
        now: Now,
    ) -> Result<ListChange, Refusal> {
        self.check_allow_tag(name, options.if_match.as_deref())?;
        let mut refused = Vec::new();
        if !options.force {
            list.retain(|item| match target::too_wide(item) {
                None => true,
                Some(widest) => {
                    let reason = format!("wider than /{widest}; force accepts it");
                    refused.push(Remark { entry: item.to_string(), reason });
                    false
                }
            });
        }
        let old = self.allows.get(name).cloned();
        let difference = old.as_ref().map_or(&List::default(), |old| &old.list).difference(&list);
        let (names_added, names_removed, names_unchanged) = difference.names;
        let (kept, gone) = match &old {
            Some(old) if options.keeps_entries => (old.singles.clone(), 0),
            Some(old) => (BTreeMap::new(), old.singles.len() as u64),
            None => (BTreeMap::new(), 0),
        };
        let new = HeldAllow { list, singles: kept, updated: now.wall };
        let mut change = ListChange {
            entries: new.list.len(),
            added: difference.added.len() as u64 + names_added,
            removed: difference.removed.len() as u64 + names_removed + gone,
            unchanged: difference.unchanged + names_unchanged,
            changed: old.as_ref().is_none_or(|old| old.tag() != new.tag()),
            dry_run: options.dry_run,
            tag: new.tag(),
            refused,
            spared: Vec::new(),
            saved: self.pending.is_empty(),
            would_hold: options.dry_run.then(|| new.list.clone()),
            confirmation: None,
        };
        if options.dry_run || !change.changed {
            return Ok(change);
        }
        let undo = Undo::AllowList { list: name.to_string(), before: self.allow_list_text(name) };
        change.confirmation = self.promise(options.confirm, &Subject::Allow(name.clone()), undo, now)?;
        if let Err(refusal) = self.put_allow_list(name, Some(new), now) {
            self.break_promise(change.confirmation);
            return Err(refusal);
        }
        self.save(now);
        change.saved = self.pending.is_empty();
        Ok(change)
    }

    /// Removes an allow-list: what it held is blocked again wherever it is listed.
    pub fn remove_allow_list(
        &mut self,
        name: &ListName,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<AllowListView, Refusal> {
        let view = self.allow_list(name)?.0;
        self.check_allow_tag(name, if_match)?;
        self.forget_promises(&Subject::Allow(name.clone()));
        self.put_allow_list(name, None, now)?;
        self.save(now);
        Ok(view)
    }

    /// Adds a single entry to an allow-list, creating the list when there is none.
    pub fn add_allow_entry(
        &mut self,
        name: &ListName,
        new: NewEntry,
        options: EntryOptions,
        now: Now,
    ) -> Result<EntryChange, Refusal> {
        self.check_allow_tag(name, options.if_match.as_deref())?;
        if new.until.is_some_and(|until| until <= now.wall) {
            return Err(Refusal::NotInFuture);
        }
        match &new.value {
            EntryValue::Item(item) if !options.force => {
                if let Some(widest) = target::too_wide(item) {
                    return Err(Refusal::TooWide { prefix: item.to_string(), widest });
                }
            }
            EntryValue::Name(name, reach)
                if !options.force && *reach != netd_engine::feed::Reach::Itself && is_public_suffix(name) =>
            {
                return Err(Refusal::PublicSuffix { name: name.to_string() });
            }
            EntryValue::Item(_) | EntryValue::Name(..) => {}
        }
        let mut held = self.allows.get(name).cloned().unwrap_or_default();
        if held.singles.len() >= MOST_ENTRIES && !held.singles.contains_key(&new.value) {
            return Err(Refusal::EntriesFull { limit: MOST_ENTRIES });
        }
        let created = held.singles.get(&new.value).map_or(now.wall, |note| note.created);
        let note = Note { reason: new.reason, created, until: new.until };
        let is_new = held.singles.insert(new.value.clone(), note).is_none();
        held.updated = now.wall;
        let mut change = EntryChange {
            value: new.value,
            is_new,
            dry_run: options.dry_run,
            tag: held.tag(),
            spared: Vec::new(),
            saved: self.pending.is_empty(),
            confirmation: None,
        };
        if options.dry_run {
            return Ok(change);
        }
        let undo = Undo::AllowList { list: name.to_string(), before: self.allow_list_text(name) };
        change.confirmation = self.promise(options.confirm, &Subject::Allow(name.clone()), undo, now)?;
        if let Err(refusal) = self.put_allow_list(name, Some(held), now) {
            self.break_promise(change.confirmation);
            return Err(refusal);
        }
        self.save(now);
        change.saved = self.pending.is_empty();
        Ok(change)
    }

    /// Removes an entry from an allow-list.
    pub fn remove_allow_entry(
        &mut self,
        name: &ListName,
        value: &EntryValue,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<EntryChange, Refusal> {
        let Some(mut held) = self.allows.get(name).cloned() else {
            return Err(Refusal::NoAllowList { name: name.to_string() });
        };
        self.check_allow_tag(name, if_match)?;
        let was_single = held.singles.remove(value).is_some();
        let was_content = match value {
            EntryValue::Item(item) if held.list.lists(item) => {
                held.list.retain(|other| other != item);
                true
            }
            EntryValue::Name(name, reach) if held.list.names().has(name, *reach) => {
                let others = held.list.names().iter().filter(|other| other.name != &**name);
                let others = others.map(|other| (other.name.into(), other.reach)).collect();
                held.list = held.list.with_names(NameSet::new(others).into());
                true
            }
            EntryValue::Item(_) | EntryValue::Name(..) => false,
        };
        if !was_single && !was_content {
            return Err(Refusal::NoEntry { list: name.to_string(), value: value.to_string() });
        }
        held.updated = now.wall;
        let tag = held.tag();
        self.forget_in_undo(&Subject::Allow(name.clone()), value);
        self.put_allow_list(name, Some(held), now)?;
        self.save(now);
        let saved = self.pending.is_empty();
        Ok(EntryChange {
            value: value.clone(),
            is_new: false,
            dry_run: false,
            tag,
            spared: Vec::new(),
            saved,
            confirmation: None,
        })
    }

    /// Returns an allow-list, its content and its single entries.
    pub fn allow_list(&self, name: &ListName) -> Result<(AllowListView, List, Vec<EntryView>), Refusal> {
        let held = self.allows.get(name).ok_or_else(|| Refusal::NoAllowList { name: name.to_string() })?;
        let singles = held.singles.iter().map(|(value, note)| EntryView {
            value: value.clone(),
            reason: note.reason.clone(),
            created: note.created,
            until: note.until,
            hits: None,
            shielded_by: None,
        });
        Ok((view(name, held), held.list.clone(), singles.collect()))
    }

    /// Returns every allow-list, by name.
    #[must_use]
    pub fn allow_lists(&self) -> Vec<AllowListView> {
        self.allows.iter().map(|(name, held)| view(name, held)).collect()
    }

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

    fn allow_list_text(&self, name: &ListName) -> Option<String> {
        let bytes = saved::allow_list_to_bytes(self.allows.get(name)?).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn check_allow_tag(&self, name: &ListName, if_match: Option<&str>) -> Result<(), Refusal> {
        super::lists::check_match(self.allows.get(name).map(HeldAllow::tag).as_deref(), if_match)
    }
}

fn view(name: &ListName, held: &HeldAllow) -> AllowListView {
    let entries_v4 = held.items().filter(Item::is_v4).count() as u64;
    let items = held.items().count() as u64;
    AllowListView {
        name: name.to_string(),
        entries_v4,
        entries_v6: items - entries_v4,
        names: held.list.names().len() as u64 + held.single_names().len() as u64,
        singles: held.singles.len() as u64,
        tag: held.tag(),
        updated: held.updated,
    }
}
