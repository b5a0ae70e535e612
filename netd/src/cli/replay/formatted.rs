//! A replayed capture in the formats of other tools: one stream, though a format may have several logs.

use std::io::{self, Write};

use netd_engine::time::Timestamp;

use crate::sinks::format::{Log, Record};
use crate::sinks::{Format, Site};

/// Writes records as they come; those of a second log wait until the first one is complete.
pub(super) struct Formatted {
    format: Option<Format>,
    pub(super) site: Site,
    line: Vec<u8>,
    /// Notices of a format that keeps them apart.
    waiting: Vec<u8>,
    began: bool,
}

impl Formatted {
    pub(super) fn new(format: Option<Format>) -> Self {
        Self { format, site: Site::default(), line: Vec::new(), waiting: Vec::new(), began: false }
    }

    pub(super) fn write(&mut self, record: &Record<'_>, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        self.line.clear();
        match format.write(record, &self.site, &mut self.line) {
            Some(Log::Notice) if format == Format::Zeek => {
                self.waiting.extend_from_slice(&self.line);
                Ok(())
            }
            Some(log) => {
                self.begin(format, log, now, out)?;
                out.write_all(&self.line)
            }
            None => Ok(()),
        }
    }

    /// Ends the stream, with what waits.
    pub(super) fn finish(&mut self, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        if self.began {
            out.write_all(format.tail(now).as_bytes())?;
        }
        if !self.waiting.is_empty() {
            out.write_all(format.head(Log::Notice, now).as_bytes())?;
            out.write_all(&self.waiting)?;
            out.write_all(format.tail(now).as_bytes())?;
        }
        Ok(())
    }

    fn begin(&mut self, format: Format, log: Log, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        if self.began {
            return Ok(());
        }
        self.began = true;
        out.write_all(format.head(log, now).as_bytes())
    }
}
