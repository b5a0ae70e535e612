//! A replay watched from another thread: how far it is, and whether it is to go on.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::host::memory;

/// Packets between two looks, and between two at the memory.
const STRIDE: u64 = 4_096;
const MEMORY_STRIDE: u64 = 16 * STRIDE;
/// Bytes that a replay leaves available: what it takes is freed at its end, what the daemon needs is needed at once.
const RESERVE: u64 = 128 << 20;

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
    /// There was not enough memory left for whoever else needs some.
    Memory,
}

/// A [`Watch`] as the replay has it.
#[derive(Clone, Debug)]
pub struct Watched {
    watch: Arc<Watch>,
    deadline: Instant,
    ended: Arc<OnceLock<Stop>>,
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
    pub fn new(watch: Arc<Watch>, deadline: Instant) -> Self {
        Self { watch, deadline, ended: Arc::default() }
    }

    /// Returns why the replay was ended, if it was.
    #[must_use]
    pub fn ended(&self) -> Option<Stop> {
        self.ended.get().copied()
    }

    /// Notes how far the replay is, now and then, and returns whether it is to go on.
    #[inline]
    pub(super) fn goes_on(&self, packets: u64, wire_bytes: u64) -> bool {
        if !packets.is_multiple_of(STRIDE) {
            return true;
        }
        self.note(packets, wire_bytes);
        if packets.is_multiple_of(MEMORY_STRIDE) && memory::available().is_some_and(|left| left < RESERVE) {
            self.ended.get_or_init(|| Stop::Memory);
        }
        !self.is_over()
    }

    /// Returns whether the replay is to end, and remembers why.
    fn is_over(&self) -> bool {
        let stop = match self.watch.is_stopped() {
            true => Some(Stop::Asked),
            false => (Instant::now() >= self.deadline).then_some(Stop::Late),
        };
        if let Some(stop) = stop {
            self.ended.get_or_init(|| stop);
        }
        self.ended.get().is_some()
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
        if self.watched.is_over() {
            return Err(io::Error::other("the replay was ended"));
        }
        let length = self.file.read(buffer)?;
        self.watched.watch.file_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_replay_ends_when_it_is_late_or_asked_to_and_says_which() {
        let later = Instant::now() + Duration::from_secs(3_600);
        let late = Watched::new(Arc::default(), Instant::now());
        let asked = Watched::new(Arc::default(), later);
        let free = Watched::new(Arc::default(), later);
        asked.watch.stop();

        assert!(!late.goes_on(STRIDE, 9) && !asked.goes_on(STRIDE, 9) && free.goes_on(STRIDE, 9));
        assert_eq!([late.ended(), asked.ended(), free.ended()], [Some(Stop::Late), Some(Stop::Asked), None]);
        assert_eq!(free.watch.progress(), [STRIDE, 9, 0]);
    }

    #[test]
    fn a_file_that_holds_no_packet_is_ended_too() {
        let watched = Watched::new(Arc::default(), Instant::now() + Duration::from_secs(3_600));
        let mut file = watched.counting(&b"four"[..]);
        let mut buffer = [0; 2];

        file.read_exact(&mut buffer).unwrap();
        watched.watch.stop();

        assert!(file.read(&mut buffer).is_err());
        assert_eq!(watched.watch.progress(), [0, 0, 2]);
    }
}
