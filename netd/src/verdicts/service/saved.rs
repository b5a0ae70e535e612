//! What survives a restart, and how it is written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use netd_common::verdict::RuleId;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};
use serde::{Deserialize, Serialize};

use super::Service;
use super::claims::HeldList;
use crate::store::disk::{self, File};
use crate::verdicts::blocklist::{ListName, Parser};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;

/// What has changed since it was last written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) verdicts: bool,
    pub(super) lists: BTreeSet<ListName>,
    /// Why the last attempt failed.
    pub(super) error: Option<String>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        !self.verdicts && self.lists.is_empty()
    }
}

/// The content of the verdicts' file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedVerdicts {
    pub(super) next_id: u64,
    pub(super) kill_switch: bool,
    pub(super) verdicts: Vec<SavedVerdict>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedVerdict {
    pub(super) id: u64,
    /// Kept across restarts, so that the kernel's keys need not change.
    pub(super) rule: RuleId,
    pub(super) created: Timestamp,
    pub(super) verdict: Verdict,
}

/// The first line of a list's file; the entries follow, one a line.
#[derive(Debug, Serialize, Deserialize)]
struct ListHead {
    rule: RuleId,
    response: Response,
    shadow: bool,
    updated: Timestamp,
}

/// Writes a list.
pub(super) fn list_to_bytes(held: &HeldList) -> Result<Vec<u8>, serde_json::Error> {
    let head = ListHead { rule: held.rule, response: held.response, shadow: held.shadow, updated: held.updated };
    let mut text = serde_json::to_string(&head)?;
    text.push('\n');
    for item in held.list.items() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{item}");
    }
    Ok(text.into_bytes())
}

/// Reads a list; `None` when it is not one.
pub(super) fn list_from_bytes(bytes: &[u8]) -> Option<HeldList> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (head, entries) = bytes.split_at(end);
    let ListHead { rule, response, shadow, updated } = serde_json::from_slice(head).ok()?;
    let mut parser = Parser::new(Timestamp(0));
    parser.push(entries);
    let parsed = parser.finish();
    if parsed.rejected_total != 0 {
        return None;
    }
    let tag = parsed.list.tag(response, shadow);
    Some(HeldList { rule, list: parsed.list, response, shadow, updated, tag })
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
                Some(held) => list_to_bytes(held)
                    .map_err(disk::Error::from)
                    .and_then(|bytes| disk.write(File::List(name), &bytes)),
                None => disk.remove(File::List(name)),
            };
            if let Err(cause) = written {
                unsaved.insert(name.clone());
                error = Some(cause);
            }
        }
        self.pending.lists = unsaved;
        if let Some(error) = &error {
            tracing::warn!(%error, "verdicts and lists are in force but not on disk; trying again");
            self.retry_ns = self.retry_ns.max(now.boot_ns.saturating_add(1_000_000_000));
        }
        self.pending.error = error.map(|error| error.to_string());
    }

    fn saved_verdicts(&self) -> Result<Vec<u8>, disk::Error> {
        let verdicts = self.claims.verdicts().values().map(|held| SavedVerdict {
            id: held.id,
            rule: held.rule,
            created: held.created,
            verdict: held.verdict.clone(),
        });
        let saved =
            SavedVerdicts { next_id: self.next_id, kill_switch: self.kill_switch, verdicts: verdicts.collect() };
        Ok(serde_json::to_vec(&saved)?)
    }
}
