//! How fast history is written and asked: flows out of a seeded, uneven distribution, through the writer itself.
//!
//! `make bench-history` prints one Markdown table: the p50 and p99 of each indexed question beside its limit, rows
//! written a second, and what telling an ended flow costs with and without history. `--rows 10000000`, `--gate` fails
//! when a limit is missed.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use netd::query::{Query, Table};
use netd::store::events::{Event, Events};
use netd::store::history::{History, Interrupt, Limits, Scores};
use netd::store::{Row, Written};
use netd_engine::flow::{Conversation, EndReason, NameSource, Protocol, Sent, Tls};
use netd_engine::process::{Process, ProcessId};
use netd_engine::time::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 1;
const ROWS: u64 = 1_000_000;
/// Flows of one transaction, as the daemon's.
const BATCH: usize = 8_192;
/// Of an indexed question, milliseconds.
const LIMIT_MS: f64 = 100.0;
const QUESTIONS: usize = 200;
const PAGE: usize = 100;
const BEGIN: Timestamp = Timestamp(1_800_000_000_000_000_000);
/// Flows told for the cost of telling.
const TOLD: u64 = 200_000;

fn main() -> Result<()> {
    let (mut rows, mut gates) = (ROWS, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // From cargo.
            "--bench" | "--test" => {}
            "--rows" => rows = words.next().context("--rows wants a number")?.parse()?,
            "--gate" => gates = true,
            other => bail!("{other} is no option: --rows NUMBER, --gate"),
        }
    }
    let folder = tempfile::tempdir()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "| figure | p50 | p99 | limit | |\n|---|---|---|---|---|")?;
    let (history, took) = fill(folder.path(), rows)?;
    let holds = ask(&history, rows, &mut out)?;
    let report = history.report();
    let each = report.bytes as f64 / rows as f64;
    writeln!(out, "\n{rows} flows, {each:.0} bytes each, {:.0} written a second", rows as f64 / took.as_secs_f64())?;
    let (alone, heard) = (telling(false), telling(true));
    writeln!(out, "telling an ended flow: {alone:.0} ns without history, {heard:.0} ns with it")?;
    ensure!(!gates || holds, "a limit is missed");
    Ok(())
}

/// Writes flows, and returns how long the writer worked.
fn fill(folder: &Path, rows: u64) -> Result<(History, Duration)> {
    let limits = Limits { retention: Duration::from_secs(365 * 86_400), bytes: 1 << 40 };
    let (history, mut writer) = History::open(folder, limits, None, 1)?;
    let mut dice = ChaCha8Rng::seed_from_u64(SEED);
    let (mut took, mut written) = (Duration::ZERO, 0);
    while written < rows {
        let size = (rows - written).min(BATCH as u64);
        let batch: Vec<_> = (written..written + size).map(|at| row(at, &mut dice)).collect();
        let begun = Instant::now();
        written += writer.write(BEGIN, &batch)?;
        took += begun.elapsed();
        if (written / BATCH as u64).is_multiple_of(128) {
            writeln!(std::io::stderr(), "{written} written, {:.0} a second", written as f64 / took.as_secs_f64())?;
        }
    }
    Ok((history, took))
}

/// Makes a question about so many rows.
type Text = fn(&mut ChaCha8Rng, u64) -> String;

/// Asks each kind of question many times, and prints its row; returns whether all are within the limit.
fn ask(history: &History, rows: u64, out: &mut impl std::io::Write) -> Result<bool> {
    let kinds: [(&str, Text); 12] = [
        ("newest", |_, _| String::new()),
        ("since, 15 minutes", |_, rows| format!("since:{}", time(last(rows), 900))),
        ("until, half way back", |_, rows| format!("until:{}", time(BEGIN.0 + (last(rows) - BEGIN.0) / 2, 0))),
        ("responder address", |dice, _| format!("dst:{}", responder(dice))),
        ("originator address", |dice, _| format!("src:{}", originator(dice))),
        ("either address", |dice, _| format!("ip:{}", responder(dice))),
        ("responder address, common port", |dice, _| format!("dst:{} port:443", responder(dice))),
        ("port", |dice, _| format!("port:{}", port(dice))),
        ("rare port", |dice, _| format!("port:{}", dice.random_range(32_768..60_999))),
        ("process name", |dice, _| format!("proc:{}", comm(dice))),
        ("name and below", |dice, _| format!("name:{}", name(dice))),
        ("community id", |dice, rows| {
            let at = dice.random_range(0..rows);
            format!("community_id:{}", community(at))
        }),
    ];
    let mut all = true;
    for (kind, text) in kinds {
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

/// Returns nanoseconds that telling one flow takes, with a listener as history is one or without.
fn telling(is_heard: bool) -> f64 {
    let events = Events::default();
    let mut listener = is_heard.then(|| events.listen());
    let mut dice = ChaCha8Rng::seed_from_u64(SEED);
    let row = row(1, &mut dice);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        for _ in 0..TOLD {
            events.tell(|| Event::Flow(Arc::clone(&row)));
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e9 / TOLD as f64);
        // A new listener begins at the end: what lags is dropped by the channel itself.
        listener = listener.map(|_| events.listen());
    }
    drop(listener);
    best
}

/// A day's flows come evenly, whatever their number.
fn start(at: u64) -> u64 {
    BEGIN.0 + at * 8_000_000
}

fn last(rows: u64) -> u64 {
    start(rows)
}

fn time(ns: u64, seconds_before: u64) -> String {
    netd::time::rfc3339(Timestamp(ns - seconds_before * 1_000_000_000))
}

/// Most of few, few of many: the square of an even number leans to the first.
fn skewed(dice: &mut ChaCha8Rng, most: u32) -> u32 {
    let even: f64 = dice.random();
    (even.powi(4) * f64::from(most)) as u32
}

fn originator(dice: &mut ChaCha8Rng) -> IpAddr {
    (0x0a00_0000 + skewed(dice, 4_000)).to_be_bytes().into()
}

fn responder(dice: &mut ChaCha8Rng) -> IpAddr {
    (0xc612_0000 + skewed(dice, 120_000)).to_be_bytes().into()
}

fn port(dice: &mut ChaCha8Rng) -> u16 {
    [443, 443, 443, 443, 80, 53, 53, 22, 123, 8_443][dice.random_range(0..10)]
}

fn comm(dice: &mut ChaCha8Rng) -> String {
    let names = ["firefox", "curl", "nginx", "sshd", "python3", "postgres", "chronyd", "dnf", "java", "node"];
    let number = skewed(dice, 200) as usize;
    names.get(number).map_or_else(|| format!("job-{number}"), |name| (*name).to_owned())
}

fn name(dice: &mut ChaCha8Rng) -> String {
    format!("h{}.site-{}.example", skewed(dice, 50), skewed(dice, 20_000))
}

fn community(at: u64) -> String {
    // 20 bytes of which the first are spread, as a digest's are.
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letters = (0..26).map(|_| {
        state ^= state >> 27;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(LETTERS[(state >> 58) as usize])
    });
    format!("1:{}A=", letters.collect::<String>())
}

fn row(at: u64, dice: &mut ChaCha8Rng) -> Arc<Row> {
    let start = Timestamp(start(at));
    let length = 1_000_000 + u64::from(skewed(dice, 1_200_000)) * 1_000_000;
    let end = Timestamp(start.0 + length);
    let comm = comm(dice);
    let has_name = dice.random_bool(0.7);
    let conversation = Conversation {
        start,
        end,
        duration_s: end.secs_since(start),
        originator: originator(dice),
        originator_port: dice.random_range(32_768..60_999),
        responder: responder(dice),
        responder_port: port(dice),
        protocol: if dice.random_bool(0.8) { 6 } else { 17 },
        originated: Sent { packets: 9, bytes: skewed(dice, 1 << 20).into(), payload: 400, flags: 0x1b },
        responded: Sent { packets: 12, bytes: skewed(dice, 1 << 24).into(), payload: 9_000, flags: 0x1b },
        turns: 2,
        state: "SF",
        end_reason: EndReason::Closed,
        community_id: Some(community(at)),
        name: has_name.then(|| name(dice)),
        name_source: if has_name { NameSource::Sni } else { NameSource::None },
        service: Some(Protocol::Tls),
        alpn: Some("h2".into()),
        ja4: Some(format!("t13d1516h2_8daaf6152771_{:012x}", skewed(dice, 300))),
        tls: Tls::default(),
        encrypted_dns: None,
        process: Some(Process {
            id: ProcessId { pid: 1_000 + skewed(dice, 4_000), start_ticks: 1 },
            uid: 1_000,
            exe: Some(format!("/usr/bin/{comm}")),
            comm,
            ..Process::default()
        }),
        responder_process: None,
        vlan: 0,
        ifindex: 2,
        rule: 0,
    };
    Arc::new(Row { sequence: start.0 / 1_000, conversation, ended: None, written: Written::default() })
}
