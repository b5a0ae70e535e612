//! A restart of the daemon forgets no slow beacon.

use netd_engine::config::Config;
use netd_engine::engine::RestoreError;
use netd_engine::finding::Finding;

use super::support::{World, at, check_ins};

const HOUR: f64 = 3_600.0;

/// Findings of an hourly beacon whose watcher restarts after `before` check-ins and is away for `away_s`.
fn hourly(before: usize, away_s: f64) -> (u32, Vec<Finding>) {
    let mut world = World::new(Config::default());
    let times: Vec<f64> = check_ins(24, HOUR, 0.1).collect();
    let mut turns = 0;
    for (n, at_s) in times.iter().enumerate() {
        if n == before {
            let bytes = world.engine.snapshot();
            let restarted = times[n - 1] + 60.0 + away_s;
            world = World::new(Config::default());
            world.engine.restore(&bytes, at(restarted)).unwrap();
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
    assert_eq!(fresh.engine.restore(&good, at(1.0)), Err(RestoreError::Future));
    assert_eq!(fresh.engine.counts().histories, 0);
    assert_eq!(fresh.engine.restore(&good, at(100.0)), Ok(()));
    assert_eq!(fresh.engine.counts().histories, 1);
}
