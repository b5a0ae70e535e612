//! How fast history is written and asked: flows out of a seeded, uneven distribution, through the writer itself.
//!
//! `make bench-history` prints one Markdown table: the p50 and p99 of each indexed question beside its limit; then
//! flows written a second and bytes given to files for each, in full batches and in those of a quiet host; and what
//! telling an ended flow costs with and without history. `--rows 10000000`, `--gate` fails when a limit is missed.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use netd::store::events::{Event, Events};
use netd::store::history::{History, Limits, Writer};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

mod flows;
mod questions;

use flows::{BEGIN, row};

const SEED: u64 = 1;
const ROWS: u64 = 1_000_000;
/// Flows of one transaction, at most: the daemon's.
const BATCH: u64 = 8_192;
/// Flows of half a second where 128 end in one, after which the daemon writes them, and how many of these are written.
const SMALL_BATCH: u64 = 64;
const SMALL_ROWS: u64 = 61_440;
/// Given to files for a flow, in full batches and in small ones, KB.
const LIMIT_KB: f64 = 5.0;
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
    let (history, mut writer, cost) = fill(folder.path(), rows)?;
    // They leave most of a segment unsorted where `rows` leaves little, which is the worst that a question can find.
    let small = trickle(&mut writer, rows)?;
    let holds = questions::ask(&history, rows + SMALL_ROWS, &mut out)?;
    let report = history.report();
    let each = report.bytes as f64 / report.flows as f64;
    writeln!(out, "\n{rows} flows, {each:.0} bytes each; {cost}")?;
    writeln!(out, "as of a quiet host, {SMALL_BATCH} at a time: {small}")?;
    let is_cheap = [cost, small].iter().all(|cost| cost.each_kb()[0] <= LIMIT_KB);
    let (alone, heard) = (telling(false), telling(true));
    writeln!(out, "telling an ended flow: {alone:.0} ns without history, {heard:.0} ns with it")?;
    ensure!(!gates || holds, "a question misses its limit");
    ensure!(!gates || is_cheap, "writing a flow costs more than {LIMIT_KB} KB");
    Ok(())
}

/// What writing flows took.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    flows: u64,
    took: Duration,
    longest: Duration,
    /// Given to the kernel's file cache, and what of the cache was to go to the disk.
    bytes: [u64; 2],
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [given, dirtied] = self.each_kb();
        let (rate, longest) = (self.flows as f64 / self.took.as_secs_f64(), self.longest.as_secs_f64());
        write!(
            f,
            "{rate:.0} written a second, {given:.2} KB given to files and {dirtied:.2} KB to the disk for each, "
        )?;
        write!(f, "the longest batch {longest:.2} s")
    }
}

impl Cost {
    fn each_kb(&self) -> [f64; 2] {
        self.bytes.map(|bytes| bytes as f64 / self.flows as f64 / 1e3)
    }

    /// Writes a batch, and adds what it took.
    fn write(&mut self, writer: &mut Writer, batch: &[Arc<netd::store::Row>]) -> Result<()> {
        let (before, begun) = (disk_writes()?, Instant::now());
        self.flows += writer.write(BEGIN, batch)?;
        let (took, after) = (begun.elapsed(), disk_writes()?);
        self.took += took;
        self.longest = self.longest.max(took);
        self.bytes = [0, 1].map(|at| self.bytes[at] + after[at] - before[at]);
        Ok(())
    }
}

/// Returns the bytes that this process has given to files, and those of pages that it made dirty.
fn disk_writes() -> Result<[u64; 2]> {
    let told = std::fs::read_to_string("/proc/self/io")?;
    let number = |name: &str| {
        let line =
            told.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in {told}"));
        line.and_then(|number| Ok(number.trim().parse()?))
    };
    Ok([number("wchar:")?, number("write_bytes:")?])
}

/// Writes flows in full batches.
fn fill(folder: &Path, rows: u64) -> Result<(History, Writer, Cost)> {
    let limits = Limits { retention: Duration::from_secs(365 * 86_400), bytes: 1 << 40 };
    let (history, mut writer) = History::open(folder, limits, None, 1)?;
    let mut dice = ChaCha8Rng::seed_from_u64(SEED);
    let mut cost = Cost::default();
    while cost.flows < rows {
        let size = (rows - cost.flows).min(BATCH);
        let batch: Vec<_> = (cost.flows..cost.flows + size).map(|at| row(at, &mut dice)).collect();
        cost.write(&mut writer, &batch)?;
        if (cost.flows / BATCH).is_multiple_of(128) {
            writeln!(std::io::stderr(), "{} written: {cost}", cost.flows)?;
        }
    }
    Ok((history, writer, cost))
}

/// Writes more flows, few at a time.
fn trickle(writer: &mut Writer, rows: u64) -> Result<Cost> {
    let mut dice = ChaCha8Rng::seed_from_u64(SEED + 1);
    let mut cost = Cost::default();
    while cost.flows < SMALL_ROWS {
        let first = rows + cost.flows;
        let batch: Vec<_> = (first..first + SMALL_BATCH).map(|at| row(at, &mut dice)).collect();
        cost.write(writer, &batch)?;
    }
    Ok(cost)
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
