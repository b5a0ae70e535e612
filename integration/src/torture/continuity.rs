//! Faults of the daemon itself and of what it is attached to: enforcement goes on.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use netd_common::key::Address;
use netd_common::verdict::front_bit;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Outcome, Row, Setting};
use crate::binary;
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, NOWHERE, NOWHERE_V6, PEOPLE, v6};
use crate::namespace::{End, Namespace, veth};
use crate::traffic::Running;
use crate::traffic::flood::{Flood, Pace};
use crate::traffic::probe::{Passage, datagrams, tuple};
use crate::traffic::sink::PacketCounter;

pub const ROWS: &[Row] = &[
    Row { id: "M01", fault: "none: verdicts by the API", goal: "call to kernel: median < 5 ms", play: calls },
    Row { id: "T01", fault: "kill -9 every 3 s under a flood", goal: "0 leaked, 0 lost", play: killed },
    Row { id: "T02", fault: "restart with --keep every 3 s under a flood", goal: "0 leaked, 0 lost", play: restarted },
    Row { id: "T03", fault: "programs exchanged under a flood", goal: "0 leaked, 0 lost", play: exchanged },
    Row { id: "T05", fault: "a start that fails", goal: "what was enforced still is; exit code not 0", play: refused },
    Row { id: "T06", fault: "links made, renamed, flapped, deleted", goal: "attached < 500 ms, 0 missed", play: links },
    Row {
        id: "T07",
        fault: "links detached, keys deleted, front cleared, pins removed by others",
        goal: "healed < 5 s, counted",
        play: meddled,
    },
    Row { id: "T08", fault: "pins lost while the daemon is down", goal: "verdicts back from disk", play: unpinned },
    Row { id: "T09", fault: "SIGSTOP under a flood", goal: "the verdict ends within 1 s of its time", play: hung },
];

/// Where the daemon pins.
pub const PINS: &str = "/sys/fs/bpf/netd";
/// Between two ends of the daemon.
const PERIOD: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(25 * 60);
const PATIENCE: Duration = Duration::from_secs(20);

/// What a flood of what is blocked, and a stream of what is not, have met.
#[derive(Clone, Copy, Debug)]
pub struct Survival {
    pub flooded: u64,
    pub leaked: u64,
    pub sent: u64,
    pub lost: u64,
    /// How often the daemon was brought to an end.
    pub ends: u32,
}

impl Survival {
    /// Returns the figures, and whether nothing leaked or got lost in at least three ends.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let Self { flooded, leaked, sent, lost, ends } = self;
        let measured = format!("{leaked} leaked of {flooded}, {lost} lost of {sent}, {ends} ends");
        Outcome { measured, holds: (*leaked, *lost) == (0, 0) && *ends >= 3 }
    }
}

/// Floods with `wanted` packets of what is blocked while `restart` ends the daemon and starts it again each `period`.
///
/// # Errors
///
/// When the laboratory or the daemon fails.
pub fn survive(wanted: u64, period: Duration, mut restart: impl FnMut(&mut Daemon) -> Result<()>) -> Result<Survival> {
    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    daemon.again(&["--keep"])?;
    let blocked = [
        (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000))),
        (SocketAddr::from((v6(IMPLANT), 5_000)), SocketAddr::from((NOWHERE_V6, 6_000))),
    ];
    let allowed = (SocketAddr::from((PEOPLE[0], 5_000)), SocketAddr::from((NOWHERE, 6_001)));
    let api = daemon.api();
    api.block(&json!({"target": {"address": NOWHERE, "port": 6_000, "protocol": "udp"}}))?;
    api.block(&json!({"target": {"address": NOWHERE_V6}}))?;
    let count = |(from, to)| PacketCounter::start(lab.wan(), "eth0", tuple(from, to));
    let (leaks, passes) = ([count(blocked[0])?, count(blocked[1])?], count(allowed)?);

    // So slow that a small flood lasts for several restarts.
    let half = Pace { packets: Some(wanted / 2), per_second: None, duration: LONGEST };
    let lasts = period.as_secs().max(1) * 6;
    let half = if wanted > 10_000_000 { half } else { half.at((wanted / 2 / lasts).max(1)) };
    let started = |(from, to), pace| Flood { from, to, payload: 18, pace }.start(lab.lan());
    let floods = [started(blocked[0], half)?, started(blocked[1], half)?];
    let stream = started(allowed, Pace::full(LONGEST).at(10_000))?;
    let (mut ends, mut next) = (0, Instant::now() + period);
    while !floods.iter().all(Running::is_finished) {
        if Instant::now() >= next {
            restart(&mut daemon)?;
            ends += 1;
            next += period;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut flooded = 0;
    for flood in floods {
        flooded += flood.join()?.packets;
    }
    let sent = stream.stop()?.packets;
    let leaked = leaks[0].packets()? + leaks[1].packets()?;
    let lost = sent - passes.packets()?;
    Ok(Survival { flooded, leaked, sent, lost, ends })
}

/// Kills the daemon and starts it again.
///
/// # Errors
///
/// When it had ended before, or does not start.
pub fn kill(daemon: &mut Daemon) -> Result<()> {
    daemon.kill()?;
    daemon.again(&[])
}

/// Ends the daemon, which keeps enforcing, and starts it again.
///
/// # Errors
///
/// When it does not end well, or does not start.
pub fn restart(daemon: &mut Daemon) -> Result<()> {
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    daemon.again(&["--keep"])
}

fn killed(setting: Setting) -> Result<Outcome> {
    let period = setting.amount(PERIOD, Duration::from_secs(2));
    Ok(survive(setting.amount(100_000_000, 300_000), period, kill)?.outcome())
}

fn restarted(setting: Setting) -> Result<Outcome> {
    let period = setting.amount(PERIOD, Duration::from_secs(2));
    Ok(survive(setting.amount(100_000_000, 300_000), period, restart)?.outcome())
}

/// Every start puts new programs into the links of the former one.
fn exchanged(setting: Setting) -> Result<Outcome> {
    let (mut slowest, packets) = (Duration::ZERO, setting.amount(10_000_000, 200_000));
    let survival = survive(packets, Duration::from_secs(1), |daemon| {
        let begun = Instant::now();
        restart(daemon)?;
        slowest = slowest.max(begun.elapsed());
        Ok(())
    })?;
    let Outcome { measured, holds } = survival.outcome();
    Ok(Outcome { measured: format!("{measured}; a whole restart at most {slowest:.1?}"), holds })
}

fn calls(setting: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let mut took = Vec::new();
    for number in 0..setting.amount(1_000_u32, 100) {
        let address = std::net::Ipv4Addr::from(u32::from(NOWHERE) + number);
        let begun = Instant::now();
        daemon.api().block(&json!({"target": {"address": address}}))?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    let measured = format!("median {median:.1?}, most {most:.1?}, {} calls, each with its fsync", took.len());
    Ok(Outcome { measured, holds: median < Duration::from_millis(5) })
}

/// A blocked tuple and whether it is cut.
fn is_cut(lab: &Lab) -> Result<Passage> {
    datagrams(lab, SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)))
}

fn blocking(lab: &Lab) -> Result<Daemon> {
    let mut daemon = Daemon::start(lab, Setup::default())?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    daemon.again(&["--keep"])?;
    daemon.api().block(&json!({"target": {"address": NOWHERE}}))?;
    Ok(daemon)
}

/// A start without descriptors enough for its maps fails half-way.
fn refused(_: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let mut daemon = blocking(&lab)?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    let mut codes = Vec::new();
    let mut cut = true;
    for files in [8, 16, 24, 32, 40, 48] {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}")).arg(binary::netd()?).arg("run");
        command.arg("--config").arg(daemon.path("netd.toml"));
        let output = lab.watched().command(&mut command)?.output().context("cannot start prlimit")?;
        codes.push(output.status.code());
        cut &= is_cut(&lab)? == Passage::Cut;
    }
    let failed = codes.iter().all(|code| code.is_some_and(|code| code != 0));
    Ok(Outcome { measured: format!("exit codes {codes:?}, cut throughout: {cut}"), holds: failed && cut })
}

fn links(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let far = Namespace::new("far")?;
    let (mut slowest, mut missed) = (Duration::ZERO, 0);
    let rounds = setting.amount(100_u32, 8);
    for round in 0..rounds {
        let name = format!("t{round}");
        let far_name = format!("f{round}");
        let near = End { namespace: lab.watched(), interface: &name, mac: [2, 0, 0, 9, 0, 1] };
        veth(near, End { namespace: &far, interface: &far_name, mac: [2, 0, 0, 9, 0, 2] })?;
        let renamed = format!("r{round}");
        let operations = [
            vec![format!("link set {name} mtu {}", 1_300 + round)],
            vec![format!("link set {name} down"), format!("link set {name} up")],
            vec![
                format!("link set {name} down"),
                format!("link set {name} name {renamed}"),
                format!("link set {renamed} up"),
            ],
        ];
        for operation in operations {
            lab.watched().ip(&operation)?;
            let name = if operation.len() == 3 { &renamed } else { &name };
            match attached_within(&daemon, name)? {
                Some(took) => slowest = slowest.max(took),
                None => missed += 1,
            }
        }
        lab.watched().ip(&[format!("link del {renamed}")])?;
    }
    let measured = format!("{} operations, slowest {slowest:.0?}, {missed} missed", rounds * 5);
    Ok(Outcome { measured, holds: missed == 0 && slowest < Duration::from_millis(500) })
}

/// Returns how long it took until an interface was watched both ways.
fn attached_within(daemon: &Daemon, name: &str) -> Result<Option<Duration>> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let status = daemon.api().get("/api/v1/status")?;
        let interfaces = status["interfaces"].as_array().map_or(&[][..], Vec::as_slice);
        let is_there = |interface: &&Value| {
            interface["name"] == name && interface["attached"].as_array().is_some_and(|hooks| hooks.len() >= 2)
        };
        if interfaces.iter().find(is_there).is_some() {
            return Ok(Some(begun.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}

/// Others' hands: `bpftool` detaches links and changes keys.
fn meddled(_: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let daemon = blocking(&lab)?;
    let api = daemon.api();
    let links = pins(&lab, "links")?;
    let number = |status: &Value, path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);

    let begun = Instant::now();
    for link in &links {
        bpftool(&lab, &["link", "detach", "pinned", link])?;
    }
    let wanted = links.len() as u64;
    api.until("/api/v1/status", PATIENCE, |status| {
        let again = status["programs"]["reattached"].as_object()?.values().filter_map(Value::as_u64).sum::<u64>();
        (again >= wanted && number(status, "/programs/missing") == 0).then_some(())
    })?;
    let attached = begun.elapsed();
    let cut = is_cut(&lab)? == Passage::Cut;

    let [a, b, c, d] = NOWHERE.octets().map(|octet| octet.to_string());
    let hosts = pins(&lab, "maps")?.into_iter().find(|pin| pin.contains("BLOCK_HOSTS_"));
    let hosts = hosts.context("no hosts are pinned")?;
    let mapped = ["0"; 10].into_iter().chain(["255", "255"]);
    let key: Vec<&str> = mapped.chain([a.as_str(), &b, &c, &d]).collect();
    let mut delete = vec!["map", "delete", "pinned", hosts.as_str(), "key"];
    delete.extend(&key);
    let begun = Instant::now();
    bpftool(&lab, &delete)?;
    let other: Vec<&str> = ["0"; 10].into_iter().chain(["255", "255", "9", "9", "9", "9"]).collect();
    let mut insert = vec!["map", "update", "pinned", hosts.as_str(), "key"];
    insert.extend(&other);
    insert.extend(["value", "1", "0", "0", "0"]);
    bpftool(&lab, &insert)?;
    api.until("/api/v1/status", PATIENCE, |status| {
        let drift = |kind: &str| number(status, &format!("/enforced/drift/{kind}"));
        (drift("missing") == 1 && drift("surplus") == 1).then_some(())
    })?;
    let healed = begun.elapsed();
    let cut = cut && is_cut(&lab)? == Passage::Cut;

    let front = pins(&lab, "maps")?.into_iter().find(|pin| pin.ends_with("/FRONT")).context("no front is pinned")?;
    let word = (front_bit(&Address::from(IpAddr::from(NOWHERE))) / 64).to_ne_bytes().map(|byte| byte.to_string());
    let mut clear = vec!["map", "update", "pinned", front.as_str(), "key"];
    clear.extend(word.iter().map(String::as_str));
    clear.extend(["value", "0", "0", "0", "0", "0", "0", "0", "0"]);
    let begun = Instant::now();
    bpftool(&lab, &clear)?;
    api.until("/api/v1/status", PATIENCE, |status| (number(status, "/enforced/drift/front") == 1).then_some(()))?;
    let front = begun.elapsed();
    let cut = cut && is_cut(&lab)? == Passage::Cut;

    let pinned = [pins(&lab, "links")?, pins(&lab, "maps")?].concat();
    let begun = Instant::now();
    lab.watched().run(|| pinned.iter().try_for_each(|pin| Ok(std::fs::remove_file(pin)?)))?;
    api.until("/api/v1/status", PATIENCE, |status| {
        let paths = ["/programs/repinned/link", "/programs/repinned/map", "/enforced/drift/unpinned"];
        (paths.map(|path| number(status, path)).iter().sum::<u64>() == pinned.len() as u64).then_some(())
    })?;
    let repinned = begun.elapsed();
    let again = [pins(&lab, "links")?, pins(&lab, "maps")?].concat();
    let cut = cut && is_cut(&lab)? == Passage::Cut && again == pinned;

    let limit = Duration::from_secs(5);
    let measured = format!(
        "{wanted} links attached again in {attached:.1?}, 2 keys put right in {healed:.1?}, the front in {front:.1?}, {} \
         pins made again in {repinned:.1?}, cut after each: {cut}",
        pinned.len()
    );
    Ok(Outcome { measured, holds: cut && [attached, healed, front, repinned].iter().all(|took| *took < limit) })
}

/// Returns the paths of what is pinned in a folder of the present layout.
fn pins(lab: &Lab, folder: &str) -> Result<Vec<String>> {
    lab.watched().run(|| {
        let version = std::fs::read_dir(PINS)?.flatten().next().context("nothing is pinned")?.path();
        let entries = std::fs::read_dir(version.join(folder))?.flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path().display().to_string()).collect();
        paths.sort();
        Ok(paths)
    })
}

fn bpftool(lab: &Lab, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("bpftool");
    let output = lab.watched().command(command.args(arguments))?.output().context("cannot start bpftool")?;
    if !output.status.success() {
        bail!("bpftool {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn unpinned(_: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let mut daemon = blocking(&lab)?;
    daemon.kill()?;
    lab.watched().run(|| Ok(std::fs::remove_dir_all(PINS)?))?;
    let without = is_cut(&lab)?;
    let begun = Instant::now();
    daemon.again(&[])?;
    let (back, took) = (is_cut(&lab)?, begun.elapsed());
    let measured = format!("{without:?} without pins; {back:?} again {took:.1?} after the start");
    Ok(Outcome { measured, holds: back == Passage::Cut })
}

fn hung(setting: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let lasts = setting.amount(Duration::from_secs(30), Duration::from_secs(5));
    let (from, to) = (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    let passed = PacketCounter::start(lab.wan(), "eth0", tuple(from, to))?;
    let ttl = format!("{}s", lasts.as_secs());
    let begun = Instant::now();
    daemon.api().block(&json!({"target": {"address": NOWHERE}, "ttl": ttl}))?;
    daemon.signal(Signal::SIGSTOP)?;
    let pace = Pace::full(lasts + PATIENCE).at(2_000);
    let flood = Flood { from, to, payload: 18, pace }.start(lab.lan())?;
    while passed.packets()? == 0 {
        ensure!(begun.elapsed() < lasts + PATIENCE, "the verdict never ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = begun.elapsed();
    let sent = flood.stop()?.packets;
    daemon.signal(Signal::SIGCONT)?;
    let error = ended.abs_diff(lasts);
    let measured = format!("a verdict of {ttl} ended {error:.0?} off, {sent} packets");
    Ok(Outcome { measured, holds: error < Duration::from_secs(1) })
}
