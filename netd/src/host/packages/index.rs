//! Paths by hash, with the package of each.

use std::{
    hash::{BuildHasher as _, RandomState},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
};

use super::{Error, alias::Aliases};

/// Files kept: 48 MB. A big desktop has half a million.
const LIMIT: usize = 4_000_000;

/// Who owns a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Package(Arc<str>),
    /// The databases are read, and none has it.
    Nobody,
    /// There is no database, or it is not read.
    Unknown,
}

/// The files of all packages.
#[derive(Debug, Default)]
pub struct Index {
    /// Keyed at random, so that no package can choose a path that collides.
    hasher: RandomState,
    aliases: Aliases,
    /// Sorted.
    hashes: Vec<u64>,
    /// Of the same length: indices of `names`.
    owners: Vec<u32>,
    names: Vec<Arc<str>>,
    is_complete: bool,
}

impl Index {
    /// Returns who owns an absolute path.
    #[must_use]
    pub fn owner(&self, path: &Path) -> Owner {
        let hash = self.aliases.resolved(path.as_os_str().as_bytes(), |path| self.hasher.hash_one(path));
        let found = self.hashes.binary_search(&hash).ok().and_then(|index| {
            let owner = self.owners.get(index)?;
            self.names.get(*owner as usize)
        });
        match found {
            Some(name) => Owner::Package(name.clone()),
            None if self.is_complete && !self.names.is_empty() => Owner::Nobody,
            None => Owner::Unknown,
        }
    }

    #[must_use]
    pub const fn files(&self) -> usize {
        self.hashes.len()
    }

    #[must_use]
    pub const fn packages(&self) -> usize {
        self.names.len()
    }

    /// Returns the memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len() + 32).sum();
        self.hashes.capacity() * 8 + self.owners.capacity() * 4 + names
    }
}

/// An index that is being read.
pub(super) struct Builder {
    hasher: RandomState,
    aliases: Aliases,
    files: Vec<(u64, u32)>,
    names: Vec<Arc<str>>,
    is_complete: bool,
}

impl Builder {
    pub(super) fn new(root: &Path) -> Self {
        let aliases = Aliases::read(root);
        Self { hasher: RandomState::new(), aliases, files: Vec::new(), names: Vec::new(), is_complete: true }
    }

    /// Notes that a database could not be read.
    pub(super) const fn incomplete(&mut self) {
        self.is_complete = false;
    }

    /// Begins a package; the files that follow are its.
    pub(super) fn package(&mut self, name: &str) {
        self.names.push(Arc::from(name));
    }

    /// Adds a file of the last package.
    pub(super) fn file(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.files.len() >= LIMIT {
            return Err(Error::TooMany { limit: LIMIT });
        }
        let hash = self.aliases.resolved(path, |path| self.hasher.hash_one(path));
        self.files.push((hash, self.names.len().saturating_sub(1) as u32));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Index {
        self.files.sort_unstable();
        self.files.dedup_by_key(|(hash, _)| *hash);
        Index {
            hasher: self.hasher,
            aliases: self.aliases,
            hashes: self.files.iter().map(|(hash, _)| *hash).collect(),
            owners: self.files.iter().map(|(_, owner)| *owner).collect(),
            names: self.names,
            is_complete: self.is_complete,
        }
    }
}
