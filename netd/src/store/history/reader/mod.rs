//! Reads flows: pages in any order, single ones. Every reader has connections of its own and holds up nobody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::days::{Day, Days};
use super::error::Error;
use super::flow::{Flow, Scores, signed};
use super::health::Health;
use super::interrupt::Interrupt;
use super::schema::{self, LONG_NS};
use super::sql::{self, Clause, Compiled};
use super::writer::octets;
use crate::query::{Field, Place, Query};

mod fetch;

pub(super) use fetch::address;

/// Connections kept for the next question.
const IDLE: usize = 32;
const LONG_US: u64 = LONG_NS.cast_unsigned() / 1_000;

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
                places(connection, day, query, &compiled, after, limit + 1)
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
            Error::Sqlite { .. } | Error::Io { .. } | Error::Version { .. } | Error::Encode(_) => {
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
                schema::open_to_read(path)
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

/// Returns the first `limit` places of each way into a file, and of the long conversations.
fn places(
    connection: &Connection,
    day: &Day,
    query: &Query,
    compiled: &Compiled,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Place>, Error> {
    // An id is never before its flow's start, and so much after it at most.
    let most = query.until.map_or(u64::MAX, |until| (until.0 / 1_000).saturating_add(day.span.longest_lag_us + 1));
    // What is shorter than a long conversation and not over by then began so late.
    let least = query.since.map_or(0, |since| (since.0 / 1_000).saturating_sub(LONG_US));
    let between = |least: u64, most: u64| Clause {
        sql: "f.id BETWEEN ? AND ?".into(),
        values: vec![integer(least), integer(most)],
    };
    let mut found = Vec::new();
    let mut take = |from: &str, clauses: Vec<Clause>| {
        select(connection, day, query, from, clauses, after, limit).map(|places| found.extend(places))
    };
    match compiled.ways.as_slice() {
        [] => take("NOT INDEXED", vec![compiled.rest.clone(), between(least, most)])?,
        ways => {
            for way in ways {
                let clauses = vec![way.when.clone(), compiled.rest.clone(), between(least, most)];
                take(&format!("INDEXED BY {}", way.index), clauses)?;
            }
        }
    }
    if let Some(since) = query.since.filter(|_| day.span.least_id < least) {
        let long =
            Clause { sql: "f.end - f.start > 600000000000 AND f.end >= ?".into(), values: vec![integer(since.0)] };
        take("INDEXED BY flows_long", vec![long, between(0, least.saturating_sub(1)), compiled.all.clone()])?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn select(
    connection: &Connection,
    day: &Day,
    query: &Query,
    from: &str,
    mut clauses: Vec<Clause>,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Place>, Error> {
    let (key, by_id) = (sql::rank(query.sort.by), query.sort.by == Field::Id);
    let (direction, sign) = if query.sort.descending { ("DESC", "<") } else { ("ASC", ">") };
    clauses.extend(after.map(|after| match by_id {
        true => Clause { sql: format!("f.id {sign} ?"), values: vec![integer(after.id)] },
        false => Clause {
            sql: format!("({key}, f.id) {sign} (?, ?)"),
            values: vec![Value::Integer(after.key), integer(after.id)],
        },
    }));
    let when = Clause::and(clauses);
    let order = if by_id { String::new() } else { format!("{key} {direction}, ") };
    let text = format!(
        "SELECT {key}, f.id FROM flows AS f {from} WHERE {} ORDER BY {order}f.id {direction} LIMIT {limit}",
        when.sql
    );
    let places = connection.prepare(&text).and_then(|mut statement| {
        let rows = statement.query_map(params_from_iter(when.values), |row| {
            Ok(Place { key: row.get(0)?, id: row.get::<_, i64>(1)?.cast_unsigned() })
        })?;
        rows.collect()
    });
    places.map_err(Error::sqlite("read", &day.path))
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

fn integer(number: u64) -> Value {
    Value::Integer(signed(number))
}
