//! Threat intelligence: a match is a finding, and no block by itself.

use std::sync::Arc;

use netd_engine::config::Config;
use netd_engine::finding::Severity;
use netd_engine::intel::Intel;
use netd_engine::time::Timestamp;

use super::support::{World, people};

fn world(list: &str) -> World {
    let mut intel = Intel::default();
    intel.add("feed", list.as_bytes(), Timestamp(0));
    let mut world = World::new(Config::default());
    world.engine.set_intel(Arc::new(intel));
    world
}

#[test]
fn a_conversation_with_a_listed_address_is_one_finding_and_no_block() {
    let mut world = world("198.51.100.0/24\n");
    for (n, at_s) in people(5, 2.0).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", at_s, 300, 200);
    }

    let findings = world.findings();

    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].detector, findings[0].severity), ("threat_intel", Severity::Medium));
    assert!(!findings[0].block);
    assert!(
        findings[0].title.contains("198.51.100.0/24") && findings[0].title.contains("feed"),
        "{}",
        findings[0].title
    );
}

#[test]
fn an_unanswered_attempt_is_none() {
    let mut world = world("198.51.100.9\n");
    world.connection("10.0.0.7:40000", "198.51.100.9:443", 1.0, 0, 0);

    assert!(world.findings().is_empty());
}

#[test]
fn somebody_listed_who_knocks_is_none() {
    let mut world = world("198.51.100.9\n");
    world.connection("198.51.100.9:40000", "10.0.0.7:22", 1.0, 300, 200);

    assert!(world.findings().is_empty());
}
