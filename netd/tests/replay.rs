//! `netd replay` over the captures this project generated.

use std::path::{Path, PathBuf};

use netd::cli::replay::{Args, Output, run};
use netd_engine::finding::Severity;
use serde_json::{Value, json};

fn pcap(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps").join(name)
}

struct Said {
    status: u8,
    out: String,
    err: String,
}

impl Said {
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }
}

fn args(files: &[PathBuf], output: Output, fail_on: Option<Severity>) -> Args {
    Args { files: files.to_vec(), output, fail_on, ..Args::default() }
}

fn geoip(name: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../geoip/testdata").join(name))
}

fn replay(files: &[PathBuf], output: Output, fail_on: Option<Severity>) -> Said {
    let args = args(files, output, fail_on);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&args, &mut out, &mut err).expect("a vector can be written to");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { status, out: text(out), err: text(err) }
}

fn jsonl(name: &str) -> Said {
    replay(&[pcap(name)], Output::Jsonl, None)
}

#[test]
fn the_same_capture_gives_the_same_output_byte_for_byte() {
    for output in [Output::Jsonl, Output::Flows, Output::Report, Output::Evidence] {
        let first = replay(&[pcap("beacon-tls.pcap")], output, None);
        let second = replay(&[pcap("beacon-tls.pcap")], output, None);

        assert_eq!(first.out, second.out);
        assert!(!first.out.is_empty());
    }
}

#[test]
fn evidence_is_told_of_what_is_no_finding_too() {
    let beacon = replay(&[pcap("beacon-tls.pcap")], Output::Evidence, None).lines();
    let people = replay(&[pcap("people.pcap")], Output::Evidence, None).lines();
    let of = |lines: &[Value], event: &str| lines.iter().filter(|line| line["event"] == event).count();

    assert!(of(&beacon, "finding") == 1 && of(&people, "finding") == 0);
    let raised = beacon.iter().find(|line| line["event"] == "history" && line["raised"].is_u64()).unwrap();
    assert!(raised["would_be"]["reasons"][0]["weight"].is_f64());
    assert!(people.iter().any(|line| line["would_be"]["reasons"].is_array() && line["is_finding"] == false));
}

#[test]
fn a_finding_is_one_json_object_with_its_reasons() {
    let said = jsonl("beacon-tls.pcap");

    let finding = &said.lines()[0];
    assert_eq!(finding["event"], "finding");
    assert_eq!(finding["detector"], "beacon");
    assert_eq!(finding["originator"], "10.77.0.7");
    assert_eq!(finding["responder"], "198.51.100.9");
    assert_eq!(finding["responder_port"], 443);
    assert_eq!(finding["protocol"], "tcp");
    assert_eq!(finding["block"], false);
    assert!(finding["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(finding["reasons"].as_array().is_some_and(|reasons| {
        reasons.iter().all(|reason| reason["evidence"].is_string() && reason["weight"].is_f64())
    }));
    let web = json!({ "id": "T1071.001", "name": "Web Protocols", "tactic": "command-and-control" });
    assert_eq!((&finding["attack"][0], &finding["techniques"][0]), (&web["id"], &web));
    let report = replay(&[pcap("beacon-tls.pcap")], Output::Report, None).out;
    assert!(report.contains("ATT&CK   T1071.001 Web Protocols (command-and-control)"), "{report}");
    assert_eq!((said.status, said.err.as_str()), (0, ""));
}

#[test]
fn the_summary_counts_every_packet_as_parsed_or_by_reason() {
    for name in ["beacon-tls.pcap", "unreadable.pcap", "link-cooked2.pcap", "beacon-udp.pcap.gz", "extensions.pcapng"] {
        let lines = jsonl(name).lines();
        let summary = lines.last().expect("a summary");

        let unparsed = summary["unparsed"].as_object().expect("reasons").values().filter_map(Value::as_u64);
        assert_eq!(summary["event"], "summary");
        assert_eq!(
            summary["packets"].as_u64(),
            summary["parsed"].as_u64().map(|parsed| parsed + unparsed.sum::<u64>())
        );
        assert!(summary["packets"].as_u64() > Some(0), "{name}");
    }
}

#[test]
fn flow_records_add_up_to_the_summary() {
    let flows = replay(&[pcap("people.pcap")], Output::Flows, None).lines();
    let lines = jsonl("people.pcap").lines();
    let summary = lines.last().expect("a summary");

    let packets = |flow: &Value| flow["originated"]["packets"].as_u64().zip(flow["responded"]["packets"].as_u64());
    let total: u64 = flows.iter().filter_map(packets).map(|(there, back)| there + back).sum();
    assert_eq!(summary["flows"].as_u64(), Some(flows.len() as u64));
    assert_eq!(summary["parsed"].as_u64(), Some(total));
    assert!(flows.iter().all(|flow| flow["community_id"].as_str().is_some_and(|id| id.starts_with("1:"))));
}

#[test]
fn fail_on_is_met_from_its_severity_on() {
    let file = [pcap("beacon-tls.pcap")];

    assert_eq!(replay(&file, Output::Report, Some(Severity::Low)).status, 3);
    assert_eq!(replay(&file, Output::Report, Some(Severity::Critical)).status, 0);
}

#[test]
fn a_truncated_capture_gives_what_was_readable_then_an_error_that_names_the_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(pcap("beacon-tls.pcap")).expect("a capture");
    let cut = folder.path().join("cut.pcap");
    std::fs::write(&cut, &whole[..whole.len() - 7]).expect("written");

    let said = replay(&[cut], Output::Jsonl, Some(Severity::Low));

    let lines = said.lines();
    assert_eq!(lines[0]["event"], "finding", "what stands before the fault is replayed");
    assert_eq!(lines.last().expect("a summary")["event"], "summary");
    assert_eq!(said.status, 1);
    for part in ["cut.pcap", "packet", "byte", "truncated"] {
        assert!(said.err.contains(part), "{}", said.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_named_and_the_others_are_replayed() {
    let said = replay(&[pcap("no-such.pcap"), pcap("beacon-vlan.pcap")], Output::Jsonl, None);

    assert_eq!(said.status, 1);
    assert!(said.err.contains("no-such.pcap"), "{}", said.err);
    assert!(said.lines().iter().any(|line| line["event"] == "finding"));
}

/// As a capture that was rotated while it was written.
#[test]
fn the_parts_of_a_capture_are_one_stream_in_whatever_order_they_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = std::fs::read(pcap("beacon-tls.pcap")).expect("a capture");
    let (first, second) = (folder.path().join("1.pcap"), folder.path().join("2.pcap"));
    let (header, records) = whole.split_at(24);
    let middle = middle(records);
    std::fs::write(&first, [header, &records[..middle]].concat()).expect("written");
    std::fs::write(&second, [header, &records[middle..]].concat()).expect("written");

    let parts = replay(&[second, first], Output::Jsonl, None);

    assert_eq!(parts.out, jsonl("beacon-tls.pcap").out);
}

/// Returns where the record near the middle of a little-endian pcap begins.
fn middle(records: &[u8]) -> usize {
    let mut at = 0;
    while at < records.len() / 2 {
        let length = records[at + 8..at + 12].try_into().expect("four bytes");
        at += 16 + u32::from_le_bytes(length) as usize;
    }
    at
}

#[test]
fn the_report_is_for_people() {
    let said = replay(&[pcap("beacon-tls.pcap")], Output::Report, None);

    assert!(said.out.contains("beacon: 10.77.0.7 -> 198.51.100.9:443 tcp"), "{}", said.out);
    assert!(said.out.contains("interval_regularity"));
    assert!(replay(&[pcap("people.pcap")], Output::Report, None).out.contains("Nothing found."));
}

#[test]
fn countries_and_autonomous_systems_are_shown_where_databases_are_named() {
    let said = |output| {
        let mut args = args(&[pcap("beacon-tls.pcap")], output, None);
        (args.geoip_country, args.geoip_asn) = (geoip("country.mmdb"), geoip("asn.mmdb"));
        let mut out = Vec::new();
        run(&args, &mut out, &mut Vec::new()).expect("a vector can be written to");
        String::from_utf8(out).expect("UTF-8")
    };
    let expected = serde_json::json!({"country": "DE", "asn": 64500, "as_name": "Example Hosting"});

    for output in [Output::Jsonl, Output::Flows] {
        let first = said(output).lines().next().map(str::to_owned).expect("a line");
        let first: Value = serde_json::from_str(&first).expect("a JSON object a line");
        assert_eq!(first["responder_region"], expected, "{first}");
    }
    let report = said(Output::Report);
    assert!(report.contains("  to       DE, AS64500 Example Hosting\n"), "{report}");
    assert!(!replay(&[pcap("beacon-tls.pcap")], Output::Report, None).out.contains("AS64500"));
}

#[test]
fn a_database_that_cannot_be_used_ends_the_replay() {
    let mut args = args(&[pcap("beacon-tls.pcap")], Output::Report, None);
    // It holds AS numbers only.
    args.geoip_country = geoip("asn.mmdb");

    let error = run(&args, &mut Vec::new(), &mut Vec::new()).expect_err("it holds no countries").to_string();

    assert!(error.contains("asn.mmdb holds no countries"), "{error}");
}
