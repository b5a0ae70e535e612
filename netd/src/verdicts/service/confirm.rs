//! Changes that undo themselves unless they are confirmed: whoever locked themselves out need only wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use netd_engine::time::Timestamp;
use netd_engine::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::Service;
use super::saved::SavedEntry;
use crate::store::disk::{File, StateDir};
use crate::verdicts::blocklist::{EntryValue, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::Confirmation;

/// How long a change may wait to be confirmed.
pub(super) const SHORTEST: Duration = Duration::from_secs(5);
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
    pub(super) until: Timestamp,
    pub(super) undo: Undo,
    /// Entries that were taken out since: they do not come back.
    #[serde(default)]
    pub(super) except: BTreeSet<String>,
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

    /// Reads what a former run promised to undo.
    pub(super) fn load_undos(&mut self, disk: &StateDir) {
        for id in disk.undos() {
            let read = disk.read_or_set_aside(File::Undo(id), |bytes| {
                serde_json::from_slice::<Waiting>(bytes).ok().filter(|waiting| waiting.undo.subject().is_some())
            });
            if let Some(waiting) = read {
                self.next_id = self.next_id.max(id + 1);
                self.waiting.insert(id, waiting);
            }
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

pub(super) fn shown(id: u64, waiting: &Waiting) -> Confirmation {
    Confirmation { id, until: waiting.until, what: waiting.undo.what() }
}
