//! The questions: each kind of indexed filter, and the names, and the pairs of filters, that are hardest to find.

use std::time::Instant;

use anyhow::{Context as _, Result};
use netd::query::{Query, Table};
use netd::store::history::{History, Interrupt, Scores};
use netd_engine::time::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::SEED;
use super::flows::{
    BEGIN, BIG, EVERYWHERE, ONCE, TUNNEL, comm, community, name, originator, port, rare_name, responder, start,
    tunnel_name,
};

/// Of an indexed question, milliseconds.
const LIMIT_MS: f64 = 100.0;
const QUESTIONS: usize = 200;
const PAGE: usize = 100;

/// Makes a question about so many rows.
type Text = fn(&mut ChaCha8Rng, u64) -> String;

const KINDS: &[(&str, Text)] = &[
    ("newest", |_, _| String::new()),
    ("since, 15 minutes", |_, rows| format!("since:{}", time(start(rows), 900))),
    ("until, half way back", |_, rows| format!("until:{}", half(rows))),
    ("responder address", |dice, _| format!("dst:{}", responder(dice))),
    ("originator address", |dice, _| format!("src:{}", originator(dice))),
    ("either address", |dice, _| format!("ip:{}", responder(dice))),
    ("responder address, common port", |dice, _| format!("dst:{} port:443", responder(dice))),
    ("port", |dice, _| format!("port:{}", port(dice))),
    ("rare port", |dice, _| format!("port:{}", dice.random_range(32_768..60_999))),
    ("process name", |dice, _| format!("proc:{}", comm(dice))),
    ("community id", |dice, rows| format!("community_id:{}", community(dice.random_range(0..rows)))),
    ("name and below", |dice, _| format!("name:{}", name(dice))),
    ("a site's names", |dice, _| format!("name:*.site-{}.example", dice.random_range(0..20_000))),
    ("a name that a tenth of all flows have", |_, _| format!("name:{EVERYWHERE}")),
    ("a large zone", |_, _| format!("name:{BIG}")),
    ("a rare name of a large zone", |dice, _| format!("name:{}", rare_name(dice.random_range(0..1_600_000)))),
    ("no name of a large zone", |dice, _| format!("name:none-{}.{BIG}", dice.random::<u8>())),
    ("a tunnel's names, each of a flow", |_, _| format!("name:{TUNNEL}")),
    ("one of a tunnel's names", |dice, rows| {
        format!("name:{}", tunnel_name(dice.random_range(0..rows / 100).max(200) * 100 + 20))
    }),
    ("names of a flow each, long ago", |_, rows| format!("name:{ONCE} until:{}", half(rows))),
    ("everything below a last label", |_, _| "name:test".into()),
    ("a large zone, half way back", |_, rows| format!("name:{BIG} until:{}", half(rows))),
    ("a large zone, rare port", |dice, _| format!("name:{BIG} port:{}", dice.random_range(32_768..60_999))),
    ("a large zone, responder address", |dice, _| format!("name:{BIG} dst:{}", responder(dice))),
    ("a large zone, process name", |dice, _| format!("name:{BIG} proc:{}", comm(dice))),
    ("common name, rare originator and port", |dice, _| {
        format!("name:{EVERYWHERE} port:443 src:10.0.{}.{}", dice.random_range(8..15), dice.random::<u8>())
    }),
];

/// Asks each kind of question many times, and prints its row; returns whether all are within the limit.
pub(crate) fn ask(history: &History, rows: u64, out: &mut impl std::io::Write) -> Result<bool> {
    let mut all = true;
    for (kind, text) in KINDS {
        let mut dice = ChaCha8Rng::seed_from_u64(SEED ^ 0x51);
        let mut times = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let text = text(&mut dice, rows);
            let begun = Instant::now();
            let query = Query::parse(Table::Flows, &text, BEGIN).with_context(|| text.clone())?;
            history.reader.page(&query, None, PAGE, &Scores::new(), &Interrupt::default())?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (median, p99) = (times[QUESTIONS / 2], times[QUESTIONS * 99 / 100]);
        let met = p99 <= LIMIT_MS;
        all &= met;
        let said = if met { "pass" } else { "**miss**" };
        writeln!(out, "| {kind} | {median:.2} ms | {p99:.2} ms | <= {LIMIT_MS:.0} ms | {said} |")?;
    }
    Ok(all)
}

fn half(rows: u64) -> String {
    time(BEGIN.0 + (start(rows) - BEGIN.0) / 2, 0)
}

fn time(ns: u64, seconds_before: u64) -> String {
    netd::time::rfc3339(Timestamp(ns - seconds_before * 1_000_000_000))
}
