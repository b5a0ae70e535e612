//! Writes flows: whole batches, each a transaction.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use netd_engine::process::Process;
use netd_engine::region::{Geography, Region};
use netd_engine::time::Timestamp;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, Statement, Transaction};

use super::base64;
use super::days::{Days, Limits, Part, Span, damaged};
use super::error::Error;
use super::flow::{REASONS, SOURCES, number_of, signed};
use super::health::Health;
use super::schema;
use super::segments::{self, Fresh};
use super::sql::key_of_community;
use crate::store::Row;

/// Texts whose numbers are remembered; beyond it the file is asked again.
const REMEMBERED: usize = 65_536;

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

/// The numbers of what was written as a text before.
#[derive(Debug, Default)]
struct Numbers {
    texts: HashMap<String, i64>,
    processes: HashMap<[u8; 16], i64>,
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

/// Columns of a flow.
const COLUMNS: usize = 42;

/// The statements of one transaction.
struct Insert<'c> {
    numbers: &'c mut Numbers,
    flow: Statement<'c>,
    fresh: Fresh<'c>,
    texts: Interning<'c>,
    processes: Interning<'c>,
}

/// Finds and adds what has a number.
struct Interning<'c> {
    find: Statement<'c>,
    add: Statement<'c>,
}

impl<'c> Interning<'c> {
    fn new(connection: &'c Connection, find: &str, add: &str) -> rusqlite::Result<Self> {
        Ok(Self { find: connection.prepare(find)?, add: connection.prepare(add)? })
    }

    fn number(&mut self, key: &dyn rusqlite::ToSql, all: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<i64> {
        match self.find.query_row([key], |row| row.get(0)) {
            Err(rusqlite::Error::QueryReturnedNoRows) => self.add.insert(all),
            other => other,
        }
    }
}

impl<'c> Insert<'c> {
    fn new(connection: &'c Connection, numbers: &'c mut Numbers) -> rusqlite::Result<Self> {
        let marks = vec!["?"; COLUMNS].join(", ");
        // A batch whose commit failed may have been written nevertheless.
        let flow = connection.prepare(&format!("INSERT OR REPLACE INTO flows VALUES ({marks})"))?;
        let texts =
            Interning::new(connection, "SELECT id FROM texts WHERE text = ?", "INSERT INTO texts (text) VALUES (?)")?;
        let processes = Interning::new(
            connection,
            "SELECT id FROM processes WHERE digest = ?",
            "INSERT INTO processes (digest, document) VALUES (?, ?)",
        )?;
        Ok(Self { numbers, flow, fresh: Fresh::new(connection)?, texts, processes })
    }

    fn row(&mut self, row: &Row, region: Option<Region>) -> rusqlite::Result<()> {
        let c = &row.conversation;
        let process = c.process.as_ref();
        let container = process.and_then(|process| process.container.as_deref());
        let pod = container.and_then(|container| container.pod.as_ref());
        let region = region.unwrap_or_default();
        let id = signed(row.sequence);
        let (src, dst) = (octets(c.originator), octets(c.responder));
        let comm = self.text(process.map(|process| process.comm.as_str()))?;
        let name = c.name.as_deref().map(reversed);
        let community = c.community_id.as_deref().map(community);
        self.fresh.add([
            &id,
            &src,
            &dst,
            &c.originator_port,
            &c.responder_port,
            &comm,
            &community.as_ref().map(key_of_community),
            &name,
        ])?;
        let (out, back) = (c.originated, c.responded);
        let number = |number: u64| Value::Integer(signed(number));
        let values: [Value; COLUMNS] = [
            Value::Integer(id),
            number(c.start.0),
            number(c.end.0),
            Value::Blob(src),
            Value::Blob(dst),
            number(c.originator_port.into()),
            number(c.responder_port.into()),
            number(c.protocol.into()),
            number(out.packets),
            number(out.bytes),
            number(out.payload),
            number(out.flags.into()),
            number(back.packets),
            number(back.bytes),
            number(back.payload),
            number(back.flags.into()),
            number(c.turns.into()),
            self.text(Some(c.state))?,
            Value::Integer(number_of(&REASONS, &c.end_reason)),
            community.unwrap_or(Value::Null),
            name.map_or(Value::Null, Value::Text),
            Value::Integer(number_of(&SOURCES, &c.name_source)),
            self.text(c.service.map(|service| service.name()))?,
            self.text(c.alpn.as_deref())?,
            self.text(c.ja4.as_deref())?,
            self.text(c.encrypted_dns.as_deref())?,
            self.text(region.country.as_ref().map(|country| country.as_str()))?,
            region.asn.map_or(Value::Null, |asn| number(asn.into())),
            self.text(region.as_name.as_deref())?,
            process.map_or(Value::Null, |process| number(process.id.pid.into())),
            comm,
            self.text(process.and_then(|process| process.exe.as_deref()))?,
            self.text(process.and_then(|process| process.user.as_deref()))?,
            self.text(container.and_then(|container| container.name.as_deref()))?,
            self.text(container.map(|container| container.id.as_str()))?,
            self.text(pod.and_then(|pod| pod.namespace.as_deref()))?,
            self.text(pod.and_then(|pod| pod.name.as_deref()))?,
            self.process(process)?,
            self.process(c.responder_process.as_ref())?,
            number(c.vlan.into()),
            number(c.ifindex.into()),
            number(c.rule.into()),
        ];
        self.flow
            .execute(rusqlite::params_from_iter(values.iter().map(|value| ToSqlOutput::Borrowed(value.into()))))?;
        Ok(())
    }

    fn text(&mut self, text: Option<&str>) -> rusqlite::Result<Value> {
        let Some(text) = text else { return Ok(Value::Null) };
        if let Some(number) = self.numbers.texts.get(text) {
            return Ok(Value::Integer(*number));
        }
        let number = self.texts.number(&text, &[&text])?;
        remember(&mut self.numbers.texts, text.to_owned(), number);
        Ok(Value::Integer(number))
    }

    fn process(&mut self, process: Option<&Process>) -> rusqlite::Result<Value> {
        let Some(document) = process.and_then(|process| serde_json::to_string(process).ok()) else {
            return Ok(Value::Null);
        };
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(document.as_bytes()).as_bytes()[..16]);
        if let Some(number) = self.numbers.processes.get(&digest) {
            return Ok(Value::Integer(*number));
        }
        let number = self.processes.number(&digest, &[&digest, &document])?;
        remember(&mut self.numbers.processes, digest, number);
        Ok(Value::Integer(number))
    }
}

fn remember<K: std::hash::Hash + Eq>(known: &mut HashMap<K, i64>, key: K, number: i64) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key, number);
}

/// Returns an address as files keep it.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Returns a name from its end: what lies under a name then begins with it.
pub(super) fn reversed(name: &str) -> String {
    name.chars().rev().collect()
}

/// Returns a Community ID's 20 bytes, or the text where it is none of version 1.
pub(super) fn community(id: &str) -> Value {
    let digest = id.strip_prefix("1:").and_then(base64::decode).filter(|bytes| bytes.len() == 20);
    digest.map_or_else(|| Value::Text(id.to_owned()), Value::Blob)
}
