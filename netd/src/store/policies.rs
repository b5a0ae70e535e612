//! The policies in force: read again when somebody asks, and kept as they were when what is read cannot be used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::policy::{Difference, Fault, Policies};
use netd_engine::services::Services;
use netd_engine::time::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::policies::Faults;
use crate::config::{files, policies};
use crate::time;

/// Who asked for the policies to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Start,
    /// SIGHUP.
    Signal,
    /// A file changed.
    File,
    Api,
}

/// What came of reading the policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reload {
    #[serde(serialize_with = "time::serialize")]
    pub time: Timestamp,
    pub by: Trigger,
    /// Empty when what was read is in force.
    pub faults: Vec<Fault>,
    /// What changed; nothing where there are faults.
    pub difference: Difference,
}

impl Reload {
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// The policies, and the benign services beside them.
#[derive(Debug)]
pub struct Book {
    /// Held while files are read, so that two readers do not overtake each other.
    files: Mutex<Files>,
    policies: watch::Sender<Arc<Policies>>,
    services: watch::Sender<Services>,
    last: watch::Sender<Arc<Reload>>,
}

/// Where they are read from.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub policies: PathBuf,
    pub services: PathBuf,
}

impl Book {
    /// Takes what was read at the start.
    #[must_use]
    pub fn new(files: Files, policies: Arc<Policies>, services: Services) -> Self {
        let first =
            Reload { time: time::now(), by: Trigger::Start, faults: Vec::new(), difference: Difference::default() };
        Self {
            files: Mutex::new(files),
            policies: watch::Sender::new(policies),
            services: watch::Sender::new(services),
            last: watch::Sender::new(Arc::new(first)),
        }
    }

    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.borrow())
    }

    /// Returns what came of reading them the last time.
    #[must_use]
    pub fn last(&self) -> Arc<Reload> {
        Arc::clone(&self.last.borrow())
    }

    /// Returns who hears of changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> (watch::Receiver<Arc<Policies>>, watch::Receiver<Services>) {
        (self.policies.subscribe(), self.services.subscribe())
    }

    /// Reads everything again, and puts it in force as a whole or not at all. It waits for the disk.
    pub fn reload(&self, by: Trigger) -> Arc<Reload> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = match read(&files) {
            Ok((policies, services)) => {
                let difference = Difference::between(&self.policies.borrow(), &policies);
                if !difference.is_empty() {
                    self.policies.send_replace(Arc::new(policies));
                }
                self.services.send_if_modified(|known| {
                    let differs = *known != services;
                    if differs {
                        *known = services;
                    }
                    differs
                });
                Reload { time: time::now(), by, faults: Vec::new(), difference }
            }
            Err(Faults(faults)) => Reload { time: time::now(), by, faults, difference: Difference::default() },
        };
        tell(&reload);
        let reload = Arc::new(reload);
        self.last.send_replace(Arc::clone(&reload));
        reload
    }
}

fn read(files: &Files) -> Result<(Policies, Services), Faults> {
    let policies = policies::read(&files.policies)?;
    let services = read_services(&files.services)?;
    Ok((policies, services))
}

fn read_services(path: &Path) -> Result<Services, Faults> {
    files::services(path).map_err(|error| Faults(vec![Fault::whole(path.display().to_string(), format!("{error:#}"))]))
}

fn tell(Reload { by, faults, difference, .. }: &Reload) {
    for fault in faults {
        warn!(
            ?by,
            file = fault.file,
            line = fault.line,
            column = fault.column,
            why = fault.message,
            "policies stay as they were"
        );
    }
    for change in &difference.changed {
        info!(policy = change.policy, field = change.field, old = %change.old, new = %change.new, "policy changed");
    }
    for (names, what) in [(&difference.added, "policy added"), (&difference.removed, "policy removed")] {
        names.iter().for_each(|policy| info!(policy, "{what}"));
    }
    if faults.is_empty() {
        info!(?by, changes = !difference.is_empty(), "policies read again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: a}\nspec: {mode: observe}\n";

    fn book() -> (tempfile::TempDir, PathBuf, Book) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.yaml");
        std::fs::write(&path, POLICY).unwrap();
        let policies = Arc::new(policies::read(&path).unwrap());
        let files = Files { policies: path.clone(), services: PathBuf::new() };
        (folder, path, Book::new(files, policies, Services::default()))
    }

    #[test]
    fn what_cannot_be_used_leaves_the_old_policies_in_force() {
        let (_folder, path, book) = book();
        let before = book.policies();
        std::fs::write(&path, POLICY.replace("observe", "enforced")).unwrap();

        let reload = book.reload(Trigger::Signal);

        assert!(reload.is_refused() && reload.faults[0].line == 4, "{reload:?}");
        assert!(Arc::ptr_eq(&before, &book.policies()));
        assert_eq!(book.last(), reload);
    }

    #[test]
    fn what_changed_is_told_and_heard_once() {
        let (_folder, path, book) = book();
        let (mut policies, mut services) = book.subscribe();
        std::fs::write(&path, POLICY.replace("observe", "enforce")).unwrap();

        let reload = book.reload(Trigger::Api);

        assert_eq!(reload.difference.changed[0].field, "spec.mode");
        assert!(policies.has_changed().unwrap() && !services.has_changed().unwrap());
        policies.mark_unchanged();
        services.mark_unchanged();
        assert!(book.reload(Trigger::File).difference.is_empty());
        assert!(!policies.has_changed().unwrap());
    }
}
