//! Reads an uploaded list: short ones as they come, long ones on a thread of their own.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::input;
use super::problem::Problem;
use crate::host::memory;
use crate::time;
use crate::verdicts::blocklist::{Parsed, Parser};

/// Longest list, in bytes of text: ten million IPv6 addresses, written out.
const LIST_LIMIT: usize = 512 << 20;
/// Bytes from which on a list has a thread of its own, so that whoever is content to wait does not keep others waiting.
const LONG: usize = 64 << 10;
/// Pieces that wait for that thread.
const AHEAD: usize = 16;

/// Reads a list in any of the formats of feeds.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Parsed, Problem> {
    let mut pieces = input::Pieces::new(headers, body, LIST_LIMIT)?;
    let (mut reading, mut length) = (Reading::new(), 0);
    while let Some(piece) = pieces.next().await? {
        length += piece.len();
        reading.take(&piece);
        if length > LONG {
            return read_elsewhere(reading, pieces).await;
        }
    }
    reading.finish()
}

async fn read_elsewhere(mut reading: Reading, mut pieces: input::Pieces) -> Result<Parsed, Problem> {
    let (ahead, mut waiting) = mpsc::channel::<Bytes>(AHEAD);
    let thread: JoinHandle<Result<Parsed, Problem>> = spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            reading.take(&piece);
        }
        reading.finish()
    });
    while let Some(piece) = pieces.next().await? {
        if ahead.send(piece).await.is_err() {
            break;
        }
    }
    drop(ahead);
    thread.await.map_err(|error| {
        tracing::error!(%error, "a list could not be read");
        Problem::internal()
    })?
}

/// A list that is being read, as long as there is memory for it.
struct Reading {
    parser: Parser,
    memory: MemoryGuard,
}

impl Reading {
    fn new() -> Self {
        Self { parser: Parser::new(time::now()), memory: MemoryGuard::default() }
    }

    fn take(&mut self, piece: &[u8]) {
        if self.memory.allows(self.parser.items()) {
            self.parser.push(piece);
        } else {
            self.parser = Parser::new(time::now());
        }
    }

    fn finish(self) -> Result<Parsed, Problem> {
        self.memory.check()?;
        Ok(self.parser.finish())
    }
}

/// Stops the reading of a list that there is no memory for: before the machine kills somebody.
#[derive(Debug, Default)]
struct MemoryGuard {
    looked_at: usize,
    /// Entries, bytes that they need and bytes there are.
    short: Option<(usize, u64, u64)>,
}

impl MemoryGuard {
    /// Entries between two looks.
    const STRIDE: usize = 1 << 18;
    /// What an entry takes while its list grows: the packed one, twice, and once more while it is copied.
    const ENTRY: u64 = 3 * 17;
    /// What the daemon needs besides.
    const RESERVE: u64 = 32 << 20;

    /// Returns whether there is memory for more than the entries read so far.
    fn allows(&mut self, entries: usize) -> bool {
        if self.short.is_none() && entries >= self.looked_at + Self::STRIDE {
            self.looked_at = entries;
            // What was read is taken already: as much again may be.
            let needed = entries as u64 * Self::ENTRY + Self::RESERVE;
            self.short = memory::available().filter(|left| *left < needed).map(|left| (entries, needed, left));
        }
        self.short.is_none()
    }

    fn check(self) -> Result<(), Problem> {
        let Some((entries, needed, available)) = self.short else { return Ok(()) };
        let detail = format!(
            "after {entries} entries {} MiB of memory were needed and {} MiB available; the list stays as it is",
            needed >> 20,
            available >> 20
        );
        Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", "Table full", detail))
    }
}
