//! Policies, and what changes of them, as the API shows them.

use netd_engine::policy::{Ceiling, Difference, Spec};
use serde::Serialize;
use serde_json::Value;

use super::mode;
use crate::rehearsal::Simulated;
use crate::store::policies::{Book, Changed, Origin, Stated};

/// A policy among the others.
#[derive(Serialize)]
pub(super) struct View<'a> {
    name: &'a str,
    /// From 0, in the order in which policies are asked.
    order: usize,
    /// Whose it is: a file's, the API's, or the one that netd ships.
    origin: &'a Origin,
    /// Entity tag of its text.
    tag: String,
    mode: Value,
    tests: usize,
    spec: &'a Spec,
}

/// A policy with its text.
#[derive(Serialize)]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// The document that states it.
    text: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn new(stated: &Stated<'a>, ceiling: &Ceiling, book: &Book) -> Self {
        let Stated { order, policy, origin, .. } = *stated;
        Self {
            name: &policy.name,
            order,
            origin,
            tag: stated.tag(),
            mode: mode(policy, ceiling, book),
            tests: policy.spec.tests.len(),
            spec: &policy.spec,
        }
    }
}

impl<'a> Whole<'a> {
    pub(super) fn new(stated: &Stated<'a>, ceiling: &Ceiling, book: &Book) -> Self {
        Self { view: View::new(stated, ceiling, book), text: stated.text }
    }
}

/// What putting or removing a policy came to, or would.
#[derive(Serialize)]
pub(super) struct Change<'a> {
    name: &'a str,
    dry_run: bool,
    changed: bool,
    /// Entity tag of the text as it was put; null where it was removed.
    tag: Option<String>,
    difference: Difference,
    /// What may not be meant, of this policy or because of it.
    warnings: Vec<String>,
}

impl<'a> Change<'a> {
    pub(super) fn new(name: &'a str, dry_run: bool, changed: Changed) -> Self {
        let Changed { is_new: _, is_changed: changed, tag, difference, warnings } = changed;
        Self { name, dry_run, changed, tag, difference, warnings }
    }
}

/// What policies would have cut.
#[derive(Serialize)]
pub(super) struct Simulation {
    /// Of flows and findings.
    pub(super) since: String,
    /// Policies that were held against them.
    pub(super) policies: Vec<String>,
    /// Why older flows were not looked at, where there are any: `limit` or `time`.
    pub(super) reached: Option<&'static str>,
    #[serde(flatten)]
    pub(super) simulated: Simulated,
}
