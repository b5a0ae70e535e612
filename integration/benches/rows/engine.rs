//! Turns into the engine: how fast, and what a pair costs to remember.

use anyhow::{Context as _, Result};
use netd_common::{
    key::{Address, ConversationKey},
    record::{Header, Kind, TurnRecord, state},
};
use netd_engine::{
    Engine,
    config::{Config, Flows, Histories},
    time::Timestamp,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    kernel::thread_time,
    options::Options,
    race::Figure,
    report::{Goal, Noisy, Report},
};

const SECOND_NS: u64 = 1_000_000_000;
const PERIOD_NS: u64 = 60 * SECOND_NS;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let sizes = if options.quick { &[10_000, 100_000][..] } else { &[10_000, 100_000, 1_000_000] };
    for &pairs in sizes {
        run(report, pairs, Timers::OneIn(100), "one in a hundred a timer", [Goal::AtLeast(1.0), Goal::AtMost(600.0)])?;
    }
    run(report, 10_000, Timers::All, "all of them timers", [Goal::None, Goal::None])
}

fn run(report: &mut Report, pairs: u32, timers: Timers, mix: &str, goals: [Goal; 2]) -> Result<()> {
    let minutes = 4_000_000_u32.div_ceil(pairs).clamp(12, 40);
    // SAFETY: the function has no preconditions. It gives back what the former run freed.
    unsafe { libc::malloc_trim(0) };
    let before = resident_bytes()?;
    let mut engine = Engine::new(Config {
        flows: Flows { limit: 2 * pairs as usize, ..Flows::default() },
        histories: Histories { limit: 3 * pairs as usize },
        ..Config::default()
    });
    let (turns, time_ns) = feed(&mut engine, pairs, minutes, timers);
    let bytes = resident_bytes()?.saturating_sub(before) as f64;
    let counts = engine.counts();

    let per_second = turns / time_ns * 1_000.0;
    let raw = format!("{:.0} ns a turn, {minutes} minutes, {} findings", time_ns / turns, counts.findings);
    let figure = Figure { value: per_second, median: per_second };
    report.row(format!("engine, {pairs} pairs, {mix}"), raw).end(figure, " M turns/s", goals[0], Noisy);
    let each = bytes / f64::from(pairs);
    let raw = format!(
        "{:.0} MiB resident for {} histories and {} conversations",
        bytes / 1_048_576.0,
        counts.histories,
        counts.conversations
    );
    let figure = Figure { value: each, median: each };
    report.row(format!("the same: bytes a pair, {pairs} pairs"), raw).end(figure, " B", goals[1], Noisy);
    Ok(())
}

/// Feeds every pair about a turn a minute, and returns how many turns that were and the CPU time they took.
fn feed(engine: &mut Engine, pairs: u32, minutes: u32, timers: Timers) -> (f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut talks: Vec<Talk> = (0..pairs)
        .map(|_| Talk { next_ns: random.random_range(0..PERIOD_NS), idle_ns: SECOND_NS, payload: [0; 2] })
        .collect();
    let mut records = Vec::with_capacity(2 * pairs as usize);
    let (mut turns, mut busy_ns) = (0.0, 0.0);
    for minute in 1..=u64::from(minutes) {
        records.clear();
        for (pair, talk) in (0..).zip(&mut talks) {
            while talk.next_ns < minute * PERIOD_NS {
                let first_len = random.random_range(60..1_400);
                records.push(record(pair, talk, first_len));
                talk.payload[0] += u64::from(first_len);
                talk.payload[1] += random.random_range(60..9_000);
                talk.idle_ns = if timers.includes(pair) {
                    PERIOD_NS - random.random_range(0..PERIOD_NS / 10)
                } else {
                    // Poisson.
                    (-(1.0 - random.random::<f64>()).ln() * PERIOD_NS as f64) as u64 + SECOND_NS
                };
                talk.next_ns += talk.idle_ns;
            }
        }
        records.sort_by_key(|record: &TurnRecord| record.header.time_ns);
        let begin = thread_time();
        for record in &records {
            engine.observe_turn(record);
        }
        engine.tick(Timestamp(minute * PERIOD_NS));
        while engine.poll_command().is_some() {}
        busy_ns += (thread_time() - begin).as_nanos() as f64;
        turns += records.len() as f64;
    }
    (turns, busy_ns)
}

/// Which pairs are timers with a jitter of a tenth; the others turn up when they like.
#[derive(Clone, Copy, Debug)]
enum Timers {
    OneIn(u32),
    All,
}

impl Timers {
    fn includes(self, pair: u32) -> bool {
        match self {
            Self::OneIn(share) => pair.is_multiple_of(share),
            Self::All => true,
        }
    }
}

/// What a pair has said, and when it speaks again.
struct Talk {
    next_ns: u64,
    idle_ns: u64,
    payload: [u64; 2],
}

fn record(pair: u32, talk: &Talk, first_len: u32) -> TurnRecord {
    let time_ns = talk.next_ns + SECOND_NS;
    // A thousand originators, each with responders of its own.
    let (originator, responder) = (pair % 1_000, pair / 1_000 + pair % 1_000 * 1_024);
    TurnRecord {
        header: Header { kind: Kind::Turn as u16, cpu: 0, len: size_of::<TurnRecord>() as u32, time_ns },
        key: ConversationKey {
            a: Address::v4((10 << 24 | originator).to_be_bytes()),
            b: Address::v4((203 << 24 | responder).to_be_bytes()),
            a_port: 50_000_u16.to_be_bytes(),
            b_port: 443_u16.to_be_bytes(),
            proto: 6,
            pad: [0; 3],
        },
        payload: talk.payload,
        first_ns: SECOND_NS / 2,
        idle_ns: talk.idle_ns,
        first_len,
        starter: 0,
        is_first: 0,
        state: state::ORIGINATOR_CERTAIN | state::PAYLOAD,
        pad: 0,
    }
}

fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("cannot read /proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.context("/proc/self/statm has no second field")? * 4_096)
}
