//! What netd says of what it saw: status, metrics, flows.

use std::collections::BTreeSet;
use std::time::Duration;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab};
use netd_lab::require_root;
use netd_lab::traffic::flood::{FlowFlood, Pace};
use serde_json::Value;

use crate::families::BOTH;
use crate::implants::wait;

#[test]
fn a_packet_forwarded_through_two_watched_interfaces_is_accounted_once() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();
    let interfaces = api.get("/api/v1/status").unwrap()["interfaces"].clone();
    assert_eq!(interfaces.as_array().map(Vec::len), Some(2), "{interfaces}");

    for family in BOTH {
        let (flows, packets) = (700, 7 * 700);
        let pace = Pace::count(packets, Duration::from_secs(10));
        let (from, to) = (family.of(IMPLANT), family.nowhere(0, 1));
        let flood = FlowFlood { hop: lab.first_hop(), from, to, first: 0, flows, pace };
        assert_eq!(flood.start(lab.lan()).unwrap().join().unwrap().packets, packets);

        let path = format!("/api/v1/flows?src={from}&dst={to}");
        let accounted = || {
            let flows = api.items(&path).unwrap();
            let packets = |side: &str| flows.iter().map(|flow| flow[side]["packets"].as_u64().unwrap()).sum::<u64>();
            (flows.len() as u64, packets("originated"), packets("responded"))
        };
        // None of these flows ends, and most write no record after their first packet.
        wait(Duration::from_secs(15), || accounted() == (flows, packets, 0));
        println!("{family:?}: {packets} packets sent in {flows} flows, {:?} accounted", accounted());
    }
    let metrics = api.send("GET", "/metrics", "text/plain", "").unwrap().body;
    let batches = metrics.lines().find_map(|line| line.strip_prefix("netd_detector_duration_seconds_count "));
    assert!(batches.is_some_and(|count| count != "0"), "what the detectors took is told: {batches:?}");
}

#[test]
fn metrics_parse_and_keep_their_names() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();
    api.send("PUT", "/api/v1/blocklists/feed", "text/plain", "198.18.0.1\n").unwrap().accepted().unwrap();

    let answer = api.send("GET", "/metrics", "text/plain", "").unwrap();

    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let lines = || answer.body.lines().filter(|line| *line != "# EOF");
    lines().filter(|line| !line.starts_with('#')).for_each(check_sample);
    // Whether runs of programs are counted is the host's choice.
    let is_promised = |name: &&str| !name.starts_with("netd_bpf_program_");
    let names: BTreeSet<&str> = lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter(is_promised).collect();
    assert_eq!(names, BTreeSet::from(NAMES), "names and types are promises");
}

/// Checks that a line is `netd_name{label="value",…} number`.
fn check_sample(line: &str) {
    let (name, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
    let is_name = ["netd_", "process_"].iter().any(|prefix| name.starts_with(prefix))
        && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    assert!(is_name && labels.ends_with('}') && value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
}

/// All but what only GeoIP databases, sinks, feeds or a host that counts runs of programs bring.
const NAMES: [&str; 56] = [
    "netd_analysis_delay_seconds histogram",
    "netd_blocked_packets counter",
    "netd_blocklist_entries gauge",
    "netd_bpf_map_capacity gauge",
    "netd_bpf_map_entries gauge",
    "netd_build info",
    "netd_bytes counter",
    "netd_connects_refused counter",
    "netd_degraded gauge",
    "netd_detector_duration_seconds histogram",
    "netd_dropped_packets counter",
    "netd_enforcement_latency_seconds histogram",
    "netd_events_lost counter",
    "netd_execs counter",
    "netd_fail_open_packets counter",
    "netd_findings counter",
    "netd_findings_open gauge",
    "netd_findings_withheld counter",
    "netd_flow_evictions counter",
    "netd_flow_table_capacity gauge",
    "netd_flow_table_entries gauge",
    "netd_flows counter",
    "netd_flows_active gauge",
    "netd_flows_begun counter",
    "netd_histories gauge",
    "netd_hook_denies gauge",
    "netd_kill_switch gauge",
    "netd_mode gauge",
    "netd_name_addresses gauge",
    "netd_name_answers counter",
    "netd_packets counter",
    "netd_policy_reload_success gauge",
    "netd_policy_reload_timestamp_seconds gauge",
    "netd_process_looks counter",
    "netd_processes gauge",
    "netd_programs_missing gauge",
    "netd_protected_address_changes counter",
    "netd_protected_addresses gauge",
    "netd_ready gauge",
    "netd_resets counter",
    "netd_store_bytes gauge",
    "netd_stream_snapshots counter",
    "netd_turns counter",
    "netd_unparsed_packets counter",
    "netd_verdicts gauge",
    "netd_verdicts_desired gauge",
    "netd_verdicts_drift counter",
    "netd_verdicts_enforced gauge",
    "netd_verdicts_round_seconds gauge",
    "process_cpu_seconds counter",
    "process_max_fds gauge",
    "process_open_fds gauge",
    "process_resident_memory_bytes gauge",
    "process_start_time_seconds gauge",
    "process_threads gauge",
    "process_virtual_memory_bytes gauge",
];

#[test]
fn a_quiet_daemon_is_ready_and_has_lost_nothing() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let daemon = Daemon::start(&lab, Setup::default()).unwrap();
    let api = daemon.api();

    assert_eq!(api.get("/readyz").unwrap()["ready"], true);
    let status = api.get("/api/v1/status").unwrap();

    assert_eq!(status["ready"], true, "{status}");
    let losses = status["losses"].as_array().unwrap();
    // Processes of the host that are nobody's matter here may go while they are looked at.
    let is_none = |loss: &Value| loss["lost"] == 0 || loss["stage"] == "stream_snapshot_parts";
    assert!(losses.len() >= 10 && losses.iter().all(is_none), "{losses:?}");
    assert_eq!(status["degraded"].as_array().map(Vec::len), Some(0), "{status}");
}
