//! What findings lead to.

use std::sync::Arc;

use netd_engine::Command;
use netd_engine::config::Config;
use netd_engine::detect::Detector;
use netd_engine::finding::Severity;
use netd_engine::policy::{Ceiling, Effect, Mode, Policies, Policy, Score, Source, Why};
use netd_engine::verdict::{Target, Verdict};

use super::beacons::severities_of_a_fleet;
use super::support::{World, at, check_ins, ip};

/// A policy that blocks on timing alone, explicitly.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.spec.mode = Mode::Enforce;
    policy.spec.block_at.insert(Detector::Beacon, Score(0.95));
    policy
}

fn world(policy: Policy) -> World {
    World::new(Config { policies: Arc::new(policy.into()), ..Config::default() })
}

fn beacon(world: &mut World, responder: &str) {
    for (n, at_s) in check_ins(30, 60.0, 0.1).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), responder, at_s, 300, 200);
    }
}

fn enforced(world: &mut World) -> Vec<Verdict> {
    let commands = world.commands().into_iter();
    commands.filter_map(|c| if let Command::Enforce { verdict, .. } = c { Some(verdict) } else { None }).collect()
}

#[test]
fn by_default_nothing_is_enforced() {
    let mut world = world(Policy::default());
    beacon(&mut world, "198.51.100.9:443");

    assert!(enforced(&mut world).is_empty());
}

#[test]
fn an_explicit_policy_cuts_the_endpoint_once_and_releases_it_when_its_time_is_over() {
    let mut world = world(policy());
    beacon(&mut world, "198.51.100.9:443");

    let verdicts = enforced(&mut world);
    let endpoint = Target::Endpoint { address: ip("198.51.100.9"), port: 443, proto: 6 };
    assert_eq!(verdicts.iter().map(|verdict| verdict.target).collect::<Vec<_>>(), [endpoint]);
    let until = verdicts[0].until.unwrap();

    world.engine.tick(at(1_800.0));
    assert_eq!(world.commands(), []);
    world.engine.tick(until);
    assert_eq!(world.commands(), [Command::Release { target: endpoint, finding: 1 }]);
}

#[test]
fn a_beacon_that_goes_on_after_release_is_cut_again() {
    let mut policy = policy();
    policy.spec.ttl.seconds = 300;
    let mut world = world(policy);
    beacon(&mut world, "198.51.100.9:443");
    world.engine.tick(at(10_000.0));
    enforced(&mut world);

    world.connection("10.0.0.7:50000", "198.51.100.9:443", 10_060.0, 300, 200);

    assert_eq!(enforced(&mut world).len(), 1);
}

#[test]
fn without_an_explicit_word_timing_alone_cuts_nothing() {
    let mut policy = policy();
    policy.spec.block_at.clear();
    let mut world = world(policy);
    beacon(&mut world, "198.51.100.9:443");

    assert!(enforced(&mut world).is_empty());
}

#[test]
fn protected_addresses_are_spared_and_counted() {
    let mut config = Config { policies: Arc::new(policy().into()), ..Config::default() };
    config.networks.protected.push("198.51.100.9/32".parse().unwrap());
    let mut world = World::new(config);
    beacon(&mut world, "198.51.100.9:443");

    assert!(enforced(&mut world).is_empty());
    assert!(world.engine.counts().spared_protected > 0);
}

#[test]
fn exceptions_are_spared() {
    let mut policy = policy();
    policy.spec.exceptions.originators.push("10.0.0.0/24".parse().unwrap());
    let mut world = world(policy);
    beacon(&mut world, "198.51.100.9:443");

    assert!(enforced(&mut world).is_empty());
}

#[test]
fn the_budget_bounds_what_an_hour_may_cut() {
    let mut policy = policy();
    policy.spec.max_blocks_per_hour = 2;
    let mut world = world(policy);
    for (n, at_s) in check_ins(30, 60.0, 0.1).enumerate() {
        for peer in 0..3 {
            let originator = format!("10.0.0.{}:{}", 7 + peer, 40_000 + n);
            world.connection(&originator, &format!("198.51.100.{}:443", 9 + peer), at_s + f64::from(peer), 300, 200);
        }
    }

    assert_eq!(enforced(&mut world).len(), 2);
    assert!(world.engine.counts().spared_budget > 0);
}

/// What is acted on without being told changes nothing of what was told.
#[test]
fn enforcement_tells_the_same_severities_as_observation() {
    let told = severities_of_a_fleet(world(policy()));

    assert_eq!(told, [Severity::Low, Severity::Medium, Severity::Low]);
}

#[test]
fn the_shipped_policy_observes() {
    let text = include_str!("../../../../policies/default.yaml");

    let policies = Policies::read(&[Source { file: "default.yaml", text }]).unwrap();
    let policy = policies.get("default").unwrap();

    assert_eq!(policy.spec.mode, Mode::Observe);
    assert!(policy.spec.block_at.is_empty());
    assert_eq!(policy.spec.ttl.seconds, 3_600);
}

#[test]
fn a_mistyped_key_is_an_error() {
    let text = include_str!("../../../../policies/default.yaml").replace("block_when", "blok_when");

    let faults = Policies::read(&[Source { file: "default.yaml", text: &text }]).unwrap_err();

    assert!(faults[0].to_string().contains("blok_when"), "{}", faults[0]);
}

/// What was said last of each decision about a finding.
fn decided(world: &mut World) -> Vec<(Effect, Why)> {
    let commands = world.commands().into_iter();
    let findings = commands.filter_map(|command| match command {
        Command::Report(finding) | Command::Update(finding) => finding.decision,
        Command::Respond(_)
        | Command::Withheld(_)
        | Command::Enforce { .. }
        | Command::Release { .. }
        | Command::FlowEnded(_)
        | Command::Lookup(_)
        | Command::Resolved(_) => None,
    });
    findings.map(|decision| (decision.effect, decision.why)).collect()
}

#[test]
fn a_finding_says_what_was_decided_and_says_it_again_when_that_changes() {
    let mut world = world(policy());
    beacon(&mut world, "198.51.100.9:443");

    let decided = decided(&mut world);

    let told = |wanted| decided.iter().filter(|decision| **decision == wanted).count();
    assert_eq!((told((Effect::Block, Why::Evidence)), told((Effect::Block, Why::InForce))), (1, 1), "{decided:?}");
}

#[test]
fn a_spent_budget_is_said_of_the_finding() {
    let mut policy = policy();
    policy.spec.max_blocks_per_hour = 0;
    let mut world = world(policy);
    beacon(&mut world, "198.51.100.9:443");

    assert_eq!(decided(&mut world).last(), Some(&(Effect::Alert, Why::BudgetSpent)));
}

#[test]
fn a_verdict_that_acts_takes_the_place_of_a_shadows() {
    let mut shadow = policy();
    shadow.spec.mode = Mode::Shadow;
    shadow.name = "shadow".into();
    let mut world = world(shadow);
    beacon(&mut world, "198.51.100.9:443");
    assert!(enforced(&mut world).iter().all(|verdict| verdict.shadow));

    world.engine.set_policies(Arc::new(policy().into()));
    world.connection("10.0.0.7:50000", "198.51.100.9:443", 1_860.0, 300, 200);

    let verdicts = enforced(&mut world);
    assert_eq!(verdicts.iter().map(|verdict| verdict.shadow).collect::<Vec<_>>(), [false]);
}

#[test]
fn what_holds_a_policy_back_is_said_of_the_finding() {
    let mut world = world(policy());
    world.engine.set_ceiling(Ceiling { mode: Mode::Observe, reason: "the kill switch is on".into() });
    beacon(&mut world, "198.51.100.9:443");

    let commands = world.commands().into_iter();
    let mut told = commands.filter_map(|c| if let Command::Report(finding) = c { finding.decision } else { None });
    let decision = told.next().unwrap();
    assert_eq!((decision.mode, decision.effective), (Mode::Enforce, Mode::Observe));
    assert_eq!(&*decision.held_back, "the kill switch is on");
}
