//! Block-lists: replaced as a whole, shown, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{Begun, Outcome, Purpose};
use super::claims::{Coming, HeldList};
use super::confirm::{Subject, Undo};
use super::saved;
use super::{Service, check_response};
use crate::verdicts::blocklist::{Difference, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{MapKey, Maps, Table};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{ListChange, ListOptions, ListView, REMARKS, Remark};

/// What is to say of a list's entries.
#[derive(Debug, Default)]
struct Screened {
    refused: Vec<(Item, String)>,
    refused_total: u64,
    spared: Vec<Remark>,
}

impl Screened {
    fn refuse(&mut self, item: &Item, reason: impl FnOnce() -> String) {
        self.refused_total += 1;
        if self.refused.len() < REMARKS {
            self.refused.push((*item, reason()));
        }
    }
}

impl<M: Maps> Service<M> {
    /// Replaces a list, creating it when there is none. What both hold is not touched.
    pub fn replace_list(
        &mut self,
        name: &ListName,
        list: List,
        options: ListOptions,
        now: Now,
    ) -> Result<ListChange, Refusal> {
        let outcome = match self.begin_list(name, list, options, now)? {
            Begun::Done(outcome) => *outcome,
            Begun::Building => self.finish_build(now)?,
        };
        match outcome {
            Outcome::Replaced(change) => Ok(change),
            Outcome::Removed(_) | Outcome::Renewed => Err(Refusal::NoList { name: name.to_string() }),
        }
    }

    /// Begins to replace a list: small changes are made at once, large ones in another generation.
    pub fn begin_list(
        &mut self,
        name: &ListName,
        mut list: List,
        options: ListOptions,
        now: Now,
    ) -> Result<Begun, Refusal> {
        check_response(options.response)?;
        self.check_tag(name, options.if_match.as_deref())?;
        let ListOptions { response, shadow, force, dry_run, aggregate, keeps_entries, .. } = options;
        if !self.claims.lists().contains_key(name) && self.claims.lists().len() >= self.settings.max_lists {
            return Err(Refusal::ListsFull { limit: self.settings.max_lists });
        }
        let Screened { mut refused, refused_total, spared } = self.screen(&mut list, force);
        refused.sort_unstable();
        let named = |(item, reason): (Item, String)| Remark { entry: item.to_string(), reason };
        let refused = refused.into_iter().map(named).collect();
        let merged = match aggregate {
            true => list.aggregate(|item| !force && target::too_wide(item).is_some()) as u64,
            false => 0,
        };
        let tag = list.tag(response, shadow);
        let old = self.claims.lists().get(name);
        let nothing = List::default();
        let before = old.map_or(&nothing, |old| &*old.list);
        let amount = before.compare(&list);
        let (names_added, names_removed, names_unchanged) = before.names().difference(list.names());
        let singles = if keeps_entries { 0 } else { self.count_entries(name) };
        let changed = old.is_none_or(|old| old.tag != tag) || singles > 0;
        let mut change = ListChange {
            entries: list.entries(),
            added: amount.added + names_added,
            removed: amount.removed + names_removed + singles,
            unchanged: amount.unchanged + names_unchanged,
            changed,
            dry_run,
            tag,
            refused,
            refused_total,
            spared,
            merged,
            saved: self.pending.is_empty(),
            would_hold: dry_run.then(|| list.clone()),
            confirmation: None,
        };
        let tag = change.tag.clone();
        let new = HeldList { rule: 0, list: Arc::new(list), response, shadow, updated: now.wall, tag };
        if dry_run || !changed {
            self.check_room(name, Some(&new))?;
            return Ok(Begun::Done(Box::new(Outcome::Replaced(change))));
        }
        let undo = |service: &Self| service.undo_of_list(name);
        change.confirmation = self.promise(options.confirm, &Subject::Block(name.clone()), undo, now)?;
        let promised = change.confirmation;
        let begun = self.put_content(name, new, keeps_entries, change, now);
        if begun.is_err() {
            self.break_promise(promised);
        }
        begun
    }

    /// Makes `new` a list's content, the small change at once, the large one in another generation.
    fn put_content(
        &mut self,
        name: &ListName,
        new: HeldList,
        keeps_entries: bool,
        mut change: ListChange,
        now: Now,
    ) -> Result<Begun, Refusal> {
        let nothing = List::default();
        let amount = self.claims.lists().get(name).map_or(&nothing, |old| &*old.list).compare(&new.list);
        let in_place = match self.is_small(amount.added + amount.removed) {
            true => self.fitting(name, &new)?,
            false => None,
        };
        let Some(difference) = in_place else { return self.build_list(name, new, change, keeps_entries, now) };
        self.put_list(name, new, &difference, now)?;
        self.content_changed(name, keeps_entries, now)?;
        self.save(now);
        change.tag = self.current_tag(name).unwrap_or(change.tag);
        change.saved = self.pending.is_empty();
        Ok(Begun::Done(Box::new(Outcome::Replaced(change))))
    }

    /// Follows a list's content with what hangs on it: single entries unless they are kept, and the names.
    pub(super) fn content_changed(&mut self, name: &ListName, keeps_entries: bool, now: Now) -> Result<(), Refusal> {
        let cleared = if keeps_entries { Ok(()) } else { self.clear_entries(name, now) };
        self.publish_names(now);
        cleared
    }

    /// Makes `list` a list's content, and the only one unless single entries are kept.
    pub(super) fn swap_content(
        &mut self,
        name: &ListName,
        list: List,
        options: &ListOptions,
        now: Now,
    ) -> Result<(), Refusal> {
        let ListOptions { response, shadow, keeps_entries, .. } = *options;
        let tag = list.tag(response, shadow);
        let new = HeldList { rule: 0, list: Arc::new(list), response, shadow, updated: now.wall, tag };
        match self.put_content(name, new, keeps_entries, ListChange::default(), now)? {
            Begun::Done(_) => Ok(()),
            Begun::Building => self.finish_build(now).map(drop),
        }
    }

    fn undo_of_list(&self, name: &ListName) -> Undo {
        let before = self.claims.lists().get(name).and_then(|held| saved::list_to_text(held).ok());
        Undo::BlockList { list: name.to_string(), before, singles: self.singles(name) }
    }

    /// Removes a list.
    pub fn remove_list(&mut self, name: &ListName, if_match: Option<&str>, now: Now) -> Result<ListView, Refusal> {
        let outcome = match self.begin_removal(name, if_match, now)? {
            Begun::Done(outcome) => *outcome,
            Begun::Building => self.finish_build(now)?,
        };
        match outcome {
            Outcome::Removed(view) => Ok(view),
            Outcome::Replaced(_) | Outcome::Renewed => Err(Refusal::NoList { name: name.to_string() }),
        }
    }

    /// Begins to remove a list, as [`Service::begin_list`].
    pub fn begin_removal(&mut self, name: &ListName, if_match: Option<&str>, now: Now) -> Result<Begun, Refusal> {
        let held = self.claims.lists().get(name).ok_or_else(|| Refusal::NoList { name: name.to_string() })?;
        let view = self.list_view(name, held);
        self.check_tag(name, if_match)?;
        if !self.is_small(held.list.len() as u64) {
            let coming = Coming { name: name.clone(), held: None };
            match self.begin_build(Purpose::Remove(view.clone()), Some(coming), None, now) {
                Ok(()) => return Ok(Begun::Building),
                // Without room for another generation it goes key by key, which takes long and nothing else.
                Err(refusal) => tracing::warn!(%refusal, %name, "removing a large list in place"),
            }
        }
        self.drop_list(name, now)?;
        self.save(now);
        Ok(Begun::Done(Box::new(Outcome::Removed(view))))
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

    /// Returns whether so many keys are changed one by one.
    fn is_small(&self, changes: u64) -> bool {
        let listed = self.claims.fill(Table::Hosts) + self.claims.fill(Table::Prefixes);
        changes <= self.settings.large_change.max(listed / 8)
    }

    /// Makes a generation in which a list is another.
    fn build_list(
        &mut self,
        name: &ListName,
        mut new: HeldList,
        change: ListChange,
        keeps_entries: bool,
        now: Now,
    ) -> Result<Begun, Refusal> {
        let old = self.claims.lists().get(name);
        let kept = old.filter(|old| (old.response, old.shadow) == (new.response, new.shadow)).map(|old| old.rule);
        // A rule of its own where it does something else: the present generation goes on doing what it does.
        let fresh = if kept.is_none() { Some(self.take_rule()?) } else { None };
        if let Some(rule) = kept.or(fresh) {
            new.rule = rule;
        }
        if let Some(rule) = fresh
            && let Err(error) = self.maps.write_rule(rule, &new.kernel_rule())
        {
            self.free_rule(rule, now);
            return Err(error.into());
        }
        let coming = Coming { name: name.clone(), held: Some(new) };
        self.begin_build(Purpose::Replace { change, keeps_entries }, Some(coming), fresh, now)?;
        Ok(Begun::Building)
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

    /// Takes out of `list` what must not be cut or is too wide, and says why; says what will keep passing inside
    /// of what stays.
    fn screen(&self, list: &mut List, force: bool) -> Screened {
        let mut screened = Screened::default();
        for (protected, guard) in self.protected.widest() {
            for item in list.take_within(protected) {
                screened.refuse(&item, || format!("protected: {guard}"));
            }
        }
        if !force {
            for item in list.take_prefixes(|item| target::too_wide(item).is_some()) {
                let widest = target::too_wide(&item).unwrap_or_default();
                screened.refuse(&item, || format!("wider than /{widest}; force accepts it"));
            }
        }
        let mut inside = BTreeMap::<Item, Vec<String>>::new();
        for (protected, _) in self.protected.widest() {
            for item in protected.enclosing().filter(|item| list.lists(item)) {
                inside.entry(item).or_default().push(protected.to_string());
            }
        }
        let spared = |(item, inside): (Item, Vec<String>)| Remark {
            entry: item.to_string(),
            reason: format!("{} inside keeps passing", inside.join(", ")),
        };
        // It takes effect when the allow-list lets go of it.
        let allowed = self.protected.allowed().flat_map(|allowed| list.within(allowed));
        let passing =
            |item: Item| Remark { entry: item.to_string(), reason: "it is allow-listed and keeps passing".into() };
        screened.spared = inside.into_iter().map(spared).chain(allowed.take(REMARKS).map(passing)).collect();
        screened
    }

    /// Refuses what will not fit, whatever the way it is written.
    fn check_room(&self, name: &ListName, new: Option<&HeldList>) -> Result<(), Refusal> {
        let mut wanted = BTreeMap::from([(Table::Hosts, 0_u64), (Table::Prefixes, 0)]);
        let others = self.claims.lists().iter().filter(|(other, _)| *other != name).map(|(_, held)| held);
        for held in others.chain(new) {
            *wanted.entry(Table::Hosts).or_default() += held.list.hosts() as u64;
            *wanted.entry(Table::Prefixes).or_default() += (held.list.len() - held.list.hosts()) as u64;
        }
        if wanted.iter().all(|(table, wanted)| *wanted <= self.maps.capacity(*table)) {
            return Ok(());
        }
        // What several lists hold was counted as often: look closely.
        let Some(new) = new else { return Ok(()) };
        let nothing = List::default();
        let old = self.claims.lists().get(name).map_or(&nothing, |old| &*old.list);
        self.forecast(name, &old.difference(&new.list)).map(drop)
    }

    /// Returns what differs where the present generation takes it, `None` where it has no room.
    fn fitting(&self, name: &ListName, new: &HeldList) -> Result<Option<Difference>, Refusal> {
        let nothing = List::default();
        let difference = self.claims.lists().get(name).map_or(&nothing, |old| &*old.list).difference(&new.list);
        let fits = self.forecast(name, &difference)?;
        Ok(fits.then_some(difference))
    }

    /// Returns whether a change fits side by side with what it replaces, or which table it does not fit into at all.
    fn forecast(&self, name: &ListName, difference: &Difference) -> Result<bool, Refusal> {
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

    /// Makes `new` what the kernel holds, or leaves everything as it was.
    pub(super) fn put_list(
        &mut self,
        name: &ListName,
        mut new: HeldList,
        difference: &Difference,
        now: Now,
    ) -> Result<(), Refusal> {
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
        Ok(())
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
