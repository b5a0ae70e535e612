//! From a CSV file to an MMDB file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

use super::{Built, Error, Options, build, rows};
use crate::{Database, Info};

/// Makes a database from a CSV file, reads it back, asks it for both ends of every row, and only then puts it in place.
///
/// # Errors
/// As [`build`], and when the file cannot be written. A file that was there before is then untouched.
pub fn write(from: &Path, to: &Path, options: &Options) -> Result<(Built, Info), Error> {
    let file = File::open(from).map_err(|source| Error::Read { path: from.to_owned(), source })?;
    let built = build(BufReader::new(file), from, options)?;
    let database = Database::from_bytes(built.bytes.clone(), to)
        .map_err(|source| Error::ReadBack { path: from.to_owned(), source })?;
    compare(&built, &database).map_err(|address| Error::Differs { path: from.to_owned(), address })?;
    replace(to, &built.bytes).map_err(|source| Error::Write { path: to.to_owned(), source })?;
    Ok((built, database.info().clone()))
}

fn compare(built: &Built, database: &Database) -> Result<(), std::net::IpAddr> {
    for (range, region) in &built.expected {
        for address in [range.start(), range.end()].map(|value| rows::address_at(*value)) {
            if database.lookup(address).as_ref() != Some(region) {
                return Err(address);
            }
        }
    }
    Ok(())
}

/// Replaces a file's content: after a crash at any moment the old or the new content is there.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path)?;
    let written = write_through(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Leaves room on a full disk; that the file cannot be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_through(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
