//! Block-lists: replaced as a whole, shown, removed.

use super::claims::HeldList;
use super::confirm::{Subject, Undo};
use super::saved;
use super::settle::Order;
use super::{Service, check_response};
use crate::verdicts::blocklist::{Difference, Item, List, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{MapKey, Maps, Table};
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{ListChange, ListOptions, ListView, Remark};

impl<M: Maps> Service<M> {
    /// Replaces a list, creating it when there is none. What both hold is not touched.
    pub fn replace_list(
        &mut self,
        name: &ListName,
        mut list: List,
        options: ListOptions,
        now: Now,
    ) -> Result<ListChange, Refusal> {
        check_response(options.response)?;
        self.check_tag(name, options.if_match.as_deref())?;
        let (refused, spared) = self.screen(&mut list, options.force);
        let tag = list.tag(options.response, options.shadow);
        let old = self.claims.lists().get(name);
        let difference = old.map_or(&List::default(), |old| &old.list).difference(&list);
        let (names_added, names_removed, names_unchanged) = difference.names;
        let singles = if options.keeps_entries { 0 } else { self.count_entries(name) };
        let changed = old.is_none_or(|old| old.tag != tag) || singles > 0;
        let mut change = ListChange {
            entries: list.len(),
            added: difference.added.len() as u64 + names_added,
            removed: difference.removed.len() as u64 + names_removed + singles,
            unchanged: difference.unchanged + names_unchanged,
            changed,
            dry_run: options.dry_run,
            tag,
            refused,
            spared,
            saved: self.pending.is_empty(),
            would_hold: options.dry_run.then(|| list.clone()),
            confirmation: None,
        };
        self.order_of(name, &difference)?;
        if options.dry_run || !changed {
            return Ok(change);
        }
        let undo = self.undo_of_list(name);
        change.confirmation = self.promise(options.confirm, &Subject::Block(name.clone()), undo, now)?;
        if let Err(refusal) = self.swap_content(name, list, &options, now) {
            self.break_promise(change.confirmation);
            return Err(refusal);
        }
        self.save(now);
        change.tag = self.current_tag(name).unwrap_or(change.tag);
        change.saved = self.pending.is_empty();
        Ok(change)
    }

    /// Makes `list` a list's content, and the only one unless single entries are kept; the caller saves.
    pub(super) fn swap_content(
        &mut self,
        name: &ListName,
        list: List,
        options: &ListOptions,
        now: Now,
    ) -> Result<(), Refusal> {
        let difference = self.claims.lists().get(name).map_or(&List::default(), |old| &old.list).difference(&list);
        let order = self.order_of(name, &difference)?;
        let (response, shadow) = (options.response, options.shadow);
        let tag = list.tag(response, shadow);
        let new = HeldList { rule: 0, list, response, shadow, updated: now.wall, tag };
        self.put_list(name, new, &difference, order, now)?;
        if !options.keeps_entries {
            self.clear_entries(name, now)?;
        }
        self.publish_names(now);
        Ok(())
    }

    fn undo_of_list(&self, name: &ListName) -> Undo {
        let before = self.claims.lists().get(name).and_then(|held| saved::list_to_bytes(held).ok());
        let before = before.and_then(|bytes| String::from_utf8(bytes).ok());
        Undo::BlockList { list: name.to_string(), before, singles: self.singles(name) }
    }

    /// Removes a list.
    pub fn remove_list(&mut self, name: &ListName, if_match: Option<&str>, now: Now) -> Result<ListView, Refusal> {
        let held = self.claims.lists().get(name).ok_or_else(|| Refusal::NoList { name: name.to_string() })?;
        let view = self.list_view(name, held);
        self.check_tag(name, if_match)?;
        self.drop_list(name, now)?;
        self.save(now);
        Ok(view)
    }

    /// Takes a list away with its single entries and its names' addresses; the caller saves.
    pub(super) fn drop_list(&mut self, name: &ListName, now: Now) -> Result<(), Refusal> {
        let Some(held) = self.claims.lists().get(name) else { return Ok(()) };
        let gone = Difference { removed: held.list.items().to_vec(), ..Difference::default() };
        let Some(held) = self.claims.swap_list(name, None, &gone) else {
            return Err(Refusal::NoList { name: name.to_string() });
        };
        if let Err(error) = self.settle(gone.removed.iter().map(Item::key), now) {
            self.note_out_of_step(&error, now);
        }
        self.free_rule(held.rule, now);
        self.pending.lists.insert(name.clone());
        self.forget_promises(&Subject::Block(name.clone()));
        self.clear_entries(name, now)?;
        self.publish_names(now);
        Ok(())
    }

    /// Returns a list and its entries.
    pub fn list(&self, name: &ListName) -> Result<(ListView, List), Refusal> {
        let held = self.claims.lists().get(name).ok_or_else(|| Refusal::NoList { name: name.to_string() })?;
        Ok((self.list_view(name, held), held.list.clone()))
    }

    /// Returns every list, by name.
    #[must_use]
    pub fn lists(&self) -> Vec<ListView> {
        self.claims.lists().iter().map(|(name, held)| self.list_view(name, held)).collect()
    }

    fn list_view(&self, name: &ListName, held: &HeldList) -> ListView {
        let entries_v4 = held.list.items().iter().filter(|item| item.is_v4()).count() as u64;
        ListView {
            name: name.to_string(),
            entries_v4,
            entries_v6: held.list.items().len() as u64 - entries_v4,
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
    fn screen(&self, list: &mut List, force: bool) -> (Vec<Remark>, Vec<Remark>) {
        let (mut refused, mut spared) = (Vec::new(), Vec::new());
        let remark = |item: &Item, reason: String| Remark { entry: item.to_string(), reason };
        list.retain(|item| {
            let shield = self.protected.shield(item);
            if shield == Some(Guard::AllowList) {
                // It takes effect when the allow-list lets go of it.
                spared.push(remark(item, "it is allow-listed and keeps passing".to_owned()));
                return true;
            }
            if let Some(guard) = shield {
                refused.push(remark(item, format!("protected: {guard}")));
                return false;
            }
            if !force && let Some(widest) = target::too_wide(item) {
                refused.push(remark(item, format!("wider than /{widest}; force accepts it")));
                return false;
            }
            let inside: Vec<_> = self.protected.inside(item).map(Item::to_string).collect();
            if !inside.is_empty() {
                spared.push(remark(item, format!("{} inside keeps passing", inside.join(", "))));
            }
            true
        });
        (refused, spared)
    }

    /// Returns the order of writes that fits the tables, or which table the list does not fit into.
    pub(super) fn order_of(&self, name: &ListName, difference: &Difference) -> Result<Order, Refusal> {
        if !self.claims.lists().contains_key(name) && self.claims.lists().len() >= self.settings.max_lists {
            return Err(Refusal::ListsFull { limit: self.settings.max_lists });
        }
        let mut order = Order::InsertFirst;
        for (table, (fresh, freed)) in self.claims.forecast(name, difference) {
            let (fill, capacity) = (self.claims.fill(table), self.maps.capacity(table));
            let wanted = (fill + fresh).saturating_sub(freed);
            if fresh > 0 && wanted > capacity {
                return Err(Refusal::TableFull { table: Table::name(table), wanted, capacity });
            }
            if fill + fresh > capacity {
                order = Order::RemoveFirst;
            }
        }
        Ok(order)
    }

    /// Makes `new` what the kernel holds, or leaves everything as it was.
    pub(super) fn put_list(
        &mut self,
        name: &ListName,
        mut new: HeldList,
        difference: &Difference,
        order: Order,
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
        if let Err(error) = self.settle_in(order, keys.clone(), now) {
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
        let items = self.claims.lists().get(name).map_or(&[][..], |held| held.list.items());
        items.iter().map(Item::key).filter(|key| self.claims.count(key) > 1).collect()
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
