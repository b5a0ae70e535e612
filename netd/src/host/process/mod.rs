//! Who a process is, from `/proc`.
//!
//! Between the kernel's record and this look the process may have ended and its number may be another's. So the start
//! time is read first and last, and compared with what the record knows: a stranger is never named.

pub(crate) mod files;
mod interpreter;
mod users;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use netd_engine::process::{Ancestor, Missing, Process, ProcessId, Provenance};

pub use files::Executable;
pub use interpreter::is_bare;
pub use users::Users;

use super::{clock, containers};
use files::Stat;

/// Processes above that are named.
pub const MAX_PARENTS: usize = 8;

/// The inode of the first pid namespace, which the kernel fixes (`PROC_PID_INIT_INO`).
const INITIAL_PIDS: u64 = 0xefff_fffc;

/// What is known of a process beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The tick it started in, as in [`ProcessId`].
    Start(u64),
    /// `CLOCK_BOOTTIME`, in nanoseconds, at which it lived.
    At(u64),
    /// Nothing: whoever has the number is meant.
    Now,
}

impl Seen {
    fn is(self, start_ticks: u64) -> bool {
        match self {
            Self::Start(0) | Self::Now => true,
            Self::Start(ticks) => ticks == start_ticks,
            Self::At(boot_ns) => start_ticks.saturating_mul(ProcessId::TICK_NS) <= boot_ns,
        }
    }
}

/// What `/proc` says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Without digest and package.
    pub process: Process,
    pub provenance: Provenance,
    /// `None` for a kernel thread, or where we may not look.
    pub executable: Option<Executable>,
    /// Inode of its mount namespace, 0 where not known.
    pub mounts: u64,
}

/// Reads `/proc`.
#[derive(Debug)]
pub struct Reader {
    proc: PathBuf,
    cgroups: Option<PathBuf>,
    pub users: Users,
}

impl Reader {
    /// Reads this host's; `cgroups` is where the unified hierarchy is mounted.
    #[must_use]
    pub fn new(cgroups: Option<PathBuf>) -> Self {
        Self { proc: "/proc".into(), cgroups, users: Users::read("/etc/passwd".into()) }
    }

    /// Reads a directory that looks like `/proc`.
    #[cfg(test)]
    pub(crate) fn of(proc: PathBuf) -> Self {
        Self { proc, cgroups: None, users: Users::read("/dev/null".into()) }
    }

    /// Returns what is known of process `pid`. A few dozen system calls: about 100 microseconds.
    ///
    /// Reading its arguments may wait for the process itself, which can hold its memory back: not for a thread that
    /// others wait for.
    ///
    /// # Errors
    ///
    /// That it is gone, is another than was seen, or is hidden from us. What is hidden in part is no error, but said in
    /// [`Process::missing`].
    pub fn read(&self, pid: u32, seen: Seen) -> Result<Found, Missing> {
        let directory = self.proc.join(pid.to_string());
        let stat = Stat::read(&directory).map_err(|error| missing(&error))?;
        if !seen.is(stat.start) {
            return Err(Missing::Reused);
        }
        let (executable, refused) = match Executable::read(&directory) {
            Ok(executable) => (executable, None),
            Err(error) => (None, Some(missing(&error))),
        };
        let exe = executable.as_ref().map(|executable| executable.path.to_string_lossy().into_owned());
        let args = files::command_line(&directory);
        let cgroups = files::cgroup(&directory).unwrap_or_default();
        let place = containers::place_of(&cgroups);
        let uid = files::uid(&directory).ok_or(Missing::Gone)?;
        let process = Process {
            id: ProcessId { pid, start_ticks: stat.start },
            uid,
            user: self.users.name(uid),
            cwd: files::current_directory(&directory),
            parents: self.parents(stat.parent, stat.start),
            cgroup_id: containers::unified_path(&cgroups).map_or(0, |path| self.cgroup_id(path)),
            cgroup: place.path,
            container: place.container,
            unit: place.unit,
            netns: files::namespace(&directory, "net"),
            missing: refused,
            comm: stat.comm,
            exe,
            args,
            ..Process::default()
        };
        let provenance = provenance(&process, executable.as_ref());
        let mounts = files::namespace(&directory, "mnt");
        // Still the same one, so all of the above is its.
        let again = Stat::read(&directory).map_err(|error| missing(&error))?;
        if again.start != stat.start {
            return Err(Missing::Reused);
        }
        Ok(Found { process, provenance, executable, mounts })
    }

    /// Returns number, name and executable of the processes above, as far as they live.
    pub(crate) fn parents(&self, first: u32, mut younger: u64) -> Vec<Ancestor> {
        let mut parents = Vec::new();
        let mut pid = first;
        while pid != 0 && parents.len() < MAX_PARENTS {
            let directory = self.proc.join(pid.to_string());
            let Ok(stat) = Stat::read(&directory) else { break };
            // A parent is never younger than its child: the number is another's.
            if stat.start > younger {
                break;
            }
            let exe = files::executable_path(&directory);
            parents.push(Ancestor { id: ProcessId { pid, start_ticks: stat.start }, comm: stat.comm, exe });
            (pid, younger) = (stat.parent, stat.start);
        }
        parents
    }

    /// Returns the kernel's number of a cgroup: the inode of its directory.
    fn cgroup_id(&self, path: &str) -> u64 {
        use std::os::unix::fs::MetadataExt as _;

        let directory = self.cgroups.as_ref().map(|mount| mount.join(path.trim_start_matches('/')));
        directory.and_then(|directory| fs::metadata(directory).ok()).map_or(0, |metadata| metadata.ino())
    }
}

/// Judges where a process's program comes from. Whether a package owns it is another room's.
#[must_use]
pub fn provenance(process: &Process, executable: Option<&Executable>) -> Provenance {
    let program = process.exe.as_deref().unwrap_or(&process.comm);
    Provenance {
        is_deleted: executable.is_some_and(|executable| executable.deleted && !executable.memory),
        is_memory: executable.is_some_and(|executable| executable.memory),
        is_temporary: executable.is_some_and(|executable| executable.temporary),
        // A kernel thread may be called anything.
        is_bare_interpreter: (executable.is_some() || !process.args.is_empty()) && is_bare(program, &process.args),
        is_packaged: None,
    }
}

fn missing(error: &io::Error) -> Missing {
    if error.kind() == io::ErrorKind::PermissionDenied { Missing::Denied } else { Missing::Gone }
}

/// Returns whether `/proc` counts processes as the kernel's records do: from the initial pid namespace.
///
/// In a container without the host's (`hostPID`) a number of a record would name another process, or none.
#[must_use]
pub fn numbers_are_the_kernels() -> bool {
    let own = fs::read_link("/proc/self").unwrap_or_default();
    // A `/proc` of another namespace than ours shows us under another number.
    own == Path::new(&std::process::id().to_string())
        && files::namespace(Path::new("/proc/self"), "pid") == INITIAL_PIDS
}

/// What the pipeline asks about a socket's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub comm: String,
    pub executable: Option<Executable>,
    pub command_line: Vec<String>,
}

/// Returns what is known of process `pid`, or `None` when it is gone, or began after `seen_boot_ns`: its number was
/// given to another.
#[must_use]
pub fn inspect(pid: u32, seen_boot_ns: Option<u64>) -> Option<Details> {
    let reader = Reader { proc: "/proc".into(), cgroups: None, users: Users::read("/dev/null".into()) };
    let found = reader.read(pid, seen_boot_ns.map_or(Seen::Now, Seen::At)).ok()?;
    Some(Details { comm: found.process.comm, command_line: found.process.args, executable: found.executable })
}

/// Returns this process, as of now.
#[must_use]
pub fn own() -> Option<Found> {
    Reader::new(None).read(std::process::id(), Seen::At(clock::boot_ns())).ok()
}

#[cfg(test)]
mod tests;
