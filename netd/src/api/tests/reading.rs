use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use netd_engine::policy::Direction;

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

#[tokio::test]
async fn flows_are_filtered_by_each_parameter() {
    let api = Api::new();
    api.flows.put(conversation(1, EndReason::Active));
    let mut other = conversation(2, EndReason::Active);
    (other.responder, other.protocol, other.name) = ("2001:db8::1".parse().unwrap(), 17, None);
    other.originator = "2001:db8::7".parse().unwrap();
    other.process = Some(netd_engine::process::Process {
        id: netd_engine::process::ProcessId { pid: 7, start_ticks: 0 },
        comm: "curl".into(),
        ..Default::default()
    });
    other.start = Timestamp(1_800_003_600_000_000_000);
    other.end = other.start;
    api.flows.put(other);
    api.findings.report(finding(1, Severity::High, 0.9));
    let table = [
        ("", 2),
        ("?ip=198.51.100.9", 1),
        ("?ip=2001:db8::7", 1),
        ("?src=10.0.0.7", 1),
        ("?src=198.51.100.9", 0),
        ("?dst=198.51.100.9", 1),
        ("?cidr=198.51.100.0/24", 1),
        ("?cidr=2001:db8::/32", 1),
        ("?port=443", 2),
        ("?port=1", 1),
        ("?proto=udp", 1),
        ("?proto=6", 1),
        ("?pid=7", 1),
        ("?comm=curl", 1),
        ("?comm=wget", 0),
        ("?name=example.net", 1),
        ("?name=ample.net", 0),
        ("?community_id=1:abc%3D", 2),
        ("?min_score=0.8", 1),
        ("?min_score=0.95", 0),
        ("?since=2027-01-15T08:30:00Z", 1),
        ("?until=2027-01-15T08:30:00Z", 1),
        ("?ip=198.51.100.9&proto=udp", 0),
    ];
    for (query, expected) in table {
        let answer = api.get(&format!("/api/v1/flows{query}")).await;

        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        assert_eq!(answer.json()["items"].as_array().unwrap().len(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_flow_is_shown_with_its_finding() {
    let api = Api::new();
    api.flows.put(conversation(1, EndReason::Active));
    api.findings.report(finding(4, Severity::High, 0.9));

    let flow = api.get("/api/v1/flows").await.json()["items"][0].take();

    assert_eq!(flow["start"], "2027-01-15T08:00:00Z");
    assert_eq!(flow["originator"], "10.0.0.7");
    assert_eq!(flow["protocol"], "tcp");
    assert_eq!(flow["originated"]["packets"], 1);
    assert_eq!(flow["end_reason"], "active");
    let region = serde_json::json!({"country": "DE", "asn": 64500, "as_name": "Example Hosting"});
    assert_eq!(flow["responder_region"], region);
    assert_eq!((flow["finding"].as_u64(), flow["score"].as_f64()), (Some(4), Some(0.9)));
}

#[tokio::test]
async fn pages_are_linked_and_a_cursor_survives_inserts() {
    let api = Api::new();
    for port in 1..=25 {
        api.flows.put(conversation(port, EndReason::Active));
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/flows?proto=tcp&limit=10".to_owned());
    loop {
        let answer = api.get(&path).await;
        let page = answer.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|flow| flow["originator_port"].as_u64().unwrap()));
        api.flows.put(conversation(1_000 + seen.len() as u16, EndReason::Active));
        let link = answer.header("link");
        assert_eq!(link.is_empty(), page["next_cursor"].is_null());
        match link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }

    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn findings_are_listed_filtered_and_shown() {
    let api = Api::new();
    api.findings.report(finding(1, Severity::Low, 0.5));
    api.findings.report(finding(2, Severity::Medium, 0.8));
    api.findings.report(finding(2, Severity::Critical, 0.99));

    let count = async |query: &str| {
        api.get(&format!("/api/v1/findings{query}")).await.json()["items"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 2);
    assert_eq!(count("?severity=high").await, 1);
    assert_eq!(count("?detector=shell").await, 0);
    assert_eq!(count("?ip=198.51.100.9").await, 2);
    assert_eq!(count("?since=2027-01-15T08:00:02Z").await, 1);

    let finding = api.get("/api/v1/findings/2").await.json();
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["history"].as_array().unwrap().len(), 2);
    assert_eq!(finding["first_seen"], "2027-01-15T07:43:20Z");
    assert_eq!(finding["responder_port"], 443);
    api.get("/api/v1/findings/9").await.problem(404);
    api.get("/api/v1/findings/x").await.problem(404);
}

#[tokio::test]
async fn the_status_names_every_loss() {
    let api = Api::new();

    let status = api.get("/api/v1/status").await.json();

    assert_eq!(status["mode"]["requested"], "enforce");
    assert_eq!(status["kill_switch"], false);
    assert_eq!(status["interfaces"][0]["attached"][0], "tcx ingress");
    assert_eq!(status["packets"]["ingress"], 7);
    assert_eq!(status["degraded"][0]["what"], "XDP");
    assert_eq!(status["geoip"][0]["type"], "netd-Country");
    assert_eq!(status["geoip"][1]["built"], "2026-01-01T00:00:00Z");
    assert_eq!(status["rules"]["capacity"], 65_535);
    let losses = status["losses"].as_array().unwrap();
    assert!(losses.contains(&serde_json::json!({"stage": "kernel_turn_records", "lost": 3})));
    assert!(losses.contains(&serde_json::json!({"stage": "verdict_queue", "lost": 0})));
}

#[tokio::test]
async fn ready_turns_to_503_with_the_reasons() {
    let api = Api::new();
    assert_eq!(api.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);

    api.snapshots.send_replace(Arc::new(Snapshot { not_ready: vec!["no interface is watched".into()], ..snapshot() }));

    let problem = api.get("/readyz").await.problem(503);
    assert_eq!(problem["errors"][0]["detail"], "no interface is watched");
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_version_is_told() {
    let version = Api::new().get("/api/v1/version").await.json();

    assert_eq!(version["name"], "netd");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

/// What dashboards and alerts are written against: a name that changes here breaks them.
const METRICS: &str = "\
netd_analysis_delay_seconds histogram
netd_blocked_packets counter
netd_blocklist_entries gauge
netd_bpf_map_capacity gauge
netd_bpf_map_entries gauge
netd_bpf_program_run_time_seconds counter
netd_bpf_program_runs counter
netd_build info
netd_bytes counter
netd_connects_refused counter
netd_degraded gauge
netd_detector_duration_seconds histogram
netd_dropped_packets counter
netd_enforcement_latency_seconds histogram
netd_events_lost counter
netd_execs counter
netd_fail_open_packets counter
netd_findings counter
netd_findings_open gauge
netd_findings_withheld counter
netd_flow_evictions counter
netd_flow_table_capacity gauge
netd_flow_table_entries gauge
netd_flows counter
netd_flows_active gauge
netd_flows_begun counter
netd_geoip_build_timestamp_seconds gauge
netd_geoip_load_failures counter
netd_histories gauge
netd_kill_switch gauge
netd_mode gauge
netd_name_addresses gauge
netd_name_answers counter
netd_packets counter
netd_policy_reload_success gauge
netd_policy_reload_timestamp_seconds gauge
netd_process_looks counter
netd_processes gauge
netd_program_repinned counter
netd_programs_missing gauge
netd_protected_address_changes counter
netd_protected_addresses gauge
netd_ready gauge
netd_resets counter
netd_sink_events counter
netd_sink_queue_capacity gauge
netd_sink_queue_events gauge
netd_sink_retries counter
netd_store_bytes gauge
netd_stream_snapshots counter
netd_turns counter
netd_unparsed_packets counter
netd_verdicts gauge
netd_verdicts_desired gauge
netd_verdicts_drift counter
netd_verdicts_enforced gauge
netd_verdicts_round_seconds gauge
process_cpu_seconds counter
process_max_fds gauge
process_open_fds gauge
process_resident_memory_bytes gauge
process_start_time_seconds gauge
process_threads gauge
process_virtual_memory_bytes gauge";

#[tokio::test]
async fn the_metrics_are_open_metrics_with_stable_names() {
    let api = Api::new();
    api.findings.report(finding(1, Severity::High, 0.9));
    api.flows.ended().count(&conversation(1, EndReason::Closed), Direction::Outbound);
    api.put_list("corp", "192.0.2.1\n2001:db8::/32\n").await;

    let answer = api.get("/metrics").await;

    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let mut names: Vec<_> = answer.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    names.sort_unstable();
    assert_eq!(names.join("\n"), METRICS);
    for line in [
        "netd_packets_total{interface=\"eth0\",direction=\"ingress\"} 7",
        "netd_bytes_total{interface=\"other\",direction=\"egress\"} 60",
        "netd_protected_addresses{guard=\"gateway\"} 1",
        "netd_events_lost_total{stage=\"kernel_turn_records\"} 3",
        "netd_findings_total{detector=\"beacon\",severity=\"high\"} 1",
        "netd_blocklist_entries{list=\"corp\",family=\"ipv6\"} 1",
        "netd_bpf_map_entries{map=\"block_hosts\"} 1",
        "netd_bpf_program_runs_total{program=\"tc_ingress\"} 7",
        "netd_bpf_program_run_time_seconds_total{program=\"tc_ingress\"} 1.5",
        "netd_program_repinned_total{what=\"link\"} 2",
        "netd_mode{mode=\"enforce\"} 1",
        "netd_build_info{version=\"0.1.0\",revision=\"unknown\"} 1",
        "netd_findings_total{detector=\"exfiltration\",severity=\"critical\"} 0",
        "netd_findings_open{severity=\"high\"} 1",
        "netd_flows_total{proto=\"tcp\",direction=\"outbound\",verdict=\"none\"} 1",
        "netd_bpf_map_capacity{map=\"flows\"} 65536",
        "netd_sink_events_total{sink=\"eve\",result=\"dropped\"} 2",
        "netd_sink_queue_events{sink=\"eve\"} 3",
        "netd_store_bytes{store=\"state\"} 4096",
        "# UNIT netd_geoip_build_timestamp_seconds seconds",
        "netd_geoip_build_timestamp_seconds{db=\"country\"} 1767225600",
        "netd_geoip_load_failures_total{db=\"asn\"} 0",
        "# EOF",
    ] {
        assert!(answer.text.lines().any(|other| other == line), "{line}\n{}", answer.text);
    }
}

#[tokio::test]
async fn no_metric_is_labelled_by_an_address_or_a_process() {
    let api = Api::new();
    api.flows.put(conversation(1, EndReason::Active));
    api.findings.report(finding(1, Severity::High, 0.9));
    api.post("/api/v1/verdicts", "{\"target\":{\"address\":\"198.51.100.9\"}}").await;

    let text = api.get("/metrics").await.text;

    for forbidden in ["198.51.100.9", "10.0.0.7", "cdn.example.net"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn what_was_done_about_a_finding_is_told_with_it_and_counted() {
    use netd_engine::respond::Measure;

    use crate::store::responses::{Done, Outcome, Response};

    let api = Api::new();
    let mut shell = finding(1, Severity::High, 0.99);
    shell.detector = "host_reverse_shell";
    shell.host = Some(netd_engine::finding::HostEvidence { latency_s: 0.003, ..Default::default() });
    api.findings.report(shell);
    let none = api.get("/api/v1/findings/1").await.json();
    let response = Response {
        actions: vec![
            Done { action: Measure::Cut, result: Outcome::Done, count: 1 },
            Done { action: Measure::Kill, result: Outcome::Refused, count: 0 },
        ],
        at: Timestamp(1_800_000_000_500_000_000),
        latency_s: 0.004,
        error: Some("its process group holds sshd[7], a login server".into()),
    };
    api.findings.respond(1, "host_reverse_shell", response);

    let told = api.get("/api/v1/findings/1").await.json();
    assert_eq!(none.get("response"), None);
    assert_eq!(told["response"]["actions"][0], serde_json::json!({"action": "cut", "result": "done", "count": 1}));
    assert_eq!(told["response"]["actions"][1]["result"], "refused");
    assert_eq!(told["response"]["at"], "2027-01-15T08:00:00.5Z");
    assert!(told["response"]["error"].as_str().unwrap().contains("sshd"));

    let metrics = api.get("/metrics").await.text;
    for line in [
        "netd_responses_total{action=\"cut\",result=\"done\"} 1",
        "netd_responses_total{action=\"kill\",result=\"refused\"} 1",
        "netd_detection_latency_seconds_count{detector=\"host_reverse_shell\"} 1",
        "netd_response_latency_seconds_bucket{le=\"0.005\",detector=\"host_reverse_shell\"} 1",
        "netd_response_latency_seconds_bucket{le=\"0.002\",detector=\"host_reverse_shell\"} 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
}
