//! What the service tells about itself. The API gives these their JSON.

use std::time::Duration;

use netd_common::control::Mode;
use netd_common::verdict::Hits;
use netd_engine::policy::{self, Ceiling};
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};

use super::maps::Table;
use super::proof::Proof;
use super::protect::Guard;

/// A verdict that has been put in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    pub id: u64,
    pub until: Option<Timestamp>,
    /// The target already had a verdict of this kind of origin, which now runs until `until`.
    pub renewed: bool,
    /// Established sockets of this host that were destroyed.
    pub destroyed_sockets: u64,
    /// Protected prefixes inside the target: they keep passing.
    pub spared: Vec<String>,
    /// Whether it would survive a restart; false while the state directory cannot be written.
    pub saved: bool,
}

/// A verdict in force, with what it met so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: u64,
    pub created: Timestamp,
    pub verdict: Verdict,
    /// Whether the kernel holds this verdict for its target; false while a stronger claim does.
    pub leads: bool,
    /// Set when the target has become protected since: nothing is cut.
    pub shielded_by: Option<Guard>,
    pub hits: Hits,
}

/// A part of the verdicts, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only ids below it.
    pub before: Option<u64>,
    pub limit: usize,
}

/// The verdicts of a [`Page`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerdictPage {
    pub entries: Vec<Entry>,
    /// `before` of the next page, if there is one.
    pub next: Option<u64>,
}

/// How a block-list is replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct ListOptions {
    pub response: Response,
    pub shadow: bool,
    /// Accepts prefixes wider than /8 (IPv4) or /19 (IPv6).
    pub force: bool,
    /// Counts what would change, and changes nothing.
    pub dry_run: bool,
    /// Merges entries that mean the same: what lies in a prefix of the list, halves of one prefix.
    pub aggregate: bool,
    /// Replace only if the list's tag is this one.
    pub if_match: Option<String>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { response: Response::Drop, shadow: false, force: false, dry_run: false, aggregate: false, if_match: None }
    }
}

/// What replacing a block-list changed.
#[derive(Clone, Debug, PartialEq)]
pub struct ListChange {
    /// Entries in the list.
    pub entries: u64,
    pub added: u64,
    pub removed: u64,
    pub unchanged: u64,
    /// Whether anything is different: entries, action, existence.
    pub changed: bool,
    pub dry_run: bool,
    /// Strong entity tag of the list's new content.
    pub tag: String,
    /// Entries that were not taken, and why: the first [`REMARKS`] of `refused_total`.
    pub refused: Vec<Remark>,
    pub refused_total: u64,
    /// Entries that were taken though protected addresses lie inside: those keep passing.
    pub spared: Vec<Remark>,
    /// Entries fewer, because others of the list mean the same.
    pub merged: u64,
    pub saved: bool,
}

/// Most entries of a list that are named one by one.
pub const REMARKS: usize = 10_000;

/// An entry of a block-list, and what is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub entry: String,
    pub reason: String,
}

/// A block-list without its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct ListView {
    pub name: String,
    pub entries_v4: u64,
    pub entries_v6: u64,
    pub tag: String,
    pub updated: Timestamp,
    pub response: Response,
    pub shadow: bool,
    pub hits: Hits,
}

/// How full a kernel table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFill {
    pub table: Table,
    pub entries: u64,
    pub capacity: u64,
}

/// What was found to differ between the kernel and what it should hold, and put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Claimed keys that the kernel did not hold.
    pub missing: u64,
    /// Keys that nobody claims.
    pub surplus: u64,
    /// Keys with another rule than their leader's, and rules that said something else.
    pub wrong_rule: u64,
}

impl Drift {
    pub fn add(&mut self, more: Self) {
        self.missing += more.missing;
        self.surplus += more.surplus;
        self.wrong_rule += more.wrong_rule;
    }

    /// Returns the kinds, by the names that the API and the metrics call them.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, u64); 3] {
        [("missing", self.missing), ("surplus", self.surplus), ("wrong_rule", self.wrong_rule)]
    }
}

/// What reading the kernel's tables back has shown since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Keys that were as they should be, in the last whole round.
    pub enforced: u64,
    pub drift: Drift,
    /// How long the last whole round took.
    pub round: Duration,
    pub rounds: u64,
}

/// The service as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// What the operator asked for.
    pub requested: Mode,
    /// What the programs do: observe while the kill switch is on.
    pub effective: Mode,
    pub kill_switch: bool,
    /// Why enforcing is held back though it is asked for.
    pub held: Option<String>,
    /// What each hook made of what a verdict names; empty where nothing was to be proved.
    pub proofs: Vec<Proof>,
    pub verdicts: u64,
    pub lists: u64,
    pub rules_used: u64,
    pub rules_capacity: u64,
    pub tables: Vec<TableFill>,
    /// Keys that the kernel is to hold, the allow-list's not counted.
    pub desired: u64,
    pub reading: Reading,
    /// Why the last change is not on disk yet.
    pub unsaved: Option<String>,
    /// Why the kernel may hold more than is wanted; repaired as soon as the kernel allows.
    pub out_of_step: Option<String>,
}

impl Status {
    /// Returns why the effective mode is not the one that was asked for.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match (self.kill_switch, &self.held) {
            (true, _) => Some("the kill switch is on".to_owned()),
            (false, Some(held)) => Some(held.clone()),
            (false, None) => (self.requested != self.effective).then(|| "the kernel has not taken it over".to_owned()),
        }
        .filter(|_| self.requested != self.effective)
    }

    /// Returns how far any policy can go.
    #[must_use]
    pub fn ceiling(&self) -> Ceiling {
        let of_itself = |mode| format!("netd itself is in mode {mode}");
        match self.effective {
            Mode::Enforce => Ceiling::default(),
            Mode::Shadow => Ceiling {
                mode: policy::Mode::Shadow,
                reason: self.reason().unwrap_or_else(|| of_itself("shadow")).into(),
            },
            Mode::Observe => Ceiling {
                mode: policy::Mode::Observe,
                reason: self.reason().unwrap_or_else(|| of_itself("observe")).into(),
            },
        }
    }
}
