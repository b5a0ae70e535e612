//! What operators suppress: kept on disk, read by the API, heard by the engine.

use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::finding::Finding;
use netd_engine::suppress::{Matching, Suppression};
use netd_engine::time::Timestamp;
use tokio::sync::watch;

use super::disk::{self, File, StateDir};

/// Suppressions there can be; each is held against every finding.
const MOST: usize = 1_000;

/// Why a suppression was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there are {MOST} suppressions; remove some first")]
    Full,
    #[error("the suppressions could not be saved")]
    Unsaved(#[from] disk::Error),
}

/// All suppressions.
#[derive(Debug)]
pub struct Suppressions {
    disk: Option<StateDir>,
    /// Held while the list changes, so that what is on disk and what is in force are the same.
    last_id: Mutex<u64>,
    current: watch::Sender<Arc<[Suppression]>>,
}

impl Suppressions {
    /// Reads what a former run left.
    #[must_use]
    pub fn open(disk: Option<StateDir>) -> Self {
        let saved = disk
            .as_ref()
            .and_then(|disk| disk.read_or_set_aside(File::Suppressions, |bytes| serde_json::from_slice(bytes).ok()));
        let suppressions: Vec<Suppression> = saved.unwrap_or_default();
        let last_id = suppressions.iter().map(|suppression| suppression.id).max().unwrap_or(0);
        Self { disk, last_id: Mutex::new(last_id), current: watch::Sender::new(suppressions.into()) }
    }

    /// Returns who hears of changes; the first value counts as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<[Suppression]>> {
        let mut receiver = self.current.subscribe();
        receiver.mark_changed();
        receiver
    }

    #[must_use]
    pub fn list(&self) -> Arc<[Suppression]> {
        Arc::clone(&self.current.borrow())
    }

    /// Returns the suppression that covers a finding at `now`.
    #[must_use]
    pub fn covering(&self, finding: &Finding, now: Timestamp) -> Option<Suppression> {
        self.current.borrow().iter().find(|suppression| suppression.covers(finding, now)).cloned()
    }

    /// Adds a suppression and returns it with its number.
    ///
    /// # Errors
    /// When there are too many, or it cannot be saved; then nothing has changed.
    pub fn add(
        &self,
        matching: Matching,
        who: String,
        why: String,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Suppression, Error> {
        let mut last_id = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Suppression> =
            self.list().iter().filter(|known| known.until.is_none_or(|until| since < until)).cloned().collect();
        if all.len() >= MOST {
            return Err(Error::Full);
        }
        let suppression = Suppression { id: *last_id + 1, matching, who, why, since, until };
        all.push(suppression.clone());
        self.put(all)?;
        *last_id += 1;
        Ok(suppression)
    }

    /// Removes a suppression and returns it, or `None` when there is none of this number.
    ///
    /// # Errors
    /// When the rest cannot be saved; then nothing has changed.
    pub fn remove(&self, id: u64) -> Result<Option<Suppression>, Error> {
        let _changing = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let (gone, rest): (Vec<_>, Vec<_>) = self.list().iter().cloned().partition(|known| known.id == id);
        if !gone.is_empty() {
            self.put(rest)?;
        }
        Ok(gone.into_iter().next())
    }

    fn put(&self, all: Vec<Suppression>) -> Result<(), Error> {
        if let Some(disk) = &self.disk {
            let bytes = serde_json::to_vec(&all).map_err(disk::Error::Encode)?;
            disk.write(File::Suppressions, &bytes)?;
        }
        self.current.send_replace(all.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::findings_for_tests::finding;
    use netd_engine::finding::Severity;

    fn port(port: u16) -> Matching {
        Matching { port: Some(port), ..Matching::default() }
    }

    #[test]
    fn they_survive_a_restart_and_are_numbered_on() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Suppressions::open(Some(StateDir::open(folder.path()).unwrap()));
        {
            let before = open();
            before.add(port(1), "ana".into(), "x".into(), Timestamp(1), None).unwrap();
            before.add(port(443), "ana".into(), "x".into(), Timestamp(1), None).unwrap();
            before.remove(1).unwrap();
        }

        let after = open();

        assert_eq!(after.list().len(), 1);
        assert!(after.covering(&finding(1, Severity::Low, 0.9), Timestamp(5)).is_some());
        assert_eq!(after.add(port(2), "bob".into(), "y".into(), Timestamp(2), None).unwrap().id, 3);
    }

    #[test]
    fn one_that_has_ended_covers_nothing() {
        let suppressions = Suppressions::open(None);
        suppressions.add(port(443), "ana".into(), "x".into(), Timestamp(1), Some(Timestamp(10))).unwrap();

        assert!(suppressions.covering(&finding(1, Severity::Low, 0.9), Timestamp(9)).is_some());
        assert!(suppressions.covering(&finding(1, Severity::Low, 0.9), Timestamp(10)).is_none());
    }
}
