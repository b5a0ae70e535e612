//! Allow-lists by name: what they hold passes whatever is listed or decided, until they let go of it.

use std::collections::BTreeMap;

use netd_engine::listed::{NameSet, is_public_suffix};

use super::Service;
use super::allowed::HeldAllow;
use super::confirm::{Subject, Undo};
use super::saved;
use super::singles::Note;
use crate::verdicts::blocklist::{EntryValue, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{
    AllowListView, EntryChange, EntryOptions, EntryView, ListChange, ListOptions, NewEntry, Remark,
};

/// Most single entries of one.
const MOST_ENTRIES: usize = 10_000;

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
            entries: new.list.entries(),
            added: difference.added.len() as u64 + names_added,
            removed: difference.removed.len() as u64 + names_removed + gone,
            unchanged: difference.unchanged + names_unchanged,
            changed: old.as_ref().is_none_or(|old| old.tag() != new.tag()),
            dry_run: options.dry_run,
            tag: new.tag(),
            refused_total: refused.len() as u64,
            refused,
            spared: Vec::new(),
            merged: 0,
            saved: self.pending.is_empty(),
            would_hold: options.dry_run.then(|| new.list.clone()),
            confirmation: None,
        };
        if options.dry_run || !change.changed {
            return Ok(change);
        }
        let undo = |service: &Self| Undo::AllowList { list: name.to_string(), before: service.allow_list_text(name) };
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
        let undo = |service: &Self| Undo::AllowList { list: name.to_string(), before: service.allow_list_text(name) };
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
