//! A replayed capture in the formats of other tools: one stream, or a file for each log of a format that has several.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use netd_engine::time::Timestamp;

use crate::sinks::format::{Log, Record};
use crate::sinks::{Format, Site};

/// Bytes of further logs that may wait for the first one to be complete.
const MOST_WAITING: usize = 256 << 20;

/// Writes records as they come; of several tab-separated logs in one stream, conn.log comes first and the others wait.
pub(super) struct Formatted {
    format: Option<Format>,
    pub(super) site: Site,
    folder: Option<PathBuf>,
    files: BTreeMap<Log, BufWriter<File>>,
    waiting: BTreeMap<Log, Vec<u8>>,
    waiting_bytes: usize,
    began: bool,
}

impl Formatted {
    /// Writes the logs of a format that has several to `folder`, if there is one.
    pub(super) fn new(format: Option<Format>, folder: Option<PathBuf>) -> Self {
        Self {
            format,
            site: Site::default(),
            folder,
            files: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            began: false,
        }
    }

    pub(super) fn write(&mut self, record: &Record<'_>, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        let site = std::mem::take(&mut self.site);
        let mut written = Ok(());
        format.write(record, &site, &mut |log, lines| {
            if written.is_ok() {
                written = self.add(format, log, lines, now, out);
            }
        });
        self.site = site;
        written
    }

    /// Ends the stream, with what waits, or the files.
    pub(super) fn finish(mut self, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        let tail = format.tail(now);
        if self.began {
            out.write_all(tail.as_bytes())?;
        }
        for (log, lines) in &self.waiting {
            out.write_all(format.head(*log, now).as_bytes())?;
            out.write_all(lines)?;
            out.write_all(tail.as_bytes())?;
        }
        for file in self.files.values_mut() {
            file.write_all(tail.as_bytes())?;
            file.flush()?;
        }
        Ok(())
    }

    fn add(&mut self, format: Format, log: Log, lines: &[u8], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        if let Some(folder) = &self.folder {
            let file = match self.files.entry(log) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let path = folder.join(format!("{}.log", log.name()));
                    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                    let mut file = BufWriter::new(File::create(&path).map_err(named)?);
                    file.write_all(format.head(log, now).as_bytes())?;
                    new.insert(file)
                }
            };
            return file.write_all(lines);
        }
        if format == Format::Zeek && log != Log::Conn {
            self.waiting_bytes += lines.len();
            if self.waiting_bytes > MOST_WAITING {
                let text = "the other logs are too long to wait for conn.log; --logs DIRECTORY writes each to its file";
                return Err(io::Error::other(text));
            }
            self.waiting.entry(log).or_default().extend_from_slice(lines);
            return Ok(());
        }
        if !self.began {
            self.began = true;
            out.write_all(format.head(log, now).as_bytes())?;
        }
        out.write_all(lines)
    }
}
