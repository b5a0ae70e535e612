//! The files of flows: which there are, what each covers, which have to go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use netd_engine::time::Timestamp;
use rusqlite::Connection;

use super::error::Error;
use super::health::Health;
use super::schema;

const DAY_NS: u64 = 86_400_000_000_000;
/// Parts of one day there can be.
const MOST_PARTS: u32 = 1_000;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub retention: Duration,
    /// Of all files of flows together.
    pub bytes: u64,
}

/// Which file: the day it was begun (days since 1970, UTC), and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part {
    pub(super) day: u64,
    pub(super) part: u32,
}

/// What a file covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub flows: u64,
    pub least_id: u64,
    pub most_id: u64,
    pub latest_end: Timestamp,
    /// Most by which any id is ahead of its flow's start, microseconds.
    pub longest_lag_us: u64,
    /// The writer's run, and its last batch.
    pub run: u64,
    pub batch: u64,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Day {
    pub(super) part: Part,
    pub path: PathBuf,
    pub span: Span,
    pub bytes: u64,
    /// Of another version it is neither read nor written, and goes when it is too old or too much.
    pub(super) is_read: bool,
}

/// All files, oldest first. The writer changes them, readers take a copy.
#[derive(Clone, Debug)]
pub struct Days {
    pub(super) folder: PathBuf,
    files: Arc<RwLock<Vec<Day>>>,
}

impl Part {
    pub(super) const fn of(now: Timestamp) -> Self {
        Self { day: now.0 / DAY_NS, part: 1 }
    }

    fn file_name(self) -> String {
        let date = date(self.day);
        if self.part == 1 { format!("flows-{date}.db") } else { format!("flows-{date}.{}.db", self.part) }
    }

    fn read(name: &str) -> Option<Self> {
        let middle = name.strip_prefix("flows-")?.strip_suffix(".db")?;
        let (date, part) = match middle.split_once('.') {
            Some((date, part)) => (date, part.parse().ok().filter(|part| (2..=MOST_PARTS).contains(part))?),
            None => (middle, 1),
        };
        let date: jiff::civil::Date = date.parse().ok()?;
        let since = date.since(jiff::civil::date(1970, 1, 1)).ok()?;
        Some(Self { day: u64::try_from(since.get_days()).ok()?, part })
    }
}

fn date(day: u64) -> String {
    let second = i64::try_from(day.saturating_mul(86_400)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second)
        .map_or_else(|_| "9999-12-30".to_owned(), |time| time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

impl Span {
    pub(super) fn read(connection: &Connection, path: &Path) -> Result<Self, Error> {
        let number = |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(|number| number.cast_unsigned());
        let sql = "SELECT flows, least, most, latest_end, longest_lag, run, batch FROM span";
        let read = connection.query_row(sql, [], |row| {
            Ok(Self {
                flows: number(row, 0)?,
                least_id: number(row, 1)?,
                most_id: number(row, 2)?,
                latest_end: Timestamp(number(row, 3)?),
                longest_lag_us: number(row, 4)?,
                run: number(row, 5)?,
                batch: number(row, 6)?,
            })
        });
        match read {
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Self::default()),
            other => other.map_err(Error::sqlite("read", path)),
        }
    }

    /// Takes in one more flow.
    pub(super) fn add(&mut self, id: u64, start: Timestamp, end: Timestamp) {
        self.least_id = if self.flows == 0 { id } else { self.least_id.min(id) };
        self.most_id = self.most_id.max(id);
        self.latest_end = self.latest_end.max(end);
        self.longest_lag_us = self.longest_lag_us.max(id.saturating_sub(start.0 / 1_000));
        self.flows += 1;
    }
}

impl Days {
    /// Looks which files there are. Damaged ones are set aside, those of another version kept unread.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or listed.
    pub fn open(folder: &Path, health: &Health) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(Error::io("create", folder))?;
        let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
        let mut files = Vec::new();
        for entry in entries.flatten() {
            let Some(part) = entry.file_name().to_str().and_then(Part::read) else { continue };
            let path = entry.path();
            let day = |path, span, is_read| Day { part, bytes: size(path), path: path.to_owned(), span, is_read };
            let opened = schema::open_to_read(&path, schema::FLOWS);
            match opened.and_then(|connection| Span::read(&connection, &path)) {
                Ok(span) => files.push(day(&path, span, true)),
                Err(error) if error.is_damage() => damaged(&path, &error, health),
                Err(error @ Error::Version { .. }) => {
                    tracing::warn!(%error, "a file of history is not read; it is kept as long as others");
                    files.push(day(&path, Span::default(), false));
                }
                Err(error) => tracing::warn!(%error, "a file of history is not read"),
            }
        }
        files.sort_unstable_by_key(|day| day.part);
        Ok(Self { folder: folder.to_owned(), files: Arc::new(RwLock::new(files)) })
    }

    /// Returns the files, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Day> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the highest id in any file.
    #[must_use]
    pub fn most_id(&self) -> u64 {
        self.list().iter().map(|day| day.span.most_id).max().unwrap_or(0)
    }

    pub(super) fn path(&self, part: Part) -> PathBuf {
        self.folder.join(part.file_name())
    }

    /// Returns the file to write at `now`: the day's last part, or the next one when that is full.
    pub(super) fn part_at(&self, now: Timestamp, limits: Limits) -> Part {
        let first = Part::of(now);
        let last = self.list().into_iter().rev().find(|day| day.part.day == first.day);
        match last {
            // So many parts that dropping the oldest one loses little.
            Some(last) if last.bytes > limits.bytes / 8 || !last.is_read => {
                Part { part: (last.part.part + 1).min(MOST_PARTS), ..first }
            }
            Some(last) => last.part,
            None => first,
        }
    }

    /// Takes in what a file covers.
    pub(super) fn put(&self, part: Part, span: Span) {
        let path = self.path(part);
        let day = Day { part, bytes: size(&path), path, span, is_read: true };
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        match files.binary_search_by_key(&part, |day| day.part) {
            Ok(at) => files[at] = day,
            Err(at) => files.insert(at, day),
        }
    }

    pub(super) fn forget(&self, part: Part) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).retain(|day| day.part != part);
    }

    /// Removes files that are too old or too much, but not the one that is `open`; returns how many.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub(super) fn trim(&self, now: Timestamp, limits: Limits, open: Option<Part>) -> Result<usize, Error> {
        let oldest_ns = now.0.saturating_sub(u64::try_from(limits.retention.as_nanos()).unwrap_or(u64::MAX));
        let files = self.list();
        let mut bytes: u64 = files.iter().map(|day| day.bytes).sum();
        let mut removed = 0;
        for day in files {
            let is_old = (day.part.day + 1).saturating_mul(DAY_NS) <= oldest_ns;
            if Some(day.part) == open || !(is_old || bytes > limits.bytes) {
                continue;
            }
            match fs::remove_file(&day.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &day.path)(error));
                }
                Ok(()) | Err(_) => {}
            }
            schema::remove_beside(&day.path);
            self.forget(day.part);
            bytes = bytes.saturating_sub(day.bytes);
            removed += 1;
        }
        Ok(removed)
    }
}

/// Sets a damaged file aside, and says so.
pub(super) fn damaged(path: &Path, error: &Error, health: &Health) {
    health.set_aside();
    match schema::set_aside(path) {
        Ok(aside) => tracing::warn!(%error, aside = %aside.display(), "history is damaged; set aside, beginning anew"),
        Err(failed) => tracing::warn!(%error, %failed, "history is damaged, and cannot be set aside"),
    }
}

/// Returns a file's size, its journal included.
fn size(path: &Path) -> u64 {
    let of = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    of(path) + of(Path::new(&journal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_day_and_part() {
        let first = Part::of(Timestamp(1_800_000_000_000_000_000));
        let third = Part { part: 3, ..first };

        assert_eq!(first.file_name(), "flows-2027-01-15.db");
        assert_eq!(Part::read(&third.file_name()), Some(third));
        for name in
            ["flows-2027-01-15.1.db", "flows-.db", "control.db", "flows-2027-01-15.db-wal", "flows-1969-12-31.db"]
        {
            assert_eq!(Part::read(name), None, "{name}");
        }
    }
}
