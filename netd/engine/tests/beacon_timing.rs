//! How soon timers are found, and that irregular keys are not, by seeded simulation.

#[expect(dead_code, reason = "the examples use the rest")]
mod simulation;

use simulation::irregular::{IRREGULARS, Irregular};
use simulation::timer::{Implant, LAWS, Law};
use simulation::{CONVINCED, GATE_NS, REPORT, check_ins_needed, largest_ln_e, median_and_90, seeds};

const RUNS: u64 = 60;
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

/// 42,000 keys. Gamma 2 lies outside the null, but close.
#[test]
fn irregular_keys_stay_quiet() {
    for (name, law) in IRREGULARS {
        if !law.is_promised() {
            continue;
        }
        let alarms = false_alarms(law, 3000, 60.0, 0.0) + false_alarms(law, 3000, 3.0, 0.004);
        assert_eq!(alarms, 0, "{name}");
    }
}
