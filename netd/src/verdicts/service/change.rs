//! What a change of lists is for, and what came of it.

use super::undo::Undoing;
use crate::verdicts::blocklist::ListName;
use crate::verdicts::view::{Confirmation, ListChange, ListView};

/// What is changed.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Replace {
        name: ListName,
        change: ListChange,
        /// Whether the list's single entries stay.
        keeps_entries: bool,
    },
    Remove {
        name: ListName,
        view: ListView,
    },
    /// A list is to be what it was.
    Undo(Undoing),
    /// More room, or a kernel that holds something else than it should.
    Renew,
    /// A list that is in force, and not on disk.
    Save(ListName),
}

impl Purpose {
    /// Returns the list that changes.
    pub(super) fn list(&self) -> Option<&ListName> {
        match self {
            Self::Replace { name, .. } | Self::Remove { name, .. } | Self::Save(name) => Some(name),
            Self::Undo(undoing) => Some(&undoing.list),
            Self::Renew => None,
        }
    }

    /// Returns the list that is to be gone.
    pub(super) fn removes(&self) -> Option<&ListName> {
        match self {
            Self::Remove { name, .. } => Some(name),
            Self::Undo(undoing) if undoing.removes() => Some(&undoing.list),
            Self::Undo(_) | Self::Replace { .. } | Self::Renew | Self::Save(_) => None,
        }
    }
}

/// What a finished change has brought about.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Replaced(ListChange),
    Removed(ListView),
    Undone(Confirmation),
    Renewed,
}

impl Outcome {
    #[must_use]
    pub fn replaced(self) -> Option<ListChange> {
        match self {
            Self::Replaced(change) => Some(change),
            Self::Removed(_) | Self::Undone(_) | Self::Renewed => None,
        }
    }

    #[must_use]
    pub fn removed(self) -> Option<ListView> {
        match self {
            Self::Removed(view) => Some(view),
            Self::Replaced(_) | Self::Undone(_) | Self::Renewed => None,
        }
    }

    #[must_use]
    pub fn undone(self) -> Option<Confirmation> {
        match self {
            Self::Undone(undone) => Some(undone),
            Self::Replaced(_) | Self::Removed(_) | Self::Renewed => None,
        }
    }
}

/// What became of a request that may take long.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    Done(Box<Outcome>),
    /// [`Service::step`] has to be called, and the work it asks for done, until it returns what came of it.
    Building,
}
