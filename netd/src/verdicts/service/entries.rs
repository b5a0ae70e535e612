//! Single entries of block-lists: each with a reason and, where wanted, an end of its own.
//!
//! An address or a prefix is a verdict that names its list, so it has a rule of its own, which the kernel ends by itself.
//! A name is kept here and acts through [`super::names`].

use std::sync::Arc;

use netd_engine::feed::Reach;
use netd_engine::listed::{NameSet, is_public_suffix};
use netd_engine::verdict::{Origin, Response, Target, Verdict};

use super::Service;
use super::claims::HeldList;
use super::confirm::{Subject, Undo};
use super::singles::Note;
use crate::verdicts::blocklist::{Difference, EntryValue, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{EntryChange, EntryOptions, EntryView, NewEntry};

/// Most single names a list.
const MOST_NAMES: usize = 10_000;

impl<M: Maps> Service<M> {
    /// Adds a single entry to a list, creating the list when there is none; one that is there gets a new reason and a
    /// new end.
    pub fn add_entry(
        &mut self,
        list: &ListName,
        new: NewEntry,
        options: EntryOptions,
        now: Now,
    ) -> Result<EntryChange, Refusal> {
        self.check_tag(list, options.if_match.as_deref())?;
        let spared = self.judge_entry(&new, options.force, now)?;
        let is_new_list = !self.claims.lists().contains_key(list);
        if is_new_list && self.claims.lists().len() >= self.settings.max_lists {
            return Err(Refusal::ListsFull { limit: self.settings.max_lists });
        }
        let before = self.single(list, &new.value);
        let mut change = EntryChange {
            value: new.value.clone(),
            is_new: before.is_none(),
            dry_run: options.dry_run,
            tag: String::new(),
            spared,
            saved: true,
            confirmation: None,
        };
        if options.dry_run {
            return Ok(change);
        }
        let value = new.value.to_string();
        let undo = |_: &Self| Undo::Entry { list: list.to_string(), value, before, is_new_list };
        change.confirmation = self.promise(options.confirm, &Subject::Block(list.clone()), undo, now)?;
        if let Err(refusal) = self.put_entry(list, new, now) {
            self.break_promise(change.confirmation);
            return Err(refusal);
        }
        self.save(now);
        change.tag = self.current_tag(list).unwrap_or_default();
        change.saved = self.pending.is_empty();
        Ok(change)
    }

    /// Removes an entry from a list, a single one or one of its content.
    pub fn remove_entry(
        &mut self,
        list: &ListName,
        value: &EntryValue,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<EntryChange, Refusal> {
        if !self.claims.lists().contains_key(list) {
            return Err(Refusal::NoList { name: list.to_string() });
        }
        self.check_tag(list, if_match)?;
        self.take_entry(list, value, now)?;
        self.save(now);
        Ok(EntryChange {
            value: value.clone(),
            is_new: false,
            dry_run: false,
            tag: self.current_tag(list).unwrap_or_default(),
            spared: Vec::new(),
            saved: self.pending.is_empty(),
            confirmation: None,
        })
    }

    /// Returns the single entries of a list.
    pub fn entries(&self, list: &ListName, now: Now) -> Result<Vec<EntryView>, Refusal> {
        if !self.claims.lists().contains_key(list) {
            return Err(Refusal::NoList { name: list.to_string() });
        }
        let Some(singles) = self.entries.get(list) else { return Ok(Vec::new()) };
        let items = singles.items.iter().filter_map(|(item, id)| {
            let entry = self.verdict(*id, now).ok()?;
            Some(EntryView {
                value: EntryValue::Item(*item),
                reason: entry.verdict.reason,
                created: entry.created,
                until: entry.verdict.until,
                hits: Some(entry.hits),
                shielded_by: entry.shielded_by,
            })
        });
        let names = singles.names.iter().map(|((name, reach), note)| EntryView {
            value: EntryValue::Name(name.clone(), *reach),
            reason: note.reason.clone(),
            created: note.created,
            until: note.until,
            hits: None,
            shielded_by: None,
        });
        Ok(items.chain(names).collect())
    }

    /// Puts an entry that has been judged where it belongs; the caller saves.
    pub(super) fn put_entry(&mut self, list: &ListName, new: NewEntry, now: Now) -> Result<(), Refusal> {
        self.ensure_list(list, now)?;
        let NewEntry { value, reason, until } = new;
        match value {
            EntryValue::Item(item) => {
                let Some(held) = self.claims.lists().get(list) else {
                    return Err(Refusal::NoList { name: list.to_string() });
                };
                let origin = Origin::List { list: list.to_string(), name: None };
                let (response, shadow) = (held.response, held.shadow);
                let verdict = Verdict { target: target_of(&item), response, until, origin, reason, shadow };
                self.put_verdict(verdict, true, now)?;
            }
            EntryValue::Name(name, reach) => {
                let names = &mut self.entries.entry(list.clone()).or_default().names;
                let created = names.get(&(name.clone(), reach)).map_or(now.wall, |note| note.created);
                if names.len() >= MOST_NAMES && !names.contains_key(&(name.clone(), reach)) {
                    return Err(Refusal::EntriesFull { limit: MOST_NAMES });
                }
                names.insert((name, reach), Note { reason, created, until });
                self.pending.verdicts = true;
                self.publish_names(now);
            }
        }
        Ok(())
    }

    /// Takes an entry out of a list, be it single or of its content; the caller saves.
    pub(super) fn take_entry(&mut self, list: &ListName, value: &EntryValue, now: Now) -> Result<(), Refusal> {
        let was_single = self.end_single(list, value, now)?;
        let was_content = self.take_from_content(list, value, now)?;
        if !was_single && !was_content {
            return Err(Refusal::NoEntry { list: list.to_string(), value: value.to_string() });
        }
        self.forget_in_undo(&Subject::Block(list.clone()), value);
        if matches!(value, EntryValue::Name(..)) {
            self.publish_names(now);
        }
        Ok(())
    }

    /// Ends a single entry, and leaves the list's content alone; the caller saves.
    pub(super) fn take_single(&mut self, list: &ListName, value: &EntryValue, now: Now) -> Result<(), Refusal> {
        if !self.end_single(list, value, now)? {
            return Err(Refusal::NoEntry { list: list.to_string(), value: value.to_string() });
        }
        if matches!(value, EntryValue::Name(..)) {
            self.publish_names(now);
        }
        Ok(())
    }

    fn end_single(&mut self, list: &ListName, value: &EntryValue, now: Now) -> Result<bool, Refusal> {
        let was_single = match (value, self.entries.get_mut(list)) {
            (_, None) => false,
            (EntryValue::Item(item), Some(singles)) => match singles.items.get(item).copied() {
                Some(id) => self.end([id], now).map(|()| true)?,
                None => false,
            },
            (EntryValue::Name(name, reach), Some(singles)) => {
                let was_single = singles.names.remove(&(name.clone(), *reach)).is_some();
                self.pending.verdicts |= was_single;
                was_single
            }
        };
        Ok(was_single)
    }

    /// Ends every single entry of a list; the caller saves.
    pub(super) fn clear_entries(&mut self, list: &ListName, now: Now) -> Result<(), Refusal> {
        let Some(singles) = self.entries.remove(list) else { return Ok(()) };
        self.pending.verdicts = true;
        self.end(singles.items.into_values(), now)
    }

    /// Says why an entry may not be listed, or what inside of it keeps passing.
    fn judge_entry(&self, new: &NewEntry, force: bool, now: Now) -> Result<Vec<String>, Refusal> {
        if new.until.is_some_and(|until| until <= now.wall) {
            return Err(Refusal::NotInFuture);
        }
        match &new.value {
            EntryValue::Item(item) => {
                match self.protected.shield(item) {
                    // It takes effect when the allow-list lets go of it.
                    Some(Guard::AllowList) => return Ok(vec![item.to_string()]),
                    Some(guard) => return Err(Refusal::Protected { target: item.to_string(), guard }),
                    None => {}
                }
                if !force && let Some(widest) = target::too_wide(item) {
                    return Err(Refusal::TooWide { prefix: item.to_string(), widest });
                }
                Ok(self.protected.inside(item).map(Item::to_string).collect())
            }
            EntryValue::Name(name, Reach::Below | Reach::Whole) if !force && is_public_suffix(name) => {
                Err(Refusal::PublicSuffix { name: name.to_string() })
            }
            EntryValue::Name(..) => Ok(Vec::new()),
        }
    }

    fn ensure_list(&mut self, list: &ListName, now: Now) -> Result<(), Refusal> {
        if self.claims.lists().contains_key(list) {
            return Ok(());
        }
        let (response, shadow) = (Response::Drop, false);
        let content = List::default();
        let tag = content.tag(response, shadow);
        let new = HeldList { rule: 0, list: Arc::new(content), response, shadow, updated: now.wall, tag };
        let nothing = Difference::default();
        if self.claims.lists().len() >= self.settings.max_lists {
            return Err(Refusal::ListsFull { limit: self.settings.max_lists });
        }
        self.put_list(list, new, &nothing, now).map(drop)
    }

    fn take_from_content(&mut self, list: &ListName, value: &EntryValue, now: Now) -> Result<bool, Refusal> {
        let Some(held) = self.claims.lists().get(list) else { return Ok(false) };
        let mut difference = Difference::default();
        let content = match value {
            EntryValue::Item(item) if held.list.lists(item) => {
                difference.removed.push(*item);
                let mut content = (*held.list).clone();
                content.retain(|other| other != item);
                content
            }
            EntryValue::Name(name, reach) if held.list.names().has(name, *reach) => {
                let others = held.list.names().iter().filter(|other| other.name != &**name);
                let others = others.map(|other| (other.name.into(), other.reach)).collect();
                (*held.list).clone().with_names(NameSet::new(others).into())
            }
            EntryValue::Item(_) | EntryValue::Name(..) => return Ok(false),
        };
        let (response, shadow) = (held.response, held.shadow);
        let tag = content.tag(response, shadow);
        let new = HeldList { rule: 0, list: Arc::new(content), response, shadow, updated: now.wall, tag };
        self.put_list(list, new, &difference, now)?;
        Ok(true)
    }
}

/// Returns the verdict's target of an item.
pub(super) fn target_of(item: &Item) -> Target {
    let net = item.net();
    match net.prefix_len() == net.max_prefix_len() {
        true => Target::Host { address: net.addr() },
        false => Target::Prefix { prefix: net },
    }
}
