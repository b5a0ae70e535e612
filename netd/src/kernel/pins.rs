//! netd's directory in bpffs: what is pinned there outlives the daemon.
//!
//! ```text
//! /sys/fs/bpf/netd/        0700, locked by the daemon that uses it
//!     v1/maps/CONTROL      0600, by the layout's version, so that no daemon adopts maps it would misread
//!     v1/links/...         0600
//! ```
//! Permission to open a pin is permission to switch enforcement off, hence the modes; and bpffs itself is often
//! writable for everyone, hence the look at who owns a directory that is already there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use netd_common::names::ABI;
use nix::mount::{MsFlags, mount};
use rustix::fs::{FlockOperation, flock, statfs};

use super::{Error, sys};

const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The directory, held exclusively.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    /// Its lock goes with the process, however that ends.
    _lock: File,
    /// Nobody had pinned anything here.
    pub(super) is_new: bool,
}

impl Pins {
    /// Opens the directory, and makes it and mounts bpffs where they are missing.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        mount_bpffs(root)?;
        let version = root.join(format!("v{ABI}"));
        make_directory(root)?;
        let lock = lock(root)?;
        let is_new = !version.exists();
        for directory in [&version, &version.join("maps"), &version.join("links")] {
            make_directory(directory)?;
        }
        Ok(Self { root: root.to_owned(), _lock: lock, is_new })
    }

    /// Opens the directory if there is one, to clear it.
    pub(super) fn open_existing(root: &Path) -> Result<Option<Self>, Error> {
        if !root.exists() {
            return Ok(None);
        }
        check_owner(root)?;
        Ok(Some(Self { root: root.to_owned(), _lock: lock(root)?, is_new: false }))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.root.join(format!("v{ABI}/maps/{name}"))
    }

    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    fn links(&self) -> PathBuf {
        self.root.join(format!("v{ABI}/links"))
    }

    /// Returns the names of all pinned links.
    pub(super) fn link_names(&self) -> Result<Vec<String>, Error> {
        let path = self.links();
        entries(&path).map_err(|source| Error::Directory { doing: "list", path, source })
    }

    /// Detaches the link pinned as `name` and removes the pin. Removing the pin alone would not detach while anybody
    /// holds the link, nor before the kernel comes round to it.
    pub(super) fn detach(&self, name: &str) -> Result<(), Error> {
        detach(&self.link(name))
    }

    /// Detaches every link of every version and removes every pin; returns how many links there were.
    ///
    /// Goes on after a failure, and returns the first.
    pub(super) fn clear(&self) -> Result<usize, Error> {
        let mut cleared = Clearing::default();
        let versions = cleared.entries(&self.root);
        for version in versions.iter().filter(|name| name.starts_with('v')) {
            let version = self.root.join(version);
            for link in cleared.entries(&version.join("links")) {
                cleared.links += 1;
                cleared.note(detach(&version.join("links").join(link)));
            }
            for map in cleared.entries(&version.join("maps")) {
                cleared.remove(&version.join("maps").join(map), |path| fs::remove_file(path));
            }
            for directory in [version.join("links"), version.join("maps"), version] {
                cleared.remove(&directory, |path| fs::remove_dir(path));
            }
        }
        cleared.remove(&self.root, |path| fs::remove_dir(path));
        cleared.failure.map_or(Ok(cleared.links), Err)
    }
}

#[derive(Default)]
struct Clearing {
    links: usize,
    failure: Option<Error>,
}

impl Clearing {
    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    fn entries(&mut self, path: &Path) -> Vec<String> {
        let names = match entries(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names,
        };
        let names = names.map_err(|source| Error::Directory { doing: "list", path: path.to_owned(), source });
        self.note(names).unwrap_or_default()
    }

    fn remove(&mut self, path: &Path, remove: impl FnOnce(&Path) -> io::Result<()>) {
        let removed = match remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        self.note(removed.map_err(|source| Error::Directory { doing: "remove", path: path.to_owned(), source }));
    }
}

/// Opens what is pinned at `path`, if anything is.
pub(super) fn open_pin(path: &Path) -> Result<Option<OwnedFd>, Error> {
    match sys::object_get(path) {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(source) => Err(Error::Pin { doing: "open", path: path.to_owned(), source }),
    }
}

fn detach(path: &Path) -> Result<(), Error> {
    let failed = |doing| move |source| Error::Pin { doing, path: path.to_owned(), source };
    if let Some(link) = open_pin(path)? {
        match sys::link_detach(&link) {
            Ok(()) => {}
            // Its interface or cgroup is gone, or an older kernel cannot detach links of this type: there, removing
            // the last pin does, if later.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOLINK | libc::EOPNOTSUPP | libc::EINVAL)) => {}
            Err(error) => return Err(failed("detach the link")(error)),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove")),
    }
}

fn entries(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Mounts bpffs at its usual place, where `root` belongs there and nobody has done so: in a container or a fresh
/// mount namespace.
fn mount_bpffs(root: &Path) -> Result<(), Error> {
    let existing = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if is_bpffs(existing)? {
        return Ok(());
    }
    if !root.starts_with(MOUNT_POINT) || !Path::new(MOUNT_POINT).exists() {
        return Err(Error::NotBpffs { path: root.to_owned() });
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), MOUNT_POINT, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| Error::Mount { path: PathBuf::from(MOUNT_POINT), source: errno.into() })?;
    tracing::info!(path = MOUNT_POINT, "mounted bpffs, which was missing");
    Ok(())
}

fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let found = statfs(path).map_err(|source| Error::Directory {
        doing: "examine",
        path: path.to_owned(),
        source: source.into(),
    })?;
    // The field's type differs between architectures; the magic number fits all.
    Ok(found.f_type as u64 & 0xffff_ffff == BPF_FS_MAGIC)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Directory { doing: "make", path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_owner(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a directory that another user has put in our place.
fn check_owner(path: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(|source| Error::Directory {
        doing: "examine",
        path: path.to_owned(),
        source,
    })?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::ForeignDirectory { path: path.to_owned() });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Directory { doing: "open", path: path.to_owned(), source };
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(error.into())),
    }
}
