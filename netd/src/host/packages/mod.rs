//! Which package owns a file, read from the package managers' databases directly.
//!
//! The index is built on a thread of its own, once and again whenever a database changes. It keeps a keyed hash of each
//! path rather than the path: twelve bytes a file.

mod alias;
mod apk;
mod dpkg;
mod header;
mod index;
mod rpm;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;

pub use index::{Index, Owner};

/// How often the databases are asked whether they changed.
const INTERVAL: Duration = Duration::from_secs(60);

/// A database that is there but cannot be read: what it owns is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the package database {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the rpm database {path}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("the rpm database {path} is in a format (Berkeley DB or ndb) that netd does not read")]
    Unsupported { path: PathBuf },
    #[error("the package databases have more files than the {limit} that are kept")]
    TooMany { limit: usize },
}

/// Who owns the files of this host, kept up to date.
#[derive(Debug)]
pub struct Packages {
    index: Arc<ArcSwap<Index>>,
    generation: Arc<AtomicU64>,
    /// Dropping it ends the thread.
    _alive: SyncSender<()>,
}

impl Packages {
    /// Starts to read the databases below `root`, usually `/`. Until that is done every owner is unknown.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(root: PathBuf) -> io::Result<Self> {
        let index = Arc::new(ArcSwap::from_pointee(Index::default()));
        let (alive, ended) = sync_channel(0);
        let shared = index.clone();
        let generation = Arc::new(AtomicU64::new(0));
        let counted = generation.clone();
        thread::Builder::new().name("netd-packages".into()).spawn(move || {
            // Reading 200,000 paths is nobody's hurry.
            let _ = rustix::process::setpriority_process(None, 10);
            let mut seen = None;
            loop {
                // Taken before reading: what changes meanwhile is seen at the next turn.
                let stamp = stamp(&root);
                if seen.as_ref() != Some(&stamp) {
                    shared.store(Arc::new(read(&root)));
                    counted.fetch_add(1, Ordering::Release);
                    seen = Some(stamp);
                }
                if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { index, generation, _alive: alive })
    }

    /// Returns the package that owns `path`, an absolute path of the host's root. Never waits.
    #[must_use]
    pub fn owner(&self, path: &Path) -> Owner {
        self.index.load().owner(path)
    }

    /// Returns how often the databases have been read: 0 while the first reading goes on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the index as it is.
    #[must_use]
    pub fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }
}

/// Reads every database below `root`; those that cannot be read are told in the log, and make the owner of whatever
/// the others do not own unknown.
#[must_use]
pub fn read(root: &Path) -> Index {
    let mut builder = index::Builder::new(root);
    for database in [dpkg::read, rpm::read, apk::read] {
        if let Err(error) = database(root, &mut builder) {
            tracing::warn!(%error, "owners of files are not known in part");
            builder.incomplete();
        }
    }
    let index = builder.finish();
    tracing::debug!(files = index.files(), packages = index.packages(), bytes = index.bytes(), "packages read");
    index
}

/// Modification time and size of whatever changes with a database.
fn stamp(root: &Path) -> Vec<Option<(i64, i64, u64)>> {
    let paths = dpkg::PATHS.iter().chain(&rpm::PATHS).chain(&apk::PATHS);
    paths
        .map(|path| {
            let metadata = fs::metadata(root.join(path)).ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
        })
        .collect()
}

/// Returns whether an error says only that a database is not there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
