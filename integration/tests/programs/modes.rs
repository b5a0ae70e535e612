//! How far the programs go: modes, kill switch, heartbeat, generations, expiry while a flow goes on.

use std::time::{Duration, Instant};

use netd_common::{
    control::Mode,
    counter::Counter,
    names::TC_EGRESS,
    verdict::{Action, Rule},
};
use netd_lab::require_root;

use crate::{
    kernel::{Kernel, Level, PASS, SHOT, XDP_DROP, XDP_PASS},
    pair, tcp,
};

const DROP: Rule = Rule::new(Action::Drop, u64::MAX);

/// Returns a kernel that drops the listed host, the rule, and a packet to it.
fn dropping() -> (Kernel, u32, Vec<u8>) {
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), DROP);
    (kernel, rule, tcp(local, listed))
}

#[test]
fn observe_mode_looks_at_no_verdict() {
    require_root!();
    let (mut kernel, rule, packet) = dropping();

    kernel.set_mode(Mode::Observe);

    assert_eq!((kernel.run(TC_EGRESS, &packet).action, kernel.run_xdp(&packet)), (PASS, XDP_PASS));
    let hits = kernel.hits(rule);
    assert_eq!((hits.packets, hits.shadow_packets), (0, 0));
}

#[test]
fn shadow_mode_counts_what_it_would_have_dropped_once_and_passes_it() {
    require_root!();
    let (mut kernel, rule, packet) = dropping();

    kernel.set_mode(Mode::Shadow);

    // XDP leaves the counting to TC, which meets the packet next.
    assert_eq!((kernel.run_xdp(&packet), kernel.run(TC_EGRESS, &packet).action), (XDP_PASS, PASS));
    let hits = kernel.hits(rule);
    assert_eq!((hits.packets, hits.shadow_packets, hits.shadow_bytes), (0, 1, packet.len() as u64));
    assert_eq!((kernel.count(Counter::ShadowDropped), kernel.count(Counter::TcDropped)), (1, 0));
}

#[test]
fn a_shadow_rule_passes_in_enforce_mode() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule { shadow: 1, ..DROP });
    let packet = tcp(local, listed);

    assert_eq!((kernel.run_xdp(&packet), kernel.run(TC_EGRESS, &packet).action), (XDP_PASS, PASS));
    assert_eq!(kernel.hits(rule).shadow_packets, 1);
}

#[test]
fn shadow_mode_counts_what_a_throttle_would_have_dropped() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let rule = kernel.list(Level::Host(listed.ip()), Rule::throttle(1, 0, u64::MAX));
    kernel.set_mode(Mode::Shadow);

    for _ in 0..3 {
        assert_eq!(kernel.run(TC_EGRESS, &tcp(local, listed)).action, PASS);
    }

    assert_eq!((kernel.hits(rule).shadow_packets, kernel.count(Counter::ThrottleDropped)), (2, 0));
}

#[test]
fn the_kill_switch_passes_everything_and_still_accounts_it() {
    require_root!();
    let (mut kernel, rule, packet) = dropping();

    kernel.steer(|control| control.kill_switch = 1);

    assert_eq!((kernel.run(TC_EGRESS, &packet).action, kernel.run_xdp(&packet)), (PASS, XDP_PASS));
    assert_eq!((kernel.hits(rule).packets, kernel.count(Counter::AccountedPackets)), (0, 1));
}

#[test]
fn releasing_the_kill_switch_cuts_again() {
    require_root!();
    let (mut kernel, _, packet) = dropping();
    kernel.steer(|control| control.kill_switch = 1);
    kernel.run(TC_EGRESS, &packet);

    kernel.steer(|control| control.kill_switch = 0);

    assert_eq!((kernel.run(TC_EGRESS, &packet).action, kernel.run_xdp(&packet)), (SHOT, XDP_DROP));
}

#[test]
fn a_silent_daemon_fails_open_and_is_counted() {
    require_root!();
    let (mut kernel, rule, packet) = dropping();

    // Its last sign of life is the boot.
    kernel.steer(|control| (control.heartbeat_ns, control.heartbeat_limit_ns) = (0, 1_000_000));

    assert_eq!((kernel.run(TC_EGRESS, &packet).action, kernel.run_xdp(&packet)), (PASS, XDP_PASS));
    assert_eq!((kernel.hits(rule).packets, kernel.count(Counter::FailOpenPackets)), (0, 2));
}

#[test]
fn a_daemon_heard_within_the_limit_enforces() {
    require_root!();
    let (mut kernel, _, packet) = dropping();

    kernel.steer(|control| (control.heartbeat_ns, control.heartbeat_limit_ns) = (u64::MAX / 2, 1_000_000));

    assert_eq!(kernel.run(TC_EGRESS, &packet).action, SHOT);
}

#[test]
fn without_a_heartbeat_limit_silence_changes_nothing() {
    require_root!();
    let (mut kernel, _, packet) = dropping();

    kernel.steer(|control| (control.heartbeat_ns, control.heartbeat_limit_ns) = (0, 0));

    assert_eq!(kernel.run(TC_EGRESS, &packet).action, SHOT);
}

#[test]
fn an_established_flow_is_judged_again_when_the_generation_changes() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let packet = tcp(local, listed);
    let rule = kernel.list(Level::Host([192, 0, 2, 1].into()), DROP);
    assert_eq!(kernel.run(TC_EGRESS, &packet).action, PASS);

    // `list_under` begins a new generation.
    kernel.list_under(Level::Host(listed.ip()), rule);

    assert_eq!(kernel.run(TC_EGRESS, &packet).action, SHOT);
}

#[test]
fn a_flow_is_judged_once_a_generation() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let packet = tcp(local, listed);
    let rule = kernel.list(Level::Host(listed.ip()), DROP);
    let generation = kernel.control().generation;
    assert_eq!(kernel.run(TC_EGRESS, &packet).action, SHOT);

    // The allow-list changes, but nobody says so.
    kernel.allow(listed.ip(), 32);
    kernel.steer(|control| control.generation = generation);
    let unheard = kernel.run(TC_EGRESS, &packet).action;
    kernel.new_generation();
    let heard = kernel.run(TC_EGRESS, &packet).action;

    assert_eq!((unheard, heard), (SHOT, PASS));
    assert_eq!(kernel.hits(rule).packets, 2);
}

#[test]
fn a_rule_that_changes_changes_the_flows_it_decided() {
    require_root!();
    let (mut kernel, rule, packet) = dropping();
    assert_eq!(kernel.run(TC_EGRESS, &packet).action, SHOT);

    kernel.set_rule(rule, Rule::new(Action::Observe, u64::MAX));

    assert_eq!(kernel.run(TC_EGRESS, &packet).action, PASS);
}

#[test]
fn a_verdict_cuts_until_it_expires() {
    require_root!();
    let (local, listed) = pair();
    let mut kernel = Kernel::load();
    let life = Duration::from_millis(300);
    let until = uptime() + life;
    kernel.list(Level::Host(listed.ip()), Rule::new(Action::Drop, until.as_nanos() as u64));
    let packet = tcp(local, listed);

    let deadline = Instant::now() + Duration::from_secs(10);
    while kernel.run(TC_EGRESS, &packet).action == SHOT {
        assert!(Instant::now() < deadline, "a verdict of {life:?} still cuts");
    }

    // The uptime is told in hundredths of a second.
    let late = uptime().saturating_sub(until);
    assert!(uptime() + Duration::from_millis(10) >= until && late < Duration::from_secs(1), "{late:?} late");
}

/// Returns the time since boot, suspend included.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
}
