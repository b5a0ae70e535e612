//! Reads who holds which descriptor, on a thread of its own: that takes milliseconds, and the engine must not wait.
//!
//! Looks that are asked for meanwhile share the next snapshot, so that a flood of shells costs no more than one after
//! the other.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use netd_engine::streams::{Look, Snapshot};
use tokio::sync::mpsc;

use crate::host::descriptors::{self, Scope};
use crate::host::process::Reader;

/// Looks that wait for a snapshot; further ones are counted as lost.
const QUEUE: usize = 1_024;
/// Snapshots that wait for the engine.
const ANSWERS: usize = 4;
/// After a whole snapshot the thread rests this many times as long as it took, while it has been asked a lot.
const REST: u32 = 2;
/// A snapshot that took no longer needs no rest.
const CHEAP: Duration = Duration::from_millis(20);

/// What was asked for and what was seen.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) looks: Vec<Look>,
    pub(super) snapshot: Snapshot,
    /// Processes and namespaces that could not be read.
    pub(super) unread: u64,
}

/// Asks the thread, and hears it.
#[derive(Debug)]
pub(super) struct Tracer {
    asks: SyncSender<Look>,
    pub(super) answers: mpsc::Receiver<Traced>,
    /// Looks that found the queue full.
    pub(super) lost: u64,
}

impl Tracer {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(new_reader: impl FnOnce() -> Reader + Send + 'static) -> io::Result<Self> {
        let (asks, asked) = sync_channel(QUEUE);
        let (answer, answers) = mpsc::channel(ANSWERS);
        let thread = std::thread::Builder::new().name("netd-tracer".to_owned());
        thread.spawn(move || trace(&asked, &answer, &new_reader()))?;
        Ok(Self { asks, answers, lost: 0 })
    }

    /// Asks for a look. Does not wait.
    pub(super) fn ask(&mut self, look: Look) {
        match self.asks.try_send(look) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

fn trace(asked: &Receiver<Look>, answer: &mpsc::Sender<Traced>, reader: &Reader) {
    while let Ok(first) = asked.recv() {
        let mut looks = vec![first];
        looks.extend(asked.try_iter());
        let began = Instant::now();
        let pids: Vec<u32> = looks.iter().map(|look| look.pid).collect();
        let taken = descriptors::read(reader, Scope::First(&pids), &|_| None, &|_| None);
        let unread = u64::from(taken.snapshot.unread) + u64::from(taken.unread_namespaces) + u64::from(taken.cut);
        if answer.blocking_send(Traced { looks, snapshot: taken.snapshot, unread }).is_err() {
            return;
        }
        let took = began.elapsed();
        if took > CHEAP {
            std::thread::sleep(took * REST);
        }
    }
}
