//! Writes flows: whole batches, each a transaction.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use netd_engine::region::Geography;
use netd_engine::time::Timestamp;
use rusqlite::{Connection, Transaction};

use super::days::{Days, Limits, Part, Span, damaged};
use super::error::Error;
use super::flow::signed;
use super::health::Health;
use super::insert::{Insert, Numbers};
use super::schema;
use super::segments;
use crate::store::Row;

/// The one writer of flows.
pub struct Writer {
    days: Days,
    limits: Limits,
    geography: Option<Arc<dyn Geography>>,
    health: Arc<Health>,
    /// Sets this run's batches apart from those of others.
    run: u64,
    batch: u64,
    open: Option<Open>,
}

struct Open {
    part: Part,
    path: PathBuf,
    connection: Connection,
    span: Span,
    /// Flows in no segment.
    fresh: u64,
    numbers: Numbers,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("days", &self.days).field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Writer {
    /// Returns a writer; `run` is a number that no former run had.
    #[must_use]
    pub fn new(
        days: Days,
        limits: Limits,
        geography: Option<Arc<dyn Geography>>,
        health: Arc<Health>,
        run: u64,
    ) -> Self {
        Self { days, limits, geography, health, run, batch: 0, open: None }
    }

    /// Writes flows and returns how many; then they survive the end of this process. What is too old goes.
    ///
    /// # Errors
    ///
    /// When nothing could be written. A damaged file has been set aside then, and the next attempt begins another.
    pub fn write(&mut self, now: Timestamp, rows: &[Arc<Row>]) -> Result<u64, Error> {
        self.batch += 1;
        let written = self.write_batch(now, rows);
        if let Err(error) = &written {
            for row in rows {
                row.written.set(0);
            }
            // Whatever it was, the next attempt opens the file again.
            if let Some(open) = self.open.take() {
                let path = open.path.clone();
                let part = open.part;
                drop(open);
                if error.is_damage() {
                    damaged(&path, error, &self.health);
                    self.days.forget(part);
                }
            }
        }
        // A full disk is the more reason to remove what may go.
        let trimmed = self.days.trim(now, self.limits, self.open.as_ref().map(|open| open.part));
        let written = written?;
        trimmed?;
        Ok(written)
    }

    fn write_batch(&mut self, now: Timestamp, rows: &[Arc<Row>]) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        let (run, batch, geography) = (self.run, self.batch, self.geography.clone());
        let open = self.open_at(now)?;
        let path = open.path.clone();
        let transaction = open.connection.transaction().map_err(Error::sqlite("begin to write", &path))?;
        let mut span = Span { run, batch, ..open.span };
        let mut insert = Insert::new(&transaction, &mut open.numbers).map_err(Error::sqlite("prepare", &path))?;
        for row in rows {
            let region = geography.as_ref().and_then(|geography| geography.region(row.conversation.responder));
            insert.row(row, region).map_err(Error::sqlite("write to", &path))?;
            span.add(row.sequence, row.conversation.start, row.conversation.end);
        }
        drop(insert);
        save(&transaction, span).map_err(Error::sqlite("write to", &path))?;
        let fresh = open.fresh + rows.len() as u64;
        let is_full = segments::is_full(fresh);
        if is_full {
            segments::close(&transaction).map_err(Error::sqlite("sort", &path))?;
        }
        // Before the commit: whoever sees the batch in the file must not count the rows in memory too.
        for row in rows {
            row.written.set(batch);
        }
        transaction.commit().map_err(Error::sqlite("write to", &path))?;
        open.span = span;
        open.fresh = if is_full { 0 } else { fresh };
        let part = open.part;
        self.days.put(part, span);
        Ok(rows.len() as u64)
    }

    /// Returns the file for `now`, opened; the one before is closed for good.
    fn open_at(&mut self, now: Timestamp) -> Result<&mut Open, Error> {
        let part = self.days.part_at(now, self.limits);
        if self.open.as_ref().is_some_and(|open| open.part != part)
            && let Some(mut open) = self.open.take()
        {
            seal(&mut open);
            self.days.put(open.part, open.span);
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_part(part)?,
        };
        Ok(self.open.insert(open))
    }

    fn open_part(&self, part: Part) -> Result<Open, Error> {
        let path = self.days.path(part);
        let opened = || -> Result<_, Error> {
            let connection = schema::open(&path, schema::FLOWS)?;
            Ok((Span::read(&connection, &path)?, segments::fresh(&connection, &path)?, connection))
        };
        let (span, fresh, connection) = match opened() {
            Err(error) if error.is_damage() => {
                damaged(&path, &error, &self.health);
                self.days.forget(part);
                opened()?
            }
            other => other?,
        };
        Ok(Open { part, path, connection, span, fresh, numbers: Numbers::default() })
    }
}

/// Leaves a plain file without a journal, which can be read where nothing can be written.
fn seal(open: &mut Open) {
    let sorted = open.connection.transaction().and_then(|transaction| {
        segments::close(&transaction)?;
        transaction.commit()
    });
    let sealed = sorted.and_then(|()| open.connection.execute_batch("PRAGMA journal_mode = DELETE;"));
    if let Err(error) = sealed {
        // A reader may be in it; the file is whole, with its journal beside it.
        tracing::debug!(path = %open.path.display(), %error, "history: a file keeps its journal");
    }
}

fn save(transaction: &Transaction<'_>, span: Span) -> rusqlite::Result<()> {
    let numbers =
        [span.flows, span.least_id, span.most_id, span.latest_end.0, span.longest_lag_us, span.run, span.batch];
    transaction.execute(
        "INSERT OR REPLACE INTO span VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        rusqlite::params_from_iter(numbers.map(signed)),
    )?;
    Ok(())
}
