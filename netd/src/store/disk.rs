//! The state directory: whole files, replaced atomically, checked when they are read.
//!
//! A file is one line that names its length and BLAKE3 hash, and its content. After a crash at any moment the old
//! content or the new one is there; anything else is recognised and set aside.

use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use netd_engine::policy::Name as PolicyName;

use crate::verdicts::blocklist::ListName;

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("another netd uses {}", path.display())]
    InUse { path: PathBuf },
    #[error("cannot write what is to be saved: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("the thread that was to write it panicked")]
    Lost,
}

/// One file of the state directory. Every name is a constant, a number, a [`ListName`] or a [`PolicyName`]: no other text
/// becomes a path.
#[derive(Clone, Copy, Debug)]
pub enum File<'a> {
    Verdicts,
    Suppressions,
    Tokens,
    Histories,
    List(&'a ListName),
    AllowList(&'a ListName),
    /// How to undo a change that waits to be confirmed, by its number.
    Undo(u64),
    /// The last good copy of a feed.
    Feed(&'a ListName),
    /// A policy that the API was given.
    Policy(&'a PolicyName),
}

impl File<'_> {
    /// Returns what makes the first line a comment to whoever else reads the content's format.
    const fn comment(self) -> &'static str {
        match self {
            Self::Policy(_) => COMMENT,
            Self::Verdicts
            | Self::Suppressions
            | Self::Tokens
            | Self::Histories
            | Self::List(_)
            | Self::AllowList(_)
            | Self::Undo(_)
            | Self::Feed(_) => "",
        }
    }
}

/// The state directory, held by one daemon at a time.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Locked as long as a clone lives.
    _lock: Arc<fs::File>,
    unread: Arc<AtomicU64>,
}

const FOLDERS: [&str; 5] = ["lists", "allowlists", "undo", "feeds", "policies"];
/// The audit log's folder in the state directory.
pub const AUDIT: &str = "audit";
/// The folder of netd's own authority for TLS.
pub const TLS: &str = "tls";

const MAGIC: &str = "netd-state 1";
/// YAML's.
const COMMENT: &str = "# ";

/// Bytes that are hashed and written in one go.
const BUFFER: usize = 256 << 10;

impl StateDir {
    /// Opens the directory, creating it (0700), and locks it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        for folder in FOLDERS.map(|folder| path.join(folder)) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error("create", &folder))?;
        }
        let lock_path = path.join("lock");
        let lock = options().open(&lock_path).map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Arc::new(lock), unread: Arc::default() }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(io_error("lock", &lock_path)(source)),
        }
    }

    /// Replaces a file's content; when this returns, the new content survives a crash.
    pub fn write(&self, file: File<'_>, content: &[u8]) -> Result<(), Error> {
        self.write_with(file, |out| out.write_all(content))
    }

    /// The same of a content that is written bit by bit and never in memory as a whole.
    pub fn write_with(
        &self,
        file: File<'_>,
        content: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let path = self.path_of(file);
        let temporary = path.with_extension("tmp");
        let written = write_through(&temporary, file.comment(), content).map_err(io_error("write", &temporary));
        if let Err(error) = written {
            // Leaves room on a full disk; that the file cannot be removed either adds nothing.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        fs::rename(&temporary, &path).map_err(io_error("replace", &path))?;
        sync_parent(&path)
    }

    /// Removes a file; one that is not there is no error.
    pub fn remove(&self, file: File<'_>) -> Result<(), Error> {
        let path = self.path_of(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            Ok(()) | Err(_) => sync_parent(&path),
        }
    }

    /// Returns a file's content as `decode` reads it, or `None` when there is none. A damaged file is renamed, so
    /// that it is kept for whoever wants to know, and named in a warning.
    pub fn read_or_set_aside<T>(&self, file: File<'_>, decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let path = self.path_of(file);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "saved state cannot be read; going on without it");
                self.unread.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let decoded = checked(&bytes).and_then(decode);
        if decoded.is_none() {
            self.unread.fetch_add(1, Ordering::Relaxed);
            let aside = aside(&path);
            match fs::rename(&path, &aside) {
                Ok(()) => tracing::warn!(
                    path = %path.display(), aside = %aside.display(),
                    "saved state is damaged; set aside, going on without it"
                ),
                Err(error) => tracing::warn!(
                    path = %path.display(), %error, "saved state is damaged; going on without it"
                ),
            }
        }
        decoded
    }

    /// Returns how many files could not be read or were set aside.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Returns the folder of the audit log, which has its own way of writing.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.path.join(AUDIT)
    }

    /// Returns the names of the saved lists, in order.
    #[must_use]
    pub fn lists(&self) -> Vec<ListName> {
        self.stems("lists", ".list")
    }

    /// Returns the names of the saved allow-lists, in order.
    #[must_use]
    pub fn allow_lists(&self) -> Vec<ListName> {
        self.stems("allowlists", ".list")
    }

    /// Returns the names of the saved policies, in order.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyName> {
        self.stems("policies", ".yaml")
    }

    /// Returns the numbers of the saved undos, in order.
    #[must_use]
    pub fn undos(&self) -> Vec<u64> {
        self.stems("undo", ".undo")
    }

    fn stems<T: FromStr + Ord>(&self, folder: &str, suffix: &str) -> Vec<T> {
        let entries = fs::read_dir(self.path.join(folder)).into_iter().flatten().flatten();
        let stem = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(suffix)?.parse().ok();
        let mut stems: Vec<T> = entries.filter_map(stem).collect();
        stems.sort_unstable();
        stems
    }

    /// Returns how many bytes the files take; what cannot be read counts nothing.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let folders = [self.path.clone(), self.path.join("lists")];
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
    }

    fn path_of(&self, file: File<'_>) -> PathBuf {
        match file {
            File::Verdicts => self.path.join("verdicts.state"),
            File::Suppressions => self.path.join("suppressions.state"),
            File::Tokens => self.path.join("tokens.state"),
            File::Histories => self.path.join("histories.state"),
            File::List(name) => self.path.join("lists").join(format!("{name}.list")),
            File::AllowList(name) => self.path.join("allowlists").join(format!("{name}.list")),
            File::Undo(id) => self.path.join("undo").join(format!("{id}.undo")),
            File::Feed(name) => self.path.join("feeds").join(format!("{name}.feed")),
            File::Policy(name) => self.path.join("policies").join(format!("{name}.yaml")),
        }
    }
}

/// The first line, whose length is the same whatever it says.
fn head(comment: &str, length: u64, hash: &blake3::Hash) -> String {
    format!("{comment}{MAGIC} {length:020} {}\n", hash.to_hex())
}

/// Hands on what it counts and hashes.
struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W: io::Write> io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_through(
    path: &Path,
    comment: &str,
    content: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = options().truncate(true).open(path)?;
    // The place of the first line, which is known last.
    file.write_all(head(comment, 0, &blake3::hash(b"")).as_bytes())?;
    let mut out = io::BufWriter::with_capacity(BUFFER, Hashing { out: file, hasher: blake3::Hasher::new(), length: 0 });
    content(&mut out)?;
    let Hashing { out: mut file, hasher, length } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    file.write_all(head(comment, length, &hasher.finalize()).as_bytes())?;
    file.sync_all()
}

/// Returns the content of a whole, undamaged file.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(256).position(|b| *b == b'\n')?;
    let (head, content) = (std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?);
    let head = head.strip_prefix(COMMENT).unwrap_or(head);
    let (length, hash) = head.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once(' ')?;
    let is_whole = length.parse() == Ok(content.len()) && blake3::hash(content).to_hex().as_str() == hash;
    is_whole.then_some(content)
}

/// Returns a name beside `path` that is not taken.
fn aside(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    (1..1_000).map(name).find(|candidate| !candidate.exists()).unwrap_or_else(|| name(0))
}

fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("sync", parent))
}

fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    options
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { attempt, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &StateDir) -> Option<Vec<u8>> {
        dir.read_or_set_aside(File::Verdicts, |bytes| Some(bytes.to_vec()))
    }

    #[test]
    fn what_is_written_is_read() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = StateDir::open(temporary.path()).unwrap();

        dir.write(File::Verdicts, b"old").unwrap();
        dir.write(File::Verdicts, b"new").unwrap();

        assert_eq!(read(&dir).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_file_cut_short_or_altered_anywhere_is_set_aside() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = StateDir::open(temporary.path()).unwrap();
        dir.write(File::Verdicts, b"{\"content\":1}").unwrap();
        let path = dir.path_of(File::Verdicts);
        let whole = fs::read(&path).unwrap();

        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x10;
            for damaged in [&whole[..at], &altered] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(read(&dir), None, "byte {at}");
                assert!(!path.exists());
            }
        }
        assert!(temporary.path().join("verdicts.damaged-1").exists());
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_content() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = StateDir::open(temporary.path()).unwrap();
        dir.write(File::Verdicts, b"old").unwrap();

        fs::write(dir.path_of(File::Verdicts).with_extension("tmp"), b"half of the n").unwrap();

        assert_eq!(read(&dir).as_deref(), Some(&b"old"[..]));
        dir.write(File::Verdicts, b"new").unwrap();
        assert_eq!(read(&dir).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn two_daemons_cannot_share_a_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let first = StateDir::open(temporary.path()).unwrap();

        assert!(matches!(StateDir::open(temporary.path()), Err(Error::InUse { .. })));

        drop(first);
        assert!(StateDir::open(temporary.path()).is_ok());
    }

    #[test]
    fn only_list_names_are_listed() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = StateDir::open(temporary.path()).unwrap();
        let name = "corp".parse().unwrap();
        dir.write(File::List(&name), b"x").unwrap();
        fs::write(temporary.path().join("lists/.hidden.list"), b"").unwrap();
        fs::write(temporary.path().join("lists/other.tmp"), b"").unwrap();

        assert_eq!(dir.lists(), [name]);
    }
}
