//! Keys without a timer: how often each is taken for one.

use super::super::connection::Connection;
use super::super::cv;
use super::super::document::{Measure, Section, Table};
use super::super::parallel;
use super::super::rita::{self, DAY_S, THREAT, Window};
use super::super::statistics::upper_bound;
use super::Effort;
use super::check_ins::length;
use super::simulation::irregular::{IRREGULARS, Irregular};
use super::simulation::{CONVINCED, GATE_NS, REPORT, largest_ln_e, seeds};

/// Means of the gaps, and the steps in which a clock tells them: exact, and a coarse kernel clock's.
const MEANS: [(f64, f64); 2] = [(60.0, 0.0), (3.0, 0.004)];
const EVENTS: usize = 150;
const PROMISED: f64 = 1e-4;
const REQUEST: u64 = 700;

/// Keys, and how many of them alarm.
#[derive(Clone, Copy, Debug, Default)]
struct Alarms {
    keys: u64,
    netd: u64,
}

pub(super) fn add(section: &mut Section, effort: Effort) {
    // Parts of 500 keys, so that both workers end at about the same time.
    const PART: u64 = 500;
    let kinds: Vec<(&str, Irregular, (f64, f64))> =
        IRREGULARS.iter().flat_map(|(name, law)| MEANS.map(|mean| (*name, *law, mean))).collect();
    let parts: Vec<(usize, u64)> =
        (0..kinds.len()).flat_map(|kind| (0..effort.null_keys.div_ceil(PART)).map(move |part| (kind, part))).collect();
    let hits = parallel::map(&parts, |(kind, part)| {
        let (_, law, (mean_s, tick_s)) = kinds[*kind];
        let keys = PART.min(effort.null_keys - part * PART);
        let random = seeds(REPORT, part * PART + keys).skip((part * PART) as usize);
        random
            .filter_map(|mut random| {
                let times = law.times(&mut random, EVENTS, mean_s);
                (largest_ln_e(times, GATE_NS, tick_s) >= CONVINCED).then_some(())
            })
            .count() as u64
    });
    let mut alarms = vec![Alarms::default(); kinds.len()];
    for ((kind, part), hits) in parts.iter().zip(hits) {
        alarms[*kind].keys += PART.min(effort.null_keys - part * PART);
        alarms[*kind].netd += hits;
    }
    let others = parallel::map(&kinds, |(_, law, (mean_s, _))| others(*law, *mean_s, effort.days));

    let mut table = Table::new(
        format!(
            "Irregular keys taken for timers. netd: {EVENTS} events a key, the largest E ever reached. RITA and the CV rule: the first 24 h \
             of {} keys; RITA over a rolling day each hour, and once over exactly the time that the key was active",
            effort.days
        ),
        &[
            "law",
            "mean gap",
            "keys",
            "netd, E >= 10^4",
            "95 % upper bound",
            "RITA >= 0.70, each hour",
            "RITA, own window",
            "CV < 0.3",
        ],
    );
    let mut all = Alarms::default();
    for (((name, law, (mean_s, _)), alarms), others) in kinds.iter().zip(&alarms).zip(&others) {
        if law.is_promised() {
            all.keys += alarms.keys;
            all.netd += alarms.netd;
        }
        let share = |count: u64| format!("{:.0} %", 100.0 * count as f64 / effort.days.max(1) as f64);
        table.row([
            (*name).to_owned(),
            length(*mean_s),
            alarms.keys.to_string(),
            alarms.netd.to_string(),
            format!("{:.1e}", upper_bound(alarms.netd, alarms.keys)),
            share(others[0]),
            share(others[1]),
            share(others[2]),
        ]);
    }
    section.table(table);
    let bound = upper_bound(all.netd, all.keys);
    let seen = format!("{} of {} keys; 95 % upper bound {bound:.1e}", all.netd, all.keys);
    let met = if effort.bounds_rate { bound <= PROMISED } else { all.netd == 0 };
    section.measures.push(Measure::new("timing: false alarms per irregular key at E >= 10^4", "<= 1e-4", seen, met));
}

/// Returns how many of `days` keys RITA calls a threat, in a rolling day and in their own window, and the rule alerts on.
fn others(law: Irregular, mean_s: f64, days: u64) -> [u64; 3] {
    let most = (DAY_S / mean_s) as usize;
    let mut alarms = [0; 3];
    for mut random in seeds(REPORT, days) {
        let times = law.times(&mut random, most, mean_s);
        let begin_s = times.first().copied().unwrap_or(0.0);
        let day = times.iter().take_while(|at_s| **at_s < begin_s + DAY_S);
        let connections: Vec<Connection> =
            day.map(|at_s| Connection { start_s: *at_s, end_s: *at_s, bytes: REQUEST }).collect();
        let last_s = connections.last().map_or(begin_s, |one| one.end_s);
        let own = Window { from_s: begin_s.floor(), to_s: last_s.ceil() };
        alarms[0] += u64::from(rita::first_alert_s(&connections).is_some());
        alarms[1] += u64::from(rita::score(own, &connections).is_some_and(|score| score.total() >= THREAT));
        alarms[2] += u64::from(cv::first_alert_s(&connections).is_some());
    }
    alarms
}
