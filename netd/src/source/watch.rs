//! A replay watched from another thread: how far it is, and whether it is to go on.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Packets between two looks.
const STRIDE: u64 = 4_096;

/// How far a replay is.
#[derive(Debug, Default)]
pub struct Watch {
    packets: AtomicU64,
    wire_bytes: AtomicU64,
    file_bytes: AtomicU64,
    is_stopped: AtomicBool,
}

/// Why a replay ended before its capture did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody wants it any more.
    Asked,
    /// It took too long.
    Late,
}

/// A [`Watch`] as the replay has it.
#[derive(Clone, Debug)]
pub struct Watched {
    watch: Arc<Watch>,
    deadline: Instant,
}

impl Watch {
    /// Packets read, their bytes on the wire, and bytes of the file.
    #[must_use]
    pub fn progress(&self) -> [u64; 3] {
        [&self.packets, &self.wire_bytes, &self.file_bytes].map(|count| count.load(Ordering::Relaxed))
    }

    /// Ends the replay within milliseconds.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

impl Watched {
    #[must_use]
    pub const fn new(watch: Arc<Watch>, deadline: Instant) -> Self {
        Self { watch, deadline }
    }

    /// Returns why the replay is to end, if it is.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        match self.watch.is_stopped() {
            true => Some(Stop::Asked),
            false => (Instant::now() >= self.deadline).then_some(Stop::Late),
        }
    }

    /// Notes how far the replay is, now and then, and returns whether it is to go on.
    #[inline]
    pub(super) fn goes_on(&self, packets: u64, wire_bytes: u64) -> bool {
        if !packets.is_multiple_of(STRIDE) {
            return true;
        }
        self.note(packets, wire_bytes);
        self.stop().is_none()
    }

    pub(super) fn note(&self, packets: u64, wire_bytes: u64) {
        self.watch.packets.store(packets, Ordering::Relaxed);
        self.watch.wire_bytes.store(wire_bytes, Ordering::Relaxed);
    }

    /// Returns a file whose bytes are counted as they are read. It ends with the replay, too: what a small compressed
    /// file holds besides packets is read without end otherwise.
    pub fn counting(&self, file: impl Read + Send + 'static) -> impl Read + Send + 'static {
        Counting { file, watched: self.clone() }
    }
}

struct Counting<R> {
    file: R,
    watched: Watched,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watched.stop().is_some() {
            return Err(io::Error::other("the replay was ended"));
        }
        let length = self.file.read(buffer)?;
        self.watched.watch.file_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
