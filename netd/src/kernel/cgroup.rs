//! Where cgroup v2 is mounted: hybrid hosts have it beside the old controllers.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::PathBuf,
};

/// The root of the cgroup v2 tree that this process can see.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) directory: File,
    /// Its inode, which is its number in links.
    pub(super) id: u64,
}

impl Root {
    /// Finds and opens it; `None` when it is not mounted.
    pub(super) fn find() -> io::Result<Option<Self>> {
        // The thread's, not the process's: laboratories give their threads a mount namespace of their own.
        let Some(path) = mount_point(&std::fs::read("/proc/thread-self/mountinfo")?) else { return Ok(None) };
        let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path)?;
        let id = directory.metadata()?.ino();
        Ok(Some(Self { path, directory, id }))
    }
}

/// Returns the widest mount of cgroup v2: one of the tree's root rather than of a part.
fn mount_point(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
            // proc(5): optional fields end with a lone hyphen, the file system's type follows.
            let hyphen = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
            (*fields.get(hyphen + 1)? == b"cgroup2").then_some((*fields.get(3)?, *fields.get(4)?))
        })
        .min_by_key(|(root, _)| root.len())
        .map(|(_, mount_point)| PathBuf::from(std::ffi::OsString::from_vec(unescape(mount_point))))
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_has_it_beside_the_old_ones() {
        let mountinfo = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

        assert_eq!(mount_point(mountinfo), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn the_whole_tree_comes_before_a_part_of_it() {
        let mountinfo = b"40 31 0:38 /a/b /mnt/part rw - cgroup2 cgroup2 rw\n\
            41 31 0:38 / /mnt/with\\040space rw - cgroup2 cgroup2 rw\n";

        assert_eq!(mount_point(mountinfo), Some(PathBuf::from("/mnt/with space")));
    }

    #[test]
    fn a_host_without_it_has_none() {
        assert_eq!(mount_point(b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\ngarbage - cgroup2\n"), None);
    }
}
