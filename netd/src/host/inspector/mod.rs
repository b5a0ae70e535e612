//! Keeps the table of processes: takes the kernel's facts, looks, and asks, without ever waiting for anybody.
//!
//! ```text
//!  exec, owner, exit ---> table <--- looks (/proc, packages) <--- queue
//!                           ^  <--- hashes (SHA-256)
//!                           +------ names (container runtimes)
//! ```

mod looks;

use std::{
    cell::RefCell,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use netd_engine::{
    process::{Missing, Process, ProcessId},
    streams::Opened,
};

use super::{
    attribution::{self, Owned},
    clock,
    containers::{
        Tree,
        names::{Names, Sockets},
    },
    descriptors::{self, Scope, Taken},
    executable::{Hashes, Stamp},
    packages::{Owner, Packages},
    process::{Reader, Seen},
    table::{Facts, Known, Limits, Table},
};
use looks::{Look, Looked, Looks, Tools};

/// Processes looked at again when the packages have changed.
const MAX_RECONSIDERED: usize = 2_048;

/// How an inspector works.
#[derive(Clone, Debug)]
pub struct Settings {
    pub limits: Limits,
    /// `None` asks no runtime for names.
    pub sockets: Option<Sockets>,
    /// Whose package databases are read.
    pub root: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limits: Limits::default(), sockets: Some(Sockets::default()), root: "/".into() }
    }
}

/// What was lost, and how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub processes: u64,
    pub bytes: u64,
    pub looked: u64,
    /// Gone, or their number another's, when it was their turn.
    pub gone: u64,
    pub denied: u64,
    /// Not looked at: the queue was full.
    pub overload: u64,
    /// Looks whose answer nobody took.
    pub lost: u64,
    pub evicted: u64,
    pub hashed: u64,
    /// Executables without a digest: too large, remote, unreadable, or too many at once.
    pub not_hashed: u64,
    pub names: u64,
    pub not_named: u64,
    /// Threads that look; more than one tells that processes held some back.
    pub threads: u64,
}

/// The processes of this host.
pub struct Inspector {
    table: Table,
    tree: Tree,
    reader: Reader,
    looks: Looks,
    hashes: Hashes,
    names: Option<Names>,
    packages: Arc<Packages>,
    /// Of the packages, when owners were last asked for.
    generation: u64,
    counts: Counts,
}

/// Returns a reader that knows where this machine mounts its cgroups.
#[must_use]
pub fn new_reader() -> Reader {
    Reader::new(Tree::open().mount().map(PathBuf::from))
}

impl Inspector {
    /// Starts the threads that look, read and ask. They end when this is dropped.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let hashes = Hashes::start()?;
        let packages = Arc::new(Packages::start(settings.root)?);
        let tools = Tools { packages: packages.clone(), hashes: hashes.asker(), new_reader: Box::new(new_reader) };
        Ok(Self {
            table: Table::new(settings.limits),
            tree: Tree::open(),
            reader: new_reader(),
            looks: Looks::start(tools)?,
            hashes,
            names: settings.sockets.map(Names::start).transpose()?,
            packages,
            generation: 0,
            counts: Counts::default(),
        })
    }

    /// Learns of an exec, or of a process met otherwise (then `facts.filename` is empty), and has it looked at.
    pub fn learn(&mut self, facts: Facts) {
        let id = facts.id;
        if id.pid == 0 || facts.filename.is_empty() && self.table.get(id).is_some() {
            return;
        }
        let seen = if id.start_ticks == 0 { Seen::At(clock::boot_ns()) } else { Seen::Start(id.start_ticks) };
        let hint = facts.file.filter(|_| facts.filename.starts_with('/'));
        let hint = hint.map(|file| (PathBuf::from(&facts.filename), file));
        let cgroup = facts.cgroup_id;
        self.table.learn(facts);
        // The cgroup may be gone before the process is looked at; it is known without it.
        if let Some(place) = (cgroup != 0).then(|| self.tree.place(cgroup)).flatten() {
            self.table.place(id, &place);
        }
        if !self.looks.ask(Look { id, seen, hint }) {
            self.table.missing(id, Missing::Overload);
        }
    }

    /// Learns that a process ended.
    pub fn exit(&mut self, id: ProcessId, now_ns: u64) {
        self.table.exit(id, now_ns);
    }

    /// Returns what is known of a process by now; more may come, see [`Self::turn`]. `None` for one never heard of.
    pub fn get(&mut self, id: ProcessId) -> Option<Known> {
        self.table.get(id)
    }

    /// Takes the answers that have come by `now_ns`, and returns the processes of which more is known now.
    pub fn turn(&mut self, now_ns: u64) -> Vec<ProcessId> {
        let mut grown = Vec::new();
        for looked in self.looks.answers(clock::boot_ns()) {
            grown.push(self.looked(looked));
        }
        for (stamp, sha256) in self.hashes.answers() {
            self.table.programs().digest(stamp, sha256);
            grown.extend(self.table.running(stamp));
        }
        for (id, named) in self.names.iter().flat_map(Names::answers) {
            self.table.named(&id, named);
            grown.extend(self.table.inside(&id));
        }
        self.reconsider();
        self.table.expire(now_ns);
        grown.sort_unstable();
        grown.dedup();
        grown
    }

    /// Looks at every process that holds a descriptor, and returns who owns the sockets that are there, with what was
    /// seen: once, when the daemon starts, for the connections that are older.
    pub fn begin(&mut self, opened: &(dyn Fn(u64) -> Option<Opened> + Sync)) -> (Vec<Owned>, Taken) {
        let taken = self.snapshot(Scope::First(&[]), opened);
        for process in taken.snapshot.processes.values() {
            self.learn(Facts {
                id: process.id,
                uid: process.uid,
                comm: process.comm.clone(),
                parents: process.parents.clone(),
                netns: process.netns,
                ..Facts::default()
            });
        }
        (attribution::owners(&taken), taken)
    }

    /// Reads who holds which descriptor; see [`descriptors::read`]. Blocks for milliseconds.
    pub fn snapshot(&mut self, scope: Scope<'_>, opened: &(dyn Fn(u64) -> Option<Opened> + Sync)) -> Taken {
        let table = RefCell::new(&mut self.table);
        let known = |id: ProcessId| -> Option<Arc<Process>> { Some(table.borrow_mut().get(id)?.process) };
        descriptors::read(&self.reader, scope, &known, opened)
    }

    /// Returns the counts as of now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let evicted = self.table.evicted();
        let hashes = &self.hashes.counts;
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let failed = [&hashes.too_large, &hashes.remote, &hashes.failed, &hashes.dropped];
        let (names, not_named) = self.names.as_ref().map_or((0, 0), |names| {
            let counts = &names.counts;
            (read(&counts.named), read(&counts.unknown) + read(&counts.failed) + read(&counts.dropped))
        });
        Counts {
            processes: self.table.len() as u64,
            bytes: self.table.bytes() as u64,
            overload: self.looks.overload,
            lost: read(&self.looks.lost),
            evicted: evicted.living + evicted.ended,
            hashed: read(&hashes.hashed),
            not_hashed: failed.into_iter().map(read).sum(),
            names,
            not_named,
            threads: self.looks.threads() as u64,
            ..self.counts
        }
    }

    /// Takes what a look found; returns the process that it is about.
    fn looked(&mut self, looked: Looked) -> ProcessId {
        self.counts.looked += 1;
        let id = match looked.found {
            Ok(found) => {
                self.counts.denied += u64::from(found.process.missing.is_some());
                let (id, container) = (found.process.id, found.process.container.clone());
                self.table.found(found);
                if let Some(container) = container
                    && self.table.meet(&container)
                    && let Some(names) = &self.names
                {
                    names.ask(&container);
                }
                id
            }
            Err(why) => {
                match why {
                    Missing::Denied => self.counts.denied += 1,
                    Missing::Gone | Missing::Reused | Missing::Overload => self.counts.gone += 1,
                }
                self.table.missing(looked.id, why);
                looked.id
            }
        };
        if let Some((path, stamp)) = looked.program {
            self.program(id, path, stamp, looked.owner);
        }
        id
    }

    /// Looks again at programs without a package when the packages have changed, or have only now been read.
    fn reconsider(&mut self) {
        let generation = self.packages.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        for id in self.table.unpackaged(MAX_RECONSIDERED) {
            // One that finds no room stays as it is.
            self.looks.ask(Look { id, seen: Seen::Start(id.start_ticks), hint: None });
        }
    }

    fn program(&mut self, id: ProcessId, path: PathBuf, stamp: Stamp, owner: Owner) {
        let programs = self.table.programs();
        programs.meet(stamp, path);
        match owner {
            Owner::Package(name) => programs.owner(stamp, Some(name), Some(true)),
            Owner::Nobody => programs.owner(stamp, None, Some(false)),
            Owner::Unknown => {}
        }
        self.table.confirm(id, stamp);
    }
}

#[cfg(test)]
mod tests;
