//! Login sessions of the kernel's audit, as processes of `sshd` have them.
//!
//! `pam_loginuid` begins one after authentication, in the privileged process of the connection; before that the process has
//! its listener's, or none. So a process whose session is not its parent's has let somebody in. Only processes of root are
//! asked: any other may begin a session itself where it has none.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::read_bounded;
use crate::host::process::files::{numbered, uid};

/// Processes of sshd that are looked at, and descriptors of each.
const PROCESSES: usize = 1_024;
const DESCRIPTORS: usize = 256;
/// What /proc shows of a process without a session.
const NONE: &str = "4294967295";
const LONGEST: u64 = 4 << 10;

/// Returns the numbers of the sockets of sshd's processes that have let nobody in: the listening ones are among them, and
/// no port that somebody let in has had forwarded.
pub(super) fn unauthenticated(proc: &Path) -> BTreeSet<u32> {
    of_sshd(proc, false)
}

/// Returns the numbers of the sockets of those that have let somebody in.
pub(super) fn authenticated(proc: &Path) -> BTreeSet<u32> {
    of_sshd(proc, true)
}

fn of_sshd(proc: &Path, has_let_in: bool) -> BTreeSet<u32> {
    let directories = sshds(proc).into_iter();
    let wanted = directories.filter(|directory| has_begun_a_session(proc, directory) == has_let_in);
    wanted.flat_map(|directory| sockets(&directory)).collect()
}

/// Returns the directories of root's processes named `sshd` or, as its later versions, `sshd-session`.
fn sshds(proc: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let directories = entries.flatten().map(|entry| entry.path());
    let is_sshd = |directory: &PathBuf| {
        read_bounded(&directory.join("comm"), LONGEST)
            .is_some_and(|name| matches!(name.trim_end(), "sshd" | "sshd-session"))
    };
    directories
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok()))
        .filter(is_sshd)
        .filter(|directory| uid(directory) == Some(0))
        .take(PROCESSES)
        .collect()
}

fn has_begun_a_session(proc: &Path, directory: &Path) -> bool {
    let session = |directory: &Path| read_bounded(&directory.join("sessionid"), LONGEST);
    let Some(own) = session(directory).filter(|own| own.trim_end() != NONE) else { return false };
    let Some(parent) = parent(directory) else { return false };
    // A parent that is gone cannot be compared with.
    session(&proc.join(parent)).is_some_and(|theirs| theirs.trim_end() != own.trim_end())
}

fn parent(directory: &Path) -> Option<String> {
    let status = read_bounded(&directory.join("status"), LONGEST)?;
    Some(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned())
}

fn sockets(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory.join("fd")) else { return Vec::new() };
    let links = entries.flatten().take(DESCRIPTORS).filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter_map(|link| socket(&link.to_string_lossy())).collect()
}

fn socket(link: &str) -> Option<u32> {
    let (kind, number) = numbered(link)?;
    (kind == "socket").then(|| u32::try_from(number).ok()).flatten()
}
