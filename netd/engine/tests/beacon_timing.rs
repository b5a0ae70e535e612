//! How soon timers are found, and that irregular keys are not, by seeded simulation.

mod simulation;

use simulation::{IRREGULARS, Implant, Irregular, SLEEPS, median_and_90};

const RUNS: u64 = 60;
const CONVINCED: f64 = 9.210_340_371_976_184;

/// Returns the median and 90th percentile of the seen check-ins until E >= 10^4, for each sleep law in the order of `SLEEPS`.
fn check_ins(period_s: f64, missed: f64, tasked: f64, most: usize) -> Vec<(&'static str, u32, u32)> {
    let law = |sleep: simulation::Sleep| {
        let implant = Implant { sleep, period_s, missed, tasked };
        let runs = (0..RUNS).map(|seed| implant.check_ins(seed, most, [CONVINCED])[0]).collect();
        let (median, most) = median_and_90(runs);
        (sleep.name, median.unwrap_or(u32::MAX), most.unwrap_or(u32::MAX))
    };
    SLEEPS.into_iter().map(law).collect()
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
    (0..keys).filter(|seed| law.largest_ln_e(*seed, 100, mean_s, tick_s) >= CONVINCED).count()
}

type Promises = [(u32, u32); 9];

const ANY: (u32, u32) = (u32::MAX, u32::MAX);
// In the order of `SLEEPS`.
const PROMISED_MINUTE: Promises =
    [(5, 5), (7, 8), (10, 11), (17, 20), (38, 46), (88, 120), (28, 31), (12, 13), (17, 20)];
const PROMISED_MISSED: Promises = [(6, 6), (10, 12), (15, 20), (29, 40), (73, 115), ANY, (50, 67), (18, 27), (29, 40)];
const PROMISED_TASKED: Promises = [(7, 10), (13, 17), (17, 22), (33, 40), (85, 120), ANY, (52, 67), (20, 26), (33, 40)];
const PROMISED_2_S: Promises = [(7, 7), (10, 11), (16, 18), (46, 58), ANY, ANY, (70, 90), (17, 19), (46, 58)];
const PROMISED_5_S: Promises = [(5, 6), (8, 9), (12, 13), (23, 26), (70, 90), ANY, (34, 42), (14, 15), (23, 26)];
const PROMISED_HOUR: Promises =
    [(5, 5), (9, 10), (12, 13), (20, 23), (41, 51), (90, 115), (31, 36), (14, 15), (20, 23)];
const PROMISED_1_S: Promises = [(9, 10), (18, 20), ANY, ANY, ANY, ANY, ANY, (31, 35), ANY];

#[test]
fn a_minute_timer_is_found_within_the_promised_check_ins() {
    assert_at_most(&check_ins(60.0, 0.0, 0.0, 400), PROMISED_MINUTE);
}

#[test]
fn a_fifth_of_missed_check_ins_delays_it_little() {
    assert_at_most(&check_ins(60.0, 0.2, 0.0, 400), PROMISED_MISSED);
}

#[test]
fn bursts_of_tasking_do_not_hide_it() {
    assert_at_most(&check_ins(60.0, 0.0, 0.2, 400), PROMISED_TASKED);
}

#[test]
fn short_and_long_periods_are_found() {
    assert_at_most(&check_ins(2.0, 0.0, 0.0, 400), PROMISED_2_S);
    assert_at_most(&check_ins(5.0, 0.0, 0.0, 400), PROMISED_5_S);
    assert_at_most(&check_ins(3600.0, 0.0, 0.0, 400), PROMISED_HOUR);
}

#[test]
fn close_to_the_gate_only_a_narrow_timer_is_found() {
    assert_at_most(&check_ins(1.0, 0.0, 0.0, 100), PROMISED_1_S);
}

/// 36,000 keys. Gamma 2 lies outside the null, but close.
#[test]
fn irregular_keys_stay_quiet() {
    for (name, law) in IRREGULARS {
        if matches!(law, Irregular::ParetoAboveFloor(_)) {
            continue;
        }
        let alarms = false_alarms(law, 3000, 60.0, 0.0) + false_alarms(law, 3000, 3.0, 0.004);
        assert_eq!(alarms, 0, "{name}");
    }
}
