//! The policies in force: read again when somebody asks, put and removed one by one, and kept as they were when what is
//! read cannot be used.

mod change;
mod collection;
mod written;

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

pub use self::change::{Author, Changed, Refusal, Terms};
pub use self::collection::{Collection, Origin, Stated};
pub use self::written::{LeftOut, Written};
use crate::config::files;
use crate::config::policies::Faults;
use crate::config::reload::Started;
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
    pub policies: Collection,
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
    /// Held while files are read or written, so that two changes do not overtake each other.
    shelf: Mutex<Shelf>,
    collection: watch::Sender<Arc<Collection>>,
    policies: watch::Sender<Arc<Policies>>,
    services: watch::Sender<Services>,
    weights: watch::Sender<Arc<Weights>>,
    /// Whether the daemon may signal processes: what it gave up at its start does not come back.
    may_signal: bool,
    last: watch::Sender<Arc<Reload>>,
}

/// Where everything comes from.
#[derive(Debug)]
struct Shelf {
    files: Files,
    written: Written,
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
            shelf: Mutex::new(Shelf { files, written: Written::default() }),
            policies: watch::Sender::new(policies.policies()),
            collection: watch::Sender::new(Arc::new(policies)),
            services: watch::Sender::new(services),
            weights: watch::Sender::new(weights),
            may_signal: true,
            last: watch::Sender::new(Arc::new(Reload::at_start())),
        }
    }

    /// Says what the API was given, and where that is kept.
    #[must_use]
    pub fn keeping(self, written: Written) -> Self {
        let Shelf { files, .. } = self.shelf.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self { shelf: Mutex::new(Shelf { files, written }), ..self }
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

    /// Returns the policies with their texts.
    #[must_use]
    pub fn collection(&self) -> Arc<Collection> {
        Arc::clone(&self.collection.borrow())
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
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = shelf.written.clone();
        let read = read(&shelf.files, &mut written).and_then(|(read, needs_restart)| {
            self.refuse_signals(&read.policies)?;
            Ok((read, needs_restart))
        });
        let reload = match read {
            Ok((read, needs_restart)) => {
                shelf.written = written;
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
        let difference = Difference::between(&self.policies.borrow(), &read.policies.policies());
        self.publish(read.policies);
        replace(&self.services, read.services);
        replace(&self.weights, read.weights);
        difference
    }

    fn publish(&self, new: Collection) {
        replace(&self.policies, new.policies());
        self.collection.send_replace(Arc::new(new));
    }

    /// Refuses policies that signal processes where the daemon gave that up because none did.
    fn refuse_signals(&self, new: &Collection) -> Result<(), Faults> {
        let had_reason = self.policies.borrow().iter().any(|policy| policy.signal().is_some());
        if self.may_signal || had_reason {
            return Ok(());
        }
        let fault = |Stated { policy, origin, .. }: Stated<'_>| {
            let why = format!("restart needed: policy {}: {}", policy.name, lacks_kill(policy.signal()?));
            let file = match origin {
                Origin::File { file } => file.clone(),
                Origin::Api => format!("{} of the API", policy.name),
                Origin::Shipped => "the policy netd ships".to_owned(),
            };
            Some(Fault::whole(file, why))
        };
        let faults: Vec<_> = new.iter().filter_map(fault).collect();
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

fn read(files: &Files, written: &mut Written) -> Result<(InForce, Vec<&'static str>), Faults> {
    let whole = |path: &Path, error: String| Faults(vec![Fault::whole(path.display().to_string(), error)]);
    let read = InForce {
        policies: written.read(&files.policies)?.0,
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
    tell_difference(difference);
    for key in needs_restart {
        warn!(key, "changed in the configuration file; a restart takes it over");
    }
    if faults.is_empty() {
        info!(?by, changes = !difference.is_empty(), "policies read again");
    }
}

fn tell_difference(difference: &Difference) {
    for change in &difference.changed {
        info!(policy = change.policy, field = change.field, old = %change.old, new = %change.new, "policy changed");
    }
    for (names, what) in [(&difference.added, "policy added"), (&difference.removed, "policy removed")] {
        names.iter().for_each(|policy| info!(policy, "{what}"));
    }
}

#[cfg(test)]
mod tests;
