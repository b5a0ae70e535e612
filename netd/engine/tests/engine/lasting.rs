//! Connections that stay open for hours.

use crate::support::process;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};
use netd_engine::process::Provenance;

use super::support::{Talk, World, ns};

/// A connection of a process, used as much as this every minute for so many minutes.
fn lasting(provenance: Provenance, responder: &str, bytes: u64, minutes: usize) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    world.engine.observe_process(process(77, None), provenance);
    let mut socket = netd_common::record::SocketRecord::default();
    socket.header.time_ns = ns(0.0);
    socket.cookie = 9;
    socket.owner.tgid = 77;
    socket.event = netd_common::record::SocketEvent::Open as u8;
    world.engine.observe_socket(&socket);
    let mut talk = Talk::open_as(&mut world, "10.0.0.7:50000", responder, 9);
    for minute in 0..minutes {
        talk.exchanges(&mut world, &[(true, bytes / 2, bytes / 2)], |_| 20.0 + 80.0 * (minute % 2) as f64);
        talk.report(&mut world);
    }
    talk.close(&mut world);
    world.findings().into_iter().filter(|finding| finding.detector == "long_connection").collect()
}

fn suspect() -> Provenance {
    Provenance { is_temporary: true, ..Provenance::default() }
}

#[test]
fn hours_of_a_suspect_process_are_a_low_finding_once() {
    let findings = lasting(suspect(), "198.51.100.9:9000", 6_000, 780);

    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Low);
    assert!(!findings[0].block);
}

#[test]
fn hours_alone_are_ordinary() {
    assert!(lasting(Provenance::default(), "198.51.100.9:443", 6_000, 780).is_empty());
}

#[test]
fn push_channels_databases_and_connections_inside_are_left_out() {
    for responder in ["198.51.100.9:5228", "198.51.100.9:5432", "10.0.0.9:9000"] {
        assert!(lasting(suspect(), responder, 6_000, 780).is_empty(), "{responder}");
    }
}

#[test]
fn less_than_an_hour_is_nothing() {
    assert!(lasting(Provenance { is_memory: true, ..suspect() }, "198.51.100.9:9000", 60_000, 55).is_empty());
}
