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
    let sizes = if options.quick { &[10_000_u32, 100_000][..] } else { &[10_000, 100_000, 1_000_000] };
    for &pairs in sizes {
        let turns = 4_000_000_u32.div_ceil(pairs).clamp(12, 40);
        let before = resident_bytes()?;
        let mut engine = Engine::new(Config {
            flows: Flows { limit: 2 * pairs as usize, ..Flows::default() },
            histories: Histories { limit: 3 * pairs as usize },
            ..Config::default()
        });
        let time_ns = feed(&mut engine, pairs, turns);
        let bytes = resident_bytes()?.saturating_sub(before) as f64;
        let total = f64::from(pairs) * f64::from(turns);
        let histories = engine.counts().histories;

        let per_second = total / time_ns * 1_000.0;
        let raw = format!("{:.0} ns a turn, {turns} turns a pair, half of them regular", time_ns / total);
        let figure = Figure { value: per_second, median: per_second };
        report.row(format!("engine, {pairs} pairs"), raw).end(figure, " M turns/s", Goal::AtLeast(1.0), Noisy);
        let each = bytes / f64::from(pairs);
        let raw = format!("{:.0} MiB resident, {histories} histories, conversations included", bytes / 1_048_576.0);
        let figure = Figure { value: each, median: each };
        report.row(format!("engine, {pairs} pairs: bytes a pair"), raw).end(figure, " B", Goal::AtMost(600.0), Noisy);
    }
    Ok(())
}

/// Feeds every pair a turn a minute, and returns the CPU time that took.
fn feed(engine: &mut Engine, pairs: u32, turns: u32) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut busy = 0.0;
    let mut records = Vec::with_capacity(pairs as usize);
    for turn in 0..turns {
        records.clear();
        records.extend((0..pairs).map(|pair| {
            // Every other pair is a timer with a jitter of a tenth; the others turn up at any time of the minute.
            let spread = if pair % 2 == 0 { PERIOD_NS / 10 } else { PERIOD_NS };
            record(pair, u64::from(turn) * PERIOD_NS + random.random_range(0..spread))
        }));
        records.sort_by_key(|record: &TurnRecord| record.header.time_ns);
        let begin = thread_time();
        for record in &records {
            engine.observe_turn(record);
        }
        engine.tick(Timestamp(u64::from(turn + 1) * PERIOD_NS));
        while engine.poll_command().is_some() {}
        busy += (thread_time() - begin).as_nanos() as f64;
    }
    busy
}

fn record(pair: u32, time_ns: u64) -> TurnRecord {
    let time_ns = time_ns + SECOND_NS;
    let a = Address::v4((10 << 24 | pair >> 4).to_be_bytes());
    let b = Address::v4((203 << 24 | (pair & 15)).to_be_bytes());
    TurnRecord {
        header: Header { kind: Kind::Turn as u16, cpu: 0, len: size_of::<TurnRecord>() as u32, time_ns },
        key: ConversationKey {
            a,
            b,
            a_port: 50_000_u16.to_be_bytes(),
            b_port: 443_u16.to_be_bytes(),
            proto: 6,
            pad: [0; 3],
        },
        payload: [400, 400],
        first_ns: SECOND_NS / 2,
        idle_ns: 20 * SECOND_NS,
        first_len: 200,
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
