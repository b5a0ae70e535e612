//! SHA-256 of executables, on a thread of its own.
//!
//! The file is opened when its process is looked at, so that the right bytes are read though the process has ended or
//! the name is gone by the time its turn comes.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Write as _,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use sha2::{Digest as _, Sha256};

/// Largest file that is read.
pub const MAX_SIZE: u64 = 256 * 1024 * 1024;
/// Files waiting, each with a descriptor.
const QUEUE: usize = 256;
/// Files remembered as queued; as many as the table of processes keeps.
const REMEMBERED: usize = 16_384;

/// A file of this host, while it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// As stat(2) gives it.
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    /// Returns the file by the kernel's own device number (`s_dev`: twelve bits major, twenty minor).
    #[must_use]
    pub fn from_kernel(s_dev: u32, inode: u64) -> Self {
        Self { device: makedev(s_dev >> 20, s_dev & 0xf_ffff), inode }
    }
}

/// A file and the state it is in: as long as this is the same, so are its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub file: FileId,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, u32),
    pub changed: (i64, u32),
    /// How many names it has.
    pub links: u32,
}

impl Stamp {
    /// Reads the stamp of what `path` leads to, from what the kernel knows: a file system whose server hangs, or is the
    /// suspect's, is not asked.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it may not be looked at.
    pub fn read(path: &Path) -> io::Result<Self> {
        let stat = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            file: FileId { device: makedev(stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino },
            size: stat.stx_size,
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            links: stat.stx_nlink,
        })
    }
}

/// How the reading went, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub hashed: AtomicU64,
    pub too_large: AtomicU64,
    /// On a file system of another machine's, or of a process's (FUSE).
    pub remote: AtomicU64,
    /// It could not be read, or changed meanwhile.
    pub failed: AtomicU64,
    /// The queue was full, or nobody took the answers.
    pub dropped: AtomicU64,
}

/// The thread that reads.
#[derive(Debug)]
pub struct Hashes {
    files: SyncSender<(Stamp, File)>,
    answers: Receiver<(Stamp, Arc<str>)>,
    pub counts: Arc<Counts>,
}

/// The part that may be given to another thread, to ask from there.
#[derive(Clone, Debug)]
pub struct Asker {
    files: SyncSender<(Stamp, File)>,
    counts: Arc<Counts>,
    recent: Arc<Mutex<Recent>>,
}

/// Files that were queued lately: a program that is run a thousand times is read once.
#[derive(Debug, Default)]
struct Recent {
    stamps: HashSet<Stamp>,
    order: VecDeque<Stamp>,
}

impl Recent {
    /// Returns whether a file is new here.
    fn insert(&mut self, stamp: Stamp) -> bool {
        let is_new = self.stamps.insert(stamp);
        if is_new {
            self.order.push_back(stamp);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.stamps.remove(&oldest);
        }
        is_new
    }

    fn remove(&mut self, stamp: Stamp) {
        self.stamps.remove(&stamp);
        self.order.retain(|other| *other != stamp);
    }
}

impl Hashes {
    /// Starts the thread. It ends when this and all its askers are dropped.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let (files, waiting) = sync_channel::<(Stamp, File)>(QUEUE);
        let (answered, answers) = sync_channel(4 * QUEUE);
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        thread::Builder::new().name("netd-hashes".into()).spawn(move || {
            let _ = rustix::process::setpriority_process(None, 10);
            for (stamp, file) in waiting {
                let count = match digest(file) {
                    Ok(digest) => {
                        if answered.try_send((stamp, digest)).is_ok() {
                            &shared.hashed
                        } else {
                            &shared.dropped
                        }
                    }
                    Err(_) => &shared.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { files, answers, counts })
    }

    /// Returns the asking part.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker { files: self.files.clone(), counts: self.counts.clone(), recent: Arc::default() }
    }

    /// Returns what has been read since the last call, in lower-case hexadecimal.
    pub fn answers(&self) -> impl Iterator<Item = (Stamp, Arc<str>)> + '_ {
        self.answers.try_iter()
    }
}

impl Asker {
    /// As [`Self::ask`], but not again for a file that was queued lately in the same state.
    pub fn ask_once(&self, path: &Path, stamp: Stamp) {
        // Not under the lock: opening a file may take its time.
        let is_new = self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert(stamp);
        if is_new && !self.ask(path, stamp) && stamp.size <= MAX_SIZE {
            // Another process that runs it may be asked later.
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).remove(stamp);
        }
    }

    /// Opens the file that `path` leads to and queues it, if that is still what `stamp` says. Returns whether an answer
    /// may come. Never waits.
    pub fn ask(&self, path: &Path, stamp: Stamp) -> bool {
        let refused = if stamp.size > MAX_SIZE {
            Some(&self.counts.too_large)
        } else if is_remote(path, stamp.file.device) {
            Some(&self.counts.remote)
        } else {
            let file = open(path).ok().filter(|_| Stamp::read(path).is_ok_and(|now| now == stamp));
            match file {
                Some(file) => self.files.try_send((stamp, file)).is_err().then_some(&self.counts.dropped),
                None => Some(&self.counts.failed),
            }
        };
        refused.map(|count| count.fetch_add(1, Ordering::Relaxed)).is_none()
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Not blocking: a FIFO put in its place would hold us.
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

fn digest(file: File) -> io::Result<Arc<str>> {
    let before = (file.metadata()?.len(), file.metadata()?.modified()?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut reader = (&file).take(MAX_SIZE + 1);
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    if before != (file.metadata()?.len(), file.metadata()?.modified()?) {
        return Err(io::Error::other("the file changed while it was read"));
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text.into())
}

/// File systems whose reads wait for somebody else.
const REMOTE: [&str; 10] = ["fuse", "nfs", "cifs", "smb3", "9p", "ceph", "afs", "virtiofs", "glusterfs", "autofs"];

/// Returns whether a mount says that `device` is elsewhere: a mount of ours, or of the process whose `/proc/<pid>/exe`
/// is asked for.
fn is_remote(path: &Path, device: u64) -> bool {
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let tables = [Path::new("/proc/self/mountinfo").to_owned(), path.with_file_name("mountinfo")];
    let is_listed = |table: &Path| {
        let mounts = std::fs::read_to_string(table).unwrap_or_default();
        mounts.lines().any(|line| is_remote_mount(line, &wanted))
    };
    is_listed(&tables[0]) || path.starts_with("/proc") && is_listed(&tables[1])
}

fn is_remote_mount(line: &str, device: &str) -> bool {
    let Some((mount, filesystem)) = line.split_once(" - ") else { return false };
    let kind = filesystem.split([' ', '.']).next().unwrap_or_default();
    mount.split(' ').nth(2) == Some(device) && REMOTE.iter().any(|remote| kind.starts_with(remote))
}

#[cfg(test)]
mod tests;
