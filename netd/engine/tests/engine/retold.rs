//! What is told again, and what is not.

use netd_common::record::FlowEvent;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};

use super::support::{Flow, TCP, World, at, check_ins};

const STORE: &str = "198.51.100.9:443";

/// Sixty hosts that browse, and one that sends 324 MB to where nobody else goes.
fn upload() -> World {
    let mut world = World::new(Config::default());
    for host in 1..=60 {
        world.connection(&format!("10.0.1.{host}:40000"), "203.0.113.1:443", f64::from(host), 300, 9_000);
    }
    let mut flow = Flow::new("10.0.1.7:50000", STORE, TCP, 100.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 100.0));
    flow.carry(520, 3_600);
    for minute in 1..=6 {
        flow.carry(54_000_000, 0);
        world.engine.observe_flow(&flow.record(FlowEvent::Active, 100.0 + 60.0 * f64::from(minute)));
    }
    assert_eq!(of_uploads(&world.findings()).last(), Some(&Severity::Medium));
    world
}

fn of_uploads(findings: &[Finding]) -> Vec<Severity> {
    findings.iter().filter(|finding| finding.detector == "exfiltration").map(|finding| finding.severity).collect()
}

#[test]
fn an_upload_that_is_over_falls_when_others_use_its_destination() {
    let mut world = upload();
    for host in 20..=23 {
        world.connection(&format!("10.0.1.{host}:41000"), STORE, 1_000.0 + f64::from(host), 300, 9_000);
    }

    world.engine.tick(at(2_000.0));
    assert_eq!(of_uploads(&world.findings()), [], "not within the hour");
    world.engine.tick(at(9_000.0));
    let findings = world.findings();
    world.engine.tick(at(18_000.0));

    assert_eq!(of_uploads(&findings), [Severity::Low]);
    assert!(findings[0].reasons.iter().any(|reason| reason.evidence == "common_destination"), "{findings:?}");
    assert_eq!(world.findings(), [], "once");
}

#[test]
fn an_upload_to_where_nobody_else_goes_stays() {
    let mut world = upload();

    world.engine.tick(at(9_000.0));

    assert_eq!(of_uploads(&world.findings()), []);
}

/// Check-ins each minute for 200 minutes; later ones bring a task.
#[test]
fn a_finding_whose_odds_have_grown_is_told_again_at_its_severity() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(200, 60.0, 0.02).enumerate() {
        let (request, answer) = match n {
            120 | 140 => (300, 6_000),
            121 | 141 => (9_000, 200),
            // No two alike: that would be another reason.
            _ => (200 + 97 * n as u64 % 400, 200),
        };
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), STORE, at_s, request, answer);
    }

    let findings = world.findings();

    let told = |finding: &Finding| finding.reasons.iter().any(|reason| reason.evidence.starts_with("tasking"));
    let last = findings.last().unwrap();
    assert!(told(last) && !told(&findings[0]), "{findings:?}");
    assert_eq!((last.id, last.severity), (1, findings[0].severity));
    assert!(findings.len() <= 4, "{}", findings.len());
}
