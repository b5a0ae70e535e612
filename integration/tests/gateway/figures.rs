//! What netd says of what it saw: status, metrics, flows.

use std::collections::BTreeSet;
use std::time::Duration;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab};
use netd_lab::require_root;
use netd_lab::traffic::flood::{FlowFlood, Pace};

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
        // The totals of a flow that goes on come with its next record: at its end at the latest.
        wait(Duration::from_secs(20), || accounted().0 == flows);
        let status = api.get("/api/v1/status").unwrap();
        println!("{family:?}: {:?} of {packets} packets in {flows} flows, {}", accounted(), status["packets"]);
        wait(Duration::from_secs(100), || accounted() == (flows, packets, 0));
    }
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
    let samples: BTreeSet<&str> = answer.body.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
    let missing: Vec<&&str> = NAMES.iter().filter(|name| !samples.contains(**name)).collect();
    let new: Vec<&&str> = samples.iter().filter(|name| !NAMES.contains(name)).collect();
    assert!(missing.is_empty() && new.is_empty(), "names are promises: missing {missing:?}, unknown {new:?}");
}

/// Returns the name of `name{label="value",…} number`.
fn sample(line: &str) -> &str {
    let (name, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
    assert!(name.starts_with("netd_") && labels.ends_with('}'), "{line}");
    name
}

const NAMES: [&str; 32] = [
    "netd_blocked_packets_total",
    "netd_blocklist_entries",
    "netd_bpf_map_capacity",
    "netd_bpf_map_entries",
    "netd_build_info",
    "netd_bytes_total",
    "netd_connects_refused_total",
    "netd_degraded",
    "netd_dropped_packets_total",
    "netd_events_lost_total",
    "netd_fail_open_packets_total",
    "netd_findings_total",
    "netd_flow_evictions_total",
    "netd_flow_table_capacity",
    "netd_flow_table_entries",
    "netd_flows_active",
    "netd_flows_total",
    "netd_histories",
    "netd_kill_switch",
    "netd_mode",
    "netd_packets_total",
    "netd_ready",
    "netd_resets_total",
    "netd_start_time_seconds",
    "netd_turns_total",
    "netd_unparsed_packets_total",
    "netd_verdicts",
    "", "", "", "", "",
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
    assert!(losses.len() >= 10 && losses.iter().all(|loss| loss["lost"] == 0), "{losses:?}");
    assert_eq!(status["degraded"].as_array().map(Vec::len), Some(0), "{status}");
}
