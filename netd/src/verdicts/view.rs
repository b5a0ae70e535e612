//! What the service tells about itself. The API gives these their JSON.

use std::time::Duration;

use netd_common::control::Mode;
use netd_common::verdict::Hits;
use netd_engine::policy::{self, Ceiling};
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};

use super::blocklist::{EntryValue, List, ListName};
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

/// What is enforced about one address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Verdicts on it, one of its ports, or a prefix around it; newest first, a hundred at most.
    pub verdicts: Vec<Entry>,
    /// Block-lists that hold it.
    pub lists: Vec<String>,
    /// Set when it is never cut, whatever a verdict or a list says.
    pub protected_by: Option<Guard>,
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
    /// Undo the change unless it is confirmed in this time.
    pub confirm: Option<Duration>,
    /// Leaves single entries alone.
    pub keeps_entries: bool,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            response: Response::Drop,
            shadow: false,
            force: false,
            dry_run: false,
            aggregate: false,
            if_match: None,
            confirm: None,
            keeps_entries: false,
        }
    }
}

/// What replacing a block-list changed.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// With `dry_run`, what the list would hold.
    pub would_hold: Option<List>,
    /// Number and end of the time in which the change has to be confirmed.
    pub confirmation: Option<(u64, Timestamp)>,
}

/// A single entry that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    pub value: EntryValue,
    pub reason: String,
    /// None never expires.
    pub until: Option<Timestamp>,
}

/// How a single entry is added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntryOptions {
    pub force: bool,
    pub dry_run: bool,
    pub if_match: Option<String>,
    pub confirm: Option<Duration>,
}

/// What adding or removing a single entry changed.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryChange {
    pub value: EntryValue,
    /// Whether there was none before.
    pub is_new: bool,
    pub dry_run: bool,
    /// Strong entity tag of the list's new content; empty with `dry_run`.
    pub tag: String,
    /// What of it keeps passing.
    pub spared: Vec<String>,
    pub saved: bool,
    pub confirmation: Option<(u64, Timestamp)>,
}

/// A single entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryView {
    pub value: EntryValue,
    pub reason: String,
    pub created: Timestamp,
    pub until: Option<Timestamp>,
    /// None for a name: its addresses are verdicts.
    pub hits: Option<Hits>,
    /// Set when it keeps passing all the same.
    pub shielded_by: Option<Guard>,
}

/// An allow-list without its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowListView {
    pub name: String,
    pub entries_v4: u64,
    pub entries_v6: u64,
    pub names: u64,
    /// Of all entries, those with a reason and perhaps an end.
    pub singles: u64,
    pub tag: String,
    pub updated: Timestamp,
}

/// A change that undoes itself unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    pub id: u64,
    pub until: Timestamp,
    /// What was changed.
    pub what: String,
}

/// What an unblocking let go of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Released {
    pub verdicts: Vec<Entry>,
    /// List and entry.
    pub entries: Vec<(String, EntryValue)>,
    /// Whole lists.
    pub lists: Vec<String>,
}

/// A list that has something to say of an address or a name.
#[derive(Clone, Debug, PartialEq)]
pub struct ListMatch {
    pub list: String,
    pub is_allow: bool,
    /// The entry that covers it, as it is read.
    pub entry: String,
    /// Empty for an entry of a list's content.
    pub reason: String,
    pub until: Option<Timestamp>,
    pub response: Option<Response>,
}

impl ListMatch {
    pub(super) fn new(list: &ListName, is_allow: bool, value: &EntryValue, response: Option<Response>) -> Self {
        let (list, entry) = (list.to_string(), value.to_string());
        Self { list, is_allow, entry, reason: String::new(), until: None, response }
    }
}

/// What came of the addresses that DNS gave to listed names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolvedCounts {
    /// Cut for a name at present.
    pub addresses: u64,
    /// Answers that a list acted on.
    pub acted: u64,
    /// Not cut, because other domains have the address, too.
    pub shared: u64,
    /// Not cut, because the address is protected or not public.
    pub protected: u64,
    /// Not cut for another reason.
    pub refused: u64,
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
    pub names: u64,
    /// Single entries, besides the content.
    pub singles: u64,
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
    /// Words of the front that said something else of what is listed around an address.
    pub front: u64,
    /// Pins of listed hosts and prefixes that were gone.
    pub unpinned: u64,
}

impl Drift {
    pub fn add(&mut self, more: Self) {
        self.missing += more.missing;
        self.surplus += more.surplus;
        self.wrong_rule += more.wrong_rule;
        self.front += more.front;
        self.unpinned += more.unpinned;
    }

    /// Returns the kinds, by the names that the API and the metrics call them.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, u64); 5] {
        [
            ("missing", self.missing),
            ("surplus", self.surplus),
            ("wrong_rule", self.wrong_rule),
            ("front", self.front),
            ("unpinned", self.unpinned),
        ]
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
    pub allow_lists: u64,
    pub resolved: ResolvedCounts,
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
