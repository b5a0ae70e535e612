//! Block-lists: replaced as a whole, shown, removed.

use std::sync::Arc;

use super::change::{Begun, Outcome, Purpose};
use super::claims::{Coming, HeldList};
use super::confirm::Subject;
use super::prepare::{Prepare, Source};
use super::work::Job;
use super::{Service, check_response};
use crate::verdicts::blocklist::{Difference, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{MapKey, Maps, Table};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::{ListChange, ListOptions, ListView};

impl<M: Maps> Service<M> {
    /// Replaces a list, creating it when there is none. What both hold is not touched.
    pub fn replace_list(
        &mut self,
        name: &ListName,
        list: List,
        options: ListOptions,
        now: Now,
    ) -> Result<ListChange, Refusal> {
        self.end_build(now);
        self.begin_list(name, list, options, now)?;
        self.finish_build(now)?.replaced().ok_or_else(|| Refusal::NoList { name: name.to_string() })
    }

    /// Begins to replace a list; [`Service::step`] says what comes of it.
    pub fn begin_list(&mut self, name: &ListName, list: List, options: ListOptions, now: Now) -> Result<(), Refusal> {
        check_response(options.response)?;
        self.check_tag(name, options.if_match.as_deref())?;
        if !self.claims.lists().contains_key(name) && self.claims.lists().len() >= self.settings.max_lists {
            return Err(Refusal::ListsFull { limit: self.settings.max_lists });
        }
        let promise = match options.dry_run {
            true => None,
            false => self.reserve(options.confirm, now)?,
        };
        let protected = Some(self.protected.clone());
        let promise = promise.map(|promise| (promise, self.singles(name)));
        let prepare = Prepare { protected, promise, ..self.preparing(name, Source::Given(list), options, now) };
        self.begin(Purpose::Renew, Job::Prepare(Box::new(prepare)), now);
        Ok(())
    }

    pub(super) fn preparing(&self, name: &ListName, source: Source, options: ListOptions, now: Now) -> Prepare {
        Prepare {
            name: name.clone(),
            source,
            before: self.claims.lists().get(name).cloned(),
            singles: if options.keeps_entries { 0 } else { self.count_entries(name) },
            options,
            protected: None,
            room: self.room_beside(Some(name)),
            small: self.settings.large_change,
            promise: None,
            updated: now.wall,
        }
    }

    /// Follows a list's content with what hangs on it: single entries unless they are kept, and the names.
    pub(super) fn content_changed(&mut self, name: &ListName, keeps_entries: bool, now: Now) -> Result<(), Refusal> {
        let cleared = if keeps_entries { Ok(()) } else { self.clear_entries(name, now) };
        self.publish_names(now);
        cleared
    }

    /// Removes a list.
    pub fn remove_list(&mut self, name: &ListName, if_match: Option<&str>, now: Now) -> Result<ListView, Refusal> {
        self.end_build(now);
        let outcome = match self.begin_removal(name, if_match, now)? {
            Begun::Done(outcome) => *outcome,
            Begun::Building => self.finish_build(now)?,
        };
        outcome.removed().ok_or_else(|| Refusal::NoList { name: name.to_string() })
    }

    /// Begins to remove a list, as [`Service::begin_list`].
    pub fn begin_removal(&mut self, name: &ListName, if_match: Option<&str>, now: Now) -> Result<Begun, Refusal> {
        let held = self.claims.lists().get(name).ok_or_else(|| Refusal::NoList { name: name.to_string() })?;
        let view = self.list_view(name, held);
        self.check_tag(name, if_match)?;
        let purpose = Purpose::Remove { name: name.clone(), view: view.clone() };
        if self.is_large(name) {
            self.begin_generation(purpose, Some(Coming { name: name.clone(), held: None }), now)?;
            return Ok(Begun::Building);
        }
        self.drop_list(name, now)?;
        self.save(now);
        Ok(Begun::Done(Box::new(Outcome::Removed(view))))
    }

    /// Returns whether a list's content is too long to be taken away key by key.
    pub(super) fn is_large(&self, name: &ListName) -> bool {
        self.claims.lists().get(name).is_some_and(|held| held.list.len() as u64 > self.settings.large_change)
    }

    /// Takes a list away, key by key, with all that hangs on it; the caller saves.
    pub(super) fn drop_list(&mut self, name: &ListName, now: Now) -> Result<(), Refusal> {
        let Some(held) = self.claims.lists().get(name) else { return Ok(()) };
        let gone = Difference { removed: held.list.iter().collect(), ..Difference::default() };
        let Some(held) = self.claims.swap_list(name, None, &gone) else {
            return Err(Refusal::NoList { name: name.to_string() });
        };
        if let Err(error) = self.settle(gone.removed.iter().map(Item::key), now) {
            self.note_out_of_step(&error, now);
        }
        self.free_rule(held.rule, now);
        self.pending.lists.insert(name.clone());
        self.list_removed(name, now)
    }

    /// Follows a list that is gone with what hung on it: unconfirmed changes, single entries, names.
    pub(super) fn list_removed(&mut self, name: &ListName, now: Now) -> Result<(), Refusal> {
        self.forget_promises(&Subject::Block(name.clone()));
        self.content_changed(name, false, now)
    }

    /// Returns a list and its entries.
    pub fn list(&self, name: &ListName) -> Result<(ListView, Arc<List>), Refusal> {
        let held = self.claims.lists().get(name).ok_or_else(|| Refusal::NoList { name: name.to_string() })?;
        Ok((self.list_view(name, held), Arc::clone(&held.list)))
    }

    /// Returns every list, by name.
    #[must_use]
    pub fn lists(&self) -> Vec<ListView> {
        self.claims.lists().iter().map(|(name, held)| self.list_view(name, held)).collect()
    }

    fn list_view(&self, name: &ListName, held: &HeldList) -> ListView {
        let entries_v4 = held.list.v4() as u64;
        ListView {
            name: name.to_string(),
            entries_v4,
            entries_v6: held.list.len() as u64 - entries_v4,
            names: held.list.names().len() as u64,
            singles: self.count_entries(name),
            tag: self.tag_of(name, held),
            updated: held.updated,
            response: held.response,
            shadow: held.shadow,
            hits: self.hits(held.rule),
        }
    }

    pub(super) fn check_tag(&self, name: &ListName, if_match: Option<&str>) -> Result<(), Refusal> {
        if if_match.is_none() {
            return Ok(());
        }
        check_match(self.current_tag(name).as_deref(), if_match)
    }

    /// Returns whether a change fits side by side with what it replaces, or which table it does not fit into at all.
    pub(super) fn forecast(&self, name: &ListName, difference: &Difference) -> Result<bool, Refusal> {
        let mut fits = true;
        for (table, (fresh, freed)) in self.claims.forecast(name, difference) {
            let (fill, capacity) = (self.claims.fill(table), self.maps.capacity(table));
            let wanted = (fill + fresh).saturating_sub(freed);
            if fresh > 0 && wanted > capacity {
                return Err(Refusal::TableFull { table: Table::name(table), wanted, capacity });
            }
            fits &= fill + fresh <= self.maps.room(table);
        }
        Ok(fits)
    }

    /// Makes `new` what the kernel holds, or leaves everything as it was; returns what it replaces.
    pub(super) fn put_list(
        &mut self,
        name: &ListName,
        mut new: HeldList,
        difference: &Difference,
        now: Now,
    ) -> Result<Option<HeldList>, Refusal> {
        let before = self.claims.lists().get(name).map(|old| (old.rule, old.kernel_rule(), old.response, old.shadow));
        new.rule = match before {
            Some((rule, ..)) => rule,
            None => self.take_rule()?,
        };
        let (rule, acts_otherwise) = (new.rule, before.is_none_or(|(.., r, s)| (r, s) != (new.response, new.shadow)));
        if acts_otherwise && let Err(error) = self.maps.write_rule(rule, &new.kernel_rule()) {
            if before.is_none() {
                self.free_rule(rule, now);
            }
            return Err(error.into());
        }
        let contested = if acts_otherwise { self.contested(name) } else { Vec::new() };
        let changed = difference.added.iter().chain(&difference.removed).map(Item::key);
        let keys = changed.chain(contested.iter().copied());
        let old = self.claims.swap_list(name, Some(new), difference);
        if let Err(error) = self.settle(keys.clone(), now) {
            let back = Difference {
                added: difference.removed.clone(),
                removed: difference.added.clone(),
                ..Difference::default()
            };
            self.claims.swap_list(name, old, &back);
            match before {
                Some((rule, kernel_rule, ..)) => {
                    if let Err(error) = self.maps.write_rule(rule, &kernel_rule) {
                        self.note_out_of_step(&error, now);
                    }
                    self.undo(keys, now);
                }
                None => {
                    self.undo(keys, now);
                    self.free_rule(rule, now);
                }
            }
            return Err(error.into());
        }
        self.pending.lists.insert(name.clone());
        Ok(old)
    }

    /// Returns the keys of a list that others claim too: who leads there may change with the list's action.
    fn contested(&self, name: &ListName) -> Vec<MapKey> {
        let items = self.claims.lists().get(name).into_iter().flat_map(|held| held.list.iter());
        items.map(|item| item.key()).filter(|key| self.claims.count(key) > 1).collect()
    }
}

/// Returns whether a precondition holds for a list with this tag.
pub(super) fn check_match(current: Option<&str>, if_match: Option<&str>) -> Result<(), Refusal> {
    let holds = match if_match {
        None => true,
        Some("*") => current.is_some(),
        Some(tags) => tags.split(',').any(|tag| Some(tag.trim()) == current),
    };
    match holds {
        true => Ok(()),
        false => Err(Refusal::Changed { current: current.unwrap_or("(there is no such list)").to_owned() }),
    }
}
