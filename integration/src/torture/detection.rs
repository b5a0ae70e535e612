//! Faults of clocks, restarts and memory: what the detectors remember stays true. These rows drive the engine itself
//! with the records that the pipeline would give it, in the time of the records, because hours must pass.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use netd_common::key::{Address, ConversationKey};
use netd_engine::config::{Config, Flows, Histories};
use netd_engine::engine::Followed;

use super::feed::{Feed, SECOND};
use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::Lab;
use crate::traffic::dice::Dice;

pub const ROWS: &[Row] = &[
    Row {
        id: "T50",
        fault: "the wall clock an hour, a day, a leap second off; suspend (engine)",
        goal: "scores identical to the bit",
        play: clocks,
    },
    Row {
        id: "T54",
        fault: "a restart in the middle of a 6 h series (engine); a damaged snapshot (daemon)",
        goal: "score and evidence differ < 2 %; set aside",
        play: restart,
    },
    Row {
        id: "T55",
        fault: "10^6 pairs, one host to 10^5 destinations (engine)",
        goal: "memory <= what the limits say; beacons among them found",
        play: crowd,
    },
    Row {
        id: "T23",
        fault: "keys that collide under a fixed hash (engine); seeds of the kernel's maps (daemon)",
        goal: "insert p99 < 3x random keys; no zero seed",
        play: collisions,
    },
];

const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// The kernel's clock when a series begins, and Unix time minus that.
const BOOTED: u64 = 40 * HOUR;
const UNIX: u64 = 1_800_000_000 * SECOND;
const IMPLANT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 7));

/// Returns the times of a beacon of 60 s with 20 % jitter for `lasts` nanoseconds, by the kernel's clock.
fn beats(lasts: u64, seed: u64) -> Vec<u64> {
    let mut dice = Dice::new(seed);
    let mut at_ns = BOOTED;
    let mut times = Vec::new();
    while at_ns < BOOTED + lasts {
        times.push(at_ns);
        at_ns += (60e9 * dice.between(0.8, 1.0)) as u64;
    }
    times
}

fn c2(number: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(u32::from_be_bytes([198, 51, 100, 0]) + number), 443).into()
}

/// Checks in with server `number` over a connection of its own.
fn check_in(feed: &mut Feed, number: u32, turn: usize, at_ns: u64) {
    let port = 20_000 + (number as usize * 997 + turn) % 40_000;
    feed.connection((IMPLANT, port as u16).into(), c2(number), at_ns);
}

/// What a beacon amounts to, to the last bit: all scores that were told, and what is known of the rhythm.
fn verdict_of(feed: &Feed) -> Result<(Vec<u64>, Followed)> {
    let scores = feed.findings.iter().map(|finding| finding.score.to_bits()).collect();
    let followed = feed.followed(c2(9).ip()).into_iter().next().context("the beacon is not followed")?;
    Ok((scores, followed))
}

/// Three hours of a beacon, under a wall clock that was `offset_ns` ahead of the kernel's when the daemon started.
fn under_clock(offset_ns: u64) -> Result<(Vec<u64>, u64, [u32; 2])> {
    let mut feed = Feed::new(Config::default(), offset_ns);
    for (turn, at_ns) in beats(3 * HOUR, 50).into_iter().enumerate() {
        check_in(&mut feed, 9, turn, at_ns);
        feed.tick(at_ns + SECOND);
    }
    let (scores, followed) = verdict_of(&feed)?;
    Ok((scores, followed.ln_e.to_bits(), followed.turns))
}

/// The daemon measures the offset once a run; records and ticks have the kernel's clock, which neither a step of the
/// wall clock nor suspend moves. So a step shows as another offset of another run, and as nothing within one.
fn clocks(_: Setting) -> Result<Outcome> {
    let expected = under_clock(UNIX)?;
    ensure!(!expected.0.is_empty(), "the beacon was not found");
    let day = 24 * HOUR;
    let offsets = [UNIX + HOUR, UNIX - HOUR, UNIX + day, UNIX - day, UNIX + SECOND, UNIX - SECOND, UNIX + 7, 0];
    let mut differing = 0;
    for offset_ns in offsets {
        differing += u32::from(under_clock(offset_ns)? != expected);
    }
    let measured = format!(
        "{differing} of {} clocks differ in scores, evidence or turns ({} turns, {} reports)",
        offsets.len(),
        expected.2[0],
        expected.0.len(),
    );
    Ok(Outcome { measured, holds: differing == 0 })
}

/// Six hours of a beacon; restarts `times` times on the way, each time with the snapshot of up to a minute before and
/// after `away_ns` without a watch.
fn series(restarts: u64, away_ns: u64) -> Result<(f64, Followed)> {
    let mut feed = Feed::new(Config::default(), UNIX);
    let lasts = 6 * HOUR;
    let mut due = (1..=restarts).map(|n| BOOTED + n * lasts / (restarts + 1)).peekable();
    let (mut snapshot, mut saved_ns) = (Vec::new(), BOOTED);
    let mut until = 0;
    for (turn, at_ns) in beats(lasts, 54).into_iter().enumerate() {
        while saved_ns + MINUTE <= at_ns {
            saved_ns += MINUTE;
            feed.tick(saved_ns);
            snapshot = feed.engine.snapshot();
        }
        if due.next_if(|due| *due <= at_ns).is_some() {
            // Killed right before its next snapshot: what came since the last one is lost.
            until = at_ns + away_ns;
            feed = Feed::new(Config::default(), UNIX);
            feed.engine.restore(&snapshot, netd_engine::time::Timestamp(UNIX + until)).context("a snapshot")?;
        }
        if at_ns >= until {
            check_in(&mut feed, 9, turn, at_ns);
            feed.tick(at_ns + SECOND);
        }
    }
    let followed = verdict_of(&feed)?.1;
    let score = followed.would_be.as_ref().context("no rhythm is known")?.score;
    Ok((score, followed))
}

fn restart(setting: Setting) -> Result<Outcome> {
    let (whole, before) = series(0, 0)?;
    let (once, after) = series(1, 30 * SECOND)?;
    let apart = |a: f64, b: f64| 100.0 * (a - b).abs() / a.abs();
    let (score, evidence) = (apart(whole, once), apart(before.ln_e, after.ln_e));
    let (often, _) = series(setting.amount(20, 5), 30 * SECOND)?;

    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    let file = daemon.path("state/histories.state");
    let bytes = fs::read(&file).context("the daemon saved no histories")?;
    let mut aside = 0;
    let halves = [&bytes[..bytes.len() / 2], b"netd-state 1 3 00\n\xff\xff\xff".as_slice(), &[0; 4_096]];
    for hostile in halves {
        fs::write(&file, hostile)?;
        daemon.again(&[])?;
        aside += u32::from(daemon.log().contains("saved state is damaged"));
        ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    }
    let measured = format!(
        "score {score:.3} % apart, ln E {evidence:.2} % ({} of {} turns); after {} restarts {:.3} % apart; {aside} of {} damaged files set aside",
        after.turns[0],
        before.turns[0],
        setting.amount(20, 5),
        apart(whole, often),
        halves.len(),
    );
    let holds = score < 2.0 && evidence < 2.0 && apart(whole, often) < 2.0 && aside == halves.len() as u32;
    Ok(Outcome { measured, holds })
}

/// Bytes of a conversation and a history, as the configuration promises them, with a quarter for the tables that find
/// them; and of all that has limits of its own.
const PER_CONVERSATION: u64 = 530;
const PER_HISTORY: u64 = 1_424;
const REST: u64 = 64 << 20;
/// Beacons in the crowd. They begin with it, when nothing tells them from it.
const BEACONS: u32 = 10;

fn crowd(setting: Setting) -> Result<Outcome> {
    let pairs = setting.amount(1_000_000_u32, 60_000);
    let (conversations, histories) = setting.amount((262_144, 65_536), (16_384, 4_096));
    let config = Config {
        flows: Flows { limit: conversations, ..Flows::default() },
        histories: Histories { limit: histories },
        ..Config::default()
    };
    let cap = (conversations as u64 * PER_CONVERSATION + histories as u64 * PER_HISTORY) * 5 / 4 + REST;
    let before = resident()?;
    let mut feed = Feed::new(config, UNIX);
    let times = beats(HOUR, 55);
    let share = pairs / times.len() as u32 + 1;
    let (mut number, mut most) = (0, 0);
    for (turn, at_ns) in times.iter().enumerate() {
        for beacon in 0..BEACONS {
            check_in(&mut feed, beacon, turn, at_ns + u64::from(beacon) * SECOND);
        }
        for of_these in 0..share {
            // One in ten is of a single host, which ends with a tenth of all destinations.
            let host = if of_these % 10 == 0 { 1 } else { 2 + number % 250 };
            let from = (Ipv4Addr::new(10, 77, 1, host as u8), 1_024 + (number % 60_000) as u16);
            let to = (Ipv4Addr::from_bits(u32::from_be_bytes([203, 0, 0, 0]) + number), 443);
            feed.connection(
                from.into(),
                to.into(),
                at_ns + 12 * SECOND + u64::from(of_these) * 30 * SECOND / u64::from(share),
            );
            number += 1;
        }
        feed.tick(at_ns + 45 * SECOND);
        most = most.max(resident()?.saturating_sub(before));
    }
    let found = |beacon: &u32| feed.findings.iter().any(|finding| finding.pair.responder == c2(*beacon).ip());
    let found = (0..BEACONS).filter(found).count();
    let counts = feed.engine.counts();
    let measured = format!(
        "{found} of {BEACONS} beacons found among {number} pairs; {} MiB of {} MiB; {} of {histories} histories, {} gave way",
        most >> 20,
        cap >> 20,
        counts.histories,
        counts.histories_evicted,
    );
    let is_bounded = most <= cap && counts.histories <= histories as u64;
    Ok(Outcome { measured, holds: is_bounded && found == BEACONS as usize })
}

/// Returns the bytes of this process that are in memory.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}

/// SipHash under a key that everybody knows.
type Fixed = BuildHasherDefault<DefaultHasher>;

fn collisions(setting: Setting) -> Result<Outcome> {
    let (wanted, bits) = setting.amount((100_000, 10), (8_000, 6));
    // What somebody finds who knows the hash and its seed: keys whose numbers end alike.
    let is_chosen = |key: &ConversationKey| hash(&Fixed::default(), key).trailing_zeros() >= bits;
    let chosen: Vec<_> = (0..).map(key).filter(is_chosen).take(wanted).collect();
    let random: Vec<_> = (0..).map(|number| key(number * 977 + 13)).take(wanted).collect();
    let control = [&random, &chosen].map(|keys| {
        p99(keys, HashMap::<_, _, Fixed>::default(), |map, key| {
            let _ = map.insert(Keyed(key), ());
        })
    });
    // The least of several: whatever else runs on the machine disturbs it upwards.
    let engine = |keys: &[ConversationKey]| {
        let play = |_| {
            let config = Config { flows: Flows { limit: 2 * wanted, ..Flows::default() }, ..Config::default() };
            p99(keys, Feed::new(config, UNIX), |feed, key| feed.begin(key, BOOTED))
        };
        (0..3).map(play).min().unwrap_or_default()
    };
    let [for_random, for_chosen] = [engine(&random), engine(&chosen)];
    let times = |[a, b]: [Duration; 2]| b.as_secs_f64() / a.as_secs_f64();
    let ratio = times([for_random, for_chosen]);

    let lab = Lab::gateway()?;
    let _daemon = Daemon::start(&lab, Setup::default())?;
    let (maps, zero) = seeds(&lab)?;
    let measured = format!(
        "{wanted} keys: p99 {for_random:.1?} random, {for_chosen:.1?} colliding, {ratio:.2}x (a table of a fixed hash: {:.1}x); {zero} of {maps} pinned maps with a zero seed",
        times(control),
    );
    Ok(Outcome { measured, holds: ratio < 3.0 && maps > 0 && zero == 0 })
}

/// A key as the engine's table has it: hashed in one write.
#[derive(PartialEq, Eq)]
struct Keyed(ConversationKey);

impl std::hash::Hash for Keyed {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write(&bytes(&self.0));
    }
}

fn bytes(key: &ConversationKey) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&key.a.0);
    bytes[16..32].copy_from_slice(&key.b.0);
    bytes[32..34].copy_from_slice(&key.a_port);
    bytes[34..36].copy_from_slice(&key.b_port);
    bytes[36] = key.proto;
    bytes
}

fn hash(state: &impl BuildHasher, key: &ConversationKey) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(&bytes(key));
    hasher.finish()
}

/// One host to one service of all others: what an attacker can choose freely.
fn key(number: u64) -> ConversationKey {
    let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
    ConversationKey {
        a: Address::v4([10, 77, 0, 7]),
        b: Address::v4([20 + (a & 63), c, d, e]),
        a_port: [b | 0x80, f],
        b_port: 443_u16.to_be_bytes(),
        proto: 6,
        pad: [0; 3],
    }
}

/// Returns the 99th percentile of the time that an insertion takes.
fn p99<T>(keys: &[ConversationKey], mut into: T, insert: impl Fn(&mut T, ConversationKey)) -> Duration {
    let mut took: Vec<_> = keys
        .iter()
        .map(|key| {
            let begun = Instant::now();
            insert(&mut into, *key);
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// Counts the pinned maps, and those that were made with a seed of zero.
fn seeds(lab: &Lab) -> Result<(usize, usize)> {
    const ZERO_SEED: u64 = 1 << 6;
    let pins = super::continuity::pins(lab, "maps")?;
    let mut zero = 0;
    for pin in &pins {
        let told = super::continuity::bpftool(lab, &["-j", "map", "show", "pinned", pin])?;
        let told: serde_json::Value = serde_json::from_str(&told).with_context(|| format!("bpftool of {pin}"))?;
        let flags = told["flags"].as_u64().with_context(|| format!("{pin} without flags: {told}"))?;
        zero += usize::from(flags & ZERO_SEED != 0);
    }
    Ok((pins.len(), zero))
}
