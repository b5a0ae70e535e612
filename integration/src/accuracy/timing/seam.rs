//! The whole engine at its seam: records in, findings out.
//!
//! A finding needs more than timing, so that check-ins to a finding are not those to E >= 10^4: what the check-ins look
//! like counts, too. Here it says as little as it can: TLS to a name, nothing else known of host or server.

use std::net::SocketAddr;

use netd_engine::config::Config;
use netd_engine::{Command, Engine};

use super::super::document::{Measure, Section, Table};
use super::super::parallel;
use super::super::statistics::{quantile, share_within};
use super::super::wire::{By, Talk, Wire};
use super::Effort;
use super::check_ins::place_name;
use super::simulation::timer::{Implant, LAWS, Law, Place};
use super::simulation::{REPORT, seeds};
use crate::traffic::dice::Dice;
use crate::traffic::payload::Look;

const PERIOD_S: f64 = 20.0;
const MOST: usize = 100;
const PROMISED_TURNS: f64 = 20.0;
const PROMISED: f64 = 0.95;
const ROUND_TRIP_S: f64 = 0.03;

pub(super) fn add(section: &mut Section, effort: Effort) {
    let kinds: Vec<(&str, Law, Place)> =
        [Place::Inside, Place::Across].iter().flat_map(|place| LAWS.map(|(name, law)| (name, law, *place))).collect();
    let found = parallel::map(&kinds, |(_, law, place)| {
        let runs = seeds(REPORT, effort.runs);
        runs.enumerate()
            .map(|(number, mut random)| {
                let implant = Implant { place: *place, ..Implant::new(*law, PERIOD_S) };
                findings_after(&implant.times(&mut random, MOST), *place, number as u64)
            })
            .collect::<Vec<Option<f64>>>()
    });
    let mut table = Table::new(
        format!(
            "Records through the engine: check-ins until a finding is raised, period {PERIOD_S} s, {} keys a row, at most {MOST} check-ins",
            effort.runs
        ),
        &["where", "law", "median / 90 %", "found by 20", "by 50", "by 100"],
    );
    let mut least = (1.0, "");
    for ((name, law, place), found) in kinds.iter().zip(&found) {
        let cell = |share| quantile(found, share).map_or_else(|| "-".to_owned(), |count| format!("{count:.0}"));
        let recall = |most| format!("{:.2}", share_within(found, most));
        table.row([
            place_name(*place).to_owned(),
            (*name).to_owned(),
            format!("{} / {}", cell(0.5), cell(0.9)),
            recall(PROMISED_TURNS),
            recall(50.0),
            recall(100.0),
        ]);
        let is_promised = matches!(law, Law::Sleep { from, to: 1.0 } if *from >= 0.5) && *place == Place::Inside;
        let share = share_within(found, PROMISED_TURNS);
        if is_promised && share <= least.0 {
            least = (share, name);
        }
    }
    section.table(table);
    section.measures.push(Measure::new(
        "timing: keys inside one connection found by a finding at 20 turns, jitter <= 50 %",
        format!(">= {PROMISED}"),
        format!("{:.3} ({})", least.0, least.1),
        least.0 >= PROMISED,
    ));
}

/// Returns the check-in at which the engine first reports the key.
fn findings_after(times: &[f64], place: Place, seed: u64) -> Option<f64> {
    let mut dice = Dice::new(seed);
    let look = Look::Tls { name: Some("status.brightmelon.com".to_owned()) };
    let client = |port: u16| SocketAddr::from(([10, 1, 2, 3], 33_000 + port % 20_000));
    let server = SocketAddr::from(([93, 184, 16, 34], 443));
    let mut wire = Wire::default();
    let mut engine = Engine::new(Config::default());
    let mut kept: Option<Talk> = None;
    for (number, at_s) in times.iter().enumerate() {
        let begins = kept.is_none();
        let mut talk = match kept.take() {
            Some(talk) => talk,
            None => Talk::tcp(&mut wire, at_s - ROUND_TRIP_S, client(number as u16), server, ROUND_TRIP_S),
        };
        let (request, answer) = (dice.whole(300, 900), dice.whole(200, 4_000));
        talk.say(&mut wire, *at_s, By::Client, request as u64, || look.request(begins, request, &mut dice));
        talk.say(&mut wire, at_s + ROUND_TRIP_S, By::Server, answer as u64, || {
            look.answer(begins, answer.min(1_400), &mut dice)
        });
        match place {
            Place::Inside => kept = Some(talk),
            Place::Across => talk.close(&mut wire, at_s + 0.1, By::Client, ROUND_TRIP_S),
        }
        let mut is_found = false;
        // A turn is heard when its name is, or some seconds later.
        let until_s = times.get(number + 1).map_or(at_s + 60.0, |next_s| next_s - 0.5);
        wire.feed(until_s, &mut engine, &mut |command| is_found |= matches!(command, Command::Report(_)));
        if is_found {
            return Some(number as f64 + 1.0);
        }
    }
    None
}
