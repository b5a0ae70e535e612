//! What takes as long as a list is long: for a thread of its own, with nothing of the service but what it was given.

use super::claims::HeldList;
use super::fill::{Fill, Filled};
use super::prepare::{Prepare, Prepared};
use super::saved;
use crate::store::disk::{self, File, StateDir};
use crate::verdicts::blocklist::ListName;
use crate::verdicts::maps::{Coming, Retire};
use crate::verdicts::refusal::Refusal;

/// Entries up to which work is done in between: a millisecond or two.
const SHORT: usize = 4_096;

/// Work on whole lists, from [`super::Service::work`]; what came of it is for [`super::Service::resume`].
pub struct Work<C>(pub(super) Job<C>);

/// What came of [`Work`].
pub struct Worked<C>(pub(super) Done<C>);

pub(super) enum Job<C> {
    Prepare(Box<Prepare>),
    Fill(Box<Fill<C>>),
    Finish(Box<Finish>),
}

pub(super) enum Done<C> {
    Prepared(Result<Box<Prepared>, Refusal>),
    Filled(Result<Box<Filled<C>>, Refusal>),
    Finished(Result<(), disk::Error>),
    /// Its thread did not end well.
    Lost,
}

/// The content that a list is about to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub tag: String,
    pub entries: u64,
}

impl<C: Coming> Work<C> {
    /// Does it.
    #[must_use]
    pub fn run(self) -> Worked<C> {
        Worked(match self.0 {
            Job::Prepare(prepare) => Done::Prepared(prepare.run().map(Box::new)),
            Job::Fill(fill) => Done::Filled(fill.run().map(Box::new)),
            Job::Finish(finish) => Done::Finished(finish.run()),
        })
    }

    /// Returns whether it takes so little that a thread is not worth its while.
    #[must_use]
    pub fn is_short(&self) -> bool {
        match &self.0 {
            Job::Prepare(prepare) => prepare.size() <= SHORT,
            // The front alone takes longer.
            Job::Fill(_) => false,
            Job::Finish(finish) => finish.size() <= SHORT,
        }
    }
}

impl<C> Worked<C> {
    /// What is known of work whose thread did not end well.
    #[must_use]
    pub const fn lost() -> Self {
        Self(Done::Lost)
    }

    /// Returns what a list is about to hold, where that has been prepared.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        match &self.0 {
            Done::Prepared(Ok(prepared)) => {
                let change = &prepared.change;
                Some(Content { tag: change.tag.clone(), entries: change.entries })
            }
            Done::Prepared(Err(_)) | Done::Filled(_) | Done::Finished(_) | Done::Lost => None,
        }
    }
}

/// What is left to do once a change is in force.
#[derive(Default)]
pub(super) struct Finish {
    pub(super) retire: Option<Retire>,
    /// The list to be saved; `None` in its place removes its file.
    pub(super) save: Option<(StateDir, ListName, Option<HeldList>)>,
    /// What the change replaced: giving its memory back takes time, too.
    pub(super) former: Option<HeldList>,
}

impl Finish {
    fn size(&self) -> usize {
        let size = |held: &HeldList| held.list.entries() as usize;
        let saved = self.save.as_ref().and_then(|(_, _, held)| held.as_ref()).map_or(0, size);
        if self.retire.is_some() { usize::MAX } else { saved + self.former.as_ref().map_or(0, size) }
    }

    fn run(self) -> Result<(), disk::Error> {
        // First, because flows may keep what the former generation decided until it is gone.
        if let Some(retire) = self.retire {
            retire();
        }
        match self.save {
            Some((disk, name, Some(held))) => disk.write_with(File::List(&name), |out| saved::write_list(&held, out)),
            Some((disk, name, None)) => disk.remove(File::List(&name)),
            None => Ok(()),
        }
    }
}
