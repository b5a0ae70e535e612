//! Whoever asks why there is no finding is told.

use std::sync::Arc;

use netd_engine::config::Config;
use netd_engine::engine::Question;
use netd_engine::suppress::{Matching, Suppression};
use netd_engine::time::Timestamp;

use super::support::{UDP, World, check_ins, ip, people};
use netd_common::record::FlowEvent;

fn ask(world: &World, address: &str) -> netd_engine::engine::Explanation {
    world.engine.explain(&Question::Address(ip(address)))
}

#[test]
fn a_finding_and_an_irregular_neighbour_are_told_apart() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(30, 60.0, 0.2).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", at_s, 300, 200);
    }
    for (n, at_s) in people(30, 2.0).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 50_000 + n), "198.51.100.10:443", at_s + 2_000.0, 300, 200);
    }
    let raised = world.findings()[0].id;

    let told = ask(&world, "10.0.0.7").followed;

    assert_eq!(told.len(), 2);
    assert!(told[0].is_finding && told[0].raised == Some(raised), "{told:?}");
    assert!(!told[1].is_finding && told[1].raised.is_none() && told[1].turns[0] == 30, "{told:?}");
}

/// Nothing is cut, nothing told twice, and it is what a question would tell.
#[test]
fn everything_that_is_followed_is_told_once() {
    let mut world = World::new(Config::default());
    for host in 1..=60 {
        for (n, at_s) in check_ins(12, 60.0, 0.2).enumerate() {
            let from = format!("10.0.0.{host}:{}", 40_000 + n);
            world.connection(&from, "198.51.100.9:443", f64::from(host) * 1_000.0 + at_s, 300, 200);
        }
    }

    let all: Vec<_> = world.engine.explain_all().collect();

    let pairs: std::collections::BTreeSet<_> = all.iter().map(|followed| followed.pair).collect();
    assert_eq!((all.len(), pairs.len()), (60, 60));
    assert!(all.iter().all(|followed| followed.turns[0] == 12 && followed.would_be.is_some()));
    assert!(all.contains(&ask(&world, "10.0.0.7").followed[0]));
}

#[test]
fn a_benign_service_says_that_it_silenced() {
    let mut world = World::new(Config::default());
    let mut flow = super::support::Flow::new("10.0.0.7:123", "203.0.113.1:123", UDP, 0.0);
    flow.carry(48, 48);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));
    world.engine.observe_turn(&flow.turn(true, 48, 64.0));

    let told = ask(&world, "203.0.113.1");

    assert!(told.followed.is_empty());
    assert_eq!(told.silenced[0].why, "benign service: time service");
    assert!(ask(&world, "203.0.113.2").silenced.is_empty());
}

#[test]
fn a_suppressed_finding_asks_for_no_verdict() {
    let suppression = |until| Suppression {
        id: 1,
        matching: Matching { responder: Some("198.51.100.0/24".parse().unwrap()), ..Matching::default() },
        who: "ana".into(),
        why: "our monitoring".into(),
        since: Timestamp(0),
        until,
    };
    let enforced = |until| {
        let mut world =
            World::new(Config { policies: Arc::new(super::enforcement::policy().into()), ..Config::default() });
        world.engine.set_suppressions(vec![suppression(until)].into());
        for (n, at_s) in check_ins(30, 60.0, 0.2).enumerate() {
            world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", at_s, 300, 200);
        }
        world.engine.counts().enforced
    };

    assert_eq!(enforced(None), 0);
    assert_eq!(enforced(Some(Timestamp(1))), 1, "it has ended");
}

/// Reasons that ninety check-ins with this jitter give.
fn reasons(jitter: f64) -> Vec<&'static str> {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(90, 60.0, jitter).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", at_s, 300, 200);
    }
    let told = ask(&world, "10.0.0.7").followed.into_iter().filter_map(|followed| followed.would_be);
    told.flat_map(|finding| finding.reasons).map(|reason| reason.evidence).collect()
}

#[test]
fn a_sleep_drawn_from_a_wide_interval_speaks_for_an_implant_and_a_timer_does_not() {
    assert!(reasons(0.3).contains(&"drawn_sleep"));
    assert!(!reasons(0.05).contains(&"drawn_sleep"));
    assert!(reasons(0.05).contains(&"interval_regularity"));
}
