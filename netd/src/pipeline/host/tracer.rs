//! Reads who holds which descriptor, on a thread of its own: that takes milliseconds, and the engine must not wait.
//!
//! First only those near the process are read, which takes a fraction of one; everybody when that shows nothing. Looks
//! that are asked for meanwhile share the next snapshot, so that a flood of shells costs no more than one after the other.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use netd_engine::streams::{Look, Snapshot};
use tokio::sync::mpsc;

use crate::host::descriptors::{self, Scope};
use crate::host::process::Reader;

/// Looks that wait for a snapshot; further ones are counted as lost.
const QUEUE: usize = 1_024;
/// Snapshots that wait for the engine.
const ANSWERS: usize = 4;
/// After a whole snapshot the next one waits this many times as long as it took; looks at the near do not.
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
    /// Looks at everybody that found no room.
    pub(super) lost: u64,
}

/// Whom to look at for a process.
#[derive(Debug)]
pub(super) enum Ask {
    Near(Look),
    Whole(Look),
}

/// Asks the thread, and hears it.
#[derive(Debug)]
pub(super) struct Tracer {
    asks: SyncSender<Ask>,
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
    pub(super) fn ask(&mut self, ask: Ask) {
        match self.asks.try_send(ask) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

fn trace(asked: &Receiver<Ask>, answer: &mpsc::Sender<Traced>, reader: &Reader) {
    // Those that wait for the next whole snapshot.
    let mut waiting: Vec<Look> = Vec::new();
    let mut rested = Instant::now();
    loop {
        let next = if waiting.is_empty() {
            asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            asked.recv_timeout(rested.saturating_duration_since(Instant::now()))
        };
        let next = match next {
            Ok(ask) => Some(ask),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut near, mut lost) = (Vec::new(), 0);
        for ask in next.into_iter().chain(asked.try_iter()) {
            match ask {
                Ask::Near(look) => near.push(look),
                Ask::Whole(look) if waiting.len() < QUEUE => waiting.push(look),
                Ask::Whole(_) => lost += 1,
            }
        }
        if !near.is_empty() || lost > 0 {
            let pids: Vec<u32> = near.iter().map(|look| look.pid).collect();
            let taken = descriptors::read(reader, Scope::Only(&descriptors::near(&pids)), &|_| None, &|_| None);
            // Whoever cannot be read here is counted when everybody is.
            if answer.blocking_send(Traced { looks: near, snapshot: taken.snapshot, unread: 0, lost }).is_err() {
                return;
            }
        }
        if waiting.is_empty() || Instant::now() < rested {
            continue;
        }
        let looks = std::mem::take(&mut waiting);
        let began = Instant::now();
        let pids: Vec<u32> = looks.iter().map(|look| look.pid).collect();
        let taken = descriptors::read(reader, Scope::First(&pids), &|_| None, &|_| None);
        let unread = u64::from(taken.snapshot.unread) + u64::from(taken.unread_namespaces) + u64::from(taken.cut);
        if answer.blocking_send(Traced { looks, snapshot: taken.snapshot, unread, lost: 0 }).is_err() {
            return;
        }
        let took = began.elapsed();
        rested = Instant::now() + if took > CHEAP { took * REST } else { Duration::ZERO };
    }
}
