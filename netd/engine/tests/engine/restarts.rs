//! A restart of the daemon forgets no slow beacon.

use std::time::Duration;

use netd_engine::config::Config;
use netd_engine::engine::RestoreError;
use netd_engine::finding::Finding;

use super::support::{World, at, check_ins};

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// Findings of an hourly beacon whose watcher restarts after `before` check-ins and is away for `away_s`.
fn hourly(before: usize, away_s: f64) -> (u32, Vec<Finding>) {
    hourly_set_back(before, away_s, 0.0)
}

/// The same, with a clock that is set back by `back_s` meanwhile.
fn hourly_set_back(before: usize, away_s: f64, back_s: f64) -> (u32, Vec<Finding>) {
    let mut world = World::new(Config::default());
    let times = check_ins(24, HOUR, 0.1).map(|at_s| DAY + (at_s * 1_024.0).round() / 1_024.0);
    let times = times.enumerate().map(|(n, at_s)| if n < before { at_s } else { at_s - back_s });
    let times: Vec<f64> = times.collect();
    let mut turns = 0;
    for (n, at_s) in times.iter().enumerate() {
        if n == before {
            let bytes = world.engine.snapshot();
            let restarted = times[n - 1] + 60.0 + away_s - back_s;
            world = World::new(Config::default());
            let back = world.engine.restore(&bytes, at(restarted)).expect("a snapshot just taken");
            assert_eq!(back.is_zero(), back_s == 0.0);
        }
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", *at_s, 300, 200);
        let findings = world.findings();
        turns = n as u32 + 1;
        if !findings.is_empty() {
            return (turns, findings);
        }
    }
    (turns, Vec::new())
}

#[test]
fn an_hourly_beacon_is_found_as_soon_with_a_restart_in_between() {
    let (without, found) = hourly(usize::MAX, 0.0);
    assert_eq!(found.len(), 1);

    let (with, found) = hourly(without as usize - 2, 10.0);

    assert_eq!((with, found.len()), (without, 1));
    assert_eq!(found[0].rhythm.unwrap().turns, without);
}

#[test]
fn a_gap_that_nobody_watched_is_no_missed_beat() {
    let (without, _) = hourly(usize::MAX, 0.0);

    let (with, found) = hourly(without as usize - 2, 0.5 * HOUR);

    assert!(!found.is_empty() && with <= without + 2, "{without} check-ins without, {with} with a restart");
}

#[test]
fn a_clock_set_back_over_a_restart_changes_no_bit_of_a_score() {
    let (without, found) = hourly(6, 0.5 * HOUR);
    assert_eq!(found.len(), 1);

    for back_s in [2.0 * HOUR, DAY] {
        let (with, shifted) = hourly_set_back(6, 0.5 * HOUR, back_s);

        assert_eq!((with, shifted.len()), (without, 1));
        let (before, after) = (&found[0], &shifted[0]);
        assert_eq!(after.score.to_bits(), before.score.to_bits());
        assert_eq!((&after.reasons, after.rhythm), (&before.reasons, before.rhythm));
        assert_eq!(before.time.0 - after.time.0, (back_s * 1e9) as u64);
    }
}

#[test]
fn histories_of_a_far_future_are_refused() {
    let mut world = World::new(Config::default());
    for at_s in check_ins(4, HOUR, 0.1) {
        world.connection("10.0.0.7:40000", "198.51.100.9:443", 30.0 * DAY + at_s, 300, 200);
    }
    let bytes = world.engine.snapshot();
    let mut fresh = World::new(Config::default());

    assert_eq!(fresh.engine.restore(&bytes, at(22.0 * DAY)), Err(RestoreError::Future));
    assert_eq!(fresh.engine.counts().histories, 0);
    assert!(fresh.engine.restore(&bytes, at(24.0 * DAY)).is_ok_and(|back| back > Duration::from_secs(6 * 86_400)));
    assert_eq!(fresh.engine.counts().histories, 1);
}

#[test]
fn names_that_share_and_names_that_have_parted_come_back_as_they_were() {
    let mut world = World::new(Config::default());
    super::names::rotating(&mut world, 60);
    let before = world.engine.counts().histories;
    let bytes = world.engine.snapshot();

    let mut after = World::new(Config::default());
    after.engine.restore(&bytes, at(1e6)).unwrap();

    assert_eq!(after.engine.counts().histories, before);
    assert_eq!(after.engine.snapshot().len(), bytes.len());
}

#[test]
fn what_is_no_snapshot_changes_nothing() {
    let mut world = World::new(Config::default());
    world.connection("10.0.0.7:40000", "198.51.100.9:443", 5.0, 300, 200);
    world.connection("10.0.0.7:40001", "198.51.100.9:443", 65.0, 300, 200);
    let good = world.engine.snapshot();
    let mut fresh = World::new(Config::default());

    assert_eq!(fresh.engine.restore(&[], at(100.0)), Err(RestoreError::Damaged));
    assert_eq!(fresh.engine.restore(&[9, 0, 0, 0, 1], at(100.0)), Err(RestoreError::Version(9)));
    assert_eq!(fresh.engine.restore(&good[..good.len() - 3], at(100.0)), Err(RestoreError::Damaged));
    assert_eq!(fresh.engine.counts().histories, 0);
    assert_eq!(fresh.engine.restore(&good, at(100.0)), Ok(Duration::ZERO));
    assert_eq!(fresh.engine.counts().histories, 1);
}
