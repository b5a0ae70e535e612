//! Captures that wait to be replayed, the one that is, and what came of the last ones.
//!
//! A capture lies in the state directory until it was replayed. Captures, results and waiting are bounded; what a
//! replay finds is told to whoever asks for the job, and to nobody else.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use netd_engine::finding::Finding;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::source::summary::Summary;
use crate::source::watch::Watch;
use crate::time;

/// The folder of captures in the state directory.
const FOLDER: &str = "spool";
/// Captures that arrive or wait.
pub const WAITING: usize = 4;
/// Jobs that are over and still told of.
pub const KEPT: usize = 16;
/// Bytes that a capture leaves free: history, lists and the audit log share the disk.
const FREE: u64 = 512 << 20;
/// Bytes written between two looks at what is free.
const STRIDE: u64 = 16 << 20;

/// Why a capture was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no state directory, and captures are kept there until they were replayed: set state_dir")]
    Nowhere,
    #[error("{WAITING} captures arrive or wait already; they are replayed one at a time")]
    Busy,
    #[error("{} bytes of the disk must stay free, and {free} are: {}", FREE, path.display())]
    Full { path: PathBuf, free: u64 },
    #[error("cannot keep the capture in {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// How a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "JobState")]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for the one before it.
    Queued,
    /// Its capture is read.
    Running,
    /// All of it was read.
    Done,
    /// It met a fault: what came before it is told, and the error.
    Failed,
}

/// What came of a replay.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// None where the capture could not be opened.
    pub summary: Option<Summary>,
    /// By number, as they were last raised.
    pub findings: Vec<Finding>,
    /// Reports that found no room.
    pub left_out: u64,
    pub error: Option<String>,
}

/// A job as it is.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: Uuid,
    pub state: State,
    /// Length of the capture's file, in bytes.
    pub size: u64,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub watch: Arc<Watch>,
    pub outcome: Arc<Outcome>,
    /// Networks that are monitored in the capture.
    local: Vec<IpNet>,
}

/// All jobs. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Jobs(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// The oldest first.
    jobs: VecDeque<Job>,
    /// Captures that arrive.
    arriving: usize,
    is_closed: bool,
}

/// Where whoever replays finds what to replay.
#[derive(Debug)]
pub struct Queue(Jobs);

/// A capture to be replayed. Its file goes with it.
#[derive(Debug)]
pub struct Work {
    job: Job,
    path: PathBuf,
}

/// A capture that arrives. It is forgotten unless it is submitted.
#[derive(Debug)]
pub struct Arriving {
    jobs: Arc<Shared>,
    id: Uuid,
    path: PathBuf,
    file: File,
    size: u64,
}

impl Jobs {
    /// Takes captures in below a state directory; what a former run left there is removed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(state_dir: &Path) -> Result<(Self, Queue), Error> {
        let folder = state_dir.join(FOLDER);
        let failed = |source| Error::Io { path: folder.clone(), source };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let jobs = Self(Some(Arc::new(Shared { folder, inner: Mutex::default(), changed: Condvar::new() })));
        Ok((jobs.clone(), Queue(jobs)))
    }

    /// Makes room for a capture.
    ///
    /// # Errors
    /// When there is none, on the disk or among those that wait.
    pub fn arrive(&self) -> Result<Arriving, Error> {
        let shared = self.0.as_ref().ok_or(Error::Nowhere)?;
        let mut inner = shared.lock();
        let waiting = inner.jobs.iter().filter(|job| job.state == State::Queued).count();
        if inner.is_closed || waiting + inner.arriving >= WAITING {
            return Err(Error::Busy);
        }
        let id = Uuid::now_v7();
        let path = shared.folder.join(format!("{id}.capture"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|source| Error::Io { path: path.clone(), source })?;
        inner.arriving += 1;
        Ok(Arriving { jobs: Arc::clone(shared), id, path, file, size: 0 })
    }

    /// Returns every job, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Job> {
        let shared = self.0.as_ref();
        shared.map(|shared| shared.lock().jobs.iter().rev().cloned().collect()).unwrap_or_default()
    }

    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<Job> {
        self.0.as_ref()?.lock().jobs.iter().find(|job| job.id == id).cloned()
    }

    /// Forgets a job, and ends it first where it is not over. Returns it as it was.
    pub fn remove(&self, id: Uuid) -> Option<Job> {
        let shared = self.0.as_ref()?;
        let mut inner = shared.lock();
        let at = inner.jobs.iter().position(|job| job.id == id)?;
        let job = inner.jobs.remove(at)?;
        job.watch.stop();
        if job.state == State::Queued {
            remove(&shared.path(id));
        }
        Some(job)
    }

    /// Ends the replay under way and takes nothing more: netd is ending.
    pub fn close(&self) {
        let Some(shared) = &self.0 else { return };
        let mut inner = shared.lock();
        inner.is_closed = true;
        inner.jobs.iter().for_each(|job| job.watch.stop());
        shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.folder.join(format!("{id}.capture"))
    }
}

impl Arriving {
    /// Adds a piece of the capture. Waits for the disk.
    ///
    /// # Errors
    /// When the disk does not take it, or has to stay free for others.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Io { path: self.path.clone(), source };
        let next = self.size + piece.len() as u64;
        if self.size == 0 || next / STRIDE != self.size / STRIDE {
            let free = rustix::fs::fstatvfs(&self.file).map_err(|error| failed(error.into()))?;
            let free = free.f_bavail.saturating_mul(free.f_frsize);
            if free < FREE + STRIDE {
                return Err(Error::Full { path: self.path.clone(), free });
            }
        }
        self.file.write_all(piece).map_err(failed)?;
        self.size = next;
        Ok(())
    }

    /// Puts the capture, which is whole, into the queue.
    #[must_use]
    pub fn submit(self, local: Vec<IpNet>) -> Job {
        let job = Job {
            id: self.id,
            state: State::Queued,
            size: self.size,
            created: time::now(),
            started: None,
            ended: None,
            watch: Arc::default(),
            outcome: Arc::default(),
            local,
        };
        self.jobs.lock().jobs.push_back(job.clone());
        self.jobs.changed.notify_one();
        job
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut inner = self.jobs.lock();
        inner.arriving -= 1;
        if !inner.jobs.iter().any(|job| job.id == self.id) {
            remove(&self.path);
        }
    }
}

impl Queue {
    /// Waits for the next capture; `None` when netd is ending.
    #[must_use]
    pub fn next(&self) -> Option<Work> {
        let shared = self.0.0.as_ref()?;
        let mut inner = shared.lock();
        loop {
            if inner.is_closed {
                return None;
            }
            if let Some(job) = inner.jobs.iter_mut().find(|job| job.state == State::Queued) {
                job.state = State::Running;
                job.started = Some(time::now());
                return Some(Work { job: job.clone(), path: shared.path(job.id) });
            }
            inner = shared.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes what came of a capture.
    pub fn finish(&self, work: Work, outcome: Outcome) {
        let Some(shared) = &self.0.0 else { return };
        let mut inner = shared.lock();
        if let Some(job) = inner.jobs.iter_mut().find(|job| job.id == work.job.id) {
            job.state = if outcome.error.is_some() { State::Failed } else { State::Done };
            job.ended = Some(time::now());
            job.outcome = Arc::new(outcome);
        }
        let is_over = |job: &Job| matches!(job.state, State::Done | State::Failed);
        while inner.jobs.iter().filter(|job| is_over(job)).count() > KEPT {
            let Some(oldest) = inner.jobs.iter().position(is_over) else { return };
            inner.jobs.remove(oldest);
        }
    }
}

impl Work {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn local(&self) -> &[IpNet] {
        &self.job.local
    }

    #[must_use]
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.job.watch)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a capture cannot be removed; the next start does");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests;
