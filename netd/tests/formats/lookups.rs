//! Look-ups and handshakes: `dns.log` and `ssl.log` as RITA imports them, `dns` and `tls` events of EVE.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;

use netd::cli::replay::{Args, Output, run};
use netd_lab::capture::{Format, Packet};
use netd_lab::frames::{Frame, Link};
use serde_json::{Value, json};

use super::zeek::ZeekLog;
use super::{replay, zeek};

const CLIENT: &str = "10.0.0.7:40000";
const SERVER: &str = "9.9.9.9:53";
const START_NS: u64 = 1_800_000_000_000_000_000;

/// Columns that RITA's importer reads of dns.log, with the types by which it reads them.
const RITA_DNS: [(&str, &str); 24] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("trans_id", "count"),
    ("rtt", "interval"),
    ("query", "string"),
    ("qclass", "count"),
    ("qclass_name", "string"),
    ("qtype", "count"),
    ("qtype_name", "string"),
    ("rcode", "count"),
    ("rcode_name", "string"),
    ("AA", "bool"),
    ("TC", "bool"),
    ("RD", "bool"),
    ("RA", "bool"),
    ("Z", "count"),
    ("answers", "vector[string]"),
    ("TTLs", "vector[interval]"),
    ("rejected", "bool"),
];

/// Of ssl.log, those of RITA's that a passive reader of first flights can know.
const RITA_SSL: [(&str, &str); 14] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("version", "string"),
    ("cipher", "string"),
    ("curve", "string"),
    ("server_name", "string"),
    ("resumed", "bool"),
    ("next_protocol", "string"),
    ("established", "bool"),
    ("ja3", "string"),
];

/// A message with one question; `rest` is what follows it.
fn message(id: u16, flags: u16, counts: [u16; 3], name: &str, qtype: u16, rest: &[u8]) -> Vec<u8> {
    let [answers, authorities, additionals] = counts;
    let head = [id, flags, 1, answers, authorities, additionals];
    let mut bytes: Vec<u8> = head.into_iter().flat_map(u16::to_be_bytes).collect();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend([qtype, 1].into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(rest);
    bytes
}

/// A record of the name asked for.
fn record(rtype: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 0x0c];
    bytes.extend([rtype, 1].into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(ttl_s.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// A capture of messages, each with its milliseconds and whether the client sends it.
fn capture(messages: &[(u64, bool, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
    let packets: Vec<_> = messages
        .iter()
        .map(|(ms, is_query, bytes)| {
            let (from, to) = if *is_query { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
            let frame = Frame::udp(end(from), end(to)).payload(bytes).build();
            Packet::new(START_NS + 123_456_000 + ms * 1_000_000, frame)
        })
        .collect();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("dns.pcap");
    std::fs::write(&path, Format::pcap(Link::Ethernet).write(&packets)).expect("written");
    (folder, path)
}

/// An answer with an alias, one that there is no name, a refusal, and a question that nobody answers.
fn traffic() -> Vec<(u64, bool, Vec<u8>)> {
    let alias = record(5, 60, b"\x03cdn\xc0\x10");
    let address = [b"\x03cdn\xc0\x10".as_slice(), &record(1, 120, &[198, 51, 100, 9])[2..]].concat();
    let text = record(16, 5, b"\x06v=1, x\x03\xff\x09z");
    vec![
        (0, true, message(1, 0x0100, [0; 3], "WWW.example.org", 1, &[])),
        (20, false, message(1, 0x8180, [2, 0, 0], "www.example.org", 1, &[alias, address].concat())),
        (100, true, message(2, 0x0120, [0; 3], "a\tb.example.org", 16, &[])),
        (130, false, message(2, 0x85a0, [1, 0, 0], "a\tb.example.org", 16, &text)),
        (200, true, message(3, 0x0100, [0; 3], "none.example.org", 28, &[])),
        (210, false, message(3, 0x8183, [0, 1, 0], "none.example.org", 28, &record(6, 9, &[0; 22]))),
        (300, true, message(4, 0x0100, [0; 3], "refused.example.org", 65, &[])),
        (310, false, message(4, 0x8105, [0; 3], "refused.example.org", 65, &[])),
        (400, true, message(5, 0x0100, [0; 3], "silence.example.org", 255, &[])),
        (500, false, message(6, 0x8180, [1, 0, 0], "unasked.example.org", 1, &record(1, 1, &[192, 0, 2, 1]))),
    ]
}

fn replayed(output: Output) -> String {
    let (_folder, path) = capture(&traffic());
    let args = Args { files: vec![path], output, ..Args::default() };
    let mut out = Vec::new();
    assert_eq!(run(&args, &mut out, &mut Vec::new()).expect("a vector can be written to"), 0);
    String::from_utf8(out).expect("UTF-8")
}

fn log<'l>(logs: &'l [ZeekLog], path: &str) -> &'l ZeekLog {
    logs.iter().find(|log| log.path == path).expect("the log is there")
}

fn has_columns(log: &ZeekLog, columns: &[(&str, &str)]) {
    let there: Vec<_> = log.fields.iter().map(String::as_str).zip(log.types.iter().map(String::as_str)).collect();
    for column in columns {
        assert!(there.contains(column), "{column:?} is not in {there:?}");
    }
}

#[test]
fn dns_log_holds_what_rita_imports() {
    let logs = zeek(&replayed(Output::Zeek));

    let (conn, dns) = (log(&logs, "conn"), log(&logs, "dns"));
    has_columns(dns, &RITA_DNS);
    let uids: BTreeSet<_> = conn.rows.iter().map(|row| &row["uid"]).collect();
    assert!(dns.rows.iter().all(|row| uids.contains(&row["uid"])), "each look-up leads to its conversation");
    let rows: Vec<Vec<&str>> = dns
        .rows
        .iter()
        .map(|row| {
            let columns = ["trans_id", "query", "rtt", "qtype_name", "rcode_name", "AA", "RD", "RA", "Z"];
            columns.iter().chain(&["answers", "TTLs", "rejected"]).map(|column| row[*column].as_str()).collect()
        })
        .collect();
    let unanswered = ["5", "silence.example.org", "-", "*", "-", "-", "T", "-", "0", "-", "-", "F"];
    assert_eq!(
        rows,
        [
            [
                "1",
                "www.example.org",
                "0.020000",
                "A",
                "NOERROR",
                "F",
                "T",
                "T",
                "0",
                "cdn.example.org,198.51.100.9",
                "60.000000,120.000000",
                "F"
            ],
            [
                "2",
                "a\\\\009b.example.org",
                "0.030000",
                "TXT",
                "NOERROR",
                "T",
                "T",
                "T",
                "2",
                "TXT 13 v=1\\x2c x\\\\xff\\\\tz",
                "5.000000",
                "F"
            ],
            ["3", "none.example.org", "0.010000", "AAAA", "NXDOMAIN", "F", "T", "T", "0", "-", "-", "F"],
            ["4", "refused.example.org", "0.010000", "HTTPS", "REFUSED", "F", "T", "F", "0", "-", "-", "T"],
            ["6", "unasked.example.org", "-", "A", "NOERROR", "F", "T", "T", "0", "192.0.2.1", "1.000000", "F"],
            unanswered,
        ]
    );
    assert_eq!(dns.rows[0]["ts"], "1800000000.123456");
}

#[test]
fn look_ups_as_json_say_the_same_as_the_table() {
    let tables = zeek(&replayed(Output::Zeek));
    let text = replayed(Output::ZeekJson);

    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let dns: Vec<_> = objects.iter().filter(|object| object["_path"] == "dns").collect();
    assert_eq!(dns.len(), log(&tables, "dns").rows.len());
    assert_eq!(dns[0]["answers"], json!(["cdn.example.org", "198.51.100.9"]));
    assert_eq!((&dns[0]["TTLs"], &dns[0]["trans_id"]), (&json!([60.0, 120.0]), &json!(1)));
    assert_eq!((&dns[0]["AA"], &dns[0]["rtt"]), (&json!(false), &json!(0.02)));
    let unanswered = dns.iter().find(|object| object["trans_id"] == 5).expect("the question");
    assert!(unanswered.get("rcode").is_none() && unanswered.get("rtt").is_none(), "{unanswered}");
}

#[test]
fn eve_tells_question_and_answer_of_one_flow() {
    let text = replayed(Output::Eve);

    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let dns: Vec<_> = events.iter().filter(|event| event["event_type"] == "dns").collect();
    assert_eq!(dns.len(), 5 + 5, "five questions, five answers");
    assert_eq!(
        dns[0]["dns"],
        json!({"type": "query", "id": 1, "rrname": "www.example.org", "rrtype": "A", "opcode": 0})
    );
    assert_eq!(
        dns[1]["dns"],
        json!({"version": 2, "type": "answer", "id": 1, "rrname": "www.example.org", "rrtype": "A", "opcode": 0,
               "flags": "8180", "qr": true, "rd": true, "ra": true, "rcode": "NOERROR",
               "answers": [
                   {"rrname": "www.example.org", "rrtype": "CNAME", "ttl": 60, "rdata": "cdn.example.org"},
                   {"rrname": "cdn.example.org", "rrtype": "A", "ttl": 120, "rdata": "198.51.100.9"}],
               "grouped": {"CNAME": ["cdn.example.org"], "A": ["198.51.100.9"]}})
    );
    let flows: BTreeSet<_> = events
        .iter()
        .filter(|event| event["event_type"] == "flow")
        .filter_map(|event| event["flow_id"].as_u64())
        .collect();
    assert!(dns.iter().all(|event| event["flow_id"].as_u64().is_some_and(|id| flows.contains(&id))));
    assert_eq!((&dns[1]["src_ip"], &dns[1]["dest_port"]), (&json!("10.0.0.7"), &json!(53)));
}

#[test]
fn ssl_log_holds_what_rita_imports_and_leads_to_conn_log() {
    let logs = zeek(&replay("beacon-tls.pcap", Output::Zeek));

    let (conn, ssl) = (log(&logs, "conn"), log(&logs, "ssl"));
    has_columns(ssl, &RITA_SSL);
    let uids: BTreeSet<_> = conn.rows.iter().map(|row| &row["uid"]).collect();
    assert!(ssl.rows.len() > 10 && ssl.rows.iter().all(|row| uids.contains(&row["uid"])));
    let is_named = |row: &HashMap<String, String>| row["server_name"].contains('.');
    assert!(ssl.rows.iter().all(|row| is_named(row) != (row["id.orig_h"] == "10.77.0.7")), "the implant gives no name");
    assert!(ssl.rows.iter().all(|row| row["established"] == "-"), "what was not seen is not claimed");
}

#[test]
fn each_log_is_written_to_a_file_of_its_own() {
    let (folder, path) = capture(&traffic());
    let logs = folder.path().to_owned();
    let args = Args { files: vec![path], output: Output::Zeek, logs: Some(logs.clone()), ..Args::default() };
    let mut out = Vec::new();

    assert_eq!(run(&args, &mut out, &mut Vec::new()).expect("written"), 0);

    assert!(out.is_empty());
    for name in ["conn", "dns"] {
        let text = std::fs::read_to_string(logs.join(format!("{name}.log"))).expect("a log");
        let read = zeek(&text);
        assert_eq!((read.len(), read[0].path.as_str()), (1, name));
        assert!(text.lines().last().is_some_and(|line| line.starts_with("#close\t")));
    }
    let missing = Args { logs: Some(logs.join("missing")), ..args.clone() };
    let error = run(&missing, &mut Vec::new(), &mut Vec::new()).expect_err("no such directory");
    assert!(format!("{:#}", anyhow::Error::from(error)).contains("missing/"));
    let eve = Args { output: Output::Eve, ..args };
    assert!(run(&eve, &mut Vec::new(), &mut Vec::new()).is_err(), "one stream has no files");
}
