//! Harmless traffic: generators that run inside a namespace, deterministic from a seed, bounded in time, each of which
//! counts exactly what it sent; the servers count exactly what arrived.

pub mod bulk;
pub mod dice;
pub mod exchange;
pub mod flood;
pub mod implant;
pub mod ntp;
pub mod payload;
pub mod people;
pub mod probe;
pub mod server;
pub mod sink;
pub mod socket;
pub mod syn;
pub mod timer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, bail};

use crate::namespace::Namespace;

/// No generator runs longer than this, whatever it was asked.
pub const LONGEST: Duration = Duration::from_secs(30 * 60);

/// A generator at work. Dropping it stops it and waits for it.
#[derive(Debug)]
pub struct Running<R> {
    stop: Stop,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<Result<R>>>,
}

impl<R: Send + 'static> Running<R> {
    /// Starts `work` in `namespace` for at most `duration`.
    pub(crate) fn start(
        namespace: &Namespace,
        name: &str,
        duration: Duration,
        work: impl FnOnce(&Clock, &Tally) -> Result<R> + Send + 'static,
    ) -> Result<Self> {
        if duration > LONGEST {
            bail!("{name} was asked to run for {duration:?}; the longest is {LONGEST:?}");
        }
        let stop = Stop::default();
        let tally = Arc::new(Tally::default());
        let clock = Clock { end: Instant::now() + duration, stop: stop.clone() };
        let counted = Arc::clone(&tally);
        let thread = namespace.spawn(name, move || work(&clock, &counted))?;
        Ok(Self { stop, tally, thread: Some(thread) })
    }

    /// Returns what was sent so far.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.tally.sent()
    }

    /// Returns whether the generator has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells the generator to stop, without waiting for it.
    pub fn tell_to_stop(&self) {
        self.stop.stop();
    }

    /// Waits until the generator has ended by itself.
    ///
    /// # Errors
    ///
    /// What made it end early.
    pub fn join(mut self) -> Result<R> {
        self.wait()
    }

    /// Stops the generator after the exchange that it is at.
    ///
    /// # Errors
    ///
    /// What made it end before.
    pub fn stop(mut self) -> Result<R> {
        self.tell_to_stop();
        self.wait()
    }

    fn wait(&mut self) -> Result<R> {
        let Some(thread) = self.thread.take() else { bail!("the generator has been waited for already") };
        thread.join().map_err(|_| anyhow!("a generator panicked"))?
    }
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // Whoever drops a generator does not ask what became of it.
            let _ = thread.join();
        }
    }
}

/// When a generator must end, and how it sleeps meanwhile.
#[derive(Debug)]
pub(crate) struct Clock {
    end: Instant,
    stop: Stop,
}

impl Clock {
    /// Sleeps until `at`; returns false when the generator must end, as soon as that is known.
    pub(crate) fn sleep_until(&self, at: Instant) -> bool {
        let until = at.min(self.end);
        let stopped = self.stop.wait(until.saturating_duration_since(Instant::now()));
        !stopped && at < self.end
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_stopped() || Instant::now() >= self.end
    }
}

/// Tells threads to end, and wakes those that sleep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub(crate) fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps for `duration`, less if stopped meanwhile; returns whether it was.
    fn wait(&self, duration: Duration) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(stopped, duration, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a generator sent and got back. Bytes are payload; packets are datagrams (TCP has none to count).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Exchanges begun: requests written or about to be.
    pub exchanges: u64,
    /// Exchanges whose whole answer came.
    pub answered: u64,
    /// Exchanges that a refused or broken connection, or silence, ended.
    pub failed: u64,
    /// Connections opened.
    pub connections: u64,
    pub packets: u64,
    pub bytes: u64,
    pub bytes_back: u64,
    /// Nanoseconds since 1970 of the last byte that was handed to the kernel; 0 if there was none.
    pub last_ns: u64,
}

/// The live side of [`Sent`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    exchanges: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    connections: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    bytes_back: AtomicU64,
    last_ns: AtomicU64,
}

impl Tally {
    pub(crate) fn sent(&self) -> Sent {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sent {
            exchanges: read(&self.exchanges),
            answered: read(&self.answered),
            failed: read(&self.failed),
            connections: read(&self.connections),
            packets: read(&self.packets),
            bytes: read(&self.bytes),
            bytes_back: read(&self.bytes_back),
            last_ns: read(&self.last_ns),
        }
    }

    pub(crate) fn begin(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_ns.store(unix_ns(SystemTime::now()), Ordering::Relaxed);
    }

    pub(crate) fn wrote_packets(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_back.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, answered: bool) {
        let counter = if answered { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns nanoseconds since 1970.
pub(crate) fn unix_ns(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
