//! Lines to files that are rotated by size; whoever renames them otherwise is followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netd_engine::time::Timestamp;
use tracing::warn;

use super::format::{Format, Log, Record, Site};
use super::writer::Flushed;

/// Readable by the owner and its group, whatever the umask adds.
const PERMISSIONS: u32 = 0o640;
/// Between two looks whether the path still leads to the file that is open.
const LOOK: Duration = Duration::from_secs(1);

/// When a file makes room for a new one, and what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes a file may have; `None`: it is never rotated.
    pub size: Option<u64>,
    /// Rotated files kept beside it: `.1` is the newest.
    pub keep: u32,
    /// Waits for the disk after each batch, instead of when a file is rotated or closed.
    pub fsync: bool,
}

pub(super) struct FileOutput {
    path: PathBuf,
    format: Format,
    rotation: Rotation,
    logs: Vec<LogFile>,
}

/// One log: the file, where it is open, and the lines that wait for it.
struct LogFile {
    log: Log,
    path: PathBuf,
    open: Option<Open>,
    pending: Vec<u8>,
    records: u64,
}

struct Open {
    file: File,
    length: u64,
    /// Whether it holds more than what a new file begins with.
    records: bool,
    looked: Instant,
}

impl FileOutput {
    pub(super) const fn new(path: PathBuf, format: Format, rotation: Rotation) -> Self {
        Self { path, format, rotation, logs: Vec::new() }
    }

    pub(super) fn add(&mut self, record: &Record<'_>, site: &Site) {
        let Self { format, path, logs, .. } = self;
        // A record counts where it is told first, however many logs tell of it.
        let mut records = 1;
        format.write(record, site, &mut |log, lines| {
            let index = logs.iter().position(|known| known.log == log).unwrap_or_else(|| {
                let path = match format.has_several_logs() {
                    true => path.join(format!("{}.log", log.name())),
                    false => path.clone(),
                };
                logs.push(LogFile { log, path, open: None, pending: Vec::new(), records: 0 });
                logs.len() - 1
            });
            logs[index].pending.extend_from_slice(lines);
            logs[index].records += std::mem::take(&mut records);
        });
    }

    pub(super) fn flush(&mut self, now: Timestamp) -> Flushed {
        let mut flushed = Flushed::default();
        for log in &mut self.logs {
            match log.write(self.format, self.rotation, now) {
                Ok(sent) => flushed.sent += sent,
                Err(error) => {
                    let text = format!("{}: {error}", log.path.display());
                    flushed.error = Some(io::Error::new(error.kind(), text));
                }
            }
        }
        flushed
    }

    pub(super) fn discard(&mut self) -> u64 {
        self.logs.iter_mut().map(LogFile::discard).sum()
    }

    /// Ends every log as its format wants it, and waits for the disk.
    pub(super) fn close(&mut self, now: Timestamp) {
        for log in &mut self.logs {
            if let Err(error) = log.close(self.format, now) {
                warn!(path = %log.path.display(), %error, "a log could not be closed whole");
            }
        }
    }
}

impl LogFile {
    /// Writes what waits; returns how many records that were.
    fn write(&mut self, format: Format, rotation: Rotation, now: Timestamp) -> io::Result<u64> {
        if self.pending.is_empty() {
            return Ok(0);
        }
        if self.open.as_mut().is_some_and(|open| open.was_moved(&self.path)) {
            self.open = None;
        }
        let most = rotation.size.unwrap_or(u64::MAX);
        let more = self.pending.len() as u64;
        let open = self.opened(format, now)?;
        // A batch that is larger than a whole file has one of its own.
        if open.records && open.length.saturating_add(more) > most {
            self.close(format, now)?;
            if let Err(error) = shift(&self.path, rotation.keep) {
                // A file that grows too long is better than events that are lost.
                warn!(path = %self.path.display(), %error, "a log could not be rotated");
            }
        }
        let pending = std::mem::take(&mut self.pending);
        let written = self.opened(format, now).and_then(|open| open.append(&pending, rotation.fsync));
        match written {
            Ok(()) => {
                self.open.iter_mut().for_each(|open| open.records = true);
                Ok(std::mem::take(&mut self.records))
            }
            Err(error) => {
                self.pending = pending;
                Err(error)
            }
        }
    }

    fn opened(&mut self, format: Format, now: Timestamp) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.path, &format.head(self.log, now))?,
        };
        Ok(self.open.insert(open))
    }

    fn close(&mut self, format: Format, now: Timestamp) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.append(format.tail(now).as_bytes(), false)?;
        open.file.sync_data()
    }

    fn discard(&mut self) -> u64 {
        self.pending.clear();
        std::mem::take(&mut self.records)
    }
}

impl Open {
    fn at(path: &Path, head: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(PERMISSIONS).open(path)?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        let mut open = Self { file, length, records: length > 0, looked: Instant::now() };
        if open.length == 0 {
            open.append(head.as_bytes(), false)?;
        }
        Ok(open)
    }

    /// Appends whole lines, or nothing: what a full disk took of them is cut off again.
    fn append(&mut self, lines: &[u8], fsync: bool) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines).and_then(|()| if fsync { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // Of a pipe nothing can be cut off, and a disk that fails may refuse this, too.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }

    /// Whether the path leads elsewhere by now: somebody else rotated the file, or removed it.
    fn was_moved(&mut self, path: &Path) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let Ok(own) = self.file.metadata() else { return true };
        // Truncated in place (`copytruncate`).
        self.length = own.len();
        fs::metadata(path).map_or(true, |there| (there.dev(), there.ino()) != (own.dev(), own.ino()))
    }
}

/// Renames `path` to `path.1`, that to `path.2` and so on; the last one goes.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    match keep {
        0 => fs::remove_file(path),
        _ => fs::rename(path, numbered(1)),
    }
}
