//! Looking at processes off the hot path.
//!
//! A process can hold a reader of its arguments back for as long as it likes, so a thread that is held is left to
//! itself and another takes its place, a bounded number of times.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use netd_engine::process::{Missing, ProcessId};

use crate::host::{
    executable::{Asker, FileId, Stamp},
    packages::{Owner, Packages},
    process::{Found, Reader, Seen, files},
};

/// Processes waiting to be looked at.
const QUEUE: usize = 8_192;
/// A look takes a fraction of a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
/// Threads at once, those that are held among them.
const MAX_THREADS: usize = 4;

/// A process to look at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) id: ProcessId,
    pub(super) seen: Seen,
    /// Where its file may still be found when it is gone, and which file that was.
    pub(super) hint: Option<(PathBuf, FileId)>,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) id: ProcessId,
    pub(super) found: Result<Found, Missing>,
    /// The program: as it is run, or as it still lies where the process was started from.
    pub(super) program: Option<(PathBuf, Stamp)>,
    pub(super) owner: Owner,
}

/// What the threads need.
pub(super) struct Tools {
    pub(super) packages: Arc<Packages>,
    pub(super) hashes: Asker,
    /// Each thread has its own.
    pub(super) new_reader: Box<dyn Fn() -> Reader + Send + Sync>,
}

/// The threads that look.
pub(super) struct Looks {
    queue: SyncSender<Look>,
    waiting: Arc<Mutex<Receiver<Look>>>,
    answered: SyncSender<Looked>,
    answers: Receiver<Looked>,
    tools: Arc<Tools>,
    /// When each thread began with what it has, 0 while it has nothing.
    busy: Vec<Arc<AtomicU64>>,
    /// Looks that were not taken: the queue was full.
    pub(super) overload: u64,
    /// Answers that nobody took.
    pub(super) lost: Arc<AtomicU64>,
}

impl Looks {
    pub(super) fn start(tools: Tools) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let (answered, answers) = sync_channel(2 * QUEUE);
        let mut looks = Self {
            queue,
            waiting: Arc::new(Mutex::new(waiting)),
            answered,
            answers,
            tools: Arc::new(tools),
            busy: Vec::new(),
            overload: 0,
            lost: Arc::default(),
        };
        looks.spawn()?;
        Ok(looks)
    }

    /// Queues a look; returns false when there is no room. Never waits.
    pub(super) fn ask(&mut self, look: Look) -> bool {
        match self.queue.try_send(look) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.overload += 1;
                false
            }
        }
    }

    /// Returns what was found since the last call, and replaces threads that are held.
    pub(super) fn answers(&mut self, boot_ns: u64) -> Vec<Looked> {
        let is_held = |since: &Arc<AtomicU64>| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && boot_ns.saturating_sub(since) > PATIENCE.as_nanos() as u64
        };
        if self.busy.len() < MAX_THREADS && self.busy.iter().all(is_held) {
            tracing::warn!(threads = self.busy.len(), "a process holds back who looks at it");
            // Without another thread the queue fills up, and is counted.
            let _ = self.spawn();
        }
        self.answers.try_iter().collect()
    }

    /// Returns how many threads there are: more than one tells that processes held some back.
    pub(super) const fn threads(&self) -> usize {
        self.busy.len()
    }

    fn spawn(&mut self) -> io::Result<()> {
        let busy = Arc::new(AtomicU64::new(0));
        let (waiting, answered, tools) = (self.waiting.clone(), self.answered.clone(), self.tools.clone());
        let (since, lost) = (busy.clone(), self.lost.clone());
        thread::Builder::new().name("netd-looks".into()).spawn(move || {
            let mut reader = (tools.new_reader)();
            loop {
                // Whoever waits for a look holds the lock, never who has one.
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(look) = next else { return };
                since.store(crate::host::clock::boot_ns().max(1), Ordering::Relaxed);
                reader.users.refresh();
                let looked = tools.look(&reader, look);
                since.store(0, Ordering::Relaxed);
                if answered.try_send(looked).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        self.busy.push(busy);
        Ok(())
    }
}

impl Tools {
    fn look(&self, reader: &Reader, look: Look) -> Looked {
        let found = reader.read(look.id.pid, look.seen);
        let link = PathBuf::from(format!("/proc/{}/exe", look.id.pid));
        let (program, source) = match &found {
            Ok(found) => (found.executable.as_ref().map(|exe| (exe.path.clone(), exe.stamp)), link),
            Err(_) => match look.hint.and_then(|(path, file)| still(&path, file)) {
                Some((path, stamp)) => (Some((path.clone(), stamp)), path),
                None => (None, link),
            },
        };
        let owner = match (&program, &found) {
            (Some((path, stamp)), Ok(found)) => self.owner(path, *stamp, found),
            (Some((path, _)), Err(_)) => self.packages.owner(path),
            (None, _) => Owner::Unknown,
        };
        if let Some((_, stamp)) = &program {
            self.hashes.ask_once(&source, *stamp);
        }
        Looked { id: look.id, found, program, owner }
    }

    /// Returns who owns a program. The host's packages say nothing of a file that only looks as if it lay there: a
    /// container's, or one that a process mounted over it.
    fn owner(&self, path: &Path, stamp: Stamp, found: &Found) -> Owner {
        if found.provenance.is_memory {
            return Owner::Nobody;
        }
        let is_here = Stamp::read(path).is_ok_and(|here| here.file == stamp.file);
        // A program that was replaced by an upgrade runs on under its name.
        let is_replaced = || {
            stamp.links == 0 && found.mounts != 0 && found.mounts == files::namespace(Path::new("/proc/self"), "mnt")
        };
        if is_here || is_replaced() { self.packages.owner(path) } else { Owner::Unknown }
    }
}

/// Returns where a file really lies, if `path` still leads to it.
fn still(path: &Path, file: FileId) -> Option<(PathBuf, Stamp)> {
    let path = std::fs::canonicalize(path).ok()?;
    let stamp = Stamp::read(&path).ok().filter(|stamp| stamp.file == file)?;
    Some((path, stamp))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::host::executable::Hashes;

    #[test]
    fn a_process_that_holds_back_who_looks_at_it_does_not_hide_the_others() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("7")).unwrap();
        // Opening a pipe that nobody writes to waits, as reading the arguments of a hostile process may.
        let pipe = proc.path().join("7/stat");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let path = proc.path().to_owned();
        let hashes = Hashes::start().unwrap();
        let packages = Arc::new(Packages::start(path.clone()).unwrap());
        let new_reader = Box::new(move || Reader::of(path.clone()));
        let mut looks = Looks::start(Tools { packages, hashes: hashes.asker(), new_reader }).unwrap();
        for pid in [7, 8] {
            let id = ProcessId { pid, start_ticks: 1 };
            assert!(looks.ask(Look { id, seen: Seen::Now, hint: None }));
        }

        let deadline = Instant::now() + Duration::from_secs(30);
        let answer = loop {
            assert!(Instant::now() < deadline, "no answer");
            // As if the patience were over.
            let later = crate::host::clock::boot_ns() + 2 * PATIENCE.as_nanos() as u64;
            if let Some(answer) = looks.answers(later).pop() {
                break answer;
            }
            thread::sleep(Duration::from_millis(2));
        };

        assert_eq!((answer.id.pid, answer.found), (8, Err(Missing::Gone)));
        assert!((2..=MAX_THREADS).contains(&looks.threads()));
        // Lets the held thread go.
        drop(std::fs::File::options().write(true).open(&pipe));
    }
}
