//! Prints how many check-ins a timer needs, by law, and how often irregular keys cross E >= 10^4.
//!
//! `cargo run --release -p netd-engine --example beacon_table [runs] [keys per irregular law] [period, s] [tuning]`
//!
//! `runs` of 0 leaves the timers out. With `tuning` the seeds are those which choices may look at.

#[path = "../tests/simulation/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod simulation;

use std::io::Write;

use simulation::irregular::IRREGULARS;
use simulation::timer::{Implant, LAWS, Place};
use simulation::{CONVINCED, GATE_NS, REPORT, Seeds, TUNING, check_ins_needed, largest_ln_e, median_and_90, seeds};
use statrs::distribution::{Beta, ContinuousCDF};

const THRESHOLDS: [f64; 3] = [6.907_755, CONVINCED, 13.815_511];
const PERIODS_S: [f64; 7] = [1.0, 2.0, 5.0, 14.0, 60.0, 3600.0, 21_600.0];
const MISSED: [f64; 3] = [0.0, 0.2, 0.5];
const MOST: usize = 400;
/// Turns of an irregular key.
const EVENTS: usize = 150;

struct Settings {
    runs: u64,
    keys: u64,
    only_period_s: Option<f64>,
    seeds: Seeds,
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at)?.parse::<u64>().ok();
    let settings = Settings {
        runs: number(0).unwrap_or(200),
        keys: number(1).unwrap_or(20_000),
        only_period_s: number(2).map(|period| period as f64),
        seeds: if arguments.iter().any(|argument| argument == "tuning") { TUNING } else { REPORT },
    };
    let out = &mut std::io::stdout().lock();
    if settings.runs > 0 {
        for period_s in PERIODS_S {
            if settings.only_period_s.is_none_or(|only| only == period_s) {
                timers(out, &settings, period_s, (Place::Inside, 0.0))?;
            }
        }
        if settings.only_period_s.is_none_or(|only| only == 60.0) {
            timers(out, &settings, 60.0, (Place::Across, 0.0))?;
            timers(out, &settings, 60.0, (Place::Inside, 0.2))?;
        }
    }
    if settings.keys > 0 { irregular(out, &settings) } else { Ok(()) }
}

fn timers(
    out: &mut impl Write,
    settings: &Settings,
    period_s: f64,
    (place, tasked): (Place, f64),
) -> std::io::Result<()> {
    let place_name = match place {
        Place::Inside => "inside one connection",
        Place::Across => "a connection each",
    };
    writeln!(
        out,
        "\nPeriod {period_s} s, {place_name}, {:.0} % of check-ins tasked, {} runs",
        tasked * 100.0,
        settings.runs
    )?;
    writeln!(out, "Check-ins until E >= 1e4: median/90 %, and the share found within 14, 25, 40, 100\n")?;
    writeln!(
        out,
        "| law | 1e3 | 1e4 | 1e6 | 14, 25, 40, 100 | missed 20 % | 14, 25, 40, 100 | missed 50 % | 14, 25, 40, 100 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for (name, law) in LAWS {
        write!(out, "| {name} |")?;
        for missed in MISSED {
            let implant = Implant { place, missed, tasked, ..Implant::new(law, period_s) };
            let reached: Vec<_> = seeds(settings.seeds, settings.runs)
                .map(|mut random| check_ins_needed(implant.turns(&mut random, MOST), GATE_NS, THRESHOLDS))
                .collect();
            let shown = if missed > 0.0 { 1..2 } else { 0..3 };
            for threshold in shown {
                let (median, most) = median_and_90(reached.iter().map(|run| run[threshold]).collect());
                write!(out, " {}/{} |", cell(median), cell(most))?;
            }
            let within = |most: u32| reached.iter().filter(|run| run[1].is_some_and(|n| n <= most)).count();
            let share = |most: u32| within(most) as f64 / reached.len() as f64;
            write!(out, " {:.2} {:.2} {:.2} {:.2} |", share(14), share(25), share(40), share(100))?;
        }
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

fn irregular(out: &mut impl Write, settings: &Settings) -> std::io::Result<()> {
    writeln!(out, "\nIrregular keys, {EVENTS} turns each\n")?;
    writeln!(out, "| law | mean, s | tick, s | keys | E>=1e2 | E>=1e3 | E>=1e4 | rate at 1e4, 95 % upper bound |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    let (mut all, mut false_alarms) = (0, 0);
    for (name, law) in IRREGULARS {
        for (mean_s, tick_s) in [(60.0, 0.0), (3.0, 0.004)] {
            let mut above = [0_u64; 3];
            for mut random in seeds(settings.seeds, settings.keys) {
                let ln_e = largest_ln_e(law.times(&mut random, EVENTS, mean_s), GATE_NS, tick_s);
                for (above, threshold) in above.iter_mut().zip([100_f64.ln(), THRESHOLDS[0], CONVINCED]) {
                    *above += u64::from(ln_e >= threshold);
                }
            }
            let [hundred, thousand, convinced] = above;
            if law.is_promised() {
                all += settings.keys;
                false_alarms += convinced;
            }
            let bound = upper_bound(convinced, settings.keys);
            writeln!(
                out,
                "| {name} | {mean_s} | {tick_s} | {} | {hundred} | {thousand} | {convinced} | {bound:.1e} |",
                settings.keys
            )?;
        }
    }
    let bound = upper_bound(false_alarms, all);
    writeln!(out, "| all but the last law | | | {all} | | | {false_alarms} | {bound:.1e} |")
}

fn cell(check_ins: Option<u32>) -> String {
    check_ins.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

/// Returns the one-sided 95 % bound of Clopper and Pearson on a rate.
fn upper_bound(hits: u64, of: u64) -> f64 {
    Beta::new(hits as f64 + 1.0, (of - hits) as f64).map_or(1.0, |law| law.inverse_cdf(0.95))
}
