//! The same keys for a day, beside RITA and the CV rule.

use super::super::connection::Connection;
use super::super::document::{Section, Table};
use super::super::parallel;
use super::super::rita::{DAY_S, HOUR_S};
use super::super::statistics::quantile;
use super::super::{cv, rita};
use super::Effort;
use super::check_ins::length;
use super::simulation::timer::{Implant, LAWS, Law, Place};
use super::simulation::{CONVINCED, GATE_NS, REPORT, check_ins_needed, seeds};

const PERIODS_S: [f64; 4] = [5.0, 60.0, 300.0, 3_600.0];
/// What RITA gets to see of a check-in.
const REQUEST: u64 = 700;

/// Seconds to detection of every key, by netd, RITA and the rule.
type Found = [Vec<Option<f64>>; 3];

pub(super) fn add(section: &mut Section, effort: Effort) {
    let kinds: Vec<(&str, Law, f64)> =
        PERIODS_S.iter().flat_map(|period_s| LAWS.map(|(name, law)| (name, law, *period_s))).collect();
    let found = parallel::map(&kinds, |(_, law, period_s)| race(*law, *period_s, effort.days));
    let mut table = Table::new(
        format!(
            "Side by side over 24 h, a connection each, requests of one size (RITA's best case), {} keys a row: share found, median \
             time. Inside one connection RITA and the CV rule cannot: they see one connection",
            effort.days
        ),
        &["period", "law", "netd, E >= 10^4", "RITA v5 >= 0.70, each hour", "CV < 0.3"],
    );
    for ((name, _, period_s), found) in kinds.iter().zip(&found) {
        let [netd, rita, cv] = found.each_ref().map(|times| cell(times));
        table.row([length(*period_s), (*name).to_owned(), netd, rita, cv]);
    }
    section.table(table);
}

fn race(law: Law, period_s: f64, days: u64) -> Found {
    let implant = Implant { place: Place::Across, ..Implant::new(law, period_s) };
    let most = (DAY_S / period_s * 2.0) as usize + 10;
    let mut found: Found = [Vec::new(), Vec::new(), Vec::new()];
    for mut random in seeds(REPORT, days) {
        let times = implant.times(&mut random, most);
        let begin_s = times.first().copied().unwrap_or(0.0);
        let day: Vec<f64> = times.into_iter().take_while(|at_s| *at_s < begin_s + DAY_S).collect();
        let connection = |at_s: &f64| Connection { start_s: *at_s, end_s: at_s + 0.2, bytes: REQUEST };
        let connections: Vec<Connection> = day.iter().map(connection).collect();
        let turns = implant_turns(&day);
        let [netd] = check_ins_needed(turns, GATE_NS, [CONVINCED]);
        let within = |at_s: f64| (at_s <= begin_s + DAY_S + HOUR_S).then_some(at_s - begin_s);
        found[0].push(netd.and_then(|check_in| Some(day.get(check_in as usize - 1)? - begin_s)));
        found[1].push(rita::first_alert_s(&connections).and_then(within));
        found[2].push(cv::first_alert_s(&connections).and_then(within));
    }
    found
}

fn implant_turns(times: &[f64]) -> impl Iterator<Item = super::simulation::timer::Turn> {
    times.iter().map(|at_s| super::simulation::timer::Turn { at_s: *at_s, is_check_in: true })
}

fn cell(times: &[Option<f64>]) -> String {
    let share = times.iter().flatten().count() as f64 / times.len().max(1) as f64;
    let found: Vec<Option<f64>> = times.iter().copied().filter(Option::is_some).collect();
    match quantile(&found, 0.5) {
        Some(median) => format!("{share:.2}, {}", length(median)),
        None => "0.00".to_owned(),
    }
}
