//! How soon timers are found, and that irregular keys are not, by seeded simulation.

#[expect(dead_code, reason = "the examples use the rest")]
mod simulation;

use netd_engine::detect::beacon::{Shape, Timing};
use simulation::irregular::{IRREGULARS, Irregular};
use simulation::timer::{Implant, LAWS, Law, Place};
use simulation::{CONVINCED, GATE_NS, REPORT, check_ins_needed, largest_ln_e, median_and_90, seeds};

const RUNS: u64 = 40;
const MOST: usize = 400;

/// Returns the laws of uniform sleeps in the order of `LAWS`.
fn sleeps() -> impl Iterator<Item = (&'static str, Law)> {
    LAWS.into_iter().filter(|(_, law)| matches!(law, Law::Sleep { .. }))
}

/// Returns the median and 90th percentile of the seen check-ins until E >= 10^4, for each law in the order of `sleeps`.
fn check_ins(period_s: f64, missed: f64, tasked: f64, most: usize) -> Vec<(&'static str, u32, u32)> {
    let needed = |(name, law): (&'static str, Law)| {
        let implant = Implant { missed, tasked, ..Implant::new(law, period_s) };
        let runs = seeds(REPORT, RUNS)
            .map(|mut random| check_ins_needed(implant.turns(&mut random, most), GATE_NS, [CONVINCED])[0]);
        let (median, most) = median_and_90(runs.collect());
        (name, median.unwrap_or(u32::MAX), most.unwrap_or(u32::MAX))
    };
    sleeps().map(needed).collect()
}

/// Returns the check-ins that each run of the implant needed until E >= 10^4.
fn needed(implant: &Implant, runs: u64, most: usize) -> Vec<u32> {
    let run = |mut random| check_ins_needed(implant.turns(&mut random, most), GATE_NS, [CONVINCED])[0];
    seeds(REPORT, runs).map(run).map(|needed| needed.unwrap_or(u32::MAX)).collect()
}

/// Returns the share of minute timers of this law that are found within `check_ins`.
fn recall(law: Law, check_ins: u32) -> f64 {
    let found = needed(&Implant::new(law, 60.0), 200, check_ins as usize);
    found.iter().filter(|needed| **needed <= check_ins).count() as f64 / found.len() as f64
}

/// Asserts medians and 90th percentiles.
fn assert_at_most(found: &[(&'static str, u32, u32)], promised: Promises) {
    for ((name, median, most), promise) in found.iter().zip(promised) {
        let (promised_median, promised_most) = promise;
        assert!(
            *median <= promised_median && *most <= promised_most,
            "{name}: {median}/{most}, promised {promised_median}/{promised_most}; all: {found:?}"
        );
    }
}

/// Returns how many of `keys` keys ever reached E >= 10^4 within 100 turns.
fn false_alarms(law: Irregular, keys: u64, mean_s: f64, tick_s: f64) -> usize {
    let largest =
        seeds(REPORT, keys).map(|mut random| largest_ln_e(law.times(&mut random, 100, mean_s), GATE_NS, tick_s));
    largest.filter(|ln_e| *ln_e >= CONVINCED).count()
}

type Promises = [(u32, u32); 9];

const ANY: (u32, u32) = (u32::MAX, u32::MAX);
// In the order of `sleeps`.
const PROMISED_MINUTE: Promises =
    [(5, 5), (8, 9), (11, 12), (17, 20), (38, 48), (90, 125), (28, 32), (80, 110), (12, 13)];
const PROMISED_MISSED: Promises = [(6, 7), (10, 13), (15, 21), (30, 42), (75, 120), ANY, (52, 70), ANY, (19, 28)];
const PROMISED_TASKED: Promises = [(7, 10), (13, 17), (17, 22), (33, 40), (85, 120), ANY, (52, 67), ANY, (20, 26)];
const PROMISED_2_S: Promises = [(7, 7), (10, 11), (16, 18), (46, 58), ANY, ANY, (70, 90), ANY, (17, 19)];
const PROMISED_5_S: Promises = [(5, 6), (8, 9), (12, 13), (23, 26), (70, 90), ANY, (34, 42), ANY, (14, 15)];
const PROMISED_HOUR: Promises = [(5, 5), (9, 10), (12, 13), (20, 23), (41, 51), (90, 120), (31, 36), ANY, (14, 15)];
const PROMISED_1_S: Promises = [(9, 10), (18, 20), ANY, ANY, ANY, ANY, ANY, ANY, (31, 35)];

#[test]
fn a_minute_timer_is_found_within_the_promised_check_ins() {
    assert_at_most(&check_ins(60.0, 0.0, 0.0, MOST), PROMISED_MINUTE);
}

#[test]
fn a_fifth_of_missed_check_ins_delays_it_little() {
    assert_at_most(&check_ins(60.0, 0.2, 0.0, MOST), PROMISED_MISSED);
}

#[test]
fn bursts_of_tasking_do_not_hide_it() {
    assert_at_most(&check_ins(60.0, 0.0, 0.2, MOST), PROMISED_TASKED);
}

#[test]
fn short_and_long_periods_are_found() {
    assert_at_most(&check_ins(2.0, 0.0, 0.0, MOST), PROMISED_2_S);
    assert_at_most(&check_ins(5.0, 0.0, 0.0, MOST), PROMISED_5_S);
    assert_at_most(&check_ins(3600.0, 0.0, 0.0, MOST), PROMISED_HOUR);
}

#[test]
fn close_to_the_gate_only_a_narrow_timer_is_found() {
    assert_at_most(&check_ins(1.0, 0.0, 0.0, 100), PROMISED_1_S);
}

#[test]
fn the_share_of_sleeping_timers_that_is_found_is_the_promised_one() {
    for (from, to, check_ins, share) in
        [(1.0, 1.0, 14, 0.99), (0.9, 1.0, 14, 0.99), (0.75, 1.0, 14, 0.99), (0.5, 1.0, 25, 0.95), (0.5, 1.5, 40, 0.95)]
    {
        let found = recall(Law::Sleep { from, to }, check_ins);
        assert!(found >= share, "{from}..{to}: {found} within {check_ins}");
    }
}

#[test]
fn twenty_turns_inside_a_connection_suffice_up_to_half_the_jitter() {
    let found: Vec<f64> = [1.0, 0.9, 0.75, 0.5].map(|from| recall(Law::Sleep { from, to: 1.0 }, 20)).into();

    assert!(found.iter().sum::<f64>() / 4.0 >= 0.95, "{found:?}");
}

#[test]
fn schedules_that_are_no_sleep_are_found() {
    for (name, law) in LAWS {
        let check_ins = match law {
            Law::Sleep { .. } => continue,
            Law::Cron { delay } if delay > 0.4 => 40,
            Law::Geometric { .. } | Law::Fibonacci { .. } | Law::WorkingHours { .. } => 14,
            Law::Cron { .. } => 20,
            Law::TwoTimers { .. } => 40,
        };
        let found = recall(law, check_ins);
        assert!(found >= 0.95, "{name}: {found} within {check_ins}");
    }
}

#[test]
fn a_fifth_of_missed_check_ins_at_most_doubles_the_check_ins() {
    for (name, law) in LAWS {
        let is_promised = match law {
            // Wider jitter than 75 % loses more; the table says how much.
            Law::Sleep { from, to } => from / to >= 0.25,
            Law::Cron { .. } | Law::TwoTimers { .. } | Law::WorkingHours { .. } => true,
            Law::Geometric { .. } | Law::Fibonacci { .. } => false,
        };
        let median = |missed: f64| {
            let mut runs = needed(&Implant { missed, ..Implant::new(law, 60.0) }, RUNS, 200);
            runs.sort_unstable();
            runs[runs.len() / 2]
        };
        let (all, most) = (median(0.0), median(0.2));
        assert!(!is_promised || most <= 2 * all, "{name}: {all}, with missed beats {most}");
    }
}

#[test]
fn a_connection_for_each_check_in_is_no_harder() {
    for from in [1.0, 0.75] {
        let implant = Implant { place: Place::Across, ..Implant::new(Law::Sleep { from, to: 1.0 }, 60.0) };
        let found = needed(&implant, 100, 14).iter().filter(|needed| **needed <= 14).count();

        assert!(found >= 98, "{from}: {found}");
    }
}

/// Returns how many of 50 timers of a law have this shape after 60 check-ins.
fn named(law: Law, is_named: impl Fn(Shape) -> bool) -> usize {
    let shape = |mut random| {
        let mut timing = Timing::new();
        for at_s in Implant::new(law, 60.0).times(&mut random, 60) {
            timing.observe((at_s * 1e9) as u64, GATE_NS);
        }
        timing.rhythm().map(|rhythm| rhythm.shape)
    };
    seeds(REPORT, 50).filter_map(shape).filter(|shape| is_named(*shape)).count()
}

#[test]
fn the_kind_of_schedule_is_named() {
    let is_interval = |shape| shape == Shape::Interval;
    let is_growing =
        |by: f32| move |shape| matches!(shape, Shape::Growing { ratio } if (ratio / by - 1.0).abs() < 0.03);

    let found = [
        named(Law::Sleep { from: 0.75, to: 1.0 }, is_interval),
        named(Law::Sleep { from: 0.5, to: 1.5 }, is_interval),
        named(Law::Cron { delay: 0.25 }, |shape| shape == Shape::PhaseLocked),
        named(Law::Geometric { ratio: 1.1, cap: 16.0 }, is_growing(1.1)),
        named(Law::Geometric { ratio: 1.6, cap: 64.0 }, is_growing(1.6)),
        named(Law::Geometric { ratio: 2.0, cap: 64.0 }, is_growing(2.0)),
        named(Law::TwoTimers { other: 1.62 }, |shape| shape == Shape::TwoTimers),
    ];

    assert!(found.iter().all(|found| *found >= 45), "{found:?}");
}

/// 28,000 keys. Gamma 2 lies outside the null, but close.
#[test]
fn irregular_keys_stay_quiet() {
    for (name, law) in IRREGULARS {
        if !law.is_promised() {
            continue;
        }
        let alarms = false_alarms(law, 2000, 60.0, 0.0) + false_alarms(law, 2000, 3.0, 0.004);
        assert_eq!(alarms, 0, "{name}");
    }
}
