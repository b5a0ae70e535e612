//! Where findings, flows and verdicts are written or sent besides the API: files, standard output, syslog, journald,
//! webhooks.
//!
//! Each sink has a queue of its own and a thread or a task of its own, so that a slow one holds up neither the others
//! nor the analysis. What finds no room is dropped and counted.

mod file;
pub mod format;
mod journald;
mod stdout;
mod syslog;
mod tally;
pub mod webhook;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use netd_engine::finding::Severity;
use netd_engine::lookup::Lookup;
use netd_engine::time::Timestamp;
use netd_geoip::Databases;
use serde::Deserialize;

pub use file::Rotation;
pub use format::{Flow, Format, Record, Site, Stats};
pub use syslog::Address;
pub use tally::{Fate, SinkState, Tally};
pub use webhook::Webhook;
pub use writer::Writer;

use crate::store::events::Event;
use crate::store::status::Sources;

/// A sink as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// Unique among sinks: a label of metrics.
    pub name: String,
    pub filter: Filter,
    /// Events that may wait.
    pub queue: usize,
    pub output: Output,
}

impl Sink {
    /// Returns the folder that it writes below, if it writes to files.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match &self.output {
            Output::File { path, .. } => path.parent().map(Path::to_owned),
            Output::Stdout { .. } | Output::Syslog { .. } | Output::Journald { .. } | Output::Webhook(_) => None,
        }
    }
}

/// What a sink wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub kinds: Vec<Kind>,
    /// Of findings.
    pub min_severity: Severity,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A finding was reported, or its severity changed.
    Finding,
    /// A conversation ended.
    Flow,
    /// A question to a name server was answered, or was not.
    Dns,
    /// A verdict came, or went.
    Verdict,
    /// How the daemon does, once a minute.
    Stats,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Finding, Self::Flow, Self::Dns, Self::Verdict, Self::Stats];
}

/// Where a sink's events go.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A file; of formats with several logs, a directory.
    File {
        path: PathBuf,
        format: Format,
        rotation: Rotation,
    },
    Stdout {
        format: Format,
    },
    /// RFC 5424; the message is a line of the format, or one for people.
    Syslog {
        address: Address,
        format: Option<Format>,
    },
    /// journald's own protocol.
    Journald {
        socket: PathBuf,
    },
    Webhook(Webhook),
}

/// Something that happened, as sinks hear of it.
#[derive(Clone, Debug)]
pub enum Item {
    Event { event: Event, at: Timestamp },
    Lookup(Arc<Lookup>),
    Stats { stats: Arc<Stats>, at: Timestamp },
}

impl Filter {
    /// Whether a sink with this filter wants an item.
    #[must_use]
    pub fn wants(&self, item: &Item) -> bool {
        let (kind, is_severe) = match item {
            Item::Event { event: Event::Finding(stored), .. } => {
                (Kind::Finding, stored.finding.severity >= self.min_severity)
            }
            Item::Event { event: Event::Flow(_), .. } => (Kind::Flow, true),
            Item::Event { event: Event::Verdict(_), .. } => (Kind::Verdict, true),
            Item::Lookup(_) => (Kind::Dns, true),
            Item::Stats { .. } => (Kind::Stats, true),
        };
        is_severe && self.kinds.contains(&kind)
    }
}

/// What records say beyond the events themselves.
#[derive(Clone)]
pub struct Surroundings {
    pub site: Site,
    /// Names of interfaces.
    pub sources: Sources,
    /// Where responders are.
    pub databases: Arc<Databases>,
}

impl Surroundings {
    /// Hands an item's record to `tell`.
    fn tell<T>(&self, item: &Item, tell: impl FnOnce(&Record<'_>) -> T) -> T {
        match item {
            Item::Event { event: Event::Finding(stored), .. } => tell(&Record::Finding(&stored.finding)),
            Item::Event { event: Event::Verdict(event), at } => tell(&Record::Verdict { at: *at, event }),
            Item::Stats { stats, at } => tell(&Record::Stats { at: *at, stats }),
            Item::Lookup(lookup) => {
                let snapshot = Arc::clone(&self.sources.borrow());
                let interface = snapshot.interface(lookup.carrier.ifindex);
                tell(&Record::Lookup { lookup, interface })
            }
            Item::Event { event: Event::Flow(row), .. } => {
                let conversation = &row.conversation;
                let snapshot = Arc::clone(&self.sources.borrow());
                let region = self.databases.lookup(conversation.responder);
                let interface = snapshot.interface(conversation.ifindex);
                tell(&Record::Flow(Flow { conversation, interface, region: region.as_ref() }))
            }
        }
    }
}
