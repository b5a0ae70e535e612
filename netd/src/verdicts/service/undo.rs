//! Carries out what [`super::confirm`] promised: a change that nobody confirmed, or that somebody takes back, is undone.
//! Giving a block-list its former content back takes as long as the list is long, so that is a change like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use netd_engine::verdict::Verdict;

use super::Service;
use super::change::{Begun, Outcome, Purpose};
use super::claims::{Coming, HeldList};
use super::confirm::{SHORTEST, Undo, Waiting, shown};
use super::prepare::Source;
use super::saved::{self, SavedEntry};
use super::work::Job;
use crate::verdicts::blocklist::{EntryValue, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::{Confirmation, ListOptions, NewEntry};

/// A block-list that is about to be what it was.
#[derive(Clone, Debug)]
pub(super) struct Undoing {
    id: u64,
    pub(super) list: ListName,
    waiting: Arc<Waiting>,
}

impl Undoing {
    /// Returns whether the list was not there before.
    pub(super) fn removes(&self) -> bool {
        matches!(self.waiting.undo, Undo::BlockList { before: None, .. })
    }
}

impl Waiting {
    /// Returns a block-list as it was, without what was taken out since; `None` where there was none, or where it cannot
    /// be read.
    pub(super) fn former_list(&self) -> Option<HeldList> {
        let Undo::BlockList { before: Some(text), .. } = &self.undo else { return None };
        let held = saved::list_from_bytes(text.as_bytes())?;
        if self.except.is_empty() {
            return Some(held);
        }
        let mut list = Arc::unwrap_or_clone(held.list);
        list.retain(|item| !self.except.contains(&item.to_string()));
        Some(HeldList { list: Arc::new(list), ..held })
    }

    /// Returns about how many entries a block-list had.
    pub(super) fn former_size(&self) -> usize {
        /// Characters of a short entry, with the end of its line.
        const ENTRY: usize = 8;
        match &self.undo {
            Undo::BlockList { before, .. } => before.as_ref().map_or(0, |text| text.len() / ENTRY),
            Undo::Entry { .. } | Undo::AllowList { .. } | Undo::Verdict { .. } => 0,
        }
    }
}

impl<M: Maps> Service<M> {
    /// Undoes a change before its time.
    pub fn revert(&mut self, id: u64, now: Now) -> Result<Confirmation, Refusal> {
        self.end_build(now);
        let outcome = match self.begin_revert(id, now)? {
            Begun::Done(outcome) => *outcome,
            Begun::Building => self.finish_build(now)?,
        };
        outcome.undone().ok_or(Refusal::NoConfirmation { id })
    }

    /// Begins to undo a change before its time; what takes long goes on in [`Service::step`].
    pub fn begin_revert(&mut self, id: u64, now: Now) -> Result<Begun, Refusal> {
        let waiting = self.waiting.remove(&id).ok_or(Refusal::NoConfirmation { id })?;
        let Waiting { undo, except, .. } = &waiting;
        let done = match undo {
            Undo::BlockList { list, .. } => {
                let list = list.parse()?;
                return self.begin_undo(Undoing { id, list, waiting: Arc::new(waiting) }, now);
            }
            Undo::Entry { value, .. } if except.contains(value) => Ok(()),
            Undo::Entry { list, before: Some(entry), .. } => {
                list.parse().map_err(Refusal::from).and_then(|list| self.restore_entry(&list, entry, now))
            }
            Undo::Entry { list, value, before: None, is_new_list } => self.undo_entry(list, value, *is_new_list, now),
            Undo::AllowList { list, before } => self.undo_allow_list(list, before.as_deref(), except, now),
            Undo::Verdict { id, before } => self.undo_verdict(*id, before.as_ref(), now),
        };
        if let Err(refusal) = done {
            self.waiting.insert(id, waiting);
            return Err(refusal);
        }
        self.save(now);
        self.drop_undo(id);
        Ok(Begun::Done(Box::new(Outcome::Undone(shown(id, &waiting)))))
    }

    /// Undoes what nobody confirmed in time.
    pub(super) fn undo_due(&mut self, now: Now) {
        while !self.is_building()
            && let Some(id) = self.due(now)
        {
            match self.begin_revert(id, now) {
                Ok(Begun::Done(outcome)) => {
                    let what = outcome.undone().map(|undone| undone.what).unwrap_or_default();
                    tracing::warn!(id, what, "nobody confirmed the change; it is undone");
                }
                Ok(Begun::Building) => tracing::warn!(id, "nobody confirmed the change; it is being undone"),
                Err(refusal) => {
                    tracing::warn!(id, %refusal, "an unconfirmed change could not be undone; trying again");
                    self.put_off(id, now);
                }
            }
        }
    }

    fn due(&self, now: Now) -> Option<u64> {
        self.waiting.iter().find(|(_, waiting)| waiting.until <= now.wall).map(|(id, _)| *id)
    }

    fn put_off(&mut self, id: u64, now: Now) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.until = waiting.until.max(now.plus(SHORTEST).wall);
        }
    }

    fn begin_undo(&mut self, undoing: Undoing, now: Now) -> Result<Begun, Refusal> {
        let list = undoing.list.clone();
        match (undoing.removes(), self.is_large(&list)) {
            (true, true) => {
                let coming = Coming { name: list, held: None };
                if let Err(refusal) = self.begin_generation(Purpose::Undo(undoing.clone()), Some(coming), now) {
                    self.take_back(undoing, now);
                    return Err(refusal);
                }
            }
            (true, false) => {
                if let Err(refusal) = self.drop_list(&list, now) {
                    self.take_back(undoing, now);
                    return Err(refusal);
                }
                self.save(now);
                return Ok(Begun::Done(Box::new(self.undone(&undoing))));
            }
            (false, _) => {
                let options = ListOptions { force: true, ..ListOptions::default() };
                let source = Source::Former(Arc::clone(&undoing.waiting));
                let prepare = self.preparing(&list, source, options, now);
                self.begin(Purpose::Undo(undoing), Job::Prepare(Box::new(prepare)), now);
            }
        }
        match self.has_short_work() {
            true => self.finish_build(now).map(|outcome| Begun::Done(Box::new(outcome))),
            false => Ok(Begun::Building),
        }
    }

    /// Follows the list's content with its single entries.
    pub(super) fn undo_followed(&mut self, undoing: &Undoing, now: Now) -> Result<(), Refusal> {
        let Undoing { list, waiting, .. } = undoing;
        if undoing.removes() {
            return self.list_removed(list, now);
        }
        self.content_changed(list, false, now)?;
        let Undo::BlockList { singles, .. } = &waiting.undo else { return Ok(()) };
        for entry in singles.iter().filter(|entry| !waiting.except.contains(&entry.value)) {
            self.restore_entry(list, entry, now)?;
        }
        Ok(())
    }

    /// Forgets what is undone.
    pub(super) fn undone(&mut self, undoing: &Undoing) -> Outcome {
        self.drop_undo(undoing.id);
        Outcome::Undone(shown(undoing.id, &undoing.waiting))
    }

    /// Lets a change wait again that could not be undone.
    pub(super) fn take_back(&mut self, undoing: Undoing, now: Now) {
        let Undoing { id, waiting, .. } = undoing;
        let is_due = waiting.until <= now.wall;
        self.waiting.insert(id, Arc::unwrap_or_clone(waiting));
        if is_due {
            self.put_off(id, now);
        }
    }

    fn undo_entry(&mut self, list: &str, value: &str, is_new_list: bool, now: Now) -> Result<(), Refusal> {
        let list = list.parse::<ListName>()?;
        let Ok(value) = value.parse::<EntryValue>() else { return Ok(()) };
        match self.take_single(&list, &value, now) {
            Err(Refusal::NoEntry { .. } | Refusal::NoList { .. }) | Ok(()) => {}
            Err(refusal) => return Err(refusal),
        }
        let is_empty = self.claims.lists().get(&list).is_some_and(|held| held.list.is_empty());
        match is_new_list && is_empty && self.count_entries(&list) == 0 {
            true => self.drop_list(&list, now),
            false => Ok(()),
        }
    }

    fn undo_allow_list(
        &mut self,
        list: &str,
        before: Option<&str>,
        except: &BTreeSet<String>,
        now: Now,
    ) -> Result<(), Refusal> {
        let held = before.and_then(|text| saved::allow_list_from_bytes(text.as_bytes()));
        let held = held.map(|mut held| {
            held.singles.retain(|value, note| !note.has_ended(now) && !except.contains(&value.to_string()));
            held.list.retain(|item| !except.contains(&item.to_string()));
            held
        });
        self.put_allow_list(&list.parse()?, held, now)
    }

    fn undo_verdict(&mut self, id: u64, before: Option<&Verdict>, now: Now) -> Result<(), Refusal> {
        if self.claims.verdict(id).is_none() {
            return Ok(());
        }
        match before {
            Some(before) if before.until.is_none_or(|until| until > now.wall) => self.rewrite(id, before.clone(), now),
            Some(_) | None => self.end([id], now),
        }
    }

    fn restore_entry(&mut self, list: &ListName, entry: &SavedEntry, now: Now) -> Result<(), Refusal> {
        let has_ended = entry.until.is_some_and(|until| until <= now.wall);
        match entry.value.parse::<EntryValue>() {
            Ok(value) if !has_ended => {
                let new = NewEntry { value, reason: entry.reason.clone(), until: entry.until };
                self.put_entry(list, new, now)
            }
            Ok(value) => match self.take_single(list, &value, now) {
                Err(Refusal::NoEntry { .. }) | Ok(()) => Ok(()),
                Err(refusal) => Err(refusal),
            },
            Err(_) => Ok(()),
        }
    }
}
