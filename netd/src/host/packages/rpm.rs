//! rpm's database, as SQLite: since rpm 4.16, Fedora 33 and RHEL 9. The older formats are recognised and refused.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{Error, header, index::Builder};

/// Where distributions put it, relative to the root; and the log that a running transaction writes to.
pub(super) const PATHS: [&str; 4] = [
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "var/lib/rpm/rpmdb.sqlite-wal",
];

/// Of rpm's ndb and of Berkeley DB.
const OLD: [&str; 4] = [
    "usr/lib/sysimage/rpm/Packages.db",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/Packages",
    "var/lib/rpm/Packages",
];

pub(super) fn read(root: &Path, index: &mut Builder) -> Result<(), Error> {
    let present = |paths: &[&str]| paths.iter().map(|path| root.join(path)).find(|path| path.is_file());
    if let Some(path) = present(&PATHS[..2]) {
        return sqlite(&path, index);
    }
    present(&OLD).map_or(Ok(()), |path| Err(Error::Unsupported { path }))
}

fn sqlite(path: &Path, index: &mut Builder) -> Result<(), Error> {
    let failed = |source| Error::Sqlite { path: path.to_owned(), source };
    let mut headers: Vec<header::Package> = Vec::new();
    // The log of a database that nobody has open cannot be mapped where its directory may not be written to; then what
    // is in the main file is all there is.
    all(path, "mode=ro", &mut headers).or_else(|_| all(path, "immutable=1", &mut headers)).map_err(failed)?;
    for package in &headers {
        index.package(&package.name);
        package.files.iter().try_for_each(|file| index.file(file))?;
    }
    Ok(())
}

fn all(path: &Path, how: &str, headers: &mut Vec<header::Package>) -> rusqlite::Result<()> {
    headers.clear();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{}?{how}", escaped(path).display()), flags)?;
    let mut statement = connection.prepare("SELECT blob FROM Packages")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?;
        headers.extend(blob.as_blob().ok().and_then(header::package));
    }
    Ok(())
}

/// Escapes what ends a path in a URI.
fn escaped(path: &Path) -> PathBuf {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23").into()
}
