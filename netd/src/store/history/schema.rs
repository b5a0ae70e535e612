//! The files' tables, their versions, and how a file is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::Error;

/// "netd" in ASCII: nobody else's file is taken for ours.
const APPLICATION: i64 = 0x6e65_7464;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Changes with anything in `tables`.
    version: i64,
    tables: &'static str,
}

/// A conversation longer than this is in an index of its own, so that "still alive then" does not look at all that
/// began before.
pub(super) const LONG_NS: i64 = 600_000_000_000;

/// Addresses are 4 or 16 bytes in network byte order, times nanoseconds of Unix time. Texts are numbers of `texts`;
/// names are written from their end, so that what lies under a name begins with it. What has no value is NULL.
///
/// What flows are found by stands in `fresh` for the newest of them, then in a segment of each table `by_…`
/// ([`super::segments`]).
pub(super) const FLOWS: Kind = Kind {
    version: 2,
    tables: "
CREATE TABLE span (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    flows INTEGER NOT NULL, least INTEGER NOT NULL, most INTEGER NOT NULL,
    latest_end INTEGER NOT NULL, longest_lag INTEGER NOT NULL,
    run INTEGER NOT NULL, batch INTEGER NOT NULL
) STRICT;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE processes (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, document TEXT NOT NULL) STRICT;
CREATE TABLE flows (
    id INTEGER PRIMARY KEY,
    start INTEGER NOT NULL, end INTEGER NOT NULL,
    src BLOB NOT NULL, dst BLOB NOT NULL, sport INTEGER NOT NULL, dport INTEGER NOT NULL, proto INTEGER NOT NULL,
    packets_out INTEGER NOT NULL, bytes_out INTEGER NOT NULL, payload_out INTEGER NOT NULL, flags_out INTEGER NOT NULL,
    packets_in INTEGER NOT NULL, bytes_in INTEGER NOT NULL, payload_in INTEGER NOT NULL, flags_in INTEGER NOT NULL,
    turns INTEGER NOT NULL, state INTEGER NOT NULL, end_reason INTEGER NOT NULL,
    community ANY,
    name TEXT, name_source INTEGER NOT NULL,
    service INTEGER, alpn INTEGER, ja4 INTEGER, encrypted_dns INTEGER,
    country INTEGER, asn INTEGER, as_name INTEGER,
    pid INTEGER, comm INTEGER, exe INTEGER, user INTEGER,
    container INTEGER, container_id INTEGER, ns INTEGER, pod INTEGER,
    process INTEGER, responder_process INTEGER,
    vlan INTEGER NOT NULL, ifindex INTEGER NOT NULL, rule INTEGER NOT NULL
) STRICT;
CREATE INDEX flows_long ON flows (end) WHERE end - start > 600000000000;
CREATE TABLE fresh (
    id INTEGER PRIMARY KEY,
    src BLOB NOT NULL, dst BLOB NOT NULL, sport INTEGER NOT NULL, dport INTEGER NOT NULL,
    comm INTEGER, community BLOB, name TEXT
) STRICT;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY, flows INTEGER NOT NULL, least INTEGER NOT NULL, most INTEGER NOT NULL
) STRICT;
CREATE TABLE by_src (segment INTEGER, src BLOB, id INTEGER, PRIMARY KEY (segment, src, id)) STRICT, WITHOUT ROWID;
CREATE TABLE by_dst (segment INTEGER, dst BLOB, id INTEGER, PRIMARY KEY (segment, dst, id)) STRICT, WITHOUT ROWID;
CREATE TABLE by_sport (
    segment INTEGER, sport INTEGER, id INTEGER, PRIMARY KEY (segment, sport, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE by_dport (
    segment INTEGER, dport INTEGER, id INTEGER, PRIMARY KEY (segment, dport, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE by_comm (segment INTEGER, comm INTEGER, id INTEGER, PRIMARY KEY (segment, comm, id)) STRICT, WITHOUT ROWID;
CREATE TABLE by_name (segment INTEGER, name TEXT, id INTEGER, PRIMARY KEY (segment, name, id)) STRICT, WITHOUT ROWID;
CREATE TABLE by_community (
    segment INTEGER, community BLOB, id INTEGER, PRIMARY KEY (segment, community, id)
) STRICT, WITHOUT ROWID;
",
};

pub(super) const CONTROL: Kind = Kind {
    version: 1,
    tables: "
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL,
    finding TEXT NOT NULL, rises TEXT NOT NULL, response TEXT, triage TEXT NOT NULL
) STRICT;
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, change TEXT NOT NULL,
    verdict INTEGER NOT NULL, document TEXT NOT NULL
) STRICT;
CREATE INDEX verdicts_time ON verdicts (time);
",
};

/// Opens a file to write, making it when there is none.
pub(super) fn open(path: &Path, kind: Kind) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(Error::sqlite("open", path))?;
    let set_up = |connection: &Connection| {
        // Whoever is killed loses nothing that was committed; a power cut, what the kernel had not yet written.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -32768; PRAGMA journal_size_limit = 33554432; PRAGMA busy_timeout = 2000;",
        )
    };
    set_up(&connection).map_err(Error::sqlite("open", path))?;
    if versions(&connection, path)? == (0, 0) {
        let Kind { version, tables } = kind;
        let script =
            format!("BEGIN; {tables} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version}; COMMIT;");
        connection.execute_batch(&script).map_err(Error::sqlite("set up", path))?;
    }
    check(&connection, path, kind)?;
    Ok(connection)
}

/// Opens a file to read.
pub(super) fn open_to_read(path: &Path, kind: Kind) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Error::sqlite("open", path))?;
    connection
        .execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA busy_timeout = 2000;")
        .map_err(Error::sqlite("open", path))?;
    check(&connection, path, kind)?;
    Ok(connection)
}

fn check(connection: &Connection, path: &Path, kind: Kind) -> Result<(), Error> {
    match versions(connection, path)? {
        (APPLICATION, version) if version == kind.version => Ok(()),
        (APPLICATION, version) => Err(Error::Version { path: path.to_owned(), version, reads: kind.version }),
        _ => Err(Error::Foreign { path: path.to_owned() }),
    }
}

fn versions(connection: &Connection, path: &Path) -> Result<(i64, i64), Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let both = pragma("application_id").and_then(|id| Ok((id, pragma("user_version")?)));
    both.map_err(Error::sqlite("read", path))
}

/// Renames a damaged file, with what belongs to it, and returns its new name.
pub(super) fn set_aside(path: &Path) -> Result<std::path::PathBuf, Error> {
    let named = |n: u32| path.with_extension(format!("damaged-{n}"));
    let aside = (1..1_000).map(named).find(|candidate| !candidate.exists()).unwrap_or_else(|| named(0));
    std::fs::rename(path, &aside).map_err(Error::io("set aside", path))?;
    remove_beside(path);
    Ok(aside)
}

/// Removes a file's journal and shared memory, which are of no use without it.
pub(super) fn remove_beside(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        // Mostly there is none.
        let _ = std::fs::remove_file(beside);
    }
}
