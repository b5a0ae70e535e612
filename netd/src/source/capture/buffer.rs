//! The window over the uncompressed stream.

use std::io::{self, Cursor, Read};
use std::ops::Range;

use super::error::Fault;
use super::gzip::{self, Gunzip};

/// Small enough to stay in a second-level cache, large enough that reads do not count.
const WINDOW: usize = 256 << 10;

/// The stream behind the window.
pub(super) enum Source {
    Plain(Box<dyn Read + Send>),
    Gzip(Box<Gunzip>),
}

impl Source {
    /// Takes `stream` for gzip if it begins like gzip.
    pub(super) fn detect(mut stream: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = [0; gzip::MAGIC.len()];
        let mut filled = 0;
        while filled < head.len() {
            match retry(|| stream.read(&mut head[filled..]))? {
                0 => break,
                read => filled += read,
            }
        }
        let is_gzip = head == gzip::MAGIC && filled == head.len();
        let whole = Box::new(Cursor::new(head).take(filled as u64).chain(stream));
        Ok(if is_gzip { Self::Gzip(Box::new(Gunzip::new(whole))) } else { Self::Plain(whole) })
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        match self {
            Self::Plain(stream) => Ok(retry(|| stream.read(into))?),
            Self::Gzip(stream) => stream.read(into),
        }
    }
}

/// The bytes that were read and not consumed.
pub(super) struct Buffer {
    source: Source,
    bytes: Vec<u8>,
    unread: Range<usize>,
    /// Offset of `unread` in the stream.
    offset: u64,
    /// Why the stream ended, if not in good order. Kept back until everything before it is consumed.
    fault: Option<Fault>,
    ended: bool,
}

impl Buffer {
    pub(super) fn new(source: Source) -> Self {
        Self { source, bytes: vec![0; WINDOW], unread: 0..0, offset: 0, fault: None, ended: false }
    }

    pub(super) const fn is_gzip(&self) -> bool {
        matches!(self.source, Source::Gzip(_))
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.unread.clone()]
    }

    /// Returns bytes that were consumed by [`Buffer::consume`], until the next call that reads.
    #[inline]
    pub(super) fn slice(&self, place: Range<usize>) -> &[u8] {
        &self.bytes[place]
    }

    /// Passes over `length` unread bytes and returns the place of `part` of them.
    #[inline]
    pub(super) fn consume(&mut self, length: usize, part: Range<usize>) -> Range<usize> {
        let place = self.unread.start + part.start..self.unread.start + part.end;
        self.unread.start += length;
        self.offset += length as u64;
        place
    }

    /// Returns whether the stream has ended, in good order, with the last byte that was consumed.
    #[inline]
    pub(super) fn is_at_end(&mut self) -> Result<bool, Fault> {
        if !self.unread.is_empty() {
            return Ok(false);
        }
        self.fill(1);
        match self.fault.take_if(|_| self.unread.is_empty()) {
            Some(fault) => Err(fault),
            None => Ok(self.unread.is_empty()),
        }
    }

    /// Makes `needed` bytes unread, or fails because `what` is truncated.
    #[inline]
    pub(super) fn require(&mut self, needed: usize, what: &'static str) -> Result<(), Fault> {
        if self.unread.len() >= needed {
            return Ok(());
        }
        self.fill(needed);
        let available = self.unread.len();
        if available >= needed {
            return Ok(());
        }
        Err(self.fault.take().unwrap_or(Fault::Truncated { what, needed, available }))
    }

    /// Returns the first `N` unread words of four bytes, or fails because `what` is truncated.
    #[inline]
    pub(super) fn words<const N: usize>(&mut self, what: &'static str) -> Result<[[u8; 4]; N], Fault> {
        self.require(4 * N, what)?;
        let mut words = [[0; 4]; N];
        words.as_flattened_mut().copy_from_slice(&self.unread()[..4 * N]);
        Ok(words)
    }

    /// Makes `needed` bytes unread, or all that there are. Waits for no more than that, so that a capture can be read
    /// from a pipe while it is being written.
    #[cold]
    pub(super) fn fill(&mut self, needed: usize) {
        self.bytes.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        while self.unread.end < needed && !self.ended {
            let room = &mut self.bytes[self.unread.end..];
            match self.source.read(room) {
                Ok(0) => self.ended = true,
                Ok(read) => self.unread.end += read.min(room.len()),
                Err(fault) => {
                    self.fault = Some(fault);
                    self.ended = true;
                }
            }
        }
    }
}

/// Repeats a read that a signal interrupts.
pub(super) fn retry<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
