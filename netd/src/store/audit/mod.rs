//! Who changed what is enforced, written down before it acts: lines of JSON, each chained to the one before.
//!
//! A change that makes more be cut is refused when it cannot be written. One that makes less be cut goes on, waits in
//! memory, and is written as soon as the disk allows.

mod caller;
mod chain;
mod file;
mod read;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::caller::{Actor, Caller, as_caller, caller};
pub use self::chain::{Broken, Fault, Record};
use self::file::Writer;
pub use self::read::{Verified, verify};

/// Changes that wait in memory for the disk; of more, only the number is kept.
const SPOOL: usize = 4_096;
/// Texts in a record are cut to this many bytes: they come from whoever asks.
const LONGEST: usize = 1_024;

/// Why the audit log could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot write a record: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// More may be cut, or more is allowed to somebody: not without a record.
    Increases,
    /// Less is cut: never held up.
    Decreases,
}

/// A change as it is asked for.
#[derive(Clone, Debug)]
pub struct Change {
    pub effect: Effect,
    /// What is done: `verdict.add`, `kill-switch.set`.
    pub action: &'static str,
    pub target: String,
    /// Hashes ([`hash_of`]) of what was and of what shall be, where there is something to compare.
    pub before: Option<String>,
    pub after: Option<String>,
    pub reason: String,
}

impl Change {
    /// Returns a change of `target` without hashes and reason.
    #[must_use]
    pub fn new(effect: Effect, action: &'static str, target: impl Into<String>) -> Self {
        Self { effect, action, target: target.into(), before: None, after: None, reason: String::new() }
    }

    #[must_use]
    pub fn before<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.before = hash_of(value);
        self
    }

    #[must_use]
    pub fn after<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.after = hash_of(value);
        self
    }

    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}

/// Returns the BLAKE3 hash of a value's JSON.
#[must_use]
pub fn hash_of<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    let json = serde_json::to_vec(value).ok()?;
    Some(blake3::hash(&json).to_hex().to_string())
}

/// How the audit log is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AuditState")]
pub struct State {
    /// Number of the last record.
    pub seq: u64,
    /// Hash of the last record.
    pub head: String,
    /// Records that wait for the disk.
    pub waiting: u64,
    /// Changes of which only the number could be kept.
    pub unlisted: u64,
    /// Changes refused because they could not be written.
    pub refused: u64,
    /// Bytes of lines that a crash tore, cut off at the start.
    pub torn_bytes: u64,
    /// Why the last attempt to write failed; null once one succeeds.
    pub error: Option<String>,
}

/// The audit log. Clones write the same one.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    /// `None` keeps nothing: replays and tests.
    writer: Option<Writer>,
    spool: VecDeque<Entry>,
    unlisted: u64,
    refused: u64,
    error: Option<String>,
}

/// A record without its place in the chain.
#[derive(Clone, Debug)]
struct Entry {
    time: Timestamp,
    caller: Caller,
    change: Change,
}

impl Audit {
    /// Returns a log that keeps nothing and admits everything.
    #[must_use]
    pub fn none() -> Self {
        Self::over(None)
    }

    /// Opens the log in `folder`, creating it (0700). A line that a crash tore is cut off, and said.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &std::path::Path, now: Timestamp) -> Result<Self, Error> {
        let writer = Writer::open(folder)?;
        let mut found = Vec::new();
        if writer.torn_bytes() > 0 {
            found.push(
                Change::new(Effect::Decreases, "audit.torn", "audit.jsonl")
                    .reason(format!("the last {} bytes were no whole record and were cut off", writer.torn_bytes())),
            );
        }
        if let Some(fault) = writer.fault() {
            found.push(Change::new(Effect::Decreases, "audit.broken", "audit.jsonl").reason(fault.to_string()));
        }
        let audit = Self::over(Some(writer));
        for change in found {
            tracing::warn!(what = change.action, why = change.reason, "the audit log was not as it was left");
            audit.record(now, &Caller::daemon(), change);
        }
        Ok(audit)
    }

    fn over(writer: Option<Writer>) -> Self {
        Self(Arc::new(Mutex::new(Log { writer, spool: VecDeque::new(), unlisted: 0, refused: 0, error: None })))
    }

    /// Writes a change down before it is made, and returns whether it may be made.
    ///
    /// # Errors
    /// [`Unrecorded`] when it makes more be cut and cannot be written.
    pub fn admit(&self, now: Timestamp, caller: &Caller, change: Change) -> Result<(), Unrecorded> {
        let mut log = self.lock();
        let effect = change.effect;
        let entry = Entry { time: now, caller: caller.clone(), change };
        match (log.write(entry.clone()), effect) {
            (Ok(()), _) => Ok(()),
            (Err(error), Effect::Increases) => {
                log.refused += 1;
                log.note(&error);
                Err(Unrecorded(error.to_string()))
            }
            (Err(error), Effect::Decreases) => {
                log.note(&error);
                log.put_off(entry);
                Ok(())
            }
        }
    }

    /// Writes down what has happened already, or keeps it until the disk allows.
    pub fn record(&self, now: Timestamp, caller: &Caller, change: Change) {
        let change = Change { effect: Effect::Decreases, ..change };
        // What decreases is always admitted.
        let _ = self.admit(now, caller, change);
    }

    /// Writes what waits, if the disk allows.
    pub fn flush(&self, now: Timestamp) {
        let mut log = self.lock();
        if (!log.spool.is_empty() || log.unlisted > 0)
            && let Err(error) = log.catch_up(now)
        {
            log.note(&error);
        }
    }

    /// Returns how the log is.
    #[must_use]
    pub fn state(&self) -> State {
        let log = self.lock();
        let (seq, head) = log.writer.as_ref().map_or((0, String::new()), |writer| writer.head());
        State {
            seq,
            head,
            waiting: log.spool.len() as u64,
            unlisted: log.unlisted,
            refused: log.refused,
            torn_bytes: log.writer.as_ref().map_or(0, Writer::torn_bytes),
            error: log.error.clone(),
        }
    }

    /// Returns up to `limit` records below number `before`, newest first, and whether there are more.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Result<(Vec<Record>, bool), Error> {
        let folder = self.lock().writer.as_ref().map(|writer| writer.folder().to_owned());
        match folder {
            Some(folder) => read::page(&folder, before, limit),
            None => Ok((Vec::new(), false)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Writes what waits, then `entry`: records stand in the order of the changes.
    fn write(&mut self, entry: Entry) -> Result<(), Error> {
        self.catch_up(entry.time)?;
        self.append(&entry)
    }

    fn catch_up(&mut self, now: Timestamp) -> Result<(), Error> {
        while let Some(entry) = self.spool.front().cloned() {
            self.append(&entry)?;
            self.spool.pop_front();
        }
        if self.unlisted > 0 {
            let reason = format!("{} further changes found no room in memory while the disk refused", self.unlisted);
            let change = Change::new(Effect::Decreases, "audit.unlisted", "audit.jsonl").reason(reason);
            self.append(&Entry { time: now, caller: Caller::daemon(), change })?;
            self.unlisted = 0;
        }
        if self.error.take().is_some() {
            tracing::info!("the audit log is written again");
        }
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let Entry { time, caller, change } = entry;
        writer.append(|seq, prev| Record {
            seq,
            time: crate::time::rfc3339(*time),
            actor: caller.actor.to_string(),
            request: caller.request.as_deref().map(str::to_owned),
            action: change.action.to_owned(),
            target: shortened(&change.target),
            before: change.before.clone(),
            after: change.after.clone(),
            reason: shortened(&change.reason),
            prev: prev.to_owned(),
        })
    }

    fn put_off(&mut self, entry: Entry) {
        match self.spool.len() < SPOOL {
            true => self.spool.push_back(entry),
            false => self.unlisted += 1,
        }
    }

    fn note(&mut self, error: &Error) {
        let text = error.to_string();
        if self.error.as_ref() != Some(&text) {
            tracing::error!(%error, "the audit log cannot be written: what makes more be cut is refused");
            self.error = Some(text);
        }
    }
}

/// A change was refused because it could not be written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written, and nothing more is cut without a record: {0}")]
pub struct Unrecorded(pub String);

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
impl Audit {
    /// Makes every write fail as on a full disk.
    pub(crate) fn break_for_tests(&self) {
        self.lock().writer.iter_mut().for_each(Writer::break_for_tests);
    }

    pub(crate) fn mend_for_tests(&self) {
        self.lock().writer.iter_mut().for_each(Writer::mend_for_tests);
    }
}
