//! The policies in force: read again when somebody asks, and kept as they were when what is read cannot be used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::policy::{Difference, Fault, Policies, Policy};
use netd_engine::respond::Measure;
use netd_engine::services::Services;
use netd_engine::time::Timestamp;
use netd_engine::weights::Weights;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::policies::Faults;
use crate::config::reload::Started;
use crate::config::{files, policies};
use crate::time;

/// Who asked for the policies to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ReloadTrigger")]
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Reload {
    /// When they were read.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    pub time: Timestamp,
    /// Who asked for it.
    pub by: Trigger,
    /// Empty when what was read is in force.
    pub faults: Vec<Fault>,
    /// What changed; nothing where there are faults.
    pub difference: Difference,
    /// Keys of the configuration file that differ from those the daemon was started with: it takes them over when it is
    /// started again.
    pub needs_restart: Vec<&'static str>,
}

impl Reload {
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// What is in force: policies, and beside them the benign services and the weights of the score.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    pub policies: Arc<Policies>,
    pub services: Services,
    pub weights: Arc<Weights>,
}

/// Who hears of changes.
#[derive(Clone, Debug)]
pub struct Readers {
    pub policies: watch::Receiver<Arc<Policies>>,
    pub services: watch::Receiver<Services>,
    pub weights: watch::Receiver<Arc<Weights>>,
}

/// Keeps what is in force.
#[derive(Debug)]
pub struct Book {
    /// Held while files are read, so that two readers do not overtake each other.
    files: Mutex<Files>,
    policies: watch::Sender<Arc<Policies>>,
    services: watch::Sender<Services>,
    weights: watch::Sender<Arc<Weights>>,
    /// Whether the daemon may signal processes: what it gave up at its start does not come back.
    may_signal: bool,
    last: watch::Sender<Arc<Reload>>,
}

/// Where it is read from.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub policies: PathBuf,
    pub services: PathBuf,
    pub weights: PathBuf,
    pub config: Started,
}

impl Book {
    /// Takes what was read at the start.
    #[must_use]
    pub fn new(files: Files, first: InForce) -> Self {
        let InForce { policies, services, weights } = first;
        Self {
            files: Mutex::new(files),
            policies: watch::Sender::new(policies),
            services: watch::Sender::new(services),
            weights: watch::Sender::new(weights),
            may_signal: true,
            last: watch::Sender::new(Arc::new(Reload::at_start())),
        }
    }

    /// Says that the daemon cannot stop or kill processes, so that no policy is put in force that has it do so.
    #[must_use]
    pub fn without_signals(self) -> Self {
        Self { may_signal: false, ..self }
    }

    /// Returns why a policy cannot do all that it asks for; `None` where it can.
    #[must_use]
    pub fn withheld(&self, policy: &Policy) -> Option<String> {
        let measure = policy.signal().filter(|_| !self.may_signal)?;
        Some(format!("restart needed: {}", lacks_kill(measure)))
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
    pub fn subscribe(&self) -> Readers {
        Readers {
            policies: self.policies.subscribe(),
            services: self.services.subscribe(),
            weights: self.weights.subscribe(),
        }
    }

    /// Reads everything again, and puts it in force as a whole or not at all. It waits for the disk.
    pub fn reload(&self, by: Trigger) -> Arc<Reload> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read(&files).and_then(|(read, needs_restart)| {
            self.refuse_signals(&files.policies, &read.policies)?;
            Ok((read, needs_restart))
        });
        let reload = match read {
            Ok((read, needs_restart)) => {
                Reload { by, needs_restart, difference: self.replace(read), ..Reload::at_start() }
            }
            Err(Faults(faults)) => Reload { by, faults, ..Reload::at_start() },
        };
        tell(&reload);
        let reload = Arc::new(reload);
        self.last.send_replace(Arc::clone(&reload));
        reload
    }

    /// Puts in force what was read, and returns how the policies changed.
    fn replace(&self, read: InForce) -> Difference {
        let difference = Difference::between(&self.policies.borrow(), &read.policies);
        if !difference.is_empty() {
            self.policies.send_replace(read.policies);
        }
        replace(&self.services, read.services);
        replace(&self.weights, read.weights);
        difference
    }

    /// Refuses policies that signal processes where the daemon gave that up because none did.
    fn refuse_signals(&self, path: &Path, policies: &Policies) -> Result<(), Faults> {
        let had_reason = self.policies.borrow().iter().any(|policy| policy.signal().is_some());
        if self.may_signal || had_reason {
            return Ok(());
        }
        let faults: Vec<_> = policies
            .iter()
            .filter_map(|policy| {
                let why = format!("restart needed: policy {}: {}", policy.name, lacks_kill(policy.signal()?));
                Some(Fault::whole(path.display().to_string(), why))
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }
}

impl Reload {
    fn at_start() -> Self {
        Self {
            time: time::now(),
            by: Trigger::Start,
            faults: Vec::new(),
            difference: Difference::default(),
            needs_restart: Vec::new(),
        }
    }
}

fn lacks_kill(measure: Measure) -> String {
    format!(
        "{} takes CAP_KILL, which netd does not hold; it keeps it when it starts with such a policy",
        measure.name()
    )
}

fn replace<T: PartialEq>(sender: &watch::Sender<T>, read: T) {
    sender.send_if_modified(|known| {
        let differs = *known != read;
        if differs {
            *known = read;
        }
        differs
    });
}

fn read(files: &Files) -> Result<(InForce, Vec<&'static str>), Faults> {
    let whole = |path: &Path, error: String| Faults(vec![Fault::whole(path.display().to_string(), error)]);
    let read = InForce {
        policies: Arc::new(policies::read(&files.policies)?),
        services: files::services(&files.services).map_err(|error| whole(&files.services, format!("{error:#}")))?,
        weights: Arc::new(files::weights(&files.weights).map_err(|error| whole(&files.weights, format!("{error:#}")))?),
    };
    let needs_restart = files.config.changed().map_err(|error| whole(Path::new("configuration"), error.to_string()))?;
    Ok((read, needs_restart))
}

fn tell(Reload { by, faults, difference, needs_restart, .. }: &Reload) {
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
    for key in needs_restart {
        warn!(key, "changed in the configuration file; a restart takes it over");
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
        let files = Files { policies: path.clone(), ..Files::default() };
        (folder, path, Book::new(files, InForce { policies, ..InForce::default() }))
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
        let Readers { mut policies, mut services, .. } = book.subscribe();
        std::fs::write(&path, POLICY.replace("observe", "enforce")).unwrap();

        let reload = book.reload(Trigger::Api);

        assert_eq!(reload.difference.changed[0].field, "spec.mode");
        assert!(policies.has_changed().unwrap() && !services.has_changed().unwrap());
        policies.mark_unchanged();
        services.mark_unchanged();
        assert!(book.reload(Trigger::File).difference.is_empty());
        assert!(!policies.has_changed().unwrap());
    }

    const KILLS: &str = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: a}\n\
                         spec: {mode: enforce, respond: {host_reverse_shell: {from: critical, do: [kill]}}}\n";

    #[test]
    fn a_policy_that_kills_waits_for_a_restart_where_the_right_to_was_given_up() {
        let (_folder, path, book) = book();
        let (before, book) = (book.policies(), book.without_signals());
        std::fs::write(&path, KILLS).unwrap();

        let reload = book.reload(Trigger::Api);

        let fault = &reload.faults[0];
        assert!(fault.message.starts_with("restart needed: policy a: kill takes CAP_KILL"), "{fault:?}");
        assert_eq!(fault.file, path.display().to_string());
        assert!(Arc::ptr_eq(&before, &book.policies()));
    }

    #[test]
    fn a_policy_that_kills_is_put_in_force_where_the_right_to_is_held() {
        let (_folder, path, book) = book();
        std::fs::write(&path, KILLS).unwrap();

        assert!(!book.reload(Trigger::Api).is_refused());
        let policies = book.policies();
        assert_eq!(policies.iter().map(|policy| book.withheld(policy)).collect::<Vec<_>>(), [None]);
    }

    /// Without the capability in the unit, it is not there at the start either.
    #[test]
    fn a_policy_that_kills_from_the_start_says_what_it_lacks_and_can_be_changed() {
        let (_folder, path, _) = book();
        std::fs::write(&path, KILLS).unwrap();
        let policies = Arc::new(policies::read(&path).unwrap());
        let files = Files { policies: path.clone(), ..Files::default() };
        let book = Book::new(files, InForce { policies, ..InForce::default() }).without_signals();
        std::fs::write(&path, KILLS.replace("enforce", "shadow")).unwrap();

        let reload = book.reload(Trigger::File);

        assert!(!reload.is_refused() && reload.difference.changed[0].field == "spec.mode", "{reload:?}");
        let policies = book.policies();
        let withheld = policies.iter().find_map(|policy| book.withheld(policy)).unwrap();
        assert!(withheld.starts_with("restart needed: kill takes CAP_KILL"), "{withheld}");
    }

    #[test]
    fn weights_are_read_again_and_bad_ones_change_nothing() {
        let (folder, _, _) = book();
        let path = folder.path().join("weights.toml");
        let shipped = netd_engine::weights::SHIPPED;
        std::fs::write(&path, shipped).unwrap();
        let book = Book::new(Files { weights: path.clone(), ..Files::default() }, InForce::default());
        let Readers { mut weights, .. } = book.subscribe();

        assert!(!book.reload(Trigger::Signal).is_refused());
        assert!(!weights.has_changed().unwrap(), "the same weights are no change");
        let line = shipped.lines().find(|line| line.starts_with("rare_region_conversations")).unwrap();
        std::fs::write(&path, shipped.replace(line, "rare_region_conversations = 77.0")).unwrap();
        assert!(!book.reload(Trigger::Signal).is_refused());
        assert!((weights.borrow_and_update().destination.rare_region_conversations - 77.0).abs() < f64::EPSILON);
        std::fs::write(&path, "nonsense").unwrap();

        let reload = book.reload(Trigger::Signal);

        assert!(reload.is_refused() && reload.faults[0].file == path.display().to_string(), "{reload:?}");
        assert!(!weights.has_changed().unwrap());
    }

    #[test]
    fn a_reload_names_what_needs_a_restart() {
        let (folder, policies, _) = book();
        let path = folder.path().join("netd.toml");
        let config = Started::with(&path, "");
        std::fs::write(&path, "mode = \"shadow\"\n[limits]\npairs = 9\n").unwrap();
        let book = Book::new(Files { policies, config, ..Files::default() }, InForce::default());

        assert_eq!(book.reload(Trigger::Api).needs_restart, ["mode", "limits.pairs"]);
        std::fs::write(&path, "limits = 1\n").unwrap();
        assert!(book.reload(Trigger::Api).is_refused());
    }
}
