//! The accuracy report in its quick form: what it promises of timing, and what a small network's day must give whatever else changes.
//!
//! The whole report is `make accuracy`; it needs a release build and many minutes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use netd_lab::accuracy::{DAY_SEED, Measure, Options, Report, Verdict, measure};

const NOTHING: Options = Options { quick: true, day_seed: DAY_SEED, captures: None, timing: false, day: false };

fn named<'r>(report: &'r Report, name: &str) -> &'r Measure {
    report.measures().find(|measure| measure.name.starts_with(name)).unwrap()
}

#[test]
fn timers_are_found_in_time_and_irregular_keys_are_not() {
    let report = measure(&Options { timing: true, ..NOTHING }).unwrap();

    let promised = [
        "timing: found by 14 check-ins",
        "timing: found by 25 check-ins",
        "timing: found by 40 check-ins",
        "timing: growing schedules",
        "timing: phase-locked schedules",
        "timing: with 20 % missed",
        "timing: false alarms",
    ];
    for name in promised {
        let measure = named(&report, name);
        assert_eq!(measure.met, Verdict::Met, "{measure:?}");
    }
}

/// Detectors come and go; that nothing ordinary is cut, and that the beacons are found, stays.
#[test]
fn a_small_network_s_day_loses_no_beacon_and_cuts_nothing_ordinary() {
    let report = measure(&Options { day: true, ..NOTHING }).unwrap();

    let blocks = named(&report, "day: false findings fit for a block");
    assert_eq!(blocks.met, Verdict::Met, "{blocks:?}");
    let high = named(&report, "day: false findings of high severity");
    assert_eq!(high.met, Verdict::Met, "{high:?}");
    let found: u32 = named(&report, "day: implants found").seen.split(' ').next().unwrap().parse().unwrap();
    assert!(found >= BEACONS, "{found} of ten implants were found:\n{}", report.markdown());
}

/// Six of the ten implants call home by a timer.
const BEACONS: u32 = 6;

#[test]
fn captures_that_are_not_there_are_left_out_and_said_to_be() {
    let report = measure(&Options { captures: Some("no such folder".into()), ..NOTHING }).unwrap();

    assert!(report.missed().is_empty());
    assert_eq!(named(&report, "captures").met, Verdict::LeftOut);
    assert!(report.markdown().contains("Left out"));
}
