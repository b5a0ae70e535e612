//! What is found, and what is not.

use crate::support::process;
use netd_common::record::FlowEvent;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Kind, Severity};
use netd_engine::process::Provenance;
use proptest::prelude::*;

use super::support::{Flow, SYN, TCP, UDP, World, check_ins, ip, people};

const IMPLANT: &str = "10.0.0.7";
const C2: &str = "198.51.100.9:443";

fn port(n: usize) -> String {
    format!("{IMPLANT}:{}", 40_000 + n)
}

fn beacon(originator: &str, responder: &str, times: impl Iterator<Item = f64>) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    for (n, at_s) in times.enumerate() {
        world.connection(&format!("{originator}:{}", 40_000 + n), responder, at_s, 300, 200);
    }
    world.findings()
}

#[test]
fn a_beacon_across_connections_is_found_and_explained() {
    let findings = beacon(IMPLANT, C2, check_ins(30, 60.0, 0.2));

    let first = &findings[0];
    assert_eq!(first.detector, "beacon");
    assert_eq!((first.pair.originator, first.pair.responder), (ip(IMPLANT), ip("198.51.100.9")));
    let rhythm = first.rhythm.unwrap();
    assert!(rhythm.turns <= 14, "found after {} turns", rhythm.turns);
    assert!((45.0..60.0).contains(&rhythm.interval_s), "{}", rhythm.interval_s);
    assert!(first.reasons.iter().any(|reason| reason.evidence == "interval_regularity"));
    assert!(!first.considered.is_empty());
}

#[test]
fn a_beacon_inside_one_connection_is_found() {
    let mut world = World::new(Config::default());
    let mut flow = Flow::new("10.0.0.7:50000", C2, TCP, 0.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    for at_s in check_ins(30, 30.0, 0.2) {
        world.engine.observe_turn(&flow.turn(true, 100, at_s));
        flow.carry(100, 80);
    }

    assert_eq!(world.findings().len(), 1);
}

#[test]
fn an_agent_that_its_server_polls_is_found() {
    let mut world = World::new(Config::default());
    let mut flow = Flow::new("10.0.0.7:50000", C2, TCP, 0.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    for at_s in check_ins(40, 30.0, 0.1) {
        world.engine.observe_turn(&flow.turn(false, 100, at_s));
        flow.carry(80, 100);
    }

    assert_eq!(world.findings().len(), 1);
}

/// The sleep begins when the work is done: intervals vary with the work, pauses do not.
#[test]
fn an_implant_that_sleeps_after_work_of_any_length_is_found() {
    let mut world = World::new(Config::default());
    let mut now_s = 0.0;
    for (n, pause_s) in check_ins(40, 10.0, 0.05).map(|_| 10.0).enumerate() {
        let work_s = [0.2, 9.0, 31.0, 2.0, 74.0, 16.0, 0.4, 130.0][n % 8];
        let mut flow = Flow::new(&port(n), C2, TCP, now_s);
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, now_s));
        world.engine.observe_turn(&flow.turn(true, 300, now_s));
        flow.carry(300, 40_000);
        flow.state |= netd_common::record::state::ENDED;
        now_s += work_s;
        world.engine.observe_flow(&flow.record(FlowEvent::End, now_s));
        now_s += pause_s;
    }

    let findings = world.findings();

    assert_eq!(findings.len(), 1);
    let interval_s = findings[0].rhythm.unwrap().interval_s;
    assert!((9.5..10.5).contains(&interval_s), "{interval_s}");
}

#[test]
fn udp_whose_first_packet_is_its_turn_is_found() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(30, 60.0, 0.1).enumerate() {
        let mut flow = Flow::new(&port(n), "198.51.100.9:4444", UDP, at_s);
        flow.carry(90, 0);
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
        flow.carry(0, 60);
        world.engine.observe_flow(&flow.record(FlowEvent::Active, at_s + 6.0));
    }

    assert_eq!(world.findings().len(), 1);
}

#[test]
fn one_incident_is_told_again_when_its_severity_rises_and_otherwise_after_an_hour() {
    let findings = beacon(IMPLANT, C2, check_ins(200, 60.0, 0.1));

    assert!(findings.iter().all(|finding| finding.id == 1));
    assert!(
        findings
            .windows(2)
            .all(|pair| { pair[0].severity < pair[1].severity || pair[1].time.secs_since(pair[0].time) >= 3_600.0 })
    );
    // In 200 minutes.
    assert!(findings.len() <= 4, "{}", findings.len());
}

#[test]
fn timing_alone_is_never_fit_for_a_block() {
    let findings = beacon(IMPLANT, C2, check_ins(500, 60.0, 0.0));

    assert!(findings.iter().all(|finding| !finding.block && finding.severity <= Severity::Medium));
}

#[test]
fn timing_with_a_suspect_process_is_fit_for_a_block() {
    let mut world = World::new(Config::default());
    let provenance = Provenance { is_memory: true, ..Provenance::default() };
    world.engine.observe_process(process(77, Some("/memfd:a")), provenance);
    for (n, at_s) in check_ins(30, 60.0, 0.1).enumerate() {
        let mut socket = netd_common::record::SocketRecord::default();
        socket.header.time_ns = super::support::ns(at_s);
        socket.cookie = n as u64 + 1;
        socket.owner.tgid = 77;
        socket.event = netd_common::record::SocketEvent::Open as u8;
        world.engine.observe_socket(&socket);
        let mut flow = Flow::new(&port(n), C2, TCP, at_s);
        let mut begin = flow.record(FlowEvent::Begin, at_s);
        begin.cookie = n as u64 + 1;
        world.engine.observe_flow(&begin);
        world.engine.observe_turn(&flow.turn(true, 300, at_s + 0.05));
        flow.carry(300, 200);
        flow.state |= netd_common::record::state::ENDED;
        world.engine.observe_flow(&flow.record(FlowEvent::End, at_s + 0.2));
    }

    let findings = world.findings();

    let last = findings.last().unwrap();
    assert!(last.block && last.severity >= Severity::High);
    assert!(last.reasons.iter().any(|reason| reason.kind == Kind::Process));
    assert_eq!(last.process.as_ref().unwrap().id.pid, 77);
}

#[test]
fn what_is_never_answered_is_never_fit_for_a_block() {
    let mut world = World::new(Config::default());
    let provenance = Provenance { is_memory: true, ..Provenance::default() };
    world.engine.observe_process(process(77, None), provenance);
    for (n, at_s) in check_ins(60, 60.0, 0.0).enumerate() {
        let mut flow = Flow::new(&port(n), "198.51.100.9:514", UDP, at_s);
        flow.payload[0] = 90;
        flow.packets[0] = 1;
        flow.bytes[0] = 140;
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
    }

    assert!(world.findings().iter().all(|finding| !finding.block));
}

#[test]
fn people_are_not_found() {
    assert!(beacon(IMPLANT, C2, people(160, 1.5)).is_empty());
}

#[test]
fn an_inbound_scanner_is_no_beacon() {
    assert!(beacon("198.51.100.66", "10.0.0.7:22", check_ins(60, 60.0, 0.0)).is_empty());
}

#[test]
fn the_timers_of_every_network_are_left_out() {
    for responder in ["198.51.100.1:123", "9.9.9.9:53", "10.0.0.1:161"] {
        let mut world = World::new(Config::default());
        for (n, at_s) in check_ins(60, 64.0, 0.0).enumerate() {
            let mut flow = Flow::new(&port(n), responder, UDP, at_s);
            flow.carry(48, 48);
            world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
        }

        assert!(world.findings().is_empty(), "{responder}");
    }
}

#[test]
fn the_same_interval_to_many_speaks_against() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(60, 60.0, 0.0).enumerate() {
        for peer in 0..8 {
            let offset_s = f64::from(peer) * 3.0;
            world.connection(
                &port(8 * n + peer as usize),
                &format!("198.51.100.{}:8333", 10 + peer),
                at_s + offset_s,
                61,
                61,
            );
        }
    }

    let findings = world.findings();

    assert!(findings.len() < 8, "{}", findings.len());
    assert!(findings.iter().all(|finding| finding.severity == Severity::Low));
}

#[test]
fn a_goodbye_is_no_turn() {
    let mut world = World::new(Config::default());
    for (n, now) in people(64, 22.0).enumerate() {
        let mut flow = Flow::new(&port(n), C2, TCP, now);
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, now));
        world.engine.observe_turn(&flow.turn(true, 300, now + 0.05));
        flow.carry(300, 900);
        world.engine.observe_turn(&flow.turn(true, 31, now + 19.0));
        flow.payload[0] += 31;
        flow.packets[0] += 1;
        flow.bytes[0] += 91;
        flow.state |= netd_common::record::state::ENDED;
        world.engine.observe_flow(&flow.record(FlowEvent::End, now + 19.01));
    }

    assert_eq!(world.engine.counts().turns_goodbye, 64);
    assert!(world.findings().is_empty());
}

#[test]
fn a_full_memory_keeps_what_is_regular() {
    let mut config = Config::default();
    config.histories.limit = 64;
    let mut world = World::new(config);
    let mut flood = 0_u32;
    for (n, at_s) in check_ins(40, 60.0, 0.1).enumerate() {
        world.connection(&port(n), C2, at_s, 300, 200);
        // Enough newcomers to fill the memory many times over, but only once there is something to keep.
        for _ in 0..if n > 6 { 200 } else { 0 } {
            flood += 1;
            let responder = format!("203.0.{}.{}:80", flood / 250 % 250, flood % 250 + 1);
            world.connection(&format!("10.0.1.9:{}", 1_024 + flood % 60_000), &responder, at_s + 1.0, 100, 100);
        }
    }

    assert!(world.engine.counts().histories <= 64);
    assert!(world.engine.counts().histories_evicted > 1_000);
    assert_eq!(world.findings().iter().filter(|finding| finding.pair.responder == ip("198.51.100.9")).count(), 1);
}

/// One-way pairs weigh less than the first answered check-in, so that no candidate is lost before it shows itself.
#[test]
fn a_flood_that_nobody_answers_replaces_itself() {
    let mut config = Config::default();
    config.histories.limit = 64;
    let mut world = World::new(config);
    let mut flood = 0_u32;
    let (mut turns, mut found) = (0, None);
    for (n, at_s) in check_ins(40, 60.0, 0.1).enumerate() {
        world.connection(&port(n), C2, at_s, 300, 200);
        turns += 1;
        for _ in 0..200 {
            flood += 1;
            // A source of its own each, as a flood of spoofed ones: nobody is a scanner.
            let (high, low) = (flood / 250 % 250, flood % 250 + 1);
            let mut syn =
                Flow::new(&format!("10.1.{high}.{low}:40000"), &format!("203.0.{high}.{low}:80"), TCP, at_s + 1.0);
            syn.flags = [SYN, 0];
            let syn = syn.record(FlowEvent::Begin, at_s + 1.0);
            world.engine.observe_flow(&syn);
        }
        world.engine.tick(super::support::at(at_s + 30.0));
        found =
            found.or_else(|| world.findings().iter().any(|f| f.pair.responder == ip("198.51.100.9")).then_some(turns));
    }

    assert!(world.engine.counts().histories_evicted > 1_000);
    assert!(found.is_some_and(|turns| turns <= 14), "found after {found:?} check-ins");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whether a pair beacons must not depend on when the machine booted.
    #[test]
    fn shifting_time_changes_nothing(shift in 0u32..500_000, interval in 5.0f64..90.0, jitter in 0.0f64..0.4) {
        let here = beacon(IMPLANT, C2, check_ins(25, interval, jitter));
        let there = beacon(IMPLANT, C2, check_ins(25, interval, jitter).map(|at| at + f64::from(shift)));

        let relevant = |finding: &Finding| (finding.rhythm.unwrap().turns, finding.severity, finding.block, (finding.score * 1e4).round() as i64);
        prop_assert_eq!(here.iter().map(relevant).collect::<Vec<_>>(), there.iter().map(relevant).collect::<Vec<_>>());
    }
}

/// Ten hosts that take up the same agent, one after the other: what looked rare at first is the fleet's software.
/// Returns the severities at which the first incident is told.
pub(crate) fn severities_of_a_fleet(mut world: World) -> Vec<Severity> {
    for (host, site) in (1..=60).flat_map(|host| (1..=10).map(move |site| (host, site))) {
        let at_s = f64::from(host) + 61.0 * f64::from(site);
        world.connection(&format!("10.0.1.{host}:40000"), &format!("203.0.113.{site}:443"), at_s, 300, 9_000);
    }
    let mut turns: Vec<(f64, u32)> = Vec::new();
    for host in 1..=10_u32 {
        turns.extend((0..200).map(|n| (1_000.0 + 600.0 * f64::from(host) + 60.0 * f64::from(n), host)));
    }
    turns.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (n, (at_s, host)) in turns.into_iter().enumerate() {
        world.connection(&format!("10.0.1.{host}:{}", 20_000 + n), "198.51.100.9:443", at_s, 300, 200);
    }

    world.findings().iter().filter(|finding| finding.id == 1).map(|finding| finding.severity).collect()
}

#[test]
fn a_severity_falls_when_the_network_explains_the_rhythm() {
    let told = severities_of_a_fleet(World::new(Config::default()));

    assert_eq!(told, [Severity::Low, Severity::Medium, Severity::Low]);
}
