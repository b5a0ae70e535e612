//! From the kernel's number of a cgroup to its path.
//!
//! The number is the inode of the cgroup's directory in the unified hierarchy, wherever that is mounted. So a process
//! that is gone is still placed as long as its cgroup is there. On a host of version 1 processes lie in the root of
//! that hierarchy and only `/proc/<pid>/cgroup` can tell.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    os::{fd::OwnedFd, unix::fs::DirEntryExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, open};

use super::path::{Place, place};

/// Places remembered.
const LIMIT: usize = 16_384;
/// Directories looked at in one walk.
const MAX_WALK: usize = 65_536;

/// The cgroups of this host that were asked for.
#[derive(Debug)]
pub struct Tree {
    mount: Option<(PathBuf, OwnedFd)>,
    places: HashMap<u64, Arc<Place>>,
    order: VecDeque<u64>,
}

impl Tree {
    /// Finds the unified hierarchy in this process's mounts; without one nothing is known.
    #[must_use]
    pub fn open() -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = unified(&mountinfo).and_then(|path| {
            let fd = open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            Some((path, fd))
        });
        Self { mount, places: HashMap::new(), order: VecDeque::new() }
    }

    /// Returns the mount point of the unified hierarchy.
    #[must_use]
    pub fn mount(&self) -> Option<&Path> {
        self.mount.as_ref().map(|(path, _)| path.as_path())
    }

    /// Returns the place of cgroup `id`; `None` when it is gone, or the number is none of this hierarchy's.
    pub fn place(&mut self, id: u64) -> Option<Arc<Place>> {
        if let Some(place) = self.places.get(&id) {
            return Some(place.clone());
        }
        let (root, fd) = self.mount.as_ref()?;
        let path = match handle::open(fd, id) {
            Ok(found) => fs::read_link(handle::link(&found)).ok()?,
            Err(rustix::io::Errno::PERM | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => walk(root, id)?,
            Err(_) => return None,
        };
        let inside = path.strip_prefix(root).ok()?.to_string_lossy();
        let place = Arc::new(place(&format!("/{inside}")));
        if self.order.len() >= LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        self.order.push_back(id);
        self.places.insert(id, place.clone());
        Some(place)
    }
}

/// Returns the widest mount of cgroup2: one of the tree's root rather than of a part.
fn unified(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        (filesystem.split(' ').next()? == "cgroup2").then_some((fields.next()?, fields.next()?))
    });
    mounts.min_by_key(|(root, _)| root.len()).map(|(_, path)| PathBuf::from(path))
}

/// Looks for the directory whose inode is `id`.
fn walk(root: &Path, id: u64) -> Option<PathBuf> {
    let mut queue = VecDeque::from([root.to_owned()]);
    for _ in 0..MAX_WALK {
        let directory = queue.pop_front()?;
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.ino() == id {
                return Some(entry.path());
            }
            queue.push_back(entry.path());
        }
    }
    None
}

/// Opening a directory of the hierarchy by its number.
mod handle {
    use std::{
        os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        path::PathBuf,
    };

    use rustix::io::Errno;

    /// `FILEID_KERNFS`: a handle that is the number alone (Linux 5.5).
    const KERNFS: i32 = 0xfe;

    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }

    pub(super) fn open(mount: &OwnedFd, id: u64) -> Result<OwnedFd, Errno> {
        let mut handle = Handle { bytes: 8, kind: KERNFS, id: id.to_ne_bytes() };
        // SAFETY: `Handle` has the layout of `struct file_handle` with the eight bytes its length announces, and lives
        // across the call; the descriptor is borrowed, so it is open.
        let fd = unsafe {
            libc::open_by_handle_at(
                mount.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY,
            )
        };
        if fd < 0 {
            return Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error));
        }
        // SAFETY: the call succeeded, so the descriptor is new and ours alone.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(super) fn link(fd: &OwnedFd) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// A cgroup made for a test and removed after it; `None` where that is not allowed.
    struct Made(PathBuf);

    impl Made {
        fn new(tree: &Tree, name: &str) -> Option<Self> {
            let path = tree.mount()?.join(format!("netd-test-{name}-{}", std::process::id()));
            fs::create_dir(&path).ok()?;
            Some(Self(path))
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn a_cgroups_number_leads_to_its_path() {
        let mut tree = Tree::open();
        let Some(made) = Made::new(&tree, "number") else { return netd_lab::left_out!("cannot make a cgroup") };
        let id = fs::metadata(&made.0).unwrap().ino();

        let place = tree.place(id).unwrap();

        let name = made.0.file_name().unwrap().to_str().unwrap();
        assert_eq!(place.path.as_deref(), Some(format!("/{name}").as_str()));
        assert_eq!(walk(tree.mount().unwrap(), id), Some(made.0.clone()));
    }

    #[test]
    fn a_place_is_remembered_when_its_cgroup_is_gone() {
        let mut tree = Tree::open();
        let Some(made) = Made::new(&tree, "gone") else { return netd_lab::left_out!("cannot make a cgroup") };
        let id = fs::metadata(&made.0).unwrap().ino();
        let before = tree.place(id);
        drop(made);

        assert_eq!(tree.place(id), before);
        assert_eq!(Tree::open().place(id), None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_beside_the_old_ones() {
        let mounts = "1 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      4 2 0:5 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

        assert_eq!(unified(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(unified("garbage\n1 2 - \n - cgroup2"), None);
    }
}
