//! Which process holds which descriptor, at one moment as near as `/proc` allows.

mod diag;
mod namespaces;
mod near;
mod object;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use netd_engine::{
    process::{Ancestor, Process, ProcessId},
    streams::{Descriptor, Object, Opened, Snapshot},
};
use rustix::fs::{Dir, Mode, OFlags, open};

use super::process::{
    MAX_PARENTS, Reader,
    files::{self, Stat},
};

pub use near::near;

/// Processes read; the kernel's own default limit of their numbers is 32,768.
const MAX_PROCESSES: usize = 65_536;
/// Descriptors read, of all processes, and of one: standard streams have the lowest numbers and come first.
const MAX_DESCRIPTORS: usize = 524_288;
const MAX_PER_PROCESS: usize = 4_096;

/// Whose descriptors are read.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Only these processes'.
    Only(&'a [u32]),
    /// These processes' first, as they may end soon, and everybody's after them.
    First(&'a [u32]),
}

/// A snapshot, and what it lacks.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub snapshot: Snapshot,
    /// Network namespaces whose sockets are not known.
    pub unread_namespaces: u32,
    /// Processes of which only the first descriptors were read, or none: there were too many.
    pub cut: u32,
}

/// Reads descriptors, the sockets behind them, and the processes themselves as far as `known` has none.
///
/// `opened` is the kernel programs' knowledge of who began a connection, by socket cookie. Blocks for milliseconds: 10
/// microseconds a descriptor.
#[must_use]
pub fn read(
    reader: &Reader,
    scope: Scope<'_>,
    known: &dyn Fn(ProcessId) -> Option<Arc<Process>>,
    opened: &(dyn Fn(u64) -> Option<Opened> + Sync),
) -> Taken {
    let (first, everybody) = match scope {
        Scope::Only(pids) => (pids, Vec::new()),
        Scope::First(pids) => (pids, numbers()),
    };
    let mut taken = Taken::default();
    let mut seen = HashSet::new();
    let mut stats = HashMap::new();
    let mut namespaces = BTreeMap::new();
    for pid in first.iter().chain(&everybody).copied().filter(|pid| seen.insert(*pid)) {
        if taken.snapshot.descriptors.len() >= MAX_DESCRIPTORS || stats.len() >= MAX_PROCESSES {
            taken.cut += 1;
            continue;
        }
        let before = taken.snapshot.descriptors.len();
        match one(reader, pid, &mut taken) {
            Ok((process, parent, has_sockets)) => {
                if has_sockets {
                    namespaces.entry(process.netns).or_insert(pid);
                }
                stats.insert(pid, (known(process.id).unwrap_or_else(|| Arc::new(process)), parent));
            }
            Err(_) => {
                taken.snapshot.descriptors.truncate(before);
                taken.snapshot.unread += 1;
            }
        }
    }
    taken.snapshot.is_part = matches!(scope, Scope::Only(_));
    (taken.snapshot.sockets, taken.unread_namespaces) = namespaces::sockets(&namespaces, opened);
    taken.snapshot.processes = named(reader, stats);
    taken
}

/// Returns the numbers of all processes.
fn numbers() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Reads a process with its descriptors; returns it, its parent's number and whether it has sockets.
fn one(reader: &Reader, pid: u32, taken: &mut Taken) -> io::Result<(Process, u32, bool)> {
    // Everything below is read through this one directory, which stays the same process's: when that has ended it is
    // empty, though another may have the number.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process = open(Path::new("/proc").join(pid.to_string()), flags, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", process.as_raw_fd()));
    let stat = Stat::read(&path)?;
    let descriptors = &mut taken.snapshot.descriptors;
    let before = descriptors.len();
    let directory = open(path.join("fd"), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut has_sockets = false;
    for entry in Dir::read_from(&directory)?.flatten() {
        let Some((name, fd)) = entry.file_name().to_str().ok().and_then(|name| Some((name, name.parse().ok()?))) else {
            continue;
        };
        if descriptors.len() - before >= MAX_PER_PROCESS {
            taken.cut += 1;
            break;
        }
        // Closed since it was listed.
        let Some((object, access)) = object::read(&path, &directory, name, stat.terminal) else { continue };
        has_sockets |= matches!(object, Object::Socket { .. });
        descriptors.push(Descriptor { pid, fd, object, access });
    }
    let uid = files::uid(&path).ok_or(io::ErrorKind::NotFound)?;
    let process = Process {
        id: ProcessId { pid, start_ticks: stat.start },
        uid,
        user: reader.users.name(uid),
        comm: stat.comm,
        exe: files::executable_path(&path),
        netns: if has_sockets { files::namespace(&path, "net") } else { 0 },
        ..Process::default()
    };
    Ok((process, stat.parent, has_sockets))
}

/// Names the processes above each, as far as they were read.
fn named(reader: &Reader, read: HashMap<u32, (Arc<Process>, u32)>) -> HashMap<u32, Arc<Process>> {
    let mut processes = HashMap::with_capacity(read.len());
    for (pid, (process, parent)) in &read {
        let mut process = process.clone();
        if process.parents.is_empty() && *parent != 0 {
            Arc::make_mut(&mut process).parents = parents(reader, *parent, process.id.start_ticks, &read);
        }
        processes.insert(*pid, process);
    }
    processes
}

fn parents(reader: &Reader, first: u32, started: u64, read: &HashMap<u32, (Arc<Process>, u32)>) -> Vec<Ancestor> {
    let mut parents: Vec<Ancestor> = Vec::new();
    let (mut pid, mut younger) = (first, started);
    while parents.len() < MAX_PARENTS {
        let Some((above, next)) = read.get(&pid) else {
            // One that was not read: asked for on its own.
            let room = MAX_PARENTS - parents.len();
            parents.extend(reader.parents(pid, younger).into_iter().take(room));
            break;
        };
        // A parent is never younger than its child: the number is another's.
        if above.id.start_ticks > younger {
            break;
        }
        parents.push(Ancestor { id: above.id, comm: above.comm.clone(), exe: above.exe.clone() });
        (pid, younger) = (*next, above.id.start_ticks);
        if pid == 0 {
            break;
        }
    }
    parents
}

#[cfg(test)]
mod tests;
