//! The files of the audit log: the one being written, those before it, and the head.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Error;
use super::chain::{Fault, Link, Record};

/// A file is put aside when it is this long.
const FILE: u64 = 16 << 20;
/// Files kept beside the one being written; the oldest goes first.
const KEPT: usize = 64;

pub(super) const CURRENT: &str = "audit.jsonl";
const HEAD: &str = "audit.head";

/// Appends records, each on disk before it is reported written.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    file: fs::File,
    head_file: fs::File,
    length: u64,
    last: Link,
    torn_bytes: u64,
    fault: Option<Fault>,
}

impl Writer {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
        let path = folder.join(CURRENT);
        let mut file = options().open(&path).map_err(failed("open", &path))?;
        let head_path = folder.join(HEAD);
        let head_file = options().open(&head_path).map_err(failed("open", &head_path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read", &path))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let torn_bytes = (bytes.len() - whole) as u64;
        if torn_bytes > 0 {
            file.set_len(whole as u64).map_err(failed("repair", &path))?;
        }
        bytes.truncate(whole);
        let (last, mut fault) = match last_line(&bytes) {
            Some(line) => ending(line),
            // Empty: what was put aside last goes before it.
            None => match files(folder)?.iter().rev().find(|path| !path.ends_with(CURRENT)) {
                Some(path) => {
                    let bytes = fs::read(path).map_err(failed("read", path))?;
                    last_line(&bytes).map_or((Link::default(), Some(Fault::Syntax)), ending)
                }
                None => (Link::default(), None),
            },
        };
        let head = read_head(&head_file);
        if let Some(head) = &head
            && head.seq > last.seq
        {
            fault.get_or_insert(Fault::Truncated { seq: last.seq, head: head.seq });
        }
        // Numbers that were given are never given again, even if their records are gone.
        let seq = last.seq.max(head.map_or(0, |head| head.seq));
        let last = Link { seq, ..last };
        Ok(Self { folder: folder.to_owned(), file, head_file, length: whole as u64, last, torn_bytes, fault })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Returns what was wrong with the end of the log when it was opened.
    pub(super) const fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    pub(super) fn head(&self) -> (u64, String) {
        (self.last.seq, self.last.hash.clone())
    }

    /// Writes the record that `make` returns for its number and the hash of the one before.
    pub(super) fn append(&mut self, make: impl FnOnce(u64, &str) -> Record) -> Result<(), Error> {
        if self.length >= FILE {
            self.put_aside()?;
        }
        let seq = self.last.seq + 1;
        let (line, hash) = make(seq, &self.last.hash).line()?;
        let path = self.folder.join(CURRENT);
        let written = self.file.write_all_at(line.as_bytes(), self.length).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Half a line must not stay; where it cannot be cut off, the next record is written over it.
            let _ = self.file.set_len(self.length);
            return Err(failed("write", &path)(source));
        }
        self.length += line.len() as u64;
        self.last = Link { seq, hash };
        // The head may be behind after a crash, never ahead; so its own failure is none of the record's.
        if let Err(error) = write_head(&self.head_file, &self.last) {
            tracing::debug!(%error, "the head of the audit log was not written");
        }
        Ok(())
    }

    /// Gives the file the name of its first record, and begins another. The chain goes on.
    fn put_aside(&mut self) -> Result<(), Error> {
        let path = self.folder.join(CURRENT);
        let first = first_seq(&path).unwrap_or(self.last.seq);
        let aside = self.folder.join(format!("audit-{first:020}.jsonl"));
        fs::rename(&path, &aside).map_err(failed("rename", &path))?;
        match options().open(&path) {
            Ok(file) => {
                self.file = file;
                self.length = 0;
            }
            Err(source) => {
                // Goes on in the old one; that it cannot be named back is told by the next open.
                let _ = fs::rename(&aside, &path);
                return Err(failed("create", &path)(source));
            }
        }
        tracing::info!(seq = self.last.seq, hash = self.last.hash, file = %aside.display(), "the audit log goes on in another file");
        let files = files(&self.folder)?;
        for old in files.iter().take(files.len().saturating_sub(KEPT + 1)) {
            match fs::remove_file(old) {
                Ok(()) => tracing::info!(file = %old.display(), "the oldest part of the audit log was removed"),
                Err(error) => tracing::warn!(file = %old.display(), %error, "an old audit log cannot be removed"),
            }
        }
        Ok(())
    }
}

/// Returns the files of a log, oldest first.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(failed("read", folder))?;
    let is_aside = |name: &str| {
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        number.is_some_and(|number| number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_aside))
        .map(|entry| entry.path())
        .collect();
    files.sort_unstable();
    let current = folder.join(CURRENT);
    if current.exists() {
        files.push(current);
    }
    Ok(files)
}

/// Returns the number in a file's first line.
pub(super) fn first_seq(path: &Path) -> Option<u64> {
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(fs::File::open(path).ok()?).take(1 << 16), &mut line).ok()?;
    Record::read(line.trim_end()).ok().map(|(record, _)| record.seq)
}

/// Returns what the head says, if it can be read.
pub(super) fn head(folder: &Path) -> Option<Link> {
    read_head(&fs::File::open(folder.join(HEAD)).ok()?)
}

fn read_head(file: &fs::File) -> Option<Link> {
    let mut bytes = [0; 86];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (seq, hash) = std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    Some(Link { seq: seq.parse().ok()?, hash: hash.to_owned() })
}

/// Always the same length, so that it is written over in place even where the disk is full.
fn write_head(file: &fs::File, link: &Link) -> io::Result<()> {
    file.write_all_at(format!("{:020} {:64}\n", link.seq, link.hash).as_bytes(), 0)
}

fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_suffix(b"\n")?;
    let start = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes.get(start..)
}

/// Returns where the chain goes on after a line, and what is wrong with it.
fn ending(line: &[u8]) -> (Link, Option<Fault>) {
    let read = std::str::from_utf8(line).map_err(|_| Fault::Syntax).and_then(Record::read);
    match read {
        Ok((record, hash)) => (Link { seq: record.seq, hash }, None),
        Err(fault) => (Link { seq: 0, hash: blake3::hash(line).to_hex().to_string() }, Some(fault)),
    }
}

fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).read(true).write(true).truncate(false).mode(0o600);
    options
}

pub(super) fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { attempt, path, source }
}

#[cfg(test)]
impl Writer {
    /// Makes every write fail as on a full disk.
    pub(super) fn break_for_tests(&mut self) {
        self.file = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    }

    pub(super) fn mend_for_tests(&mut self) {
        self.file = options().open(self.folder.join(CURRENT)).unwrap();
    }

    pub(super) fn put_aside_for_tests(&mut self) {
        self.put_aside().unwrap();
    }
}
