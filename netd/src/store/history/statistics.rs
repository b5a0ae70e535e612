//! Flows added up by one of their properties, over files and memory together, each flow once.

use std::collections::HashMap;
use std::net::IpAddr;

use netd_engine::flow::protocol_name;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use super::days::{Day, Span};
use super::error::Error;
use super::flow::{Live, Scores, verdict};
use super::insert::reversed;
use super::interrupt::Interrupt;
use super::reader::{Reader, may_hold};
use super::sql;
use crate::query::Query;

/// Groups times buckets held at once.
const MOST_CELLS: usize = 250_000;

/// By what flows are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Src,
    Dst,
    /// The responder's.
    Port,
    Protocol,
    Process,
    Country,
    Asn,
    Name,
    Service,
    Verdict,
}

/// What flows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tally {
    /// Conversations.
    pub flows: u64,
    /// Bytes on the wire from responders.
    pub bytes_in: u64,
    /// Bytes on the wire from originators.
    pub bytes_out: u64,
}

/// A group, `None` for flows without the property, and the start of a bucket in nanoseconds (0 without buckets).
pub type Cell = (Option<String>, u64);

/// Everything added up so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics(pub HashMap<Cell, Tally>);

impl Group {
    const fn column(self) -> &'static str {
        match self {
            Self::Src => "f.src",
            Self::Dst => "f.dst",
            Self::Port => "f.dport",
            Self::Protocol => "f.proto",
            Self::Process => "f.comm",
            Self::Country => "f.country",
            Self::Asn => "f.asn",
            Self::Name => "f.name",
            Self::Service => "f.service",
            Self::Verdict => sql::VERDICT,
        }
    }

    /// Returns the table that a column's numbers stand for.
    const fn table(self) -> Option<&'static str> {
        match self {
            Self::Process | Self::Country | Self::Service => Some("texts"),
            Self::Src | Self::Dst | Self::Port | Self::Protocol | Self::Asn | Self::Name | Self::Verdict => None,
        }
    }

    /// Returns the group of a flow in memory.
    #[must_use]
    pub fn of(self, live: &Live<'_>) -> Option<String> {
        let c = &live.row.conversation;
        let region = live.region.as_ref();
        match self {
            Self::Src => Some(c.originator.to_string()),
            Self::Dst => Some(c.responder.to_string()),
            Self::Port => Some(c.responder_port.to_string()),
            Self::Protocol => Some(protocol_name(c.protocol)),
            Self::Process => c.process.as_ref().map(|process| process.comm.clone()),
            Self::Country => region.and_then(|region| region.country).map(|country| country.to_string()),
            Self::Asn => region.and_then(|region| region.asn).map(|asn| asn.to_string()),
            Self::Name => c.name.clone(),
            Self::Service => c.service.map(|service| service.name().to_owned()),
            Self::Verdict => Some(verdict(c.rule, live.finding.is_some()).to_owned()),
        }
    }

    fn text(self, connection: &Connection, value: Value) -> rusqlite::Result<Option<String>> {
        Ok(match (value, self.table()) {
            (Value::Null, _) => None,
            (Value::Integer(number), Some(table)) => {
                let sql = format!("SELECT text FROM {table} WHERE id = ?");
                Some(connection.query_row(&sql, [number], |row| row.get(0))?)
            }
            (Value::Integer(number), None) if self == Self::Protocol => {
                Some(u8::try_from(number).map_or_else(|_| number.to_string(), protocol_name))
            }
            (Value::Integer(number), None) => Some(number.to_string()),
            (Value::Text(name), _) if self == Self::Name => Some(reversed(&name)),
            (Value::Text(text), _) => Some(text),
            (Value::Blob(octets), _) => Some(super::reader::address(&octets).map(|ip: IpAddr| ip.to_string())?),
            (Value::Real(real), _) => Some(real.to_string()),
        })
    }
}

impl Statistics {
    /// Adds to a cell.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn add(&mut self, cell: Cell, tally: Tally) -> Result<(), Error> {
        if self.0.len() >= MOST_CELLS && !self.0.contains_key(&cell) {
            return Err(Error::TooManyGroups { limit: MOST_CELLS });
        }
        let sum = self.0.entry(cell).or_default();
        sum.flows += tally.flows;
        sum.bytes_in = sum.bytes_in.saturating_add(tally.bytes_in);
        sum.bytes_out = sum.bytes_out.saturating_add(tally.bytes_out);
        Ok(())
    }

    /// Adds a flow in memory.
    ///
    /// # Errors
    ///
    /// As [`Statistics::add`].
    pub fn add_live(&mut self, group: Group, bucket_ns: u64, live: &Live<'_>) -> Result<(), Error> {
        let c = &live.row.conversation;
        let start = c.start.0.checked_div(bucket_ns).map_or(0, |bucket| bucket * bucket_ns);
        let tally = Tally { flows: 1, bytes_in: c.responded.bytes, bytes_out: c.originated.bytes };
        self.add((group.of(live), start), tally)
    }
}

impl Reader {
    /// Adds up what `query` asks for in the files. `memory` is told how many batches of this run are among them, and
    /// returns what the others come to.
    ///
    /// # Errors
    ///
    /// When it was interrupted, or there are too many groups.
    pub fn statistics(
        &self,
        query: &Query,
        group: Group,
        bucket_ns: u64,
        scores: &Scores,
        interrupt: &Interrupt,
        memory: impl FnOnce(u64) -> Result<Statistics, Error>,
    ) -> Result<Statistics, Error> {
        let compiled = sql::compile(query);
        let when = compiled.narrowed();
        let needs_scores = compiled.needs_scores || group == Group::Verdict;
        // All files as of one moment: a flow that is written meanwhile is counted in memory.
        let mut snapshots = Vec::new();
        for day in self.days.list().into_iter().filter(|day| day.is_read) {
            interrupt.check()?;
            let opened = self.connection(&day.path).and_then(|connection| {
                if needs_scores {
                    super::reader::fill(&connection, scores)
                        .map_err(Error::sqlite("fill a table beside", &day.path))?;
                }
                connection.execute_batch("BEGIN").map_err(Error::sqlite("read", &day.path))?;
                let span = Span::read(&connection, &day.path)?;
                Ok((connection, span))
            });
            match opened {
                Ok((connection, span)) => snapshots.push((Day { span, ..day }, connection)),
                Err(error) => {
                    let _: Option<()> = self.pass_over(&day, error)?;
                }
            }
        }
        let own = snapshots.iter().filter(|(day, _)| day.span.run == self.run);
        let mut sum = memory(own.map(|(day, _)| day.span.batch).max().unwrap_or(0))?;
        for (day, connection) in snapshots {
            if may_hold(&day, query, None) {
                let added = interrupt
                    .around(&connection, |connection| add_file(&mut sum, connection, &day, &when, group, bucket_ns));
                if let Err(error) = added {
                    let _: Option<()> = self.pass_over(&day, error)?;
                    continue;
                }
            }
            if connection.execute_batch("COMMIT").is_ok() {
                self.put_back(&day.path, connection);
            }
        }
        Ok(sum)
    }
}

fn add_file(
    sum: &mut Statistics,
    connection: &Connection,
    day: &Day,
    when: &sql::Clause,
    group: Group,
    bucket_ns: u64,
) -> Result<(), Error> {
    let bucket = match bucket_ns {
        0 => "0".to_owned(),
        bucket_ns => format!("f.start / {bucket_ns} * {bucket_ns}"),
    };
    // One group more than may be is enough to know.
    let text = format!(
        "SELECT {}, {bucket}, count(*), sum(f.bytes_in), sum(f.bytes_out) FROM flows AS f WHERE {} GROUP BY 1, 2 \
         LIMIT {}",
        group.column(),
        when.sql,
        MOST_CELLS + 1
    );
    let failed = || Error::sqlite("read", &day.path);
    let mut statement = connection.prepare(&text).map_err(failed())?;
    let mut rows = statement.query(params_from_iter(&when.values)).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let read = || {
            let cell = (group.text(connection, row.get(0)?)?, number(1)?);
            Ok((cell, Tally { flows: number(2)?, bytes_in: number(3)?, bytes_out: number(4)? }))
        };
        let (cell, tally) = read().map_err(failed())?;
        sum.add(cell, tally)?;
    }
    Ok(())
}
