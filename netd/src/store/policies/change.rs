//! A policy put or removed through the API: checked with all others, recorded, kept, and then put in force.

use std::sync::PoisonError;

use netd_engine::policy::{Difference, Name, Policies, Source};

use super::collection::{Collection, Origin, label, tag};
use super::{Book, tell_difference};
use crate::config::policies::{self, Faults};
use crate::store::audit::{Audit, Caller, Change, Effect, Unrecorded};
use crate::store::disk::{self, File};
use crate::time;

/// Why a policy was not put or removed; everything stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no state directory, so a policy of the API would be gone with the next restart: set state_dir")]
    NowhereToKeep,
    #[error("the policy {name} stands in {file}: change it there, or choose another name")]
    OfAFile { name: Name, file: String },
    #[error("{name} is the name of the policy that netd ships: choose another")]
    Shipped { name: Name },
    #[error("the text states {stated} policies; put each by its own name")]
    NotOne { stated: usize },
    #[error("the text states the policy {stated}, and {name} is to be put: the names must agree")]
    OtherName { name: Name, stated: String },
    #[error("there is no policy {name}")]
    NoPolicy { name: Name },
    #[error("the policy has changed in the meantime: its tag is {}", .tag.as_deref().unwrap_or("none, it is not there"))]
    Changed { tag: Option<String> },
    #[error("{0}")]
    Faults(Faults),
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    #[error(transparent)]
    Unsaved(#[from] disk::Error),
}

/// On which terms a change is made.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The tag, or `*`, that the policy must have; several are separated by commas.
    pub if_match: Option<String>,
    /// Only if there is no such policy of the API.
    pub if_new: bool,
    /// Says what would change, and changes nothing.
    pub dry_run: bool,
}

/// What a change comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The policy was not there before.
    pub is_new: bool,
    /// The text is another one than before.
    pub is_changed: bool,
    /// Of the text as it is put; none where it was removed.
    pub tag: Option<String>,
    pub difference: Difference,
    /// What may not be meant, of this policy or by it.
    pub warnings: Vec<String>,
}

/// Writes down who changes what, before it is changed.
#[derive(Debug)]
pub struct Author<'a> {
    pub audit: &'a Audit,
    pub caller: Caller,
}

impl Book {
    /// Puts a policy in force, or one in another's place. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be used together with all others, is another's, cannot be recorded or kept.
    pub fn put(&self, name: &Name, text: String, terms: &Terms, author: &Author<'_>) -> Result<Changed, Refusal> {
        states(name, &text)?;
        let change = Change::new(Effect::Increases, "policy.put", name.to_string()).after(&text);
        self.change(name, Some(text), terms, change, author)
    }

    /// Takes a policy of the API out of force. Waits for the disk.
    ///
    /// # Errors
    /// When there is none, it is another's, cannot be recorded or removed.
    pub fn remove(&self, name: &Name, terms: &Terms, author: &Author<'_>) -> Result<Changed, Refusal> {
        // What it spared is the next one's, which may cut it.
        let change = Change::new(Effect::Increases, "policy.remove", name.to_string());
        self.change(name, None, terms, change, author)
    }

    fn change(
        &self,
        name: &Name,
        text: Option<String>,
        terms: &Terms,
        change: Change,
        author: &Author<'_>,
    ) -> Result<Changed, Refusal> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let written = &mut shelf.written;
        let disk = written.disk.clone().ok_or(Refusal::NowhereToKeep)?;
        let old = self.collection();
        let known = written.text(name).map(str::to_owned);
        match (&text, &known) {
            (None, Some(_)) => {}
            (Some(_), _) => unless_others(name, &old)?,
            (None, None) => {
                unless_others(name, &old)?;
                return Err(Refusal::NoPolicy { name: name.clone() });
            }
        }
        unless_changed(known.as_deref(), terms)?;

        let mut in_force = written.in_force.clone();
        match &text {
            Some(text) => drop(in_force.insert(name.clone(), text.clone())),
            None => drop(in_force.remove(name)),
        }
        let new = old.with(&in_force).map_err(Refusal::Faults)?;
        self.refuse_signals(&new).map_err(Refusal::Faults)?;
        let changed = Changed {
            is_new: known.is_none(),
            // One that waits is put in force, or given up, whatever its text.
            is_changed: known != text || written.waiting.contains_key(name),
            tag: text.as_deref().map(tag),
            difference: Difference::between(&old.policies(), &new.policies()),
            warnings: warnings(name, &old.policies(), &new.policies()),
        };
        if terms.dry_run || !changed.is_changed {
            return Ok(changed);
        }
        let change = Change { before: known.as_deref().and_then(crate::store::audit::hash_of), ..change };
        author.write(change, || match &text {
            Some(text) => disk.write(File::Policy(name), text.as_bytes()),
            None => disk.remove(File::Policy(name)),
        })?;
        written.in_force = in_force;
        written.waiting.remove(name);
        tell_difference(&changed.difference);
        self.publish(new);
        Ok(changed)
    }
}

impl Author<'_> {
    /// Writes a change down, keeps it, and writes down where it was not kept after all.
    fn write(&self, change: Change, keep: impl FnOnce() -> Result<(), disk::Error>) -> Result<(), Refusal> {
        let Self { audit, caller } = self;
        let refused = Change::new(Effect::Decreases, "refused", change.target.clone());
        let action = change.action;
        audit.admit(time::now(), caller, change)?;
        keep().inspect_err(|error| audit.record(time::now(), caller, refused.reason(format!("{action}: {error}"))))?;
        Ok(())
    }
}

/// Refuses a text that is not that one policy.
fn states(name: &Name, text: &str) -> Result<(), Refusal> {
    let file = label(name);
    let read = Policies::read(&[Source { file: &file, text }]).map_err(|faults| Refusal::Faults(Faults(faults)))?;
    let mut stated = read.iter();
    match (stated.next(), stated.count()) {
        (Some(policy), 0) if *policy.name == *name.as_str() => Ok(()),
        (Some(policy), 0) => Err(Refusal::OtherName { name: name.clone(), stated: policy.name.to_string() }),
        (_, more) => Err(Refusal::NotOne { stated: more + 1 }),
    }
}

/// Refuses a name that is not the API's.
fn unless_others(name: &Name, known: &Collection) -> Result<(), Refusal> {
    let name = name.clone();
    match known.get(name.as_str()).map(|stated| stated.origin) {
        Some(Origin::File { file }) => Err(Refusal::OfAFile { name, file: file.clone() }),
        Some(Origin::Shipped) => Err(Refusal::Shipped { name }),
        None if policies::is_shipped(name.as_str()) => Err(Refusal::Shipped { name }),
        Some(Origin::Api) | None => Ok(()),
    }
}

fn unless_changed(known: Option<&str>, terms: &Terms) -> Result<(), Refusal> {
    let tag = known.map(tag);
    let is_meant = |tags: &String| {
        tags.split(',').map(str::trim).any(|one| tag.as_deref().is_some_and(|tag| one == tag || one == "*"))
    };
    let is_as_expected = terms.if_match.as_ref().is_none_or(is_meant) && !(terms.if_new && known.is_some());
    if is_as_expected { Ok(()) } else { Err(Refusal::Changed { tag }) }
}

/// Returns what is worth a word about this policy, and about others because of it.
fn warnings(name: &Name, old: &Policies, new: &Policies) -> Vec<String> {
    let known = policies::warnings(old);
    let about = format!("policy {name} ");
    let is_news = |warning: &String| warning.starts_with(&about) || !known.contains(warning);
    policies::warnings(new).into_iter().filter(is_news).collect()
}
