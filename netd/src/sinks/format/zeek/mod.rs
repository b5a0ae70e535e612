//! Zeek's logs, tab-separated with their headers or as JSON: what RITA and AC-Hunter import.

mod conn;
mod dns;
mod field;
mod notice;
mod ssl;

use std::net::IpAddr;

use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use serde_json::Map;

use self::field::{Field, UNSET};
use super::{Log, Record, Site, json_line};

/// A column: its name, and its type as headers say it.
type Column = (&'static str, &'static str);

/// The five-tuple that begins every row about a connection.
const ID: [Column; 6] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
];

/// Hands a record's rows to `tell`, tab-separated.
pub(super) fn write_tsv(record: &Record<'_>, site: &Site, tell: &mut dyn FnMut(Log, &[u8])) {
    rows(record, site, |log, row| {
        let mut line = Vec::new();
        for (index, field) in row.iter().enumerate() {
            if index > 0 {
                line.push(b'\t');
            }
            field.write(&mut line);
        }
        line.push(b'\n');
        tell(log, &line);
    });
}

/// Hands a record's rows to `tell`, as objects; what is unset is left out, and `_path` names the log.
pub(super) fn write_json(record: &Record<'_>, site: &Site, tell: &mut dyn FnMut(Log, &[u8])) {
    rows(record, site, |log, row| {
        let mut object = Map::new();
        object.insert("_path".to_owned(), log.name().into());
        for ((name, _), field) in columns(log).iter().zip(row) {
            if let Some(value) = field.into_json() {
                object.insert((*name).to_owned(), value);
            }
        }
        let mut line = Vec::new();
        json_line(&object, &mut line);
        tell(log, &line);
    });
}

/// Returns the header of a log that is opened.
pub(super) fn head(log: Log, now: Timestamp) -> String {
    let joined = |pick: fn(&Column) -> &'static str| columns(log).iter().map(pick).collect::<Vec<_>>().join("\t");
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t{UNSET}\n#path\t{}\n#open\t{}\n\
         #fields\t{}\n#types\t{}\n",
        log.name(),
        stamp(now),
        joined(|column| column.0),
        joined(|column| column.1),
    )
}

/// Returns the last line of a log that is closed.
pub(super) fn tail(now: Timestamp) -> String {
    format!("#close\t{}\n", stamp(now))
}

const fn columns(log: Log) -> &'static [Column] {
    match log {
        Log::Conn | Log::All => &conn::COLUMNS,
        Log::Dns => &dns::COLUMNS,
        Log::Ssl => &ssl::COLUMNS,
        Log::Notice => &notice::COLUMNS,
    }
}

/// A flow of TLS has a row in two logs.
fn rows(record: &Record<'_>, site: &Site, mut tell: impl FnMut(Log, Vec<Field>)) {
    match record {
        Record::Flow(flow) => {
            tell(Log::Conn, conn::row(flow.conversation, site));
            if let Some(row) = ssl::row(flow.conversation) {
                tell(Log::Ssl, row);
            }
        }
        Record::Lookup { lookup, .. } => tell(Log::Dns, dns::row(lookup)),
        Record::Finding(finding) => tell(Log::Notice, notice::row(finding, site)),
        Record::Verdict { .. } | Record::Stats { .. } => {}
    }
}

fn address(address: IpAddr) -> Field {
    Field::Word(address.to_string())
}

fn proto(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        6 | 17 => protocol_name(number),
        _ => "unknown_transport".to_owned(),
    }
}

/// The times of headers: `2026-11-21-06-14-02`.
fn stamp(time: Timestamp) -> String {
    let seconds = i64::try_from(time.0 / 1_000_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d-%H-%M-%S").to_string()
}
