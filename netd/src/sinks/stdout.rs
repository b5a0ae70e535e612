//! Lines to standard output.

use std::io::{self, Write as _};

use super::format::{Format, Record, Site};
use super::writer::Flushed;

pub(super) struct StdoutOutput {
    format: Format,
    pending: Vec<u8>,
    records: u64,
}

impl StdoutOutput {
    pub(super) const fn new(format: Format) -> Self {
        Self { format, pending: Vec::new(), records: 0 }
    }

    pub(super) fn add(&mut self, record: &Record<'_>, site: &Site) {
        let Self { format, pending, records } = self;
        let mut is_told = false;
        format.write(record, site, &mut |_, lines| {
            pending.extend_from_slice(lines);
            is_told = true;
        });
        *records += u64::from(is_told);
    }

    pub(super) fn flush(&mut self) -> Flushed {
        let mut out = io::stdout().lock();
        while !self.pending.is_empty() {
            match out.write(&self.pending) {
                Ok(0) => return Flushed { error: Some(io::ErrorKind::WriteZero.into()), ..Flushed::default() },
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Flushed { error: Some(error), ..Flushed::default() },
            }
        }
        match out.flush() {
            Ok(()) => Flushed { sent: std::mem::take(&mut self.records), ..Flushed::default() },
            Err(error) => Flushed { error: Some(error), ..Flushed::default() },
        }
    }

    pub(super) fn discard(&mut self) -> u64 {
        self.pending.clear();
        std::mem::take(&mut self.records)
    }
}
