//! What survives a restart, and how it is written.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use netd_common::key::Address;
use netd_common::verdict::RuleId;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes as _;

use super::Service;
use super::allowed::HeldAllow;
use super::claims::HeldList;
use super::singles::Note;
use crate::store::disk::{self, File};
use crate::verdicts::blocklist::{Item, List, ListName, Parser};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;

/// What has changed since it was last written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) verdicts: bool,
    pub(super) lists: BTreeSet<ListName>,
    pub(super) allow_lists: BTreeSet<ListName>,
    /// Why the last attempt failed.
    pub(super) error: Option<String>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        !self.verdicts && self.lists.is_empty() && self.allow_lists.is_empty()
    }
}

/// The content of the verdicts' file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedVerdicts {
    pub(super) next_id: u64,
    pub(super) kill_switch: bool,
    pub(super) verdicts: Vec<SavedVerdict>,
    /// Single entries of lists that are names.
    #[serde(default)]
    pub(super) names: Vec<SavedName>,
}

/// A single entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    pub(super) value: String,
    pub(super) reason: String,
    pub(super) created: Timestamp,
    pub(super) until: Option<Timestamp>,
}

/// A single entry of the list that it names.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedName {
    pub(super) list: String,
    #[serde(flatten)]
    pub(super) entry: SavedEntry,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedVerdict {
    pub(super) id: u64,
    /// Kept across restarts, so that the kernel's keys need not change.
    pub(super) rule: RuleId,
    pub(super) created: Timestamp,
    pub(super) verdict: Verdict,
}

/// The first line of a list's file. Packed entries follow: IPv4 hosts of four bytes, all others of 17, numbers in network
/// order.
#[derive(Debug, Serialize, Deserialize)]
struct ListHead {
    rule: RuleId,
    response: Response,
    shadow: bool,
    updated: Timestamp,
    #[serde(default)]
    packed: Option<Packed>,
}

/// How many entries of each kind follow. Without it they follow as text, one a line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Packed {
    v4_hosts: usize,
    others: usize,
}

const V4_HOST: usize = size_of::<u32>();
const OTHER: usize = size_of::<Address>() + 1;

/// Writes a list.
pub(super) fn write_list(held: &HeldList, out: &mut dyn io::Write) -> io::Result<()> {
    let (hosts, others) = held.list.parts();
    let packed = Packed { v4_hosts: hosts.len(), others: others.len() };
    serde_json::to_writer(&mut *out, &head(held, Some(packed)))?;
    out.write_all(b"\n")?;
    for host in hosts {
        out.write_all(&host.to_be_bytes())?;
    }
    out.write_all(others.as_bytes())?;
    let mut names = String::new();
    held.list.write_names(&mut names);
    out.write_all(names.as_bytes())
}

/// Writes a list as text, an entry a line.
pub(super) fn list_to_text(held: &HeldList) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(&head(held, None))?;
    text.push('\n');
    text.push_str(&held.list.to_text());
    Ok(text)
}

fn head(held: &HeldList, packed: Option<Packed>) -> ListHead {
    ListHead { rule: held.rule, response: held.response, shadow: held.shadow, updated: held.updated, packed }
}

/// Reads a list, packed or as text; `None` when it is not one.
pub(super) fn list_from_bytes(bytes: &[u8]) -> Option<HeldList> {
    let (ListHead { rule, response, shadow, updated, packed }, entries) = parts(bytes)?;
    let list = match packed {
        Some(packed) => unpack(packed, entries)?,
        None => from_text(entries)?,
    };
    let tag = list.tag(response, shadow);
    Some(HeldList { rule, list: Arc::new(list), response, shadow, updated, tag })
}

/// The first line of an allow-list's file; the entries of its content follow, one a line.
#[derive(Debug, Serialize, Deserialize)]
struct AllowHead {
    updated: Timestamp,
    entries: Vec<SavedEntry>,
}

/// Writes an allow-list.
pub(super) fn allow_list_to_bytes(held: &HeldAllow) -> Result<Vec<u8>, serde_json::Error> {
    let entries = held.singles.iter().map(|(value, note)| SavedEntry {
        value: value.to_string(),
        reason: note.reason.clone(),
        created: note.created,
        until: note.until,
    });
    let mut text = serde_json::to_string(&AllowHead { updated: held.updated, entries: entries.collect() })?;
    text.push('\n');
    text.push_str(&held.list.to_text());
    Ok(text.into_bytes())
}

/// Reads an allow-list; `None` when it is not one.
pub(super) fn allow_list_from_bytes(bytes: &[u8]) -> Option<HeldAllow> {
    let (AllowHead { updated, entries }, content) = parts(bytes)?;
    let single =
        |SavedEntry { value, reason, created, until }| Some((value.parse().ok()?, Note { reason, created, until }));
    let list = from_text(content)?;
    Some(HeldAllow { list, singles: entries.into_iter().map(single).collect::<Option<_>>()?, updated })
}

/// Reads a line of JSON, and returns it with what stands below.
fn parts<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (head, entries) = bytes.split_at_checked(end)?;
    Some((serde_json::from_slice(head).ok()?, entries.get(1..)?))
}

/// Reads packed items, and the names behind them.
fn unpack(Packed { v4_hosts, others }: Packed, bytes: &[u8]) -> Option<List> {
    let (host_bytes, bytes) = bytes.split_at_checked(v4_hosts.checked_mul(V4_HOST)?)?;
    let (other_bytes, names) = bytes.split_at_checked(others.checked_mul(OTHER)?)?;
    let (hosts, _) = host_bytes.as_chunks::<V4_HOST>();
    let (packed, _) = other_bytes.as_chunks::<OTHER>();
    let others = packed.iter().map(|entry| {
        let (address, bits) = entry.split_first_chunk()?;
        Item::from_parts(Address(*address), *bits.first()?)
    });
    let hosts = hosts.iter().map(|host| u32::from_be_bytes(*host)).collect();
    let list = List::from_parts(hosts, others.collect::<Option<_>>()?)?;
    let behind = from_text(names)?;
    (behind.entries() == behind.names().len() as u64).then(|| list.with_names(Arc::clone(behind.names())))
}

fn from_text(entries: &[u8]) -> Option<List> {
    let mut parser = Parser::new(Timestamp(0));
    parser.push(entries);
    let parsed = parser.finish();
    (parsed.rejected_total == 0).then_some(parsed.list)
}

impl<M: Maps> Service<M> {
    /// Writes what has changed. A disk that refuses stops nothing: enforcement goes on, and [`Service::retry`] tries
    /// again.
    pub(super) fn save(&mut self, now: Now) {
        let Some(disk) = &self.disk else {
            self.pending = Pending::default();
            return;
        };
        let mut error = None;
        if self.pending.verdicts {
            match self.saved_verdicts().and_then(|bytes| disk.write(File::Verdicts, &bytes)) {
                Ok(()) => self.pending.verdicts = false,
                Err(cause) => error = Some(cause),
            }
        }
        let mut unsaved = BTreeSet::new();
        for name in &self.pending.lists {
            let written = match self.claims.lists().get(name) {
                Some(held) => disk.write_with(File::List(name), |out| write_list(held, out)),
                None => disk.remove(File::List(name)),
            };
            if let Err(cause) = written {
                unsaved.insert(name.clone());
                error = Some(cause);
            }
        }
        self.pending.lists = unsaved;
        let mut unsaved = BTreeSet::new();
        for name in &self.pending.allow_lists {
            let written = match self.allows.get(name) {
                Some(held) => allow_list_to_bytes(held)
                    .map_err(disk::Error::from)
                    .and_then(|bytes| disk.write(File::AllowList(name), &bytes)),
                None => disk.remove(File::AllowList(name)),
            };
            if let Err(cause) = written {
                unsaved.insert(name.clone());
                error = Some(cause);
            }
        }
        self.pending.allow_lists = unsaved;
        self.pending.error = None;
        if let Some(error) = error {
            self.note_unsaved(&error, now);
        }
    }

    /// Notes that something is in force and not on disk; [`Service::retry`] tries again.
    pub(super) fn note_unsaved(&mut self, error: &disk::Error, now: Now) {
        tracing::warn!(%error, "verdicts and lists are in force but not on disk; trying again");
        self.retry_ns = self.retry_ns.max(now.boot_ns.saturating_add(1_000_000_000));
        self.pending.error = Some(error.to_string());
    }

    fn saved_verdicts(&self) -> Result<Vec<u8>, disk::Error> {
        let verdicts = self.claims.verdicts().values().map(|held| SavedVerdict {
            id: held.id,
            rule: held.rule,
            created: held.created,
            verdict: held.verdict.clone(),
        });
        let saved = SavedVerdicts {
            next_id: self.next_id,
            kill_switch: self.kill_switch,
            verdicts: verdicts.collect(),
            names: self.saved_names(),
        };
        Ok(serde_json::to_vec(&saved)?)
    }
}
