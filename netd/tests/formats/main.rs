//! `netd replay` in the formats of other tools, read as those tools read them.

mod lookups;
mod zeek;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netd::cli::replay::{Args, Output, run};
use netd_engine::finding::Severity;
use serde_json::Value;

use self::zeek::read as zeek;

fn pcap(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps").join(name)
}

fn replay(name: &str, output: Output) -> String {
    let args = Args { files: vec![pcap(name)], output, ..Args::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(run(&args, &mut out, &mut err).expect("a vector can be written to"), 0);
    String::from_utf8(out).expect("UTF-8")
}

fn json_lines(name: &str, output: Output) -> Vec<Value> {
    let text = replay(name, output);
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// What RITA reads of conn.log.
const RITA: [&str; 20] = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "local_orig",
    "local_resp",
    "missed_bytes",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
];

/// Zeek's `conn_state`.
const STATES: [&str; 13] = ["S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"];

#[test]
fn zeeks_logs_hold_what_rita_imports() {
    for name in ["beacon-tls.pcap", "beacon-ipv6.pcap", "ntp.pcap", "people.pcap", "extensions.pcapng"] {
        let logs = zeek(&replay(name, Output::Zeek));

        let conn = &logs[0];
        assert_eq!(conn.path, "conn");
        assert_eq!(conn.fields[..RITA.len()], RITA);
        assert!(!conn.rows.is_empty(), "{name}");
        let uids: BTreeSet<&String> = conn.rows.iter().map(|row| &row["uid"]).collect();
        assert_eq!(uids.len(), conn.rows.len(), "{name}: each connection has its own uid");
        for row in &conn.rows {
            assert!(row["uid"].starts_with('C') && STATES.contains(&row["conn_state"].as_str()), "{row:?}");
            assert!(matches!(row["proto"].as_str(), "tcp" | "udp" | "icmp" | "unknown_transport"), "{row:?}");
            let number = |column: &str| row[column].parse::<u64>().expect("a count");
            assert!(number("orig_ip_bytes") >= number("orig_bytes"), "{row:?}");
            assert!(number("orig_ip_bytes") >= 20 * number("orig_pkts"), "{row:?}");
        }
    }
}

#[test]
fn a_beacon_stands_in_notice_log_and_its_connections_in_conn_log() {
    let logs = zeek(&replay("beacon-tls.pcap", Output::Zeek));

    let [conn, ssl, notice] = &logs[..] else { panic!("{} logs", logs.len()) };
    assert_eq!((ssl.path.as_str(), notice.path.as_str()), ("ssl", "notice"));
    let found = notice.rows.iter().find(|row| row["note"] == "Netd::Beacon").expect("a notice of the beacon");
    let calls = conn.rows.iter().filter(|row| row["id.resp_h"] == found["dst"] && row["service"] == "ssl").count();
    assert!(calls > 10, "{calls}");
}

#[test]
fn zeeks_json_says_the_same_as_its_tables() {
    let tables = zeek(&replay("beacon-tls.pcap", Output::Zeek));
    let objects = json_lines("beacon-tls.pcap", Output::ZeekJson);

    let conn: Vec<&Value> = objects.iter().filter(|object| object["_path"] == "conn").collect();
    assert_eq!(conn.len(), tables[0].rows.len());
    for (object, row) in conn.iter().zip(&tables[0].rows) {
        assert_eq!(object["uid"], row["uid"].as_str());
        assert_eq!(object["id.resp_p"].as_u64(), row["id.resp_p"].parse().ok());
        let ts = object["ts"].as_f64().expect("a number");
        assert!((ts - row["ts"].parse::<f64>().expect("a number")).abs() < 1e-5);
        assert_eq!(object["local_orig"], row["local_orig"] == "T");
    }
}

#[test]
fn eve_has_what_suricatas_readers_look_for() {
    let events = json_lines("beacon-tls.pcap", Output::Eve);

    let mut kinds = BTreeMap::<&str, usize>::new();
    for event in &events {
        let kind = event["event_type"].as_str().expect("a type");
        *kinds.entry(kind).or_default() += 1;
        let time = event["timestamp"].as_str().expect("a time");
        assert!(time.len() == 31 && time.ends_with("+0000") && time.as_bytes()[19] == b'.', "{time}");
        assert!(event["flow_id"].as_u64().is_some_and(|id| id < 1 << 51), "{event}");
        assert!(event["src_ip"].as_str().is_some_and(|ip| ip.parse::<IpAddr>().is_ok()), "{event}");
        assert!(event["proto"].as_str().is_some_and(|proto| proto == proto.to_uppercase()), "{event}");
        if kind == "alert" {
            let alert = &event["alert"];
            assert!(alert["signature_id"].is_u64() && alert["gid"].is_u64() && alert["rev"].is_u64(), "{alert}");
            assert!((1..=4).contains(&alert["severity"].as_u64().expect("a number")), "{alert}");
            let metadata = alert["metadata"].as_object().expect("an object");
            assert!(
                metadata.values().all(|value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string)))
            );
        }
    }
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), ["alert", "flow", "tls"]);
    let ids = |kind: &str| -> BTreeSet<u64> {
        let of_kind = events.iter().filter(|event| event["event_type"] == kind);
        of_kind.filter_map(|event| event["flow_id"].as_u64()).collect()
    };
    assert!(ids("tls").is_subset(&ids("flow")), "a tls event leads to its flow");
}

#[test]
fn jq_reads_every_line_unchanged() {
    let query =
        "[.event_type // .event // ._path, (.src_ip // .originator // .[\"id.orig_h\"] // .src // .packets)] | @tsv";
    for output in [Output::Eve, Output::Jsonl, Output::ZeekJson, Output::Flows] {
        let text = replay("reverse-shell.pcap", output);
        let jq = Command::new("jq").args(["-er", query]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut jq) = jq else {
            netd_lab::left_out!("there is no jq");
            return;
        };
        let mut input = jq.stdin.take().expect("a pipe");
        let given = text.clone();
        let feeder = std::thread::spawn(move || std::io::Write::write_all(&mut input, given.as_bytes()));

        let answer = jq.wait_with_output().expect("jq ends");

        feeder.join().expect("no panic").expect("jq reads to the end");
        assert!(answer.status.success(), "{output:?}");
        let said = String::from_utf8(answer.stdout).expect("UTF-8");
        assert_eq!(said.lines().count(), text.lines().count(), "{output:?}");
        assert!(said.lines().all(|line| line.split('\t').all(|field| !field.is_empty())), "{output:?}: {said}");
    }
}

#[test]
fn the_threshold_ends_with_three_in_any_format() {
    for output in [Output::Eve, Output::Zeek, Output::ZeekJson, Output::Jsonl] {
        let files = vec![pcap("beacon-tls.pcap")];
        let args = Args { files, output, fail_on: Some(Severity::Low), ..Args::default() };

        assert_eq!(run(&args, &mut Vec::new(), &mut Vec::new()).expect("a vector can be written to"), 3, "{output:?}");
    }
}

#[test]
fn every_capture_has_the_same_lines_twice() {
    for output in [Output::Eve, Output::Zeek, Output::ZeekJson] {
        assert_eq!(replay("people.pcap", output), replay("people.pcap", output));
    }
}
