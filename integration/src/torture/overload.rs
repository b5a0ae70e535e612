//! More than there is room for: lists, records, packets, memory.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::continuity::PINS;
use super::group::Group;
use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, NOWHERE, NOWHERE_V6, PEOPLE, v6};
use crate::traffic::flood::{Flood, FlowFlood, Pace};
use crate::traffic::probe::{Passage, datagrams, tuple};
use crate::traffic::sink::{Match, PacketCounter, interface_counters};

pub const ROWS: &[Row] = &[
    Row {
        id: "M03",
        fault: "verdicts by the API while 10^6 entries are put in force",
        goal: "call to kernel: median < 5 ms, at rest and meanwhile",
        play: hurried,
    },
    Row {
        id: "T10",
        fault: "a memory limit far below a list",
        goal: "all or nothing: the old list intact",
        play: starved,
    },
    Row { id: "T20", fault: "nobody reads the ring buffer", goal: "seen = accounted + lost, exactly", play: deaf },
    Row { id: "T22", fault: "a table filled to its limit and beyond", goal: "507, all before intact", play: full },
    Row {
        id: "T24",
        fault: "10^7 entries put in force under traffic",
        goal: "0 leaked, 0 lost, < 30 s",
        play: long_list,
    },
    Row { id: "T40", fault: "one-way packets of spoofed sources", goal: "0 verdicts", play: spoofed },
];

/// How long the largest list may take to be answered for.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// Returns `entries` lines, IPv4 and IPv6 mixed, none of them an address of a laboratory.
pub(super) fn long_text(entries: usize, seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = String::with_capacity(entries * 24);
    let prefixes = entries / 50;
    for number in 0..entries {
        // From 20.0.0.0 to 191.255.255.255.
        let v4 = random.random_range(20 << 24..192 << 24_u32);
        // Writing to a String cannot fail.
        let _ = match number {
            n if n < prefixes => writeln!(text, "{}/28", Ipv4Addr::from(v4 & !15)),
            n if n % 2 == 0 => writeln!(text, "{}", Ipv4Addr::from(v4)),
            _ => {
                let bits = 0x2a00_u128 << 112 | random.random::<u128>() >> 16;
                writeln!(text, "{}", Ipv6Addr::from(bits))
            }
        };
    }
    text
}

pub(super) fn put(daemon: &Daemon, name: &str, text: &str) -> Result<crate::api::Answer> {
    daemon.api().patient(PATIENCE).send("PUT", &format!("/api/v1/blocklists/{name}"), "text/plain", text)
}

/// What is listed all along, and what never is.
pub(super) struct Witnesses {
    pub(super) cut: [(SocketAddr, SocketAddr); 2],
    free: [(SocketAddr, SocketAddr); 2],
}

impl Witnesses {
    pub(super) fn new() -> Self {
        let v4 = |from: Ipv4Addr, to: u32| {
            (SocketAddr::from((from, 5_000)), SocketAddr::from((Ipv4Addr::from(u32::from(NOWHERE) + to), 6_000)))
        };
        let v6_of = |from: Ipv4Addr, to: u128| {
            let to = Ipv6Addr::from(u128::from(NOWHERE_V6) + to);
            (SocketAddr::from((v6(from), 5_000)), SocketAddr::from((to, 6_000)))
        };
        Self { cut: [v4(IMPLANT, 1), v6_of(IMPLANT, 1)], free: [v4(PEOPLE[0], 2), v6_of(PEOPLE[0], 2)] }
    }

    /// Returns whether nothing passes of what is to be cut.
    fn are_cut(&self, lab: &Lab) -> Result<bool> {
        let passages = self.cut.iter().map(|(from, to)| datagrams(lab, *from, *to));
        Ok(passages.collect::<Result<Vec<_>>>()?.iter().all(|passage| *passage == Passage::Cut))
    }

    /// Returns the lines that list what is to be cut: as hosts, or as prefixes that hold it.
    pub(super) fn lines(&self, as_prefixes: bool) -> String {
        let line = |(_, to): &(SocketAddr, SocketAddr)| match (to.ip(), as_prefixes) {
            (ip, false) => format!("{ip}\n"),
            // The neighbour, which is never listed, lies outside.
            (IpAddr::V4(ip), true) => format!("{}/31\n", Ipv4Addr::from(u32::from(ip) & !1)),
            (IpAddr::V6(ip), true) => format!("{}/127\n", Ipv6Addr::from(u128::from(ip) & !1)),
        };
        self.cut.iter().map(line).collect()
    }
}

fn long_list(setting: Setting) -> Result<Outcome> {
    let entries = setting.amount(10_000_000, 200_000);
    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup { listed: 16_000_000, ..Setup::default() })?;
    let witnesses = Witnesses::new();
    let first = put(&daemon, "large", &witnesses.lines(false))?;
    ensure!(first.status == 201, "{first:?}");
    let texts = [true, false].map(|prefixes| witnesses.lines(prefixes) + &long_text(entries, u64::from(prefixes)));

    lab.lan().queue("eth0")?;
    lab.watched().queue("wan0")?;
    let overrun_before = overrun(&lab)?;
    let count = |(from, to)| PacketCounter::start(lab.wan(), "eth0", tuple(from, to));
    let leaks = [count(witnesses.cut[0])?, count(witnesses.cut[1])?];
    let passes = [count(witnesses.free[0])?, count(witnesses.free[1])?];
    let pace = Pace::full(Duration::from_secs(20 * 60)).at(20_000);
    let start = |(from, to)| Flood { from, to, payload: 18, pace }.start(lab.lan());
    let floods = [start(witnesses.cut[0])?, start(witnesses.cut[1])?];
    let streams = [start(witnesses.free[0])?, start(witnesses.free[1])?];

    let meter = Meter::start(&daemon)?;
    let mut took = Vec::new();
    for text in &texts {
        let begun = Instant::now();
        let answer = put(&daemon, "large", text)?.accepted()?;
        took.push(begun.elapsed());
        ensure!(answer["entries"].as_u64() > Some(entries as u64 / 2), "{answer}");
    }
    let Measured { resident, maps, mut calls } = meter.stop()?;

    let mut flooded = 0;
    for flood in floods {
        flooded += flood.stop()?.packets;
    }
    let mut sent = 0;
    for stream in streams {
        sent += stream.stop()?.packets;
    }
    // What is on its way arrives within two looks that agree.
    let arrived = at_rest(|| Ok(passes[0].packets()? + passes[1].packets()?))?;
    let leaked = leaks[0].packets()? + leaks[1].packets()?;
    let overrun = overrun(&lab)? - overrun_before;
    let hits = hits_of(&daemon, "large")?;
    let lost = sent - arrived;
    // Each packet was cut by the list, arrived, or found no room in a queue of the laboratory's.
    let unexplained = (flooded + sent).abs_diff(hits + arrived + leaked + overrun);
    let (median, most) = median_and_most(&mut calls);
    let slowest = took.iter().max().copied().unwrap_or_default();
    let (kept, cut) = back_again(&lab, &mut daemon, &witnesses, true)?;
    let (fresh, cut_again) = back_again(&lab, &mut daemon, &witnesses, false)?;
    let measured = format!(
        "{entries} entries in {:.1?} and, replacing them, {:.1?}; {leaked} leaked of {flooded}, {lost} lost of {sent} \
         ({overrun} found a queue full, {hits} cut, {unexplained} unexplained); netd at most {} MiB, maps at most {} MiB (both generations); verdicts meanwhile: median {median:.1?}, most {most:.1?} of {}; \
         killed, it is back in {kept:.1?} and, without the kernel's tables, in {fresh:.1?} (cut: {cut}, {cut_again})",
        took[0],
        took[1],
        resident >> 20,
        maps >> 20,
        calls.len(),
    );
    let is_whole = (leaked, lost, unexplained) == (0, 0, 0) && cut && cut_again;
    Ok(Outcome { measured, holds: is_whole && slowest < Duration::from_secs(30) })
}

fn median_and_most(calls: &mut [Duration]) -> (Duration, Duration) {
    calls.sort_unstable();
    let at = |index: usize| calls.get(index).copied().unwrap_or_default();
    (at(calls.len() / 2), at(calls.len().saturating_sub(1)))
}

fn hurried(setting: Setting) -> Result<Outcome> {
    let entries = setting.amount(1_000_000, 200_000);
    let lab = Lab::gateway()?;
    let daemon = Daemon::start(&lab, Setup { listed: 16_000_000, ..Setup::default() })?;
    let text = long_text(entries, 3);
    let (api, mut number) = (daemon.api().patient(PATIENCE), 0);
    let mut block = || -> Result<Duration> {
        let address = Ipv4Addr::from(u32::from(NOWHERE) + 0x1_0000 + number % 4_000);
        number += 1;
        let begun = Instant::now();
        api.block(&json!({"target": {"address": address}}))?;
        Ok(begun.elapsed())
    };
    let mut rest = (0..setting.amount(500, 100)).map(|_| block()).collect::<Result<Vec<_>>>()?;
    let mut meanwhile = Vec::new();
    let took = std::thread::scope(|scope| -> Result<Duration> {
        let begun = Instant::now();
        let loading = scope.spawn(|| put(&daemon, "large", &text)?.accepted());
        while !loading.is_finished() {
            meanwhile.push(block()?);
        }
        let took = begun.elapsed();
        loading.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        Ok(took)
    })?;
    let ((median, most), (median_loading, most_loading)) =
        (median_and_most(&mut rest), median_and_most(&mut meanwhile));
    let measured = format!(
        "at rest: median {median:.1?}, most {most:.1?} of {}; while {entries} entries were loaded ({took:.1?}): median \
         {median_loading:.1?}, most {most_loading:.1?} of {}; each with its two fsyncs",
        rest.len(),
        meanwhile.len(),
    );
    let limit = Duration::from_millis(5);
    Ok(Outcome { measured, holds: median < limit && median_loading < limit })
}

/// Returns how long a daemon that was killed takes until it does its work again, and whether the lists still cut.
fn back_again(lab: &Lab, daemon: &mut Daemon, witnesses: &Witnesses, pinned: bool) -> Result<(Duration, bool)> {
    daemon.kill()?;
    if !pinned {
        lab.watched().run(|| Ok(fs::remove_dir_all(PINS)?))?;
    }
    let begun = Instant::now();
    daemon.again(&[])?;
    let took = begun.elapsed();
    Ok((took, witnesses.are_cut(lab)?))
}

/// Returns what the laboratory's own links dropped for want of room, both on the way to the gateway and away from it.
fn overrun(lab: &Lab) -> Result<u64> {
    Ok(interface_counters(lab.lan(), "eth0")?.dropped + interface_counters(lab.watched(), "wan0")?.dropped)
}

/// Returns how many packets a list has cut.
fn hits_of(daemon: &Daemon, name: &str) -> Result<u64> {
    let lists = daemon.api().get("/api/v1/blocklists")?;
    let mut lists = lists["items"].as_array().into_iter().flatten();
    let list = lists.find(|list| list["name"] == name).context("there is no such list")?;
    list["hits"]["packets"].as_u64().context("a list without hits")
}

/// Returns a count once two looks at it agree.
fn at_rest(look: impl Fn() -> Result<u64>) -> Result<u64> {
    let mut last = look()?;
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(250));
        let next = look()?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    anyhow::bail!("packets go on arriving")
}

/// Watches a daemon's memory, and asks it for verdicts meanwhile.
struct Meter {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<Measured>>,
}

#[derive(Default)]
struct Measured {
    /// Most bytes resident.
    resident: u64,
    /// Most bytes of all its maps.
    maps: u64,
    /// How long each verdict took.
    calls: Vec<Duration>,
}

impl Meter {
    fn start(daemon: &Daemon) -> Result<Self> {
        let (id, api, stop) = (daemon.id()?, daemon.api().patient(PATIENCE), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut measured = Measured::default();
            let mut number = 0;
            while !told.load(Ordering::Relaxed) {
                let address = Ipv4Addr::from(u32::from(NOWHERE) + 0x1_0000 + number % 4_000);
                let begun = Instant::now();
                api.block(&json!({"target": {"address": address}}))?;
                measured.calls.push(begun.elapsed());
                measured.maps = measured.maps.max(map_bytes(id)?);
                number += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            measured.resident = status_bytes(id, "VmHWM:")?;
            Ok(measured)
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<Measured> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the meter panicked"))?
    }
}

fn status_bytes(id: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
}

/// Adds up what the kernel says of a process's maps.
fn map_bytes(id: u32) -> Result<u64> {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    for entry in fs::read_dir(format!("/proc/{id}/fdinfo"))?.flatten() {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(map), Some(memory)) = (field("map_id:"), field("memlock:"))
            && seen.insert(map)
        {
            bytes += memory;
        }
    }
    Ok(bytes)
}

fn full(_: Setting) -> Result<Outcome> {
    const LIMIT: u32 = 4_096;
    let lab = Lab::gateway()?;
    let daemon = Daemon::start(&lab, Setup { listed: LIMIT, ..Setup::default() })?;
    let hosts = |count: u32| -> String {
        (0..count).map(|number| format!("{}\n", Ipv4Addr::from(u32::from(NOWHERE) + number))).collect()
    };
    let filled = put(&daemon, "full", &hosts(LIMIT))?;
    ensure!(filled.status == 201, "{filled:?}");
    let beyond = put(&daemon, "full", &hosts(LIMIT + 1))?;
    let another = put(&daemon, "another", "203.0.113.1\n")?;
    let verdict = daemon.api().send_json("POST", "/api/v1/verdicts", &json!({"target": {"address": "203.0.113.2"}}))?;
    let codes = [beyond.status, another.status, verdict.status];

    let kept = daemon.api().send("GET", "/api/v1/blocklists/full", "text/plain", "")?.body.lines().count();
    let held = daemon.api().until("/api/v1/status", Duration::from_secs(20), |status| {
        let rounds = status["enforced"]["rounds"].as_u64()?;
        (rounds >= 3).then(|| status["enforced"]["held"].as_u64())
    })?;
    let metrics = daemon.api().send("GET", "/metrics", "text/plain", "")?.body;
    let is_told = |name: &str| metrics.lines().any(|line| line == format!("{name}{{map=\"block_hosts\"}} {LIMIT}"));
    let is_told = is_told("netd_bpf_map_entries") && is_told("netd_bpf_map_capacity");
    let last = Ipv4Addr::from(u32::from(NOWHERE) + LIMIT - 1);
    let cut = datagrams(&lab, SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((last, 6_000)))?;
    let measured = format!(
        "refused with {codes:?}; {kept} entries listed, {held:?} read back of {LIMIT}, told by metrics: {is_told}, the last {cut:?}"
    );
    let intact = kept == LIMIT as usize && held == Some(u64::from(LIMIT)) && is_told && cut == Passage::Cut;
    Ok(Outcome { measured, holds: codes == [507; 3] && intact })
}

fn starved(setting: Setting) -> Result<Outcome> {
    let (entries, limit) = (setting.amount(10_000_000, 1_000_000), setting.amount(256_u64 << 20, 64 << 20));
    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup { listed: 16_000_000, ..Setup::default() })?;
    let witnesses = Witnesses::new();
    ensure!(put(&daemon, "large", &witnesses.lines(false))?.status == 201, "the first list was refused");
    let text = witnesses.lines(false) + &long_text(entries, 3);
    let group = Group::of_memory(limit)?;
    group.take(daemon.id()?)?;
    let listed = |daemon: &Daemon| -> Result<usize> {
        Ok(daemon.api().send("GET", "/api/v1/blocklists/large", "text/plain", "")?.body.lines().count())
    };

    // There is too little from the start, which can be known.
    let answer = put(&daemon, "large", &text);
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    let body: Value = answer.ok().and_then(|answer| answer.json().ok()).unwrap_or_default();
    let kept = (listed(&daemon)?, witnesses.are_cut(&lab)?);

    // There is suddenly too little, which nobody can know: the kernel kills whoever asks for more.
    group.limit(None)?;
    let (sudden, is_dead) = std::thread::scope(|scope| -> Result<(u16, bool)> {
        let before = group.used()?;
        let loading = scope.spawn(|| put(&daemon, "large", &text));
        while group.used()? < before + (8 << 20) && !loading.is_finished() {
            std::thread::yield_now();
        }
        group.limit(Some(group.used()? + (2 << 20)))?;
        let answer = loading.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
        Ok((answer.map_or(0, |answer| answer.status), daemon.api().get("/readyz").is_err()))
    })?;
    let cut_meanwhile = witnesses.are_cut(&lab)?;
    group.limit(None)?;
    if is_dead {
        // It may not have been reaped yet.
        let _ = daemon.kill();
        daemon.again(&[])?;
    }
    let kept_again = (listed(&daemon)?, cut_meanwhile && witnesses.are_cut(&lab)?);

    let measured = format!(
        "{entries} entries at {} MiB: answered {status} ({}), {} entries as before, cut: {}; the limit lowered while they \
         are read: {}, {} entries as before, cut: {}",
        limit >> 20,
        body["detail"].as_str().unwrap_or("no answer"),
        kept.0,
        kept.1,
        if is_dead { "killed and started again".to_owned() } else { format!("answered {sudden}") },
        kept_again.0,
        kept_again.1,
    );
    let refused = status == 507 && (is_dead || sudden == 507);
    Ok(Outcome { measured, holds: refused && kept == (2, true) && kept_again == (2, true) })
}

fn deaf(setting: Setting) -> Result<Outcome> {
    let packets = setting.amount(1_000_000, 150_000);
    let lab = Lab::gateway()?;
    let daemon = Daemon::start(&lab, Setup { flows_per_cpu: 1_024, ..Setup::default() })?;
    let arrivals = PacketCounter::start(lab.wan(), "eth0", Match::v4(17))?;
    let before = Ledger::settled(&daemon)?;
    daemon.signal(Signal::SIGSTOP)?;
    let pace = Pace::count(packets, Duration::from_secs(60));
    let flood =
        FlowFlood { hop: lab.first_hop(), from: IMPLANT.into(), to: NOWHERE.into(), first: 0, flows: u64::MAX, pace };
    flood.start(lab.lan())?.join()?;
    daemon.signal(Signal::SIGCONT)?;
    let after = Ledger::settled(&daemon)?;
    let Ledger([seen, accounted, unaccounted, unparsed, twice]) = after.since(&before);
    let parts = accounted + unaccounted + unparsed + twice;
    let arrived = arrivals.packets()?;
    let by_interface = met_by_interface(&daemon)?;
    let measured = format!(
        "{seen} seen = {accounted} accounted + {unaccounted} lost + {unparsed} unparsed + {twice} forwarded; by \
         interface {by_interface} of {}",
        after.0[0]
    );
    let holds = seen == parts && unaccounted > 0 && arrived == packets && by_interface == after.0[0];
    Ok(Outcome { measured, holds })
}

/// Returns what the metrics say was met on all interfaces together.
fn met_by_interface(daemon: &Daemon) -> Result<u64> {
    let text = daemon.api().send("GET", "/metrics", "", "")?.body;
    let lines = text.lines().filter(|line| line.starts_with("netd_packets_total{interface="));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
}

/// The counters that must add up: seen, accounted, unaccounted, unparsed, met twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger(pub [u64; 5]);

impl Ledger {
    /// Returns what was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] - before.0[index]))
    }

    /// Reads the counters once they no longer change.
    ///
    /// # Errors
    ///
    /// When they never come to rest.
    pub fn settled(daemon: &Daemon) -> Result<Self> {
        let mut last = None;
        // A snapshot is taken each second; two that agree are of a network at rest.
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(1_200));
            let status = daemon.api().get("/api/v1/status")?;
            let packets = |name: &str| status["packets"][name].as_u64().unwrap_or_default();
            let unparsed = status["unparsed"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
            let counters = [
                packets("ingress") + packets("egress"),
                packets("accounted"),
                packets("unaccounted"),
                unparsed,
                packets("forwarded_twice"),
            ];
            let now = (counters, status["engine"].clone());
            if last.as_ref() == Some(&now) {
                return Ok(Self(counters));
            }
            last = Some(now);
        }
        anyhow::bail!("the counters never come to rest")
    }
}

fn spoofed(setting: Setting) -> Result<Outcome> {
    let packets = setting.amount(10_000_000, 200_000);
    let lab = Lab::gateway()?;
    let policy = fs::read_to_string(crate::binary::root().join("policies/enforce.yaml"))
        .context("run it from the project's folder: it reads policies/enforce.yaml")?;
    let daemon = Daemon::start(&lab, Setup { policy: Some(&policy), ..Setup::default() })?;
    let pace = Pace::count(packets / 4, Duration::from_secs(600));
    let mut sent = 0;
    for octet in 0..4_u8 {
        // Nobody has these addresses.
        let from = IpAddr::from(Ipv4Addr::new(10, 77, 0, 200 + octet));
        let flood = FlowFlood { hop: lab.first_hop(), from, to: NOWHERE.into(), first: 0, flows: 500, pace };
        sent += flood.start(lab.lan())?.join()?.packets;
    }
    // What they led to is said within a few snapshots.
    Ledger::settled(&daemon)?;
    let verdicts = daemon.api().items("/api/v1/verdicts")?.len();
    Ok(Outcome { measured: format!("{verdicts} verdicts from {sent} packets"), holds: verdicts == 0 })
}
