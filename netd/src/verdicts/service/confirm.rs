//! Changes that undo themselves unless they are confirmed: whoever locked themselves out need only wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use netd_engine::time::Timestamp;
use netd_engine::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::Service;
use super::saved::{self, SavedEntry};
use crate::store::disk::{File, StateDir};
use crate::verdicts::blocklist::{EntryValue, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::{Confirmation, ListOptions, NewEntry};

/// How long a change may wait to be confirmed.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Most changes that wait at once: each keeps what was before it.
const MOST: usize = 32;

/// What a change is about. Only one change of it waits at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Block(ListName),
    Allow(ListName),
    Verdict(u64),
}

/// How a change is undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(super) enum Undo {
    /// The list as it is saved; without it there was none.
    BlockList {
        list: String,
        before: Option<String>,
        singles: Vec<SavedEntry>,
    },
    Entry {
        list: String,
        value: String,
        before: Option<SavedEntry>,
        is_new_list: bool,
    },
    AllowList {
        list: String,
        before: Option<String>,
    },
    Verdict {
        id: u64,
        before: Option<Verdict>,
    },
}

impl Undo {
    fn subject(&self) -> Option<Subject> {
        match self {
            Self::BlockList { list, .. } | Self::Entry { list, .. } => Some(Subject::Block(list.parse().ok()?)),
            Self::AllowList { list, .. } => Some(Subject::Allow(list.parse().ok()?)),
            Self::Verdict { id, .. } => Some(Subject::Verdict(*id)),
        }
    }

    fn what(&self) -> String {
        match self {
            Self::BlockList { list, .. } => format!("block-list {list}"),
            Self::Entry { list, value, .. } => format!("{value} in block-list {list}"),
            Self::AllowList { list, .. } => format!("allow-list {list}"),
            Self::Verdict { id, .. } => format!("verdict {id}"),
        }
    }
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    until: Timestamp,
    undo: Undo,
    /// Entries that were taken out since: they do not come back.
    #[serde(default)]
    except: BTreeSet<String>,
}

/// A number for a change that is to be confirmed, and where its undo is written.
pub(super) struct Promise {
    id: u64,
    until: Timestamp,
    disk: Option<StateDir>,
}

/// The changes that wait, by number.
pub(super) type Waitings = BTreeMap<u64, Waiting>;

impl<M: Maps> Service<M> {
    /// Keeps a change: it is not undone.
    pub fn confirm(&mut self, id: u64) -> Result<Confirmation, Refusal> {
        let waiting = self.waiting.remove(&id).ok_or(Refusal::NoConfirmation { id })?;
        self.drop_undo(id);
        Ok(shown(id, &waiting))
    }

    /// Undoes a change before its time.
    pub fn revert(&mut self, id: u64, now: Now) -> Result<Confirmation, Refusal> {
        let waiting = self.waiting.remove(&id).ok_or(Refusal::NoConfirmation { id })?;
        if let Err(refusal) = self.carry_out(&waiting, now) {
            self.waiting.insert(id, waiting);
            return Err(refusal);
        }
        self.save(now);
        self.drop_undo(id);
        Ok(shown(id, &waiting))
    }

    /// Returns the changes that wait, the first due first.
    #[must_use]
    pub fn confirmations(&self) -> Vec<Confirmation> {
        let mut all: Vec<_> = self.waiting.iter().map(|(id, waiting)| shown(*id, waiting)).collect();
        all.sort_by_key(|confirmation| confirmation.until);
        all
    }

    /// Notes how a change is to be undone, before it is made; on disk, too, so that a restart does not make it last.
    /// What was before is written out only where a confirmation is asked for.
    pub(super) fn promise(
        &mut self,
        within: Option<Duration>,
        subject: &Subject,
        undo: impl FnOnce(&Self) -> Undo,
        now: Now,
    ) -> Result<Option<(u64, Timestamp)>, Refusal> {
        self.check_waiting(subject)?;
        let Some(promise) = self.reserve(within, now)? else { return Ok(None) };
        let (id, waiting) = promise.write(undo(self))?;
        Ok(Some(self.keep_promise(id, waiting)))
    }

    /// Gives a number to a change that is to be confirmed.
    pub(super) fn reserve(&mut self, within: Option<Duration>, now: Now) -> Result<Option<Promise>, Refusal> {
        let Some(within) = within else { return Ok(None) };
        if !(SHORTEST..=LONGEST).contains(&within) {
            return Err(Refusal::BadConfirmTime { shortest: SHORTEST, longest: LONGEST });
        }
        if self.waiting.len() >= MOST {
            return Err(Refusal::ManyUnconfirmed { limit: MOST });
        }
        let (id, until) = (self.next_id, now.plus(within).wall);
        self.next_id += 1;
        Ok(Some(Promise { id, until, disk: self.disk.clone() }))
    }

    /// Notes what is written on disk.
    pub(super) fn keep_promise(&mut self, id: u64, waiting: Waiting) -> (u64, Timestamp) {
        let until = waiting.until;
        self.pending.verdicts = true;
        self.waiting.insert(id, waiting);
        (id, until)
    }

    /// Says that a change of the same subject waits.
    pub(super) fn check_waiting(&self, subject: &Subject) -> Result<(), Refusal> {
        let other = self.waiting.iter().find(|(_, waiting)| waiting.undo.subject().as_ref() == Some(subject));
        match other {
            Some((id, _)) => Err(Refusal::Unconfirmed { id: *id }),
            None => Ok(()),
        }
    }

    /// Forgets how to undo a change that was not made.
    pub(super) fn break_promise(&mut self, promised: Option<(u64, Timestamp)>) {
        if let Some((id, _)) = promised
            && self.waiting.remove(&id).is_some()
        {
            self.drop_undo(id);
        }
    }

    /// Forgets how to undo changes of what is gone.
    pub(super) fn forget_promises(&mut self, subject: &Subject) {
        let gone = self.waiting.iter().filter(|(_, waiting)| waiting.undo.subject().as_ref() == Some(subject));
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.waiting.remove(&id);
            self.drop_undo(id);
        }
    }

    /// Sees to it that an undo does not bring back an entry that was taken out meanwhile.
    pub(super) fn forget_in_undo(&mut self, subject: &Subject, value: &EntryValue) {
        let of_it = self.waiting.iter_mut().filter(|(_, waiting)| waiting.undo.subject().as_ref() == Some(subject));
        let mut changed = Vec::new();
        for (id, waiting) in of_it {
            waiting.except.insert(value.to_string());
            changed.push((*id, waiting.clone()));
        }
        for (id, waiting) in changed {
            if let Err(refusal) = self.write_undo(id, &waiting) {
                tracing::warn!(%refusal, id, "after a restart the undo would bring an entry back");
            }
        }
    }

    /// Undoes what nobody confirmed in time.
    pub(super) fn undo_due(&mut self, now: Now) {
        // An undo may need a generation of its own; the one in the making is somebody's.
        if self.is_building() {
            return;
        }
        let due: Vec<_> =
            self.waiting.iter().filter(|(_, waiting)| waiting.until <= now.wall).map(|(id, _)| *id).collect();
        for id in due {
            match self.revert(id, now) {
                Ok(undone) => tracing::warn!(id, what = undone.what, "nobody confirmed the change; it is undone"),
                Err(refusal) => {
                    tracing::warn!(id, %refusal, "an unconfirmed change could not be undone; trying again");
                    if let Some(waiting) = self.waiting.get_mut(&id) {
                        waiting.until = now.plus(SHORTEST).wall;
                    }
                }
            }
        }
    }

    /// Reads what a former run promised to undo.
    pub(super) fn load_undos(&mut self, disk: &StateDir) {
        for id in disk.undos() {
            let read = disk.read_or_set_aside(File::Undo(id), |bytes| serde_json::from_slice::<Waiting>(bytes).ok());
            if let Some(waiting) = read {
                self.next_id = self.next_id.max(id + 1);
                self.waiting.insert(id, waiting);
            }
        }
    }

    fn carry_out(&mut self, waiting: &Waiting, now: Now) -> Result<(), Refusal> {
        let Waiting { undo, except, .. } = waiting;
        let name = |text: &str| text.parse::<ListName>().map_err(Refusal::from);
        match undo {
            Undo::BlockList { list, before, singles } => {
                let list = name(list)?;
                let Some(held) = before.as_deref().and_then(|text| saved::list_from_bytes(text.as_bytes())) else {
                    return self.drop_list(&list, now);
                };
                let mut content = (*held.list).clone();
                content.retain(|item| !except.contains(&item.to_string()));
                let options =
                    ListOptions { response: held.response, shadow: held.shadow, force: true, ..ListOptions::default() };
                self.swap_content(&list, content, &options, now)?;
                for entry in singles.iter().filter(|entry| !except.contains(&entry.value)) {
                    self.restore_entry(&list, entry, now)?;
                }
                Ok(())
            }
            Undo::Entry { list, value, before, is_new_list } => {
                let list = name(list)?;
                let Ok(value) = value.parse::<EntryValue>() else { return Ok(()) };
                if except.contains(&value.to_string()) {
                    return Ok(());
                }
                if let Some(entry) = before {
                    return self.restore_entry(&list, entry, now);
                }
                match self.take_single(&list, &value, now) {
                    Err(Refusal::NoEntry { .. } | Refusal::NoList { .. }) | Ok(()) => {}
                    Err(refusal) => return Err(refusal),
                }
                let is_empty = self.claims.lists().get(&list).is_some_and(|held| held.list.is_empty());
                match *is_new_list && is_empty && self.count_entries(&list) == 0 {
                    true => self.drop_list(&list, now),
                    false => Ok(()),
                }
            }
            Undo::AllowList { list, before } => {
                let held = before.as_deref().and_then(|text| saved::allow_list_from_bytes(text.as_bytes()));
                let held = held.map(|mut held| {
                    held.singles.retain(|value, note| !note.has_ended(now) && !except.contains(&value.to_string()));
                    held.list.retain(|item| !except.contains(&item.to_string()));
                    held
                });
                self.put_allow_list(&name(list)?, held, now)
            }
            Undo::Verdict { id, before } => {
                if self.claims.verdict(*id).is_none() {
                    return Ok(());
                }
                match before {
                    Some(before) if before.until.is_none_or(|until| until > now.wall) => {
                        self.rewrite(*id, before.clone(), now)
                    }
                    Some(_) | None => self.end([*id], now),
                }
            }
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

    fn write_undo(&self, id: u64, waiting: &Waiting) -> Result<(), Refusal> {
        write_undo(self.disk.as_ref(), id, waiting)
    }

    pub(super) fn drop_undo(&self, id: u64) {
        let Some(disk) = &self.disk else { return };
        if let Err(error) = disk.remove(File::Undo(id)) {
            tracing::warn!(id, %error, "the file of an undo cannot be removed; a restart would carry it out");
        }
    }
}

impl Promise {
    /// Writes down how the change is undone.
    pub(super) fn write(self, undo: Undo) -> Result<(u64, Waiting), Refusal> {
        let Self { id, until, disk } = self;
        let waiting = Waiting { until, undo, except: BTreeSet::new() };
        write_undo(disk.as_ref(), id, &waiting)?;
        Ok((id, waiting))
    }
}

fn write_undo(disk: Option<&StateDir>, id: u64, waiting: &Waiting) -> Result<(), Refusal> {
    let Some(disk) = disk else { return Ok(()) };
    Ok(disk.write_with(File::Undo(id), |out| Ok(serde_json::to_writer(out, waiting)?))?)
}

fn shown(id: u64, waiting: &Waiting) -> Confirmation {
    Confirmation { id, until: waiting.until, what: waiting.undo.what() }
}
