//! What a descriptor leads to, judged by what the file is rather than by its name: a process chooses names.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, path::Path};

use netd_engine::streams::{Access, Object};
use rustix::fs::{AtFlags, FileType, StatxFlags, makedev, readlinkat, statat, statfs, statx};

use crate::host::process::files::numbered;

/// Major numbers of devices (the kernel's `devices.txt`).
const CONSOLES: [u32; 8] = [3, 4, 166, 188, 204, 229, 2, 227];
const TTY_AUX: u32 = 5;
/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS: u64 = 0x1cd1;
/// Unix98 slaves; the index is the minor number, all of it.
const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;

/// Reads one entry of `/proc/<pid>/fd`, opened as `directory`; `terminal` is the device that controls the process.
/// `None` when it is closed already.
pub(super) fn read(process: &Path, directory: &OwnedFd, name: &str, terminal: u32) -> Option<(Object, Access)> {
    let link = readlinkat(directory, name, Vec::new()).ok()?;
    let link = link.to_string_lossy();
    if let Some((kind, inode)) = numbered(&link) {
        return match kind {
            "socket" => Some((Object::Socket { inode }, Access::Both)),
            "pipe" => Some((Object::Pipe { inode }, access(directory, name)?)),
            _ => Some((Object::Other, Access::Both)),
        };
    }
    if !link.starts_with('/') {
        return Some((Object::Other, Access::Both));
    }
    // From what the kernel has: a file of a server that hangs must not hold us.
    let wanted = StatxFlags::TYPE | StatxFlags::INO;
    let stat = statx(directory, name, AtFlags::STATX_DONT_SYNC, wanted).ok()?;
    let object = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Fifo => Object::Fifo { device: makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino },
        FileType::CharacterDevice => {
            let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
            character((stat.stx_rdev_major, stat.stx_rdev_minor), device, terminal, || master(process, name, device))
        }
        FileType::RegularFile
        | FileType::Directory
        | FileType::Symlink
        | FileType::Socket
        | FileType::BlockDevice
        | FileType::Unknown => Object::Other,
    };
    let access = if object == Object::Other { Access::Both } else { access(directory, name)? };
    Some((object, access))
}

/// Tells a character device by its number; `device` is the file system that its node lies in.
fn character(number: (u32, u32), device: u64, terminal: u32, master: impl FnOnce() -> Option<(u64, u32)>) -> Object {
    match number {
        // `/dev/tty` is whatever terminal controls the process.
        (TTY_AUX, 0) => controlling(terminal),
        (TTY_AUX, 2) => master().map_or(Object::Console, |(device, index)| Object::TerminalMaster { device, index }),
        (major, index) if SLAVES.contains(&major) => Object::Terminal { device, index },
        (major, _) if major == TTY_AUX || CONSOLES.contains(&major) => Object::Console,
        _ => Object::Other,
    }
}

/// Takes apart the device number that `/proc/<pid>/stat` gives.
fn controlling(terminal: u32) -> Object {
    let (major, minor) = (terminal >> 8 & 0xfff, terminal & 0xff | terminal >> 12 & 0xf_ff00);
    if SLAVES.contains(&major) { Object::Terminal { device: 0, index: minor } } else { Object::Console }
}

/// Returns the devpts instance of a pseudo-terminal's master and its index there.
///
/// A master that was opened by the instance's own `ptmx`, as containers do, says which one that is. One opened by a node
/// elsewhere belongs to whatever was mounted beside that node then, which nobody tells afterwards: 0.
fn master(process: &Path, name: &str, device: u64) -> Option<(u64, u32)> {
    let system = statfs(process.join("fd").join(name)).ok()?;
    // Its type differs between architectures.
    let is_own = u64::try_from(system.f_type).is_ok_and(|kind| kind == DEVPTS);
    Some((if is_own { device } else { 0 }, index(process, name)?))
}

/// Returns the index of a pseudo-terminal's master.
fn index(process: &Path, name: &str) -> Option<u32> {
    let mut text = String::new();
    File::open(process.join("fdinfo").join(name)).ok()?.take(4_096).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("tty-index:"))?.trim().parse().ok()
}

/// Reads how it was opened, which the link's own mode says.
fn access(directory: &OwnedFd, name: &str) -> Option<Access> {
    let mode = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_mode;
    Some(match (mode & 0o400 != 0, mode & 0o200 != 0) {
        (true, false) => Access::Read,
        (false, true) => Access::Write,
        (true, true) | (false, false) => Access::Both,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_known_by_its_device() {
        let none = || None;

        assert_eq!(character((136, 300), 7, 0, none), Object::Terminal { device: 7, index: 300 });
        assert_eq!(character((5, 2), 7, 0, || Some((7, 4))), Object::TerminalMaster { device: 7, index: 4 });
        assert_eq!(character((5, 1), 7, 0, none), Object::Console);
        assert_eq!(character((4, 64), 7, 0, none), Object::Console);
        assert_eq!(character((1, 3), 7, 0, none), Object::Other);
    }

    #[test]
    fn the_terminal_that_controls_a_process_stands_behind_its_common_name() {
        // 136:5 and 136:300 as the kernel packs them.
        assert_eq!(character((5, 0), 7, 136 << 8 | 5, || None), Object::Terminal { device: 0, index: 5 });
        assert_eq!(character((5, 0), 7, 136 << 8 | 44 | 1 << 20, || None), Object::Terminal { device: 0, index: 300 });
        assert_eq!(character((5, 0), 7, 4 << 8 | 1, || None), Object::Console);
    }
}
