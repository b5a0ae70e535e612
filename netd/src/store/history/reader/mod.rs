//! Reads flows: pages in any order, single ones. Every reader has connections of its own and holds up nobody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::days::{Day, Days};
use super::error::Error;
use super::flow::{Flow, Scores, signed};
use super::health::Health;
use super::insert::octets;
use super::interrupt::Interrupt;
use super::schema;
use super::sql;
use crate::query::{Field, Place, Query};

mod fetch;
mod places;

pub(super) use fetch::address;
use places::Search;

/// Connections kept for the next question.
const IDLE: usize = 32;

/// Asks the files of flows.
#[derive(Debug)]
pub struct Reader {
    pub(super) days: Days,
    health: Arc<Health>,
    /// The writer's, whose batches the rows in memory name.
    pub(super) run: u64,
    idle: Mutex<Vec<(PathBuf, Connection)>>,
}

/// Flows in the order of a query, and whether more follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub flows: Vec<(Place, Flow)>,
    pub more: bool,
}

impl Reader {
    #[must_use]
    pub fn new(days: Days, health: Arc<Health>, run: u64) -> Self {
        Self { days, health, run, idle: Mutex::default() }
    }

    /// Returns up to `limit` flows that `query` asks for behind `after`.
    ///
    /// # Errors
    ///
    /// When it was interrupted. A file that cannot be read is counted and told, and passed over.
    pub fn page(
        &self,
        query: &Query,
        after: Option<Place>,
        limit: usize,
        scores: &Scores,
        interrupt: &Interrupt,
    ) -> Result<Page, Error> {
        let (compiled, sort) = (sql::compile(query), query.sort);
        let by_id = sort.by == Field::Id;
        let mut files = self.days.list();
        match sort.descending {
            true => files.sort_unstable_by_key(|day| std::cmp::Reverse(day.span.most_id)),
            false => files.sort_unstable_by_key(|day| day.span.least_id),
        }
        let mut found: Vec<(Place, usize)> = Vec::new();
        for (at, day) in files.iter().enumerate() {
            if by_id && found.len() > limit {
                sort.order(&mut found);
                let last = found[limit].0.id;
                let is_behind = if sort.descending { day.span.most_id < last } else { day.span.least_id > last };
                if is_behind {
                    break;
                }
            }
            if !may_hold(day, query, after) {
                continue;
            }
            let places = self.within(day, scores, compiled.needs_scores, interrupt, |connection| {
                places::places(&Search { connection, query, after, limit: limit + 1, interrupt }, day, &compiled)
            })?;
            found.extend(places.into_iter().flatten().map(|place| (place, at)));
        }
        sort.order(&mut found);
        found.dedup_by_key(|(place, _)| place.id);
        let more = found.len() > limit;
        found.truncate(limit);
        let mut flows = Vec::with_capacity(found.len());
        for (at, day) in files.iter().enumerate() {
            let wanted: Vec<Place> = found.iter().filter(|(_, from)| *from == at).map(|(place, _)| *place).collect();
            if !wanted.is_empty() {
                let read = self.within(day, scores, false, interrupt, |connection| {
                    fetch::flows(connection, &day.path, &wanted, scores)
                })?;
                flows.extend(read.into_iter().flatten());
            }
        }
        sort.order(&mut flows);
        Ok(Page { flows, more })
    }

    /// Returns one flow.
    ///
    /// # Errors
    ///
    /// As [`Reader::page`].
    pub fn flow(&self, id: u64, scores: &Scores, interrupt: &Interrupt) -> Result<Option<Flow>, Error> {
        for day in self.days.list().iter().rev().filter(|day| (day.span.least_id..=day.span.most_id).contains(&id)) {
            let read = self.within(day, scores, false, interrupt, |connection| {
                fetch::flows(connection, &day.path, &[Place { key: 0, id }], scores)
            })?;
            if let Some((_, flow)) = read.into_iter().flatten().next() {
                return Ok(Some(flow));
            }
        }
        Ok(None)
    }

    /// Asks one file; `None` when it cannot be read.
    pub(super) fn within<T>(
        &self,
        day: &Day,
        scores: &Scores,
        needs_scores: bool,
        interrupt: &Interrupt,
        ask: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        interrupt.check()?;
        let connection = match self.connection(&day.path) {
            Ok(connection) => connection,
            Err(error) => return self.pass_over(day, error),
        };
        let answer = interrupt.around(&connection, |connection| {
            if needs_scores {
                fill(connection, scores).map_err(Error::sqlite("fill a table beside", &day.path))?;
            }
            ask(connection)
        });
        match answer {
            Ok(answer) => {
                self.put_back(&day.path, connection);
                Ok(Some(answer))
            }
            Err(error) => self.pass_over(day, error),
        }
    }

    pub(super) fn pass_over<T>(&self, day: &Day, error: Error) -> Result<Option<T>, Error> {
        match error {
            Error::Late | Error::TooManyGroups { .. } => Err(error),
            Error::Sqlite { .. }
            | Error::Io { .. }
            | Error::Version { .. }
            | Error::Foreign { .. }
            | Error::Encode(_) => {
                // One that retention has removed meanwhile is no fault.
                if day.path.exists() && self.health.failed(&error.to_string()) {
                    tracing::warn!(%error, "a file of history cannot be read");
                }
                Ok(None)
            }
        }
    }

    pub(super) fn connection(&self, path: &Path) -> Result<Connection, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(known, _)| known == path) {
            Some(at) => Ok(idle.swap_remove(at).1),
            None => {
                drop(idle);
                schema::open_to_read(path, schema::FLOWS)
            }
        }
    }

    pub(super) fn put_back(&self, path: &Path, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever keeps a removed file open keeps its room on the disk.
        idle.retain(|(known, _)| known.exists());
        if idle.len() < IDLE {
            idle.push((path.to_owned(), connection));
        }
    }
}

/// Returns whether any of a file's flows can be asked for.
pub(super) fn may_hold(day: &Day, query: &Query, after: Option<Place>) -> bool {
    let span = day.span;
    let is_over = query.since.is_some_and(|since| span.latest_end < since);
    let begins_late =
        query.until.is_some_and(|until| span.least_id.saturating_sub(span.longest_lag_us) > until.0 / 1_000);
    let is_behind = after.filter(|_| query.sort.by == Field::Id).is_some_and(|after| match query.sort.descending {
        true => span.least_id >= after.id,
        false => span.most_id <= after.id,
    });
    span.flows > 0 && !is_over && !begins_late && !is_behind
}

/// Puts the scores into a table of this connection's own.
pub(super) fn fill(connection: &Connection, scores: &Scores) -> rusqlite::Result<()> {
    connection.execute_batch(sql::SCORES)?;
    let mut insert = connection.prepare("INSERT INTO temp.scores VALUES (?, ?, ?, ?, ?, ?)")?;
    for (pair, (finding, score)) in scores {
        let ends = (octets(pair.originator), octets(pair.responder));
        insert.execute((ends.0, ends.1, pair.responder_port, pair.proto, signed(*finding), *score))?;
    }
    Ok(())
}
