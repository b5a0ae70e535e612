//! Zeek's `conn.log` and `notice.log`, tab-separated with their headers or as JSON: what RITA and AC-Hunter import.

use std::fmt::Write as _;
use std::net::IpAddr;

use netd_engine::finding::Finding;
use netd_engine::flow::{Conversation, Protocol, protocol_name};
use netd_engine::time::Timestamp;
use serde_json::{Map, Number, Value};

use super::id::Id;
use super::{Log, Record, Site, json_line};

const UNSET: &str = "-";
/// Ethernet's header, which Zeek's bytes of IP leave out.
const LINK: u64 = 14;
const VLAN_TAG: u64 = 4;

/// A column: its name, and its type as headers say it.
type Column = (&'static str, &'static str);

const CONN: [Column; 23] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
    ("community_id", "string"),
];

const NOTICE: [Column; 11] = [
    ("ts", "time"),
    ("uid", "string"),
    ("proto", "enum"),
    ("note", "enum"),
    ("msg", "string"),
    ("sub", "string"),
    ("src", "addr"),
    ("dst", "addr"),
    ("p", "port"),
    ("peer_descr", "string"),
    ("actions", "set[enum]"),
];

/// One value of a row.
enum Field {
    Unset,
    /// The network's text: it is escaped.
    Text(String),
    /// Ours: an address, a name of the format, a list of names.
    Word(String),
    Set(&'static str),
    Count(u64),
    /// Seconds, to the microsecond.
    Seconds(u64),
    Bool(bool),
}

/// Appends a record as a tab-separated row.
pub(super) fn write_tsv(record: &Record<'_>, site: &Site, out: &mut Vec<u8>) -> Option<Log> {
    let (log, row) = row(record, site)?;
    for (index, field) in row.iter().enumerate() {
        if index > 0 {
            out.push(b'\t');
        }
        field.write(out);
    }
    out.push(b'\n');
    Some(log)
}

/// Appends a record as an object; what is unset is left out, and `_path` names the log.
pub(super) fn write_json(record: &Record<'_>, site: &Site, out: &mut Vec<u8>) -> Option<Log> {
    let (log, row) = row(record, site)?;
    let mut object = Map::new();
    object.insert("_path".to_owned(), log.name().into());
    for ((name, _), field) in columns(log).iter().zip(row) {
        if let Some(value) = field.into_json() {
            object.insert((*name).to_owned(), value);
        }
    }
    json_line(&object, out);
    Some(log)
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
        Log::Conn | Log::All => &CONN,
        Log::Notice => &NOTICE,
    }
}

fn row(record: &Record<'_>, site: &Site) -> Option<(Log, Vec<Field>)> {
    match record {
        Record::Flow(flow) => Some((Log::Conn, conn(flow.conversation, site))),
        Record::Finding(finding) => Some((Log::Notice, notice(finding, site))),
        Record::Verdict { .. } | Record::Stats { .. } => None,
    }
}

fn conn(flow: &Conversation, site: &Site) -> Vec<Field> {
    let link = LINK + if flow.vlan == 0 { 0 } else { VLAN_TAG };
    let ip_bytes = |sent: &netd_engine::flow::Sent| sent.bytes.saturating_sub(link * sent.packets);
    let (from, to) = ports(flow);
    vec![
        Field::Seconds(flow.start.0 / 1_000),
        Field::Word(Id::of_conversation(flow).uid()),
        address(flow.originator),
        Field::Count(from),
        address(flow.responder),
        Field::Count(to),
        Field::Word(proto(flow.protocol)),
        flow.service.map_or(Field::Unset, |protocol| Field::Word(service(protocol).to_owned())),
        Field::Seconds(flow.end.0.saturating_sub(flow.start.0) / 1_000),
        Field::Count(flow.originated.payload),
        Field::Count(flow.responded.payload),
        Field::Word(flow.state.to_owned()),
        Field::Bool(site.is_local(flow.originator)),
        Field::Bool(site.is_local(flow.responder)),
        Field::Count(0),
        history(flow),
        Field::Count(flow.originated.packets),
        Field::Count(ip_bytes(&flow.originated)),
        Field::Count(flow.responded.packets),
        Field::Count(ip_bytes(&flow.responded)),
        Field::Unset,
        Field::Count(u64::from(flow.protocol)),
        flow.community_id.clone().map_or(Field::Unset, Field::Word),
    ]
}

fn notice(finding: &Finding, site: &Site) -> Vec<Field> {
    let pair = &finding.pair;
    let reasons: Vec<_> = finding.reasons.iter().map(|reason| reason.value.as_str()).collect();
    let sub = format!("score {:.2}; {}", finding.score, reasons.join("; "));
    vec![
        Field::Seconds(finding.time.0 / 1_000),
        Field::Word(Id::of_pair(pair).uid()),
        Field::Word(proto(pair.proto)),
        Field::Word(format!("Netd::{}", camel(finding.detector))),
        Field::Text(finding.title.clone()),
        Field::Text(sub),
        address(pair.originator),
        address(pair.responder),
        Field::Count(u64::from(pair.responder_port)),
        if site.host.is_empty() { Field::Unset } else { Field::Text(site.host.clone()) },
        Field::Set("Notice::ACTION_LOG"),
    ]
}

fn address(address: IpAddr) -> Field {
    Field::Word(address.to_string())
}

/// Zeek writes the types of ICMP where others have ports.
fn ports(flow: &Conversation) -> (u64, u64) {
    match flow.protocol {
        1 | 58 => (u64::from(flow.originated.flags), u64::from(flow.responded.flags)),
        _ => (u64::from(flow.originator_port), u64::from(flow.responder_port)),
    }
}

fn proto(number: u8) -> String {
    match number {
        1 | 58 => "icmp".to_owned(),
        6 | 17 => protocol_name(number),
        _ => "unknown_transport".to_owned(),
    }
}

fn service(protocol: Protocol) -> &'static str {
    match protocol.name() {
        "tls" => "ssl",
        "dtls" => "dtls",
        "kerberos" => "krb",
        "postgres" => "postgresql",
        "vnc" => "rfb",
        "http2" => "http",
        other => other,
    }
}

/// Zeek's history, as far as flags without their order tell: capitals are the originator's.
fn history(flow: &Conversation) -> Field {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    let mut history = String::new();
    let (from, to) = (&flow.originated, &flow.responded);
    if flow.protocol == 6 {
        let seen = [
            (from.flags & SYN != 0, 'S'),
            (to.flags & SYN != 0, 'h'),
            (from.flags & ACK != 0 && from.packets > 1, 'A'),
            (from.payload > 0, 'D'),
            (to.flags & ACK != 0 && to.packets > 1, 'a'),
            (to.payload > 0, 'd'),
            (from.flags & FIN != 0, 'F'),
            (to.flags & FIN != 0, 'f'),
            (from.flags & RST != 0, 'R'),
            (to.flags & RST != 0, 'r'),
        ];
        history.extend(seen.iter().filter(|(is_seen, _)| *is_seen).map(|(_, letter)| letter));
    } else {
        history.extend((from.packets > 0).then_some('D'));
        history.extend((to.packets > 0).then_some('d'));
    }
    if history.is_empty() { Field::Unset } else { Field::Word(history) }
}

/// `reverse_shell` is `ReverseShell`.
fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

/// The times of headers: `2026-11-21-06-14-02`.
fn stamp(time: Timestamp) -> String {
    let seconds = i64::try_from(time.0 / 1_000_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d-%H-%M-%S").to_string()
}

impl Field {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unset => out.extend_from_slice(UNSET.as_bytes()),
            Self::Text(text) => escape(text, out),
            Self::Word(word) => out.extend_from_slice(word.as_bytes()),
            Self::Set(word) => out.extend_from_slice(word.as_bytes()),
            Self::Count(count) => out.extend_from_slice(count.to_string().as_bytes()),
            Self::Seconds(micros) => out.extend_from_slice(seconds(*micros).as_bytes()),
            Self::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
        }
    }

    fn into_json(self) -> Option<Value> {
        Some(match self {
            Self::Unset => return None,
            Self::Text(text) | Self::Word(text) => text.into(),
            Self::Set(word) => vec![word].into(),
            Self::Count(count) => count.into(),
            Self::Seconds(micros) => Value::Number(Number::from_f64(micros as f64 / 1e6)?),
            Self::Bool(value) => value.into(),
        })
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Escapes as Zeek does: controls and backslashes, and a text that would read as an unset or an empty field.
fn escape(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b"(empty)");
        return;
    }
    if text == UNSET || text == "(empty)" {
        let first = text.as_bytes()[0];
        out.extend_from_slice(format!("\\x{first:02x}").as_bytes());
        out.extend_from_slice(&text.as_bytes()[1..]);
        return;
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(escaped, "\\x{byte:02x}");
                }
            }
            c => escaped.push(c),
        }
    }
    out.extend_from_slice(escaped.as_bytes());
}
