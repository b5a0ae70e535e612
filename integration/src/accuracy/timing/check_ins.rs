//! Check-ins until E >= 10^4, by law, period, share of missed check-ins, inside and across connections.

use super::super::document::{Measure, Section, Table};
use super::super::parallel;
use super::super::statistics::{quantile, share_within};
use super::Effort;
use super::simulation::timer::{Implant, LAWS, Law, Place};
use super::simulation::{CONVINCED, GATE_NS, REPORT, check_ins_needed, seeds};

const MISSED: [f64; 3] = [0.0, 0.2, 0.5];
const MOST: usize = 400;
/// The period at which the promises are measured.
const PROMISED_S: f64 = 60.0;

/// A cell of the tables: all keys of one kind.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    law: Law,
    period_s: f64,
    place: Place,
    missed: f64,
}

/// What its keys needed.
struct Needed {
    kind: Kind,
    check_ins: Vec<Option<f64>>,
    /// From the first check-in on.
    seconds: Vec<Option<f64>>,
}

pub(super) fn add(section: &mut Section, effort: Effort) {
    let kinds: Vec<Kind> = effort
        .periods_s
        .iter()
        .flat_map(|period_s| places(*period_s).iter().map(move |place| (*period_s, *place)))
        .flat_map(|(period_s, place)| LAWS.iter().map(move |(name, law)| (period_s, place, *name, *law)))
        .flat_map(|(period_s, place, name, law)| MISSED.map(|missed| Kind { name, law, period_s, place, missed }))
        .collect();
    let needed = parallel::map(&kinds, |kind| Needed::of(*kind, effort.runs));
    for period_s in effort.periods_s {
        for place in places(*period_s) {
            section.table(table(&needed, *period_s, *place, effort.runs));
        }
    }
    promises(section, &needed);
}

/// Both places where the difference matters.
fn places(period_s: f64) -> &'static [Place] {
    if period_s == PROMISED_S || period_s == 5.0 { &[Place::Inside, Place::Across] } else { &[Place::Inside] }
}

impl Needed {
    fn of(kind: Kind, runs: u64) -> Self {
        let implant = Implant { place: kind.place, missed: kind.missed, ..Implant::new(kind.law, kind.period_s) };
        let each = seeds(REPORT, runs).map(|mut random| {
            let turns: Vec<_> = implant.turns(&mut random, MOST).collect();
            let [found] = check_ins_needed(turns.iter().copied(), GATE_NS, [CONVINCED]);
            let at = found.map(|check_in| check_in as usize - 1);
            let seconds = at.and_then(|at| Some(turns.get(at)?.at_s - turns.first()?.at_s));
            (found.map(f64::from), seconds)
        });
        let (check_ins, seconds) = each.unzip();
        Self { kind, check_ins, seconds }
    }
}

fn table(needed: &[Needed], period_s: f64, place: Place, runs: u64) -> Table {
    let title = format!("Period {}, {}: {runs} keys a cell", length(period_s), place_name(place));
    let mut table = Table::new(
        title,
        &[
            "law",
            "check-ins to E >= 10^4, median / 90 %",
            "time, median / 90 %",
            "found by 25 / 50 / 100",
            "20 % missed: median / 90 %",
            "by 25 / 50 / 100",
            "50 % missed: median / 90 %",
            "by 25 / 50 / 100",
        ],
    );
    for (name, _) in LAWS {
        let of = |missed: f64| {
            needed.iter().find(|cell| {
                let kind = &cell.kind;
                kind.name == name && kind.period_s == period_s && kind.place == place && kind.missed == missed
            })
        };
        let [Some(all), Some(fifth), Some(half)] = MISSED.map(of) else { continue };
        let pair = |values: &[Option<f64>], show: fn(f64) -> String| {
            let cell = |share| quantile(values, share).map_or_else(|| "-".to_owned(), show);
            format!("{} / {}", cell(0.5), cell(0.9))
        };
        let count = |value: f64| format!("{value:.0}");
        let recall = |cell: &Needed| {
            [25.0, 50.0, 100.0].map(|most| format!("{:.2}", share_within(&cell.check_ins, most))).join(" / ")
        };
        table.row([
            name.to_owned(),
            pair(&all.check_ins, count),
            pair(&all.seconds, length),
            recall(all),
            pair(&fifth.check_ins, count),
            recall(fifth),
            pair(&half.check_ins, count),
            recall(half),
        ]);
    }
    table
}

/// What it is called, the share that must be found, by how many check-ins, of which laws.
type Promise = (&'static str, f64, f64, fn(Law) -> bool);

fn promises(section: &mut Section, needed: &[Needed]) {
    let at =
        |missed: f64| needed.iter().filter(move |cell| cell.kind.period_s == PROMISED_S && cell.kind.missed == missed);
    let least = |most: f64, holds: fn(Law) -> bool| {
        let cells = at(0.0).filter(|cell| holds(cell.kind.law));
        cells.map(|cell| share_within(&cell.check_ins, most)).fold(1.0, f64::min)
    };
    let rows: [Promise; 5] = [
        (
            "timing: found by 14 check-ins, jitter <= 25 %",
            0.99,
            14.0,
            |law| matches!(law, Law::Sleep { from, to: 1.0 } if from >= 0.75),
        ),
        ("timing: found by 25 check-ins, jitter 50 %", 0.95, 25.0, |law| law == Law::Sleep { from: 0.5, to: 1.0 }),
        ("timing: found by 40 check-ins, +-50 %", 0.95, 40.0, |law| law == Law::Sleep { from: 0.5, to: 1.5 }),
        ("timing: growing schedules found by 100 check-ins", 0.95, 100.0, |law| {
            matches!(law, Law::Geometric { .. } | Law::Fibonacci { .. })
        }),
        ("timing: phase-locked schedules found by 100 check-ins", 0.95, 100.0, |law| matches!(law, Law::Cron { .. })),
    ];
    for (name, goal, most, holds) in rows {
        let seen = least(most, holds);
        section.measures.push(Measure::new(name, format!(">= {goal}"), format!("{seen:.3}"), seen >= goal));
    }
    let ratio = at(0.0)
        .filter(|cell| is_promised_with_misses(cell.kind.law))
        .filter_map(|cell| {
            let same = |other: &&Needed| other.kind.name == cell.kind.name && other.kind.place == cell.kind.place;
            let missed = at(0.2).find(same)?;
            let median = |cell: &Needed| quantile(&cell.check_ins, 0.5).unwrap_or(f64::INFINITY);
            Some((median(missed) / median(cell), cell.kind.name))
        })
        .fold((0.0, ""), |worst: (f64, &str), one| if one.0 > worst.0 { one } else { worst });
    section.measures.push(Measure::new(
        "timing: with 20 % missed, check-ins over those without (median, worst law up to +-50 %)",
        "<= 2",
        format!("{:.2} ({})", ratio.0, ratio.1),
        ratio.0 <= 2.0,
    ));
}

/// The laws whose check-ins are promised, and Sliver's.
fn is_promised_with_misses(law: Law) -> bool {
    match law {
        Law::Sleep { from, to } => from >= 0.5 && to <= 1.5,
        Law::Cron { .. }
        | Law::Geometric { .. }
        | Law::Fibonacci { .. }
        | Law::TwoTimers { .. }
        | Law::WorkingHours { .. } => false,
    }
}

pub(super) const fn place_name(place: Place) -> &'static str {
    match place {
        Place::Inside => "inside one connection",
        Place::Across => "a connection each",
    }
}

/// Seconds, minutes, hours or days.
pub(super) fn length(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}
