//! A real Prometheus scrapes a real netd; rules and dashboard are asked of it, one expression after the other.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netd_lab::binary::root;
use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::Lab;
use netd_lab::process::Process;
use netd_lab::require_root;
use serde_json::Value;

use crate::{alone, until};

const NETD: &str = "127.0.0.1:9443";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// Metrics that are there only when something else is configured, has happened, or is counted by the host.
const CONDITIONAL: [&str; 6] = [
    "netd_bpf_program_run_time_seconds_total",
    "netd_bpf_program_runs_total",
    "netd_detection_latency_seconds_bucket",
    "netd_feed_last_success_timestamp_seconds",
    "netd_response_latency_seconds_bucket",
    "netd_responses_total",
];

/// Returns from the calling test, saying that it was left out, unless Debian's `prometheus` is there.
macro_rules! require_prometheus {
    () => {
        if !["prometheus", "promtool"].iter().all(|program| is_there(program)) {
            netd_lab::left_out!("there is no prometheus or no promtool; integration/tools.sh installs them");
            return;
        }
    };
}

#[test]
fn promtool_accepts_rules_and_example_and_the_rules_pass_their_tests() {
    require_prometheus!();
    let folder = root().join("deploy/prometheus");

    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "netd-alerts.yml"],
        &["test", "rules", "netd-alerts.test.yml"],
    ] {
        let said = Command::new("promtool").args(arguments).current_dir(&folder).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.status.success() && text.contains("SUCCESS"), "{arguments:?}: {text}");
    }
}

#[test]
fn prometheus_scrapes_netd_and_answers_every_rule_and_every_panel() {
    require_root!();
    require_prometheus!();
    let _alone = alone();
    let lab = Lab::gateway().unwrap();
    let tables = "[[sink]]\ntype = \"file\"\npath = \"{folder}/eve.json\"\n";
    let daemon = Daemon::start(&lab, Setup { listen: &[NETD], tables, ..Setup::default() }).unwrap();
    daemon.api().send("PUT", "/api/v1/blocklists/feed", "text/plain", "198.18.0.1\n").unwrap().accepted().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _prometheus = prometheus(&lab, folder.path());

    until("Prometheus has scraped netd", || sum(&lab, "up{job=\"netd\"}") == Some(1.0));

    // Scraped as OpenMetrics: counters, an info, units, a gauge with labels.
    for (query, least) in [
        ("netd_build_info", 1.0),
        ("netd_blocklist_entries{list=\"feed\",family=\"ipv4\"}", 1.0),
        ("netd_sink_queue_capacity", 8_192.0),
        ("process_resident_memory_bytes", 1e6),
        ("count(netd_findings_total)", 90.0),
        ("count(netd_events_lost_total == 0)", 20.0),
    ] {
        let value = sum(&lab, query);
        assert!(value.is_some_and(|value| value >= least), "{query}: {value:?}");
    }
    let known: BTreeSet<String> = names(&lab);
    let mut unknown = BTreeSet::new();
    for (place, expression) in expressions() {
        // Prometheus refuses what it cannot parse or evaluate.
        let answer = promtool(&lab, &["query", "instant", &format!("http://{PROMETHEUS}"), &expression]);
        assert!(answer.is_some(), "{place}: {expression}");
        unknown.extend(metrics(&expression).filter(|name| !known.contains(name)));
    }
    unknown.retain(|name| !CONDITIONAL.contains(&name.as_str()));
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
    println!("{} series of {} names", sum(&lab, "scrape_samples_scraped").unwrap(), known.len());
}

#[test]
fn promtool_finds_no_fault_with_a_scrape() {
    require_root!();
    require_prometheus!();
    let _alone = alone();
    let lab = Lab::gateway().unwrap();
    let _daemon = Daemon::start(&lab, Setup { listen: &[NETD], ..Setup::default() }).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sf", "-H", "Accept: text/plain;version=0.0.4", &format!("http://{NETD}/metrics")]);
    let scraped = lab.watched().command(&mut curl).unwrap().output().unwrap();
    assert!(scraped.status.success() && scraped.stdout.len() > 1_000, "{scraped:?}");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(&scraped.stdout).unwrap();

    let said = promtool.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{text}");
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard = dashboard();

    assert_eq!((&dashboard["uid"], &dashboard["title"]), (&"netd".into(), &"netd".into()));
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "DS_PROMETHEUS" && variable["type"] == "datasource"));
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for cell in (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y))) {
            assert!(taken.insert(cell), "two panels at {cell:?}");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${DS_PROMETHEUS}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|said| said.status.success())
}

/// Starts a Prometheus beside netd with netd's rules, scraping each second.
fn prometheus(lab: &Lab, folder: &Path) -> Process {
    let rules = root().join("deploy/prometheus/netd-alerts.yml");
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
         scrape_configs: [{{job_name: netd, static_configs: [{{targets: [{NETD:?}]}}]}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Process::start(lab.watched(), &mut command).unwrap()
}

/// Asks a question beside netd; `None` when it is refused.
fn promtool(lab: &Lab, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("promtool");
    let said = lab.watched().command(command.args(arguments)).unwrap().output().unwrap();
    said.status.success().then(|| String::from_utf8(said.stdout).unwrap())
}

/// Returns the sum of a query's samples; `None` when there are none.
fn sum(lab: &Lab, query: &str) -> Option<f64> {
    let server = format!("http://{PROMETHEUS}");
    let answer = promtool(lab, &["query", "instant", &server, &format!("sum({query})")])?;
    // `{} => 1 @[1800000000]`
    answer.split("=> ").nth(1)?.split_whitespace().next()?.parse().ok()
}

/// Returns every metric name that Prometheus knows.
fn names(lab: &Lab) -> BTreeSet<String> {
    let server = format!("http://{PROMETHEUS}");
    let answer = promtool(lab, &["query", "labels", &server, "__name__"]).unwrap();
    answer.lines().map(str::to_owned).collect()
}

fn dashboard() -> Value {
    let path: PathBuf = root().join("deploy/grafana/netd.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns each expression of the rules and of the dashboard, and where it stands.
fn expressions() -> Vec<(String, String)> {
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/netd-alerts.yml")).unwrap();
    let mut alert = String::new();
    let mut all = Vec::new();
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            name.clone_into(&mut alert);
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            all.push((alert.clone(), expression.to_owned()));
        }
    }
    assert!(all.len() > 10);
    let dashboard = dashboard();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
            all.push((panel["title"].to_string(), expression));
        }
    }
    all
}

/// Returns the names of metrics in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("netd_") || word.starts_with("process_")).map(str::to_owned)
}
