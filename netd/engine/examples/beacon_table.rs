//! Prints how many check-ins a beacon needs, by sleep law, and how often irregular keys cross E >= 10^4.
//!
//! `cargo run --release -p netd-engine --example beacon_table [runs] [keys per irregular law] [period, s]`

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::io::Write;

use simulation::{IRREGULARS, Implant, Irregular, SLEEPS, median_and_90};
use statrs::distribution::{Beta, ContinuousCDF};

const THRESHOLDS: [f64; 3] = [6.907_755, 9.210_340, 13.815_511];
const PERIODS_S: [f64; 6] = [1.0, 2.0, 5.0, 14.0, 60.0, 3600.0];
const EVENTS: usize = 100;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<u64>().ok());
    let runs = arguments.next().unwrap_or(200);
    let keys = arguments.next().unwrap_or(20_000);
    let only_period = arguments.next().map(|period| period as f64);
    let out = &mut std::io::stdout().lock();
    for (period_s, tasked) in PERIODS_S.into_iter().map(|period| (period, 0.0)).chain([(60.0, 0.2)]) {
        if only_period.is_some_and(|only| only != period_s) {
            continue;
        }
        writeln!(out, "\nPeriod {period_s} s, {:.0} % of check-ins tasked: check-ins, median/90 %\n", tasked * 100.0)?;
        writeln!(out, "| sleep law | E>=1e3 | E>=1e4 | E>=1e6 | missed 20 %: E>=1e3 | E>=1e4 | E>=1e6 |")?;
        writeln!(out, "|---|---|---|---|---|---|---|")?;
        for sleep in SLEEPS {
            write!(out, "| {} |", sleep.name)?;
            for missed in [0.0, 0.2] {
                let implant = Implant { sleep, period_s, missed, tasked };
                let reached: Vec<_> = (0..runs).map(|seed| implant.check_ins(seed, 400, THRESHOLDS)).collect();
                for threshold in 0..THRESHOLDS.len() {
                    let (median, most) = median_and_90(reached.iter().map(|run| run[threshold]).collect());
                    write!(out, " {}/{} |", cell(median), cell(most))?;
                }
            }
            writeln!(out)?;
        }
    }
    writeln!(out, "\nIrregular keys, {EVENTS} turns each\n")?;
    writeln!(out, "| law | mean, s | tick, s | keys | E>=1e2 | E>=1e4 | rate at 1e4, 95 % upper bound |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    let (mut all, mut false_alarms) = (0, 0);
    for (name, law) in IRREGULARS {
        for (mean_s, tick_s) in [(60.0, 0.0), (3.0, 0.004)] {
            let largest = (0..keys).map(|seed| law.largest_ln_e(seed, EVENTS, mean_s, tick_s));
            let (mut hundred, mut convinced) = (0, 0);
            for ln_e in largest {
                hundred += u64::from(ln_e >= 100_f64.ln());
                convinced += u64::from(ln_e >= THRESHOLDS[1]);
            }
            if !matches!(law, Irregular::ParetoAboveFloor(_)) {
                all += keys;
                false_alarms += convinced;
            }
            let bound = upper_bound(convinced, keys);
            writeln!(out, "| {name} | {mean_s} | {tick_s} | {keys} | {hundred} | {convinced} | {bound:.1e} |")?;
        }
    }
    let bound = upper_bound(false_alarms, all);
    writeln!(out, "| all but the last law | | | {all} | | {false_alarms} | {bound:.1e} |")
}

fn cell(check_ins: Option<u32>) -> String {
    check_ins.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

/// Returns the one-sided 95 % bound of Clopper and Pearson on a rate.
fn upper_bound(hits: u64, of: u64) -> f64 {
    Beta::new(hits as f64 + 1.0, (of - hits) as f64).map_or(1.0, |law| law.inverse_cdf(0.95))
}
