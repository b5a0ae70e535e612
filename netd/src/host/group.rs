//! Process groups stopped or killed, and those that must not be.
//!
//! Every process is held by a descriptor of its own (pidfd) while its number and start are compared, and is signalled
//! through it: a number that has been given to another is never hit.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::{fs, io, process};

use netd_engine::process::{Class, Process, ProcessId, Programs};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use schemars::JsonSchema;
use serde::Serialize;

use super::process::files::{self, Stat};

/// Whoever is started meanwhile is met in a further round.
const ROUNDS: usize = 4;

/// Why a process group was not signalled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("process {pid} is gone")]
    Gone { pid: u32 },
    #[error("when process {pid} began is not known, so it cannot be told from another with its number")]
    Unknown { pid: u32 },
    #[error("process {pid} is {whom}: it is never signalled")]
    Never { pid: u32, whom: &'static str },
    #[error("its process group holds {comm}[{pid}], {what}: none of it is signalled")]
    Holds { pid: u32, comm: String, what: String },
    #[error("cannot read the processes")]
    Read { source: io::Error },
    #[error("cannot signal process {pid}")]
    Signal { pid: u32, source: io::Error },
}

/// Sends a signal to the process group of a process. Where a service is in the group too (a web server that started the
/// shell), only the process and what it started get it. Returns how many processes got it.
///
/// Blocks while `/proc` is read: ten microseconds a process.
///
/// # Errors
///
/// When the process is gone or must not be signalled, or its group holds init, netd or a login server: then nobody got
/// the signal. When a process could not be signalled, others may have been.
pub fn signal(id: ProcessId, signal: Signal, programs: &Programs) -> Result<usize, Error> {
    let leader = Held::leader(id)?;
    let mut signalled = HashSet::new();
    for _ in 0..ROUNDS {
        let members = members(&leader, programs)?;
        let new: Vec<_> = members.into_iter().filter(|held| signalled.insert((held.pid, held.stat.start))).collect();
        if new.is_empty() {
            break;
        }
        for held in new {
            match pidfd_send_signal(&held.pidfd, signal) {
                Ok(()) => {}
                Err(rustix::io::Errno::SRCH) => drop(signalled.remove(&(held.pid, held.stat.start))),
                Err(error) => return Err(Error::Signal { pid: held.pid, source: error.into() }),
            }
        }
    }
    Ok(signalled.len())
}

/// A process that a signal would reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its own name for itself.
    pub comm: String,
}

/// Returns whom [`signal`] would reach, the lowest number first.
///
/// # Errors
///
/// As [`signal`].
pub fn whom(id: ProcessId, programs: &Programs) -> Result<Vec<Member>, Error> {
    let members = members(&Held::leader(id)?, programs)?;
    let mut named: Vec<_> = members.into_iter().map(|Held { pid, stat, .. }| Member { pid, comm: stat.comm }).collect();
    named.sort_unstable_by_key(|member| member.pid);
    Ok(named)
}

/// A process that stays the same one as long as this is held.
struct Held {
    pid: u32,
    stat: Stat,
    pidfd: OwnedFd,
}

impl Held {
    /// Returns the process that is meant, unless it must not be signalled.
    fn leader(id: ProcessId) -> Result<Self, Error> {
        let pid = id.pid;
        match pid {
            0 | 1 => return Err(Error::Never { pid, whom: "init" }),
            _ if pid == process::id() => return Err(Error::Never { pid, whom: "netd" }),
            _ if id.start_ticks == 0 => return Err(Error::Unknown { pid }),
            _ => {}
        }
        let leader = Self::take(pid).filter(|held| held.stat.start == id.start_ticks).ok_or(Error::Gone { pid })?;
        match leader.stat.is_kernels {
            true => Err(Error::Never { pid, whom: "a thread of the kernel" }),
            false => Ok(leader),
        }
    }

    /// Returns none for a process that is gone.
    fn take(pid: u32) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, stat: Stat::read(&directory(pid)).ok()?, pidfd })
    }
}

/// Returns who is to be signalled of a process's group.
fn members(leader: &Held, programs: &Programs) -> Result<Vec<Held>, Error> {
    let group = leader.stat.group;
    let entries = fs::read_dir("/proc").map_err(|source| Error::Read { source })?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: HashMap<u32, Stat> = numbers.filter_map(|pid| Some((pid, Stat::read(&directory(pid)).ok()?))).collect();
    let mut held = Vec::new();
    let mut is_shared = group <= 1;
    for (pid, stat) in all.iter().filter(|(pid, stat)| stat.group == group && group > 1 || **pid == leader.pid) {
        let holds = |what: &str| Error::Holds { pid: *pid, comm: stat.comm.clone(), what: what.to_owned() };
        if *pid == 1 {
            return Err(holds("init"));
        }
        if *pid == process::id() {
            return Err(holds("netd itself"));
        }
        if stat.is_kernels {
            return Err(holds("a thread of the kernel"));
        }
        let is_below = is_below(*pid, leader.pid, &all);
        match class(*pid, stat, programs).filter(|_| !is_below) {
            Some(class @ Class::Login) => return Err(holds(&format!("a {class}"))),
            Some(_) => is_shared = true,
            None => {}
        }
        // Its number is another's by now: whoever had it is gone.
        let Some(now) = Held::take(*pid).filter(|now| now.stat.start == stat.start) else { continue };
        held.push((is_below, now));
    }
    Ok(held.into_iter().filter(|(is_below, _)| !is_shared || *is_below).map(|(_, held)| held).collect())
}

/// Returns whether a process is another, or runs below it.
fn is_below(pid: u32, top: u32, all: &HashMap<u32, Stat>) -> bool {
    let mut next = pid;
    // Numbers are read one after the other, so that their parents may seem to run in a circle.
    for _ in 0..all.len() {
        if next == top {
            return true;
        }
        match all.get(&next) {
            Some(stat) if stat.parent > 1 => next = stat.parent,
            Some(_) | None => return false,
        }
    }
    false
}

fn class(pid: u32, stat: &Stat, programs: &Programs) -> Option<Class> {
    let exe = files::executable_path(&directory(pid));
    programs.class(&Process { comm: stat.comm.clone(), exe, ..Process::default() }, None)
}

fn directory(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}
