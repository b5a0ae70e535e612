//! Where in one file the flows are that a query asks for.

use std::iter;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, ffi, params_from_iter};

use super::super::days::Day;
use super::super::error::Error;
use super::super::flow::signed;
use super::super::interrupt::Interrupt;
use super::super::schema::LONG_NS;
use super::super::segments::{self, Segment};
use super::super::sql::{self, Clause, Compiled, Found, Way};
use crate::query::{Field, Place, Query};

const LONG_US: u64 = LONG_NS.cast_unsigned() / 1_000;
/// Terms that are compared in each segment, and how many flows are counted for each.
const MOST_COMPARED: usize = 3;
const COUNTED: u32 = 256;
/// So few flows of a segment need no comparison.
const FEW: u32 = 16;

/// Ids among which flows are looked for, both ends included.
#[derive(Clone, Copy, Debug)]
struct Ids {
    least: u64,
    most: u64,
}

/// One file, and what is asked of it.
pub(super) struct Search<'c> {
    pub(super) connection: &'c Connection,
    pub(super) query: &'c Query,
    pub(super) after: Option<Place>,
    pub(super) limit: usize,
    pub(super) interrupt: &'c Interrupt,
}

/// Returns at least the first `limit` places of a file, as far as there are so many, and perhaps some behind them.
pub(super) fn places(search: &Search<'_>, day: &Day, compiled: &Compiled) -> Result<Vec<Place>, Error> {
    let find = || {
        // What is fresh may become a segment meanwhile.
        let snapshot = search.connection.unchecked_transaction()?;
        let places = search.find(day, compiled)?;
        snapshot.finish()?;
        Ok(places)
    };
    find().map_err(Error::sqlite("read", &day.path))
}

impl Search<'_> {
    fn find(&self, day: &Day, compiled: &Compiled) -> rusqlite::Result<Vec<Place>> {
        let (since, until) = (self.query.since, self.query.until);
        let ids = Ids {
            // What is shorter than a long conversation and not over by then began so late.
            least: since.map_or(0, |since| (since.0 / 1_000).saturating_sub(LONG_US)),
            // An id is never before its flow's start, and so much after it at most.
            most: until.map_or(u64::MAX, |until| (until.0 / 1_000).saturating_add(day.span.longest_lag_us + 1)),
        };
        let mut places = match compiled.found.as_slice() {
            found @ [_, ..] if self.query.sort.by == Field::Id => self.by_segments(found, ids)?,
            _ => self.rows("NOT INDEXED", vec![compiled.narrowed(), ids.of("f.id")])?,
        };
        if let Some(since) = since.filter(|_| day.span.least_id < ids.least) {
            let when = "f.end - f.start > 600000000000 AND f.end >= ?";
            let long = Clause::new(when, [integer(since.0)]);
            let before = Ids { least: 0, most: ids.least.saturating_sub(1) };
            places.extend(self.rows("INDEXED BY flows_long", vec![long, before.of("f.id"), compiled.all.clone()])?);
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Returns the first places of rows for which `clauses` hold, in the query's order.
    fn rows(&self, from: &str, mut clauses: Vec<Clause>) -> rusqlite::Result<Vec<Place>> {
        let sort = self.query.sort;
        let (key, by_id) = (sql::rank(sort.by), sort.by == Field::Id);
        let (direction, sign) = if sort.descending { ("DESC", "<") } else { ("ASC", ">") };
        clauses.extend(self.after.map(|after| match by_id {
            true => Clause::new(format!("f.id {sign} ?"), [integer(after.id)]),
            false => {
                Clause::new(format!("({key}, f.id) {sign} (?, ?)"), [Value::Integer(after.key), integer(after.id)])
            }
        }));
        let when = Clause::and(clauses);
        let order = if by_id { String::new() } else { format!("{key} {direction}, ") };
        let text = format!(
            "SELECT {key}, f.id FROM flows AS f {from} WHERE {} ORDER BY {order}f.id {direction} LIMIT {}",
            when.sql, self.limit
        );
        let mut statement = self.connection.prepare(&text)?;
        let rows = statement.query_map(params_from_iter(when.values), |row| {
            Ok(Place { key: row.get(0)?, id: row.get::<_, i64>(1)?.cast_unsigned() })
        })?;
        rows.collect()
    }

    /// Goes through the segments in the order of ids, by the key that leads to fewest flows of each.
    fn by_segments(&self, found: &[Found], ids: Ids) -> rusqlite::Result<Vec<Place>> {
        let descending = self.query.sort.descending;
        let Some(ids) = ids.behind(self.after, descending) else { return Ok(Vec::new()) };
        let mut segments = segments::list(self.connection)?;
        segments.retain(|segment| segment.most_id >= ids.least && segment.least_id <= ids.most);
        match descending {
            true => segments.sort_unstable_by_key(|segment| std::cmp::Reverse(segment.most_id)),
            false => segments.sort_unstable_by_key(|segment| segment.least_id),
        }
        let compared = found.iter().take(MOST_COMPARED);
        let mut keyed: Vec<Keyed<'_>> =
            compared.map(|found| Keyed::new(self, found, ids)).collect::<rusqlite::Result<_>>()?;
        let mut places = Vec::new();
        if let Some(first) = keyed.first_mut() {
            first.find(None, &mut places)?;
        }
        for segment in segments {
            self.cut(&mut places);
            let last = places.get(self.limit.saturating_sub(1)).map(|place: &Place| place.id);
            if last.is_some_and(|last| if descending { segment.most_id < last } else { segment.least_id > last }) {
                break;
            }
            // SQLite hears of it only while a statement runs.
            if self.interrupt.check().is_err() {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None));
            }
            if let Some(fewest) = fewest(&mut keyed, segment)? {
                fewest.find(Some(segment), &mut places)?;
            }
        }
        self.cut(&mut places);
        Ok(places)
    }

    /// Puts places in order and drops those that are not wanted.
    fn cut(&self, places: &mut Vec<Place>) {
        places.sort_unstable();
        places.dedup();
        if self.query.sort.descending {
            places.reverse();
        }
        places.truncate(self.limit);
    }
}

/// Returns what leads to fewest flows of a segment, or nothing when one of all leads to none.
fn fewest<'k, 'c>(keyed: &'k mut [Keyed<'c>], segment: Segment) -> rusqlite::Result<Option<&'k mut Keyed<'c>>> {
    let mut fewest = (u32::MAX, 0);
    if keyed.len() > 1 {
        for (at, keyed) in keyed.iter_mut().enumerate() {
            fewest = fewest.min((keyed.count(segment)?, at));
            if fewest.0 <= FEW {
                break;
            }
        }
    }
    let (flows, at) = fewest;
    Ok(keyed.get_mut(at).filter(|_| flows > 0))
}

impl Ids {
    /// Returns the ids that follow `after`, if there are any.
    fn behind(self, after: Option<Place>, descending: bool) -> Option<Self> {
        match after {
            Some(after) if descending => Some(Self { most: self.most.min(after.id.checked_sub(1)?), ..self }),
            Some(after) => Some(Self { least: self.least.max(after.id.checked_add(1)?), ..self }),
            None => Some(self),
        }
    }

    fn of(self, column: &str) -> Clause {
        Clause::new(format!("{column} BETWEEN ? AND ?"), [integer(self.least), integer(self.most)])
    }
}

/// One term's ways, ready to be asked of each segment.
struct Keyed<'c>(Vec<Asked<'c>>);

struct Asked<'c> {
    fresh: Statement<'c>,
    sorted: Statement<'c>,
    /// Of both, behind the segment's number.
    values: Vec<Value>,
    count: Statement<'c>,
    counted: Vec<Value>,
}

impl<'c> Keyed<'c> {
    fn new(search: &Search<'c>, found: &Found, ids: Ids) -> rusqlite::Result<Self> {
        let ways = found.ways.iter().map(|way| Asked::new(search, way, found.rest.as_ref(), ids));
        ways.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Returns how many flows of a segment this leads to, as far as it is worth counting.
    fn count(&mut self, segment: Segment) -> rusqlite::Result<u32> {
        let mut sum = 0;
        for Asked { count, counted, .. } in &mut self.0 {
            let number = Value::Integer(segment.number);
            sum +=
                count.query_row(params_from_iter(iter::once(&number).chain(&*counted)), |row| row.get::<_, u32>(0))?;
        }
        Ok(sum)
    }

    /// Adds the places of a segment, or of the fresh flows, in no order.
    fn find(&mut self, segment: Option<Segment>, places: &mut Vec<Place>) -> rusqlite::Result<()> {
        let number = segment.map(|segment| Value::Integer(segment.number));
        for Asked { fresh, sorted, values, .. } in &mut self.0 {
            let statement = if number.is_some() { sorted } else { fresh };
            let mut rows = statement.query(params_from_iter(number.iter().chain(&*values)))?;
            while let Some(row) = rows.next()? {
                places.push(Place { key: 0, id: row.get::<_, i64>(0)?.cast_unsigned() });
            }
        }
        Ok(())
    }
}

impl<'c> Asked<'c> {
    fn new(search: &Search<'c>, way: &Way, rest: Option<&Clause>, ids: Ids) -> rusqlite::Result<Self> {
        let table = format!("by_{} AS k", way.key.column());
        let direction = if search.query.sort.descending { "DESC" } else { "ASC" };
        let join = if rest.is_some() { " CROSS JOIN flows AS f ON f.id = k.id" } else { "" };
        let when = Clause::and([way.when.clone(), ids.of("k.id")].into_iter().chain(rest.cloned()));
        let text = |table: &str, segment: &str| {
            format!(
                "SELECT k.id FROM {table}{join} WHERE {segment}({}) ORDER BY k.id {direction} LIMIT {}",
                when.sql, search.limit
            )
        };
        let count = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE k.segment = ? AND ({}) LIMIT {COUNTED})",
            way.when.sql
        );
        Ok(Self {
            fresh: search.connection.prepare(&text("fresh AS k", ""))?,
            sorted: search.connection.prepare(&text(&table, "k.segment = ? AND "))?,
            count: search.connection.prepare(&count)?,
            values: when.values,
            counted: way.when.values.clone(),
        })
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(signed(number))
}
