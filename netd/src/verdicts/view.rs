//! What the service tells about itself. The API gives these their JSON.

use netd_common::control::Mode;
use netd_common::verdict::Hits;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};

use super::maps::Table;
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
    /// Replace only if the list's tag is this one.
    pub if_match: Option<String>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { response: Response::Drop, shadow: false, force: false, dry_run: false, if_match: None }
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
    /// Entries that were not taken, and why.
    pub refused: Vec<Remark>,
    /// Entries that were taken though protected addresses lie inside: those keep passing.
    pub spared: Vec<Remark>,
    pub saved: bool,
}

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

/// The service as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// What the operator asked for.
    pub requested: Mode,
    /// What the programs do: observe while the kill switch is on.
    pub effective: Mode,
    pub kill_switch: bool,
    pub verdicts: u64,
    pub lists: u64,
    pub rules_used: u64,
    pub rules_capacity: u64,
    pub tables: Vec<TableFill>,
    /// Why the last change is not on disk yet.
    pub unsaved: Option<String>,
    /// Why the kernel may hold more than is wanted; repaired as soon as the kernel allows.
    pub out_of_step: Option<String>,
}
