//! Policies, and what changes of them, as the API shows them.

use netd_engine::policy::{Ceiling, Difference, Mode, Spec};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::mode;
use crate::rehearsal::Simulated;
use crate::store::policies::{Book, Changed, Origin, Reload, Stated};
use crate::time;

/// A policy in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(in crate::api) struct View<'a> {
    /// The policy's name.
    name: &'a str,
    /// From 0, in the order in which policies are asked.
    order: usize,
    /// Whose it is: a file's, the API's, or the one that netd ships.
    origin: &'a Origin,
    /// Entity tag of its text.
    tag: String,
    /// How far it goes.
    mode: Modes,
    /// Captures that it says what must be made of.
    tests: usize,
    /// As its text states it, with the defaults of what it leaves out.
    spec: &'a Spec,
}

/// A policy with its text.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyText")]
pub(in crate::api) struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// The document that states it.
    text: &'a str,
}

/// How far a policy goes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyModes")]
pub(in crate::api) struct Modes {
    /// The mode that the policy asks for.
    pub(super) requested: Mode,
    /// The mode that acts.
    pub(super) effective: Mode,
    /// Why they differ, or why some of what it asks for cannot be done; null where nothing is held back.
    pub(super) reason: Option<String>,
}

/// Every policy, in the order in which they are asked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policies")]
pub(in crate::api) struct Listed<'a> {
    /// The policies.
    pub(super) items: Vec<View<'a>>,
    /// What came of reading them the last time.
    pub(super) reload: &'a Reload,
}

/// What a text of policies says, and what it would change.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct Validated<'a> {
    /// Names of its policies.
    pub(super) policies: Vec<&'a str>,
    /// What is allowed and may not be meant, in words.
    pub(super) warnings: Vec<String>,
    /// What would change if it took the place of the policies in force.
    pub(super) difference: Difference,
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
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyPut")]
pub(in crate::api) struct Change<'a> {
    /// The policy's name.
    name: &'a str,
    /// Whether nothing was done.
    dry_run: bool,
    /// Whether its text is another, or would be.
    changed: bool,
    /// Entity tag of the text as it was put; null where it was removed.
    tag: Option<String>,
    /// What it changes of the policies in force.
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
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicySimulation")]
pub(in crate::api) struct Simulation {
    /// Of flows and findings.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    pub(super) since: Timestamp,
    /// Policies that were held against them.
    pub(super) policies: Vec<String>,
    /// Why older flows were not looked at, where there are any: `limit` or `time`.
    pub(super) reached: Option<&'static str>,
    #[serde(flatten)]
    pub(super) simulated: Simulated,
}
