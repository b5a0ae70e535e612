//! The files of `/proc/<pid>`, each read with a limit and parsed without trust: a process writes its own name and
//! arguments.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::host::executable::Stamp;

/// Longest command line kept, in bytes; and longest argument.
const MAX_COMMAND_LINE: u64 = 4_096;
const MAX_ARGUMENT: usize = 1_024;
/// `/proc/<pid>/stat` and `status` are far shorter.
const MAX_STATUS: u64 = 16_384;

/// Directories anyone can write to: few programs are installed there.
const TEMPORARY: [&str; 8] =
    ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/shm", "/run/user", "/run/lock", "/var/lock"];

/// Of the flags in `/proc/<pid>/stat`, include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;

/// `/proc/<pid>/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) comm: String,
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// The device number of the terminal that controls it; 0 for none.
    pub(crate) terminal: u32,
    /// A thread of the kernel.
    pub(crate) is_kernels: bool,
    /// Clock ticks after boot.
    pub(crate) start: u64,
}

impl Stat {
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let bytes = bounded(&directory.join("stat"), MAX_STATUS)?;
        Self::parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The name is in parentheses and may hold anything, parentheses too; it is at most 64 bytes.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = stat.rsplit_once(") ")?;
        let (_, comm) = head.split_once('(')?;
        let mut fields = tail.split_ascii_whitespace();
        // The first field behind the name is the third of proc(5).
        let parent = fields.nth(1)?.parse().ok()?;
        // One of another pid namespace is told as 0; none is negative.
        let group = fields.next()?.parse().unwrap_or_default();
        let terminal: i32 = fields.nth(1)?.parse().ok()?;
        let flags: u32 = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(12)?.parse().ok()?;
        let is_kernels = flags & PF_KTHREAD != 0;
        Some(Self { comm: comm.to_owned(), parent, group, terminal: terminal.cast_unsigned(), is_kernels, start })
    }
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
    pub stamp: Stamp,
}

impl Executable {
    /// Reads `/proc/<pid>/exe`; a kernel thread has none.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let link = directory.join("exe");
        let path = match fs::read_link(&link) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Following the link reaches the file itself, whatever its name has become.
        let stamp = Stamp::read(&link)?;
        Ok(Some(Self::new(&path, stamp)))
    }

    fn new(path: &Path, stamp: Stamp) -> Self {
        let deleted = stamp.links == 0;
        let text = path.as_os_str().as_bytes();
        let memory = deleted && text.starts_with(b"/memfd:");
        let name = text.strip_suffix(b" (deleted)").filter(|_| deleted).unwrap_or(text);
        let path = PathBuf::from(OsStr::from_bytes(name));
        Self { temporary: is_temporary(&path), path, deleted, memory, stamp }
    }
}

/// Returns whether a file lies where anyone may write.
pub(crate) fn is_temporary(path: &Path) -> bool {
    TEMPORARY.iter().any(|directory| path.starts_with(directory))
}

/// Reads the real user's number.
pub(crate) fn uid(directory: &Path) -> Option<u32> {
    let status = bounded(&directory.join("status"), MAX_STATUS).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Reads the arguments; long ones are cut.
pub(super) fn command_line(directory: &Path) -> Vec<String> {
    let bytes = bounded(&directory.join("cmdline"), MAX_COMMAND_LINE).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let argument = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_ARGUMENT)]).into_owned();
    bytes.split(|byte| *byte == 0).map(argument).collect()
}

pub(super) fn cgroup(directory: &Path) -> Option<String> {
    bounded(&directory.join("cgroup"), MAX_STATUS).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns where the executable lies, without more.
pub(crate) fn executable_path(directory: &Path) -> Option<String> {
    let path = fs::read_link(directory.join("exe")).ok()?.to_string_lossy().into_owned();
    Some(path.strip_suffix(" (deleted)").map_or(path.clone(), str::to_owned))
}

pub(super) fn current_directory(directory: &Path) -> Option<String> {
    Some(fs::read_link(directory.join("cwd")).ok()?.to_string_lossy().into_owned())
}

/// Returns the inode of a namespace (`net`, `mnt`), 0 where we may not look.
pub(crate) fn namespace(directory: &Path, kind: &str) -> u64 {
    let link = fs::read_link(directory.join("ns").join(kind)).unwrap_or_default();
    numbered(&link.to_string_lossy()).map_or(0, |(_, inode)| inode)
}

/// Splits `kind:[inode]`.
pub(crate) fn numbered(link: &str) -> Option<(&str, u64)> {
    let (kind, rest) = link.split_once(":[")?;
    Some((kind, rest.strip_suffix(']')?.parse().ok()?))
}

pub(crate) fn bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) S 1 (b) c) S 42 7 7 34816 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";

        let expected = Stat {
            comm: "a) S 1 (b) c".into(),
            parent: 42,
            group: 7,
            terminal: 34_816,
            is_kernels: false,
            start: 12_345,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
    }

    #[test]
    fn what_is_short_or_empty_names_nobody() {
        for stat in ["", ")", "1 (", "1 (a) ", "1 (a) S 1", "1 (a) S x 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1"] {
            assert!(Stat::parse(stat).is_none(), "{stat}");
        }
    }

    #[test]
    fn a_file_whose_name_ends_like_the_kernels_remark_is_not_deleted() {
        let path = Path::new("/usr/bin/x (deleted)");

        let (alive, gone) = (Stamp { links: 1, ..Stamp::default() }, Stamp::default());

        assert_eq!(Executable::new(path, alive).path, path);
        assert_eq!(Executable::new(path, gone).path, Path::new("/usr/bin/x"));
    }

    #[test]
    fn a_file_that_never_had_a_name_is_told_from_one_named_alike() {
        let path = Path::new("/memfd:x (deleted)");

        assert!(Executable::new(path, Stamp::default()).memory);
        assert!(!Executable::new(path, Stamp { links: 1, ..Stamp::default() }).memory);
    }

    #[test]
    fn a_directory_that_only_begins_like_a_temporary_one_is_none() {
        assert!(is_temporary(Path::new("/dev/shm/x")));
        assert!(!is_temporary(Path::new("/tmpfoo/x")));
    }

    proptest! {
        #[test]
        fn no_content_makes_the_readers_panic(text in "\\PC{0,60}|[0-9a-z():\\[\\] ]{0,120}") {
            let _ = Stat::parse(&text);
            let _ = numbered(&text);
        }
    }
}
