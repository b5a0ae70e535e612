//! What flows are found by: sorted segments of some ten thousand flows each.
//!
//! An ordinary index would be changed at a random page for each flow. So the newest flows stand in `fresh` in the order
//! of their ids, which a question goes through; when there are [`FULL`] of them, each key is sorted once and added
//! behind the last segment of its table, whose pages are never touched again. A question looks into one segment after
//! the other, the one with the newest flows first, and stops when nothing newer can follow.

use std::path::Path;

use rusqlite::{Connection, ToSql};

use super::error::Error;

/// Flows of a segment: as many as a question may go through one by one. Fewer of them cost each question more segments.
const FULL: u64 = if cfg!(test) { 16 } else { 32_768 };

/// What flows are found by: a column of `fresh`, and of a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Src,
    Dst,
    Sport,
    Dport,
    Process,
    Name,
    /// The first [`COMMUNITY`] bytes of it.
    Community,
}

/// Bytes of a Community ID by which flows are found: enough that a segment hardly has two alike.
pub(super) const COMMUNITY: usize = 6;

/// Flows of a file that were sorted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: i64,
    pub(super) least_id: u64,
    pub(super) most_id: u64,
}

impl Key {
    const ALL: [Self; 7] = [Self::Src, Self::Dst, Self::Sport, Self::Dport, Self::Process, Self::Name, Self::Community];

    /// Returns the column in `fresh` and in the key's own table.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Dst => "dst",
            Self::Sport => "sport",
            Self::Dport => "dport",
            Self::Process => "comm",
            Self::Name => "name",
            Self::Community => "community",
        }
    }
}

/// Returns how many flows are in no segment.
pub(super) fn fresh(connection: &Connection, path: &Path) -> Result<u64, Error> {
    let counted = connection.query_row("SELECT count(*) FROM fresh", [], |row| row.get::<_, i64>(0));
    counted.map(i64::cast_unsigned).map_err(Error::sqlite("read", path))
}

/// Returns whether so many fresh flows are to become a segment.
pub(super) const fn is_full(fresh: u64) -> bool {
    fresh >= FULL
}

/// Makes the fresh flows a segment, if there are any, within the transaction that `connection` is in.
pub(super) fn close(connection: &Connection) -> rusqlite::Result<()> {
    let segment: i64 =
        connection.query_row("SELECT coalesce(max(segment), 0) + 1 FROM segments", [], |row| row.get(0))?;
    for key in Key::ALL {
        let column = key.column();
        let sorted = format!(
            "INSERT INTO by_{column} SELECT ?, {column}, id FROM fresh WHERE {column} IS NOT NULL ORDER BY {column}, id"
        );
        connection.execute(&sorted, [segment])?;
    }
    let noted = "INSERT INTO segments SELECT ?, count(*), min(id), max(id) FROM fresh HAVING count(*) > 0";
    connection.execute(noted, [segment])?;
    connection.execute("DELETE FROM fresh", [])?;
    Ok(())
}

/// Returns the segments, in no order.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Segment>> {
    let mut statement = connection.prepare("SELECT segment, least, most FROM segments")?;
    let segments = statement.query_map([], |row| {
        let id = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        Ok(Segment { number: row.get(0)?, least_id: id(1)?, most_id: id(2)? })
    })?;
    segments.collect()
}

/// Adds flows to `fresh`.
pub(super) struct Fresh<'c>(rusqlite::Statement<'c>);

impl<'c> Fresh<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        // As of flows, what was written may be written again.
        connection.prepare("INSERT OR REPLACE INTO fresh VALUES (?, ?, ?, ?, ?, ?, ?, ?)").map(Self)
    }

    /// Adds a flow: its id, then its values in the order of the table.
    pub(super) fn add(&mut self, values: [&dyn ToSql; 8]) -> rusqlite::Result<()> {
        self.0.execute(values).map(drop)
    }
}
