//! Who a process is, from `/proc`.
//!
//! Between the kernel's record and this look the process may have ended and its number may be another's. So the start
//! time is read first and last, and compared with the time of the record: a stranger is never named.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::clock;

/// Longest command line kept, in bytes.
const MAX_COMMAND_LINE: u64 = 4_096;
/// `/proc/<pid>/stat` and `status` are far shorter.
const MAX_STATUS: u64 = 16_384;

/// `/proc` counts in hundredths of a second wherever netd runs (`USER_HZ`).
const TICK_NS: u64 = 10_000_000;

/// Directories anyone can write to: few programs are installed there.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run/user"];

/// What `/proc` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub pid: u32,
    pub parent: u32,
    pub uid: u32,
    pub comm: String,
    /// `CLOCK_BOOTTIME` of its start, nanoseconds, to the clock tick (10 ms).
    pub started_boot_ns: u64,
    /// `None` for a kernel thread, or where we may not look.
    pub executable: Option<Executable>,
    /// Arguments; the last may be cut.
    pub command_line: Vec<String>,
}

/// The file a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// As in the process's own mount namespace, without the kernel's " (deleted)".
    pub path: PathBuf,
    /// The file has no name any more.
    pub deleted: bool,
    /// It never had one: memfd_create(2).
    pub memory: bool,
    /// It lies in a directory anyone can write to.
    pub temporary: bool,
}

/// Returns what is known of process `pid`, or `None` when it is gone, or began after `seen_boot_ns`: its number was
/// given to another.
#[must_use]
pub fn inspect(pid: u32, seen_boot_ns: Option<u64>) -> Option<Details> {
    inspect_in(Path::new("/proc"), pid, seen_boot_ns)
}

fn inspect_in(proc: &Path, pid: u32, seen_boot_ns: Option<u64>) -> Option<Details> {
    let directory = proc.join(pid.to_string());
    let stat = Stat::read(&directory)?;
    let started_boot_ns = stat.start.saturating_mul(TICK_NS);
    if seen_boot_ns.is_some_and(|seen| started_boot_ns > seen) {
        return None;
    }
    let details = Details {
        pid,
        parent: stat.parent,
        uid: uid(&directory)?,
        executable: executable(&directory),
        command_line: command_line(&directory),
        started_boot_ns,
        comm: stat.comm,
    };
    // Still the same one, so all of the above is its.
    let again = Stat::read(&directory)?;
    (again.start == stat.start).then_some(details)
}

struct Stat {
    comm: String,
    parent: u32,
    /// Clock ticks after boot.
    start: u64,
}

impl Stat {
    fn read(directory: &Path) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&read(&directory.join("stat"), MAX_STATUS)?))
    }

    /// The name is in parentheses and may hold anything, parentheses too; it is at most 64 bytes.
    fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = stat.rsplit_once(") ")?;
        let (_, comm) = head.split_once('(')?;
        let mut fields = tail.split_ascii_whitespace();
        // The first field behind the name is the third of proc(5).
        let parent = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self { comm: comm.to_owned(), parent, start })
    }
}

fn uid(directory: &Path) -> Option<u32> {
    let status = read(&directory.join("status"), MAX_STATUS)?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn executable(directory: &Path) -> Option<Executable> {
    let link = directory.join("exe");
    let path = fs::read_link(&link).ok()?;
    // Following the link reaches the file itself, whatever its name has become.
    let deleted = fs::metadata(&link).ok()?.nlink() == 0;
    let text = path.to_string_lossy();
    let memory = deleted && text.starts_with("/memfd:");
    let temporary = TEMPORARY.iter().any(|directory| path.starts_with(directory));
    let path = match text.strip_suffix(" (deleted)") {
        Some(name) if deleted => PathBuf::from(name),
        Some(_) | None => path,
    };
    Some(Executable { path, deleted, memory, temporary })
}

fn command_line(directory: &Path) -> Vec<String> {
    let bytes = read(&directory.join("cmdline"), MAX_COMMAND_LINE).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Returns this process, as of now.
#[must_use]
pub fn own() -> Option<Details> {
    inspect(std::process::id(), Some(clock::boot_ns()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_is_itself() {
        let details = own().unwrap();

        assert_eq!(details.pid, std::process::id());
        assert_eq!(details.executable.unwrap().path, std::env::current_exe().unwrap());
        assert_eq!(details.command_line, std::env::args().collect::<Vec<_>>());
        assert_eq!(details.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn one_that_began_after_it_was_seen_is_a_stranger() {
        assert_eq!(inspect(std::process::id(), Some(1)), None);
    }

    #[test]
    fn a_program_deleted_after_its_start_in_a_temporary_directory_is_known_as_both() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let program = directory.path().join("a (deleted) program");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("60").stdin(Stdio::null()).spawn().unwrap();
        fs::remove_file(&program).unwrap();

        let details = inspect(child.id(), Some(clock::boot_ns()));

        child.kill().unwrap();
        child.wait().unwrap();
        let executable = details.unwrap().executable.unwrap();
        assert_eq!(executable, Executable { path: program, deleted: true, memory: false, temporary: true });
    }

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) S 1 (b) c) S 42 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";

        let stat = Stat::parse(stat).unwrap();

        assert_eq!((stat.comm.as_str(), stat.parent, stat.start), ("a) S 1 (b) c", 42, 12_345));
    }

    #[test]
    fn what_is_short_or_empty_names_nobody() {
        for stat in ["", ")", "1 (", "1 (a) ", "1 (a) S 1", "1 (a) S x 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1"] {
            assert!(Stat::parse(stat).is_none(), "{stat}");
        }
    }
}
