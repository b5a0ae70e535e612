//! Reads the audit log: a page of it for the API, all of it to verify the chain.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::Error;
use super::chain::{Broken, Fault, Link, Record};
use super::file::{self, failed, files};

/// Longest line that a record can make, in bytes.
const LINE: u64 = 64 << 10;

/// What a whole log showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of the first record that is there; above 1, older ones were removed.
    pub first: u64,
    pub records: u64,
    /// Number and hash of the last record that follows.
    pub last: u64,
    pub head: String,
    pub broken: Option<Broken>,
    /// Whether a record has the hash that was asked for.
    pub has_wanted: bool,
}

/// Follows the chain through all files of a folder up to the first record that does not follow, and looks for the record
/// whose hash is `wanted`.
///
/// # Errors
/// When the files cannot be read.
pub fn verify(folder: &Path, wanted: Option<&str>) -> Result<Verified, Error> {
    // Read before the files: a daemon that goes on writing only makes them longer.
    let head = file::head(folder);
    let mut link = Link::default();
    let mut verified = Verified { first: 0, records: 0, last: 0, head: String::new(), broken: None, has_wanted: false };
    let mut place = (String::new(), 0);
    'files: for path in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut reader = BufReader::new(fs::File::open(&path).map_err(failed("open", &path))?);
        for number in 1_u64.. {
            let mut line = Vec::new();
            let length = reader.by_ref().take(LINE).read_until(b'\n', &mut line).map_err(failed("read", &path))?;
            if length == 0 {
                break;
            }
            // Half a line at the very end is a record being written, or one that a crash tore: it never was one.
            if !line.ends_with(b"\n") && name == file::CURRENT {
                break;
            }
            place = (name.clone(), number);
            let followed = follow(&mut link, &line, verified.records == 0).and_then(|record| match &head {
                Some(head) if head.seq == link.seq && head.hash != link.hash => Err(Fault::Head),
                Some(_) | None => Ok(record),
            });
            match followed {
                Ok(record) => {
                    verified.records += 1;
                    verified.has_wanted |= wanted == Some(link.hash.as_str());
                    verified.first = if verified.first == 0 { record.seq } else { verified.first };
                }
                Err(fault) => {
                    verified.broken = Some(Broken { file: name, line: number, fault });
                    break 'files;
                }
            }
        }
    }
    verified.last = link.seq;
    verified.head = link.hash;
    if let Some(head) = head
        && verified.broken.is_none()
        && head.seq > verified.last
    {
        let fault = Fault::Truncated { seq: verified.last, head: head.seq };
        verified.broken = Some(Broken { file: place.0, line: place.1, fault });
    }
    Ok(verified)
}

/// Follows one line. The first that is there may have older ones before it, which were removed as a whole file.
fn follow(link: &mut Link, line: &[u8], is_first: bool) -> Result<Record, Fault> {
    let line = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok()).ok_or(Fault::Syntax)?;
    if is_first {
        let (record, _) = Record::read(line)?;
        if record.seq > 1 {
            *link = Link { seq: record.seq - 1, hash: record.prev };
        }
    }
    link.follow(line)
}

/// Returns up to `limit` records below number `before`, newest first, and whether there are more.
pub(super) fn page(folder: &Path, before: Option<u64>, limit: usize) -> Result<(Vec<Record>, bool), Error> {
    let before = before.unwrap_or(u64::MAX);
    let mut found = Vec::new();
    for path in files(folder)?.into_iter().rev() {
        if file::first_seq(&path).is_none_or(|first| first >= before) {
            continue;
        }
        let text = fs::read(&path).map_err(failed("read", &path))?;
        for line in text.rsplit(|byte| *byte == b'\n') {
            let Some((record, _)) = std::str::from_utf8(line).ok().and_then(|line| Record::read(line).ok()) else {
                continue;
            };
            if record.seq >= before {
                continue;
            }
            if found.len() == limit {
                return Ok((found, true));
            }
            found.push(record);
        }
    }
    Ok((found, false))
}
