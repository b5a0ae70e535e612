//! From flows to rows: the statements of one transaction.

use std::collections::HashMap;
use std::net::IpAddr;

use netd_engine::process::Process;
use netd_engine::region::Region;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, Statement};

use super::base64;
use super::flow::{REASONS, SOURCES, number_of, signed};
use super::segments::Fresh;
use super::sql::key_of_community;
use crate::store::Row;

/// Texts whose numbers are remembered; beyond it the file is asked again.
const REMEMBERED: usize = 65_536;

/// The numbers of what was written as a text before.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    texts: HashMap<String, i64>,
    processes: HashMap<[u8; 16], i64>,
}

/// Columns of a flow.
const COLUMNS: usize = 42;

/// The statements of one transaction.
pub(super) struct Insert<'c> {
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
    pub(super) fn new(connection: &'c Connection, numbers: &'c mut Numbers) -> rusqlite::Result<Self> {
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

    pub(super) fn row(&mut self, row: &Row, region: Option<Region>) -> rusqlite::Result<()> {
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
