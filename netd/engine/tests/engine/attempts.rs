//! Attempts that fail, scans, guessed logins, echo tunnels: what is found, and what is not.

use netd_common::record::{FlowEvent, state};
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};

use super::support::{Flow, SYN, TCP, World, at};

const RST: u8 = 4;

/// A SYN that nobody answers, or that is refused.
fn attempt(world: &mut World, originator: &str, responder: &str, at_s: f64, is_refused: bool) {
    let mut flow = Flow::new(originator, responder, TCP, at_s);
    flow.flags = [SYN, 0];
    (flow.packets, flow.bytes) = ([1, 0], [60, 0]);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
    if is_refused {
        (flow.packets, flow.bytes, flow.flags) = ([1, 1], [60, 60], [SYN, RST]);
        flow.state |= state::ENDED | state::RESET;
        world.engine.observe_flow(&flow.record(FlowEvent::End, at_s + 0.01));
    }
}

fn attempts(each: impl Iterator<Item = (String, String, f64)>, is_refused: bool) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    let mut last_s = 0.0;
    for (originator, responder, at_s) in each {
        attempt(&mut world, &originator, &responder, at_s, is_refused);
        last_s = at_s;
    }
    world.engine.tick(at(last_s + 10.0));
    world.findings()
}

fn of<'a>(findings: &'a [Finding], detector: &str) -> Option<&'a Finding> {
    findings.iter().find(|finding| finding.detector == detector)
}

#[test]
fn silent_ports_are_a_scan() {
    let probes = (1..60).map(|n| ("10.0.0.7:40000".to_owned(), format!("198.51.100.9:{n}"), 0.01 * f64::from(n)));

    let findings = attempts(probes, false);

    let scan = of(&findings, "port_scan").unwrap();
    assert!(scan.title.contains("scans 198.51.100.9") && scan.attack == ["T1046"] && !scan.block, "{scan:?}");
    assert!(findings.iter().all(|finding| finding.detector == "port_scan"), "no histories of a scanner's targets");
}

#[test]
fn a_refused_sweep_is_found_at_once() {
    let mut world = World::new(Config::default());
    for n in 1..20 {
        attempt(&mut world, "10.0.0.7:40000", &format!("10.1.0.{n}:445"), 0.1 * f64::from(n), true);
    }

    assert!(of(&world.findings(), "port_scan").unwrap().title.contains("sweeps port 445/tcp"));
}

#[test]
fn strangers_who_scan_are_noise() {
    let probes = (1..60).map(|n| ("203.0.113.5:40000".to_owned(), format!("10.0.0.9:{n}"), 0.01 * f64::from(n)));

    let findings = attempts(probes, false);

    assert!(of(&findings, "inbound_scan").is_some());
    assert!(findings.iter().all(|finding| finding.severity == Severity::Info));
}

#[test]
fn a_thousand_strangers_are_rarely_worth_a_finding() {
    let probes = (0..20_000).map(|n| {
        let source = format!("203.{}.{}.5:40000", n / 20 / 250, n / 20 % 250);
        (source, format!("10.0.0.9:{}", 1 + n % 20), 0.001 * f64::from(n))
    });

    assert!(attempts(probes, true).len() <= 20);
}

#[test]
fn peers_and_web_servers_that_are_gone_are_no_sweep() {
    for port in [8_333, 443, 51_413] {
        let peers = (1..200)
            .map(|n| (format!("10.0.0.7:{}", 40_000 + n), format!("{}.{}.7.9:{port}", 20 + n, n), 0.9 * f64::from(n)));

        assert!(of(&attempts(peers, false), "port_scan").is_none(), "{port}");
    }
}

#[test]
fn the_retry_loop_of_a_dead_server_is_a_rhythm_and_no_scan() {
    let retries =
        (0..60).map(|n| (format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443".to_owned(), 30.0 * f64::from(n)));

    let findings = attempts(retries, true);

    let title = &of(&findings, "beacon").unwrap().title;
    assert!(title.starts_with("connection attempts that fail every 30.0 s"), "{title}");
    assert!(findings.iter().all(|finding| finding.detector == "beacon" && finding.severity <= Severity::Low));
}

/// Between its beginning and its first counters a connection tells of itself by its turns alone.
#[test]
fn a_connection_that_speaks_is_no_attempt_that_fails() {
    let mut world = World::new(Config::default());
    for n in 0..60 {
        let at_s = 30.0 * f64::from(n);
        let mut flow = Flow::new(&format!("10.0.0.7:{}", 40_000 + n), &format!("10.1.0.{n}:445"), TCP, at_s);
        (flow.packets, flow.bytes, flow.flags) = ([1, 0], [60, 0], [SYN, 0]);
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
        world.engine.observe_turn(&flow.turn(true, 300, at_s + 0.1));
    }
    world.engine.tick(at(2_000.0));

    assert_eq!(world.engine.counts().attempts_failed, 0);
    assert!(of(&world.findings(), "port_scan").is_none());
}

#[test]
fn a_client_that_backs_off_is_not_found() {
    let mut now_s = 0.0;
    let retries = (0..60).map(|n| {
        now_s += f64::from(1 << n.min(6));
        (format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443".to_owned(), now_s)
    });

    assert!(attempts(retries, true).is_empty());
}

fn logins(times: impl Iterator<Item = f64>, took_s: f64, payload: [u64; 2]) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    for (n, at_s) in times.enumerate() {
        let mut flow = Flow::new(&format!("10.0.0.7:{}", 40_000 + n), "10.0.0.9:22", TCP, at_s);
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
        world.engine.observe_turn(&flow.turn(false, 40, at_s + 0.01));
        flow.carry(payload[0], payload[1]);
        flow.state |= state::ENDED;
        world.engine.observe_flow(&flow.record(FlowEvent::End, at_s + took_s));
    }
    world.engine.finish();
    world.findings()
}

#[test]
fn guessed_logins_are_found() {
    let findings = logins((0..12).map(|n| 7.0 * f64::from(n) + f64::from(n * n % 5)), 3.0, [2_600, 2_400]);

    let found = of(&findings, "brute_force").unwrap();
    assert!(found.attack == ["T1110.001"] && !found.block, "{found:?}");
}

#[test]
fn logins_of_monitoring_and_of_work_are_not_found() {
    let scheduled = logins((0..60).map(|n| 60.0 * f64::from(n)), 0.4, [3_300, 3_300]);
    let work = logins((0..60).map(|n| 20.0 * f64::from(n) + f64::from(n * n % 11)), 4.0, [60_000, 9_000]);

    assert!(of(&scheduled, "brute_force").is_none());
    assert!(of(&work, "brute_force").is_none());
}

/// One upload of `megabytes` in steps of a quarter of a minute.
fn upload(world: &mut World, responder: &str, at_s: f64, megabytes: u64) {
    let mut flow = Flow::new("10.0.0.7:50000", responder, TCP, at_s);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
    for n in 0..megabytes {
        flow.carry(1 << 20, 4_000);
        world.engine.observe_flow(&flow.record(FlowEvent::Active, at_s + 0.25 * n as f64));
    }
}

#[test]
fn one_upload_to_a_new_destination_is_low_at_most() {
    let mut world = World::new(Config::default());
    upload(&mut world, "198.51.100.9:443", 1.0, 400);

    assert!(world.findings().iter().all(|finding| finding.severity <= Severity::Low));
}

#[test]
fn hundreds_of_megabytes_to_where_nobody_else_goes_are_found() {
    let mut world = World::new(Config::default());
    // Sixty hosts that browse, so that the network knows what is rare.
    for host in 1..=60 {
        world.connection(&format!("10.0.1.{host}:40000"), "203.0.113.1:443", f64::from(host), 300, 9_000);
    }
    let mut flow = Flow::new("10.0.1.7:50000", "198.51.100.9:443", TCP, 100.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 100.0));
    flow.carry(520, 3_600);
    for minute in 1..=6 {
        flow.carry(54_000_000, 0);
        world.engine.observe_flow(&flow.record(FlowEvent::Active, 100.0 + 60.0 * f64::from(minute)));
    }

    let findings = world.findings();
    let worst =
        findings.iter().filter(|finding| finding.detector == "exfiltration").map(|finding| finding.severity).max();
    assert_eq!(worst, Some(Severity::Medium), "{findings:?}");
}

#[test]
fn a_monitoring_agent_is_no_exfiltration() {
    let mut world = World::new(Config::default());
    upload(&mut world, "198.51.100.9:443", 1.0, 1);

    assert!(world.findings().is_empty());
}

#[test]
fn an_upload_to_where_a_beacon_goes_is_exfiltration() {
    let mut world = World::new(Config::default());
    for n in 0..30 {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", 60.0 * f64::from(n), 300, 200);
    }
    assert!(of(&world.findings(), "beacon").is_some());

    upload(&mut world, "198.51.100.9:443", 2_000.0, 40);

    let findings = world.findings();
    let found = of(&findings, "exfiltration").unwrap();
    assert!(found.attack == ["T1041"] && found.reasons.iter().any(|reason| reason.evidence == "upload_company"));
}
