//! netd's directory in bpffs: what is pinned there outlives the daemon.
//!
//! ```text
//! /sys/fs/bpf/netd/        0700, locked by the daemon that uses it
//!     v1/maps/CONTROL      0600, by the layout's version, so that no daemon adopts maps it would misread
//!     v1/links/...         0600
//!     gone-v1              a layout's maps on their way out: nothing is attached to them
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
    thread,
    time::Duration,
};

use nix::mount::{MsFlags, mount};
use rustix::fs::{FlockOperation, flock, statfs};

use super::{Error, sys};

const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// How often, and after what pause, a directory that is locked is tried: half a second.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What a version's directory is called while it is removed.
const GONE: &str = "gone-";

/// The directory, held exclusively.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    /// Of this daemon's layout.
    version: PathBuf,
    /// Its lock goes with the process, however that ends.
    _lock: File,
    /// Nobody had pinned anything in this layout.
    pub(super) is_new: bool,
    /// Other layouts that are pinned here.
    former: Vec<PathBuf>,
}

impl Pins {
    /// Opens the directory for maps of `layout`, and makes it and mounts bpffs where they are missing.
    pub(super) fn open(root: &Path, layout: u32) -> Result<Self, Error> {
        mount_bpffs(root)?;
        make_directory(root)?;
        let lock = lock(root)?;
        let version = root.join(format!("v{layout}"));
        let former = other_layouts(root, &version)?;
        remove_gone(root)?;
        let is_new = !version.exists();
        for directory in [&version, &version.join("maps"), &version.join("links")] {
            make_directory(directory)?;
        }
        Ok(Self { root: root.to_owned(), version, _lock: lock, is_new, former })
    }

    /// Opens the directory if there is one, to clear it.
    pub(super) fn open_existing(root: &Path) -> Result<Option<Self>, Error> {
        if !root.exists() {
            return Ok(None);
        }
        check_owner(root)?;
        let (version, former) = (root.to_owned(), Vec::new());
        Ok(Some(Self { root: root.to_owned(), version, _lock: lock(root)?, is_new: false, former }))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.version.join("maps").join(name)
    }

    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    fn links(&self) -> PathBuf {
        self.version.join("links")
    }

    /// Returns the directories of other layouts.
    pub(super) fn former(&self) -> &[PathBuf] {
        &self.former
    }

    /// Makes directories again that somebody has removed.
    pub(super) fn restore_directories(&mut self) -> Result<(), Error> {
        if !self.root.exists() {
            make_directory(&self.root)?;
            // The lock was on the directory that is gone.
            self._lock = lock(&self.root)?;
        }
        [self.version.clone(), self.version.join("maps"), self.links()].iter().try_for_each(|path| make_directory(path))
    }

    /// Forgets other layouts, which have been cleared.
    pub(super) fn forget_former(&mut self) {
        self.former.clear();
    }

    /// Returns what is pinned in the links of another layout.
    pub(super) fn former_links(&self) -> Result<Vec<PathBuf>, Error> {
        // One that was killed at its beginning has no links yet.
        let mut listed = Clearing::default();
        let links = self.former.iter().flat_map(|version| listed.entries(&version.join("links"))).collect();
        listed.failure.map_or(Ok(links), Err)
    }

    /// Detaches every link of other layouts and removes their pins. What fails is returned and stays, to be tried again
    /// at the next start.
    pub(super) fn remove_former(&mut self) -> Vec<Error> {
        let mut failures = Vec::new();
        for version in std::mem::take(&mut self.former) {
            if let Err(error) = self.remove_version(&version) {
                failures.push(error);
            }
        }
        failures
    }

    fn remove_version(&self, version: &Path) -> Result<(), Error> {
        let mut cleared = Clearing::default();
        cleared.detach_all(version);
        if let Some(error) = cleared.failure {
            return Err(error);
        }
        // In one step: half of a layout's maps must not be adopted by whoever comes back to it.
        let name = version.file_name().unwrap_or_default().to_string_lossy();
        let gone = self.root.join(format!("{GONE}{name}"));
        fs::rename(version, &gone).map_err(|source| Error::Directory {
            doing: "rename",
            path: version.to_owned(),
            source,
        })?;
        remove_gone(&self.root)
    }

    /// Detaches and removes this layout alone.
    pub(super) fn withdraw(&self) -> Result<(), Error> {
        self.remove_version(&self.version)?;
        if self.former.is_empty() {
            fs::remove_dir(&self.root).map_err(|source| Error::Directory {
                doing: "remove",
                path: self.root.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Returns the names of all pinned links.
    pub(super) fn link_names(&self) -> Result<Vec<String>, Error> {
        let path = self.links();
        let names = entries(&path).map_err(listing(&path))?;
        Ok(names.iter().filter_map(|path| name_of(path)).collect())
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
        for version in cleared.entries(&self.root) {
            if name_of(&version).is_some_and(|name| name.starts_with('v') || name.starts_with(GONE)) {
                cleared.detach_all(&version);
                cleared.remove_all(&version);
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
    /// Detaches a layout's links.
    fn detach_all(&mut self, version: &Path) {
        for link in self.entries(&version.join("links")) {
            self.links += 1;
            self.note(detach(&link));
        }
    }

    /// Removes a layout's maps and directories; nothing may be attached to them.
    fn remove_all(&mut self, version: &Path) {
        for map in self.entries(&version.join("maps")) {
            self.remove(&map, |path| fs::remove_file(path));
        }
        for directory in [version.join("links"), version.join("maps"), version.to_owned()] {
            self.remove(&directory, |path| fs::remove_dir(path));
        }
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    fn entries(&mut self, path: &Path) -> Vec<PathBuf> {
        let paths = match entries(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            paths => paths,
        };
        self.note(paths.map_err(listing(path))).unwrap_or_default()
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

/// Returns the directories of layouts other than `own`'s.
fn other_layouts(root: &Path, own: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut others = Vec::new();
    for path in entries(root).map_err(listing(root))? {
        let name = name_of(&path).unwrap_or_default();
        let Some(number) = name.strip_prefix('v') else { continue };
        let is_known = number.parse::<u32>().is_ok()
            && entries(&path)
                .map_err(listing(&path))?
                .iter()
                .all(|entry| matches!(name_of(entry).as_deref(), Some("maps" | "links")));
        if !is_known {
            return Err(Error::UnknownLayout { path });
        }
        if path != own {
            others.push(path);
        }
    }
    Ok(others)
}

/// Finishes a removal that was cut short.
fn remove_gone(root: &Path) -> Result<(), Error> {
    let mut cleared = Clearing::default();
    for path in cleared.entries(root) {
        if name_of(&path).is_some_and(|name| name.starts_with(GONE)) {
            cleared.remove_all(&path);
        }
    }
    cleared.failure.map_or(Ok(()), Err)
}

fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn listing(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Directory { doing: "list", path, source }
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

/// Locks the directory. Whoever has it may be about to end: it is asked for again for a moment.
fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Directory { doing: "open", path: path.to_owned(), source };
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(Error::InUse { path: path.to_owned() })
}
