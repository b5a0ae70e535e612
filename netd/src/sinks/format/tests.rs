//! Golden lines, and names that try to be more than names.

use netd_common::verdict::Hits;
use netd_engine::finding::Severity;
use netd_engine::flow::{EndReason, NameSource, Protocol, Sent, Tls};
use netd_engine::process::{Process, ProcessId};
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use serde_json::{Value, json};

use super::*;
use crate::store::events::VerdictChange;
use crate::store::{findings_for_tests, flows_for_tests};
use crate::verdicts::Entry;

const NOW: Timestamp = Timestamp(1_800_000_100_000_000_000);

fn site() -> Site {
    Site { host: "web-1".into(), ..Site::default() }
}

fn tls() -> Conversation {
    Conversation {
        originated: Sent { packets: 10, bytes: 2_000, payload: 1_300, flags: 0x1b },
        responded: Sent { packets: 8, bytes: 9_000, payload: 8_400, flags: 0x1b },
        state: "SF",
        service: Some(Protocol::Tls),
        name_source: NameSource::Sni,
        ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1".into()),
        ..flows_for_tests::conversation(51_514, EndReason::Closed)
    }
}

fn finding() -> Finding {
    let process = Process {
        id: ProcessId { pid: 700, start_ticks: 9 },
        comm: "python3".into(),
        exe: Some("/usr/bin/python3.13".into()),
        ..Process::default()
    };
    Finding { process: Some(process), ..findings_for_tests::finding(3, Severity::High, 0.912_345_678) }
}

fn verdict() -> VerdictEvent {
    let verdict = Verdict {
        target: Target::Host { address: "198.51.100.9".parse().unwrap() },
        response: Response::Drop,
        until: Some(NOW),
        origin: Origin::Manual,
        reason: "ir-4411".into(),
        shadow: false,
    };
    let entry = Entry {
        id: 5,
        created: Timestamp(1_800_000_000_000_000_000),
        verdict,
        leads: true,
        shielded_by: None,
        hits: Hits::default(),
    };
    VerdictEvent { sequence: 1, change: VerdictChange::Began, entry }
}

fn lines(format: Format, record: &Record<'_>) -> Vec<String> {
    let mut out = Vec::new();
    format.write(record, &site(), &mut |_, lines| out.extend_from_slice(lines));
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn json(format: Format, record: &Record<'_>) -> Vec<Value> {
    lines(format, record).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_flow_of_tls_is_two_events_of_one_flow_in_eve() {
    let conversation = tls();
    let flow = Flow { interface: Some("eth0"), ..Flow::from(&conversation) };

    let events = json(Format::Eve, &Record::Flow(flow));

    let id = events[1]["flow_id"].as_u64().unwrap();
    assert!(id < 1 << 51);
    let ends = |time: &str, kind: &str| {
        json!({"timestamp": time, "flow_id": id, "in_iface": "eth0", "event_type": kind, "host": "web-1",
               "src_ip": "10.0.0.7", "src_port": 51514, "dest_ip": "198.51.100.9", "dest_port": 443, "proto": "TCP",
               "community_id": "1:abc="})
    };
    let with = |mut event: Value, more: Value| {
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let tls = json!({"tls": {"sni": "cdn.example.net", "ja4": "t13d1516h2_8daaf6152771_e5627efa2ab1"}});
    assert_eq!(events[0], with(ends("2027-01-15T08:00:00.000000+0000", "tls"), tls));
    let flow = json!({
        "app_proto": "tls",
        "flow": {"pkts_toserver": 10, "pkts_toclient": 8, "bytes_toserver": 2000, "bytes_toclient": 9000,
                 "start": "2027-01-15T08:00:00.000000+0000", "end": "2027-01-15T08:01:00.000000+0000", "age": 60,
                 "state": "closed", "reason": "timeout"},
        "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b", "syn": true, "fin": true, "rst": false,
                "psh": true, "ack": true, "state": "closed"},
        "netd": {"turns": 0, "conn_state": "SF", "name": "cdn.example.net"},
    });
    assert_eq!(events[1], with(ends("2027-01-15T08:01:00.000000+0000", "flow"), flow));
}

#[test]
fn a_finding_is_an_alert_of_eve() {
    let finding = finding();

    let event = &json(Format::Eve, &Record::Finding(&finding))[0];

    assert_eq!(event["event_type"], "alert");
    assert_eq!(
        event["alert"],
        json!({"action": "allowed", "gid": 9100, "signature_id": 9100001, "rev": 1,
               "signature": "NETD beacon: check-ins every 60.0 s",
               "category": "Malware Command and Control Activity Detected", "severity": 1,
               "metadata": {"mitre_tactic_name": ["command-and-control"], "mitre_technique_id": ["T1071.001"],
                            "mitre_technique_name": ["Web Protocols"], "confidence": ["High"]}})
    );
    assert_eq!(event["netd"]["score"], 0.912_346);
    assert_eq!((&event["netd"]["pid"], &event["netd"]["comm"]), (&700.into(), &"python3".into()));
    assert_eq!((&event["dest_port"], event.get("src_port")), (&443.into(), None));
}

#[test]
fn verdicts_and_statistics_are_drops_and_stats_of_eve() {
    let (verdict, stats) = (verdict(), Stats { packets: 9, lost: 1, findings: 2, ..Stats::default() });

    let drop = &json(Format::Eve, &Record::Verdict { at: NOW, event: &verdict })[0];
    let told = &json(Format::Eve, &Record::Stats { at: NOW, stats: &stats })[0];

    assert_eq!((&drop["event_type"], &drop["dest_ip"]), (&"drop".into(), &"198.51.100.9".into()));
    assert_eq!((&drop["drop"]["reason"], &drop["netd"]["change"]), (&"ir-4411".into(), &"began".into()));
    assert_eq!((&told["stats"]["capture"]["kernel_drops"], &told["stats"]["detect"]["alert"]), (&1.into(), &2.into()));
}

#[test]
fn a_row_of_conn_log_has_the_columns_of_its_header() {
    let conversation = tls();

    let row = &lines(Format::Zeek, &Record::Flow(Flow::from(&conversation)))[0];

    let uid = row.split('\t').nth(1).unwrap();
    assert!(uid.starts_with('C') && uid.len() == 18);
    assert_eq!(
        row.replace(uid, "UID"),
        "1800000000.000000\tUID\t10.0.0.7\t51514\t198.51.100.9\t443\ttcp\tssl\t60.000000\t1300\t8400\tSF\tT\tF\t0\t\
         ShADadFf\t10\t1860\t8\t8888\t-\t6\t1:abc="
    );
    let head = Format::Zeek.head(Log::Conn, NOW);
    assert!(head.contains("#open\t2027-01-15-08-01-40\n#fields\tts\tuid\tid.orig_h\t"), "{head}");
    let columns = |start: &str| head.lines().find(|line| line.starts_with(start)).unwrap().split('\t').count() - 1;
    assert_eq!((columns("#fields"), columns("#types")), (23, 23));
    assert_eq!(row.split('\t').count(), 23);
}

#[test]
fn the_same_row_as_json_leaves_out_what_is_unset() {
    let conversation = flows_for_tests::conversation(51_514, EndReason::Idle);

    let row = &json(Format::ZeekJson, &Record::Flow(Flow::from(&conversation)))[0];

    assert_eq!((&row["_path"], &row["id.orig_p"], &row["ts"]), (&"conn".into(), &51514.into(), &1.8e9.into()));
    assert_eq!((&row["local_orig"], row.get("service"), &row["history"]), (&true.into(), None, &"S".into()));
}

#[test]
fn a_hostile_name_ends_neither_field_nor_line() {
    let mut finding = finding();
    finding.title = "a\tb\nc\\d\u{1}\u{7f}é".into();

    for format in [Format::Eve, Format::Zeek, Format::ZeekJson, Format::Jsonl] {
        assert_eq!(lines(format, &Record::Finding(&finding)).len(), 1, "{format:?}");
    }
    let row = &lines(Format::Zeek, &Record::Finding(&finding))[0];
    let fields: Vec<_> = row.split('\t').collect();
    assert_eq!((fields.len(), fields[3], fields[4]), (11, "Netd::Beacon", "a\\x09b\\x0ac\\\\d\\x01\\x7fé"));
    for (title, written) in [("-", "\\x2d"), ("", "(empty)"), ("(empty)", "\\x28empty)")] {
        finding.title = title.into();
        assert_eq!(lines(Format::Zeek, &Record::Finding(&finding))[0].split('\t').nth(4), Some(written));
    }
}

#[test]
fn jsonl_tells_of_everything_and_names_it() {
    let (finding, conversation, verdict, stats) = (finding(), tls(), verdict(), Stats::default());
    let lookup = flows_for_tests::lookup();
    let records = [
        Record::Finding(&finding),
        Record::Flow(Flow::from(&conversation)),
        Record::Lookup { lookup: &lookup, interface: None },
        Record::Verdict { at: NOW, event: &verdict },
        Record::Stats { at: NOW, stats: &stats },
    ];

    let told: Vec<_> = records.iter().map(|record| json(Format::Jsonl, record)[0].clone()).collect();

    let kinds: Vec<_> = told.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["finding", "flow", "dns", "verdict", "stats"]);
    assert_eq!((&told[2]["name"], &told[2]["answers"][0]["data"]), (&"cdn.example.net".into(), &"198.51.100.9".into()));
    assert_eq!((&told[2]["round_trip_s"], &told[2]["rcode"]), (&0.02.into(), &"NOERROR".into()));
    assert_eq!(told[3]["target"], json!({"kind": "host", "address": "198.51.100.9"}));
    assert_eq!((&told[3]["action"], &told[3]["until"]), (&"drop".into(), &"2027-01-15T08:01:40Z".into()));
}

#[test]
fn local_is_what_the_operator_says_or_what_is_private() {
    let named = Site { local: vec!["198.51.100.0/24".parse().unwrap()], ..Site::default() };
    let [private, shared, public] = ["10.0.0.7", "100.64.1.1", "198.51.100.9"].map(|text| text.parse().unwrap());

    assert!(site().is_local(private) && site().is_local(shared) && !site().is_local(public));
    assert!(named.is_local(public) && !named.is_local(private));
}

#[test]
fn a_row_of_dns_log_and_one_of_ssl_log_have_the_columns_of_their_headers() {
    let lookup = flows_for_tests::lookup();
    let mut secured = tls();
    secured.tls = Tls { ja3: Some("e7d7".into()), version: Some(0x0304), cipher: Some(0x1301), next_protocol: None };

    let dns = &lines(Format::Zeek, &Record::Lookup { lookup: &lookup, interface: None })[0];
    let flow = lines(Format::Zeek, &Record::Flow(Flow::from(&secured)));

    let [conn, ssl] = &flow[..] else { panic!("{flow:?}") };
    let row = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let (uid, ssl, dns) = (row(conn)[1].clone(), row(ssl), row(dns));
    assert_eq!(ssl[1], uid, "both lead to one connection");
    let expected = "TLSv13\tTLS_AES_128_GCM_SHA256\t-\tcdn.example.net\t-\t-\t-\t-\te7d7\t\
                    t13d1516h2_8daaf6152771_e5627efa2ab1";
    assert_eq!(ssl[6..].join("\t"), expected);
    assert_eq!(
        dns[6..].join("\t"),
        "udp\t7\t0.020000\tcdn.example.net\t1\tC_INTERNET\t1\tA\t0\tNOERROR\tF\tF\tT\tT\t0\t198.51.100.9\t60.000000\tF"
    );
    for (log, row) in [(Log::Dns, dns), (Log::Ssl, ssl)] {
        let head = Format::Zeek.head(log, NOW);
        let columns = |start: &str| head.lines().find(|line| line.starts_with(start)).unwrap().split('\t').count() - 1;
        assert_eq!((columns("#fields"), columns("#types")), (row.len(), row.len()));
    }
}

#[test]
fn what_tls_did_not_show_is_not_claimed_and_cleartext_has_no_row() {
    let mut bare = tls();
    bare.ja4 = None;
    bare.name_source = NameSource::Dns;
    let plain = Conversation { service: Some(Protocol::Http), ..tls() };

    assert_eq!(lines(Format::Zeek, &Record::Flow(Flow::from(&bare))).len(), 1);
    assert_eq!(lines(Format::Zeek, &Record::Flow(Flow::from(&plain))).len(), 1);
    assert_eq!(json(Format::Eve, &Record::Flow(Flow::from(&bare)))[0]["event_type"], "flow");
}
