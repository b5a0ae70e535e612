//! What is known of the processes of this host: the kernel's facts, completed by whatever was found out since.
//!
//! Pure: it is told, and told the time. A process stays for a while after its end, for the flows that are reported
//! late; a program that is known by its file names the process that had ended before anybody could look.

mod facts;
mod files;
mod room;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use netd_engine::process::{Container, Missing, Process, ProcessId, Provenance};

use super::{
    containers::{Place, names::Named},
    executable::{FileId, Stamp},
    process::{Found, is_bare},
};
pub use facts::{Facts, Known, Limits};
pub use files::{Files, Program};
use room::weight;

/// How long a process is kept after its end, in nanoseconds.
const KEPT_NS: u64 = 120_000_000_000;

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    provenance: Provenance,
    /// The program, once it is sure which file it is.
    stamp: Option<Stamp>,
    /// The kernel's word for it.
    file: Option<FileId>,
    bytes: usize,
    ended_ns: Option<u64>,
    /// Asked for since it was last spared.
    used: bool,
}

/// Why entries went before their time, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    pub living: u64,
    pub ended: u64,
}

/// The processes.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    entries: HashMap<ProcessId, Entry>,
    /// The last process of a number.
    latest: HashMap<u32, ProcessId>,
    /// In the order in which they came; some are no longer there.
    order: VecDeque<ProcessId>,
    ended: VecDeque<(u64, ProcessId)>,
    bytes: usize,
    programs: Files,
    names: HashMap<String, Arc<Container>>,
    evicted: Evicted,
}

impl Table {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            latest: HashMap::new(),
            order: VecDeque::new(),
            ended: VecDeque::new(),
            bytes: 0,
            programs: Files::new(limits.programs),
            names: HashMap::new(),
            evicted: Evicted::default(),
        }
    }

    /// Takes the kernel's word. After an exec the process is another program, so what was known of it before goes.
    pub fn learn(&mut self, facts: Facts) {
        let is_exec = !facts.filename.is_empty();
        if !is_exec && self.entries.contains_key(&facts.id) {
            return;
        }
        let exe = facts.filename.starts_with('/').then(|| facts.filename.clone());
        let program = exe.as_deref().unwrap_or(&facts.comm);
        let provenance = Provenance {
            is_memory: facts.filename.starts_with("/proc/self/fd/") || facts.filename.starts_with("/dev/fd/"),
            is_temporary: super::process::files::is_temporary(facts.filename.as_ref()),
            is_bare_interpreter: !facts.args.is_empty() && is_bare(program, &facts.args),
            ..Provenance::default()
        };
        let process = Process {
            id: facts.id,
            uid: facts.uid,
            comm: facts.comm,
            exe,
            args: facts.args,
            parents: facts.parents,
            cgroup_id: facts.cgroup_id,
            netns: facts.netns,
            ..Process::default()
        };
        self.put(process, provenance, None, facts.file);
    }

    /// Takes what `/proc` says, completed by what only the kernel told.
    pub fn found(&mut self, found: Found) {
        let mut process = found.process;
        let stamp = found.executable.as_ref().map(|executable| executable.stamp);
        let mut provenance = found.provenance;
        let file = stamp.map(|stamp| stamp.file);
        if let Some(entry) = self.entries.get(&process.id) {
            let before = &entry.process;
            // A process may rewrite its arguments, or leave its parents; the kernel saw them at the exec.
            if process.args.is_empty() || !before.args.is_empty() && entry.file == file {
                process.args.clone_from(&before.args);
                provenance.is_bare_interpreter |= entry.provenance.is_bare_interpreter;
            }
            if !before.parents.is_empty() {
                process.parents.clone_from(&before.parents);
            }
            process.exe = process.exe.or_else(|| before.exe.clone());
            process.cgroup_id = if before.cgroup_id != 0 { before.cgroup_id } else { process.cgroup_id };
            process.netns = if process.netns != 0 { process.netns } else { before.netns };
        }
        if let Some(executable) = &found.executable {
            self.programs.meet(executable.stamp, executable.path.clone());
        }
        self.put(process, provenance, stamp, file);
    }

    /// Notes why a process could not be looked at.
    pub fn missing(&mut self, id: ProcessId, why: Missing) {
        self.change(id, |entry| Arc::make_mut(&mut entry.process).missing = Some(why));
    }

    /// Notes which file a process ran, when it is sure: the file that its record names is still that one.
    pub fn confirm(&mut self, id: ProcessId, stamp: Stamp) {
        let path = self.programs.get(stamp).map(|program| program.path.to_string_lossy().into_owned());
        let path = path.filter(|path| !path.is_empty());
        self.change(id, |entry| {
            entry.stamp = Some(stamp);
            let process = Arc::make_mut(&mut entry.process);
            process.exe = path.or_else(|| process.exe.take());
        });
    }

    /// Notes the cgroup a process lived in, where `/proc` did not tell.
    pub fn place(&mut self, id: ProcessId, place: &Place) {
        self.change(id, |entry| {
            let process = Arc::make_mut(&mut entry.process);
            process.cgroup = place.path.clone();
            process.container = place.container.clone().or_else(|| process.container.take());
            process.unit = place.unit.clone().or_else(|| process.unit.take());
        });
    }

    /// Notes what a runtime calls a container, for all processes in it.
    pub fn named(&mut self, id: &str, named: Named) {
        if let Some(container) = self.names.get_mut(id) {
            *container = Arc::new(named.applied(container));
        }
    }

    /// Returns whether a container is met for the first time, so that its name is worth asking for.
    pub fn meet(&mut self, container: &Arc<Container>) -> bool {
        // Containers come and go by the thousand; the names of those that are here are asked for again.
        if self.names.len() >= self.limits.programs {
            self.names.clear();
        }
        let is_new = !self.names.contains_key(&container.id);
        if is_new {
            self.names.insert(container.id.clone(), container.clone());
        }
        is_new
    }

    /// Returns the programs, to say more of one.
    pub const fn programs(&mut self) -> &mut Files {
        &mut self.programs
    }

    /// Notes that a process ended at `now_ns`.
    pub fn exit(&mut self, id: ProcessId, now_ns: u64) {
        let Some(id) = self.resolve(id) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.ended_ns.is_none() {
            entry.ended_ns = Some(now_ns);
            self.ended.push_back((now_ns, id));
        }
    }

    /// Returns a process with all that is known by now. A start of 0 stands for the last process of that number.
    pub fn get(&mut self, id: ProcessId) -> Option<Known> {
        let id = self.resolve(id)?;
        let entry = self.entries.get_mut(&id)?;
        entry.used = true;
        if let Some(program) = entry.stamp.and_then(|stamp| self.programs.get(stamp)) {
            entry.provenance.is_packaged = program.is_packaged.or(entry.provenance.is_packaged);
            let process = &entry.process;
            if process.sha256 != program.sha256 || process.package != program.package {
                let process = Arc::make_mut(&mut entry.process);
                process.sha256.clone_from(&program.sha256);
                process.package.clone_from(&program.package);
            }
        }
        if let Some(container) = &entry.process.container
            && let Some(named) = self.names.get(&container.id)
            && named != container
        {
            Arc::make_mut(&mut entry.process).container = Some(named.clone());
        }
        Some(Known { process: entry.process.clone(), provenance: entry.provenance })
    }

    /// Returns the processes that run a file: all of them are gone through, so ask only when something was found out.
    #[must_use]
    pub fn running(&self, stamp: Stamp) -> Vec<ProcessId> {
        self.entries.iter().filter(|(_, entry)| entry.stamp == Some(stamp)).map(|(id, _)| *id).collect()
    }

    /// Returns the processes in a container, as [`Self::running`] does.
    #[must_use]
    pub fn inside(&self, container: &str) -> Vec<ProcessId> {
        let is_inside = |entry: &Entry| entry.process.container.as_ref().is_some_and(|c| c.id == container);
        self.entries.iter().filter(|(_, entry)| is_inside(entry)).map(|(id, _)| *id).collect()
    }

    /// Returns the living processes whose program is not known to be a package's, at most `limit`.
    #[must_use]
    pub fn unpackaged(&self, limit: usize) -> Vec<ProcessId> {
        let is_packaged = |stamp: Stamp| self.programs.get(stamp).and_then(|program| program.is_packaged) == Some(true);
        let is_wanted = |entry: &Entry| entry.ended_ns.is_none() && !entry.stamp.is_some_and(is_packaged);
        self.entries.iter().filter(|(_, entry)| is_wanted(entry)).map(|(id, _)| *id).take(limit).collect()
    }

    /// Forgets processes that ended long enough before `now_ns`.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((ended_ns, id)) = self.ended.front().copied() {
            if now_ns.saturating_sub(ended_ns) < KEPT_NS {
                break;
            }
            self.ended.pop_front();
            self.remove(id);
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    #[must_use]
    pub const fn evicted(&self) -> Evicted {
        self.evicted
    }

    fn resolve(&self, id: ProcessId) -> Option<ProcessId> {
        if id.start_ticks != 0 { Some(id) } else { self.latest.get(&id.pid).copied() }
    }

    fn change(&mut self, id: ProcessId, how: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        how(entry);
        let bytes = weight(&entry.process);
        self.bytes = self.bytes - entry.bytes + bytes;
        entry.bytes = bytes;
    }
}

#[cfg(test)]
mod tests;
