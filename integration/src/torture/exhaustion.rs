//! Floods and storms beside what must be found, and too little time to find it in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::group::Group;
use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::{C2, IMPLANT, Lab, NOWHERE, NOWHERE_V6, PEOPLE, STORE, WEB, v6};
use crate::traffic::Running;
use crate::traffic::flood::{Flood, FlowFlood, Pace};
use crate::traffic::implant::{Connections, Implant, Lengths, Transport};
use crate::traffic::payload::Look;
use crate::traffic::probe::tuple;
use crate::traffic::server::Server;
use crate::traffic::sink::PacketCounter;
use crate::traffic::syn::{SynFlood, Walk};
use crate::traffic::timer::{Jitter, Timer};

pub const ROWS: &[Row] = &[
    Row { id: "M02", fault: "none: verdicts of findings", goal: "finding to kernel: median < 5 ms", play: findings },
    Row {
        id: "T21",
        fault: "SYN floods of unique five-tuples, IPv4 and IPv6 of rotating /64, beside beacons",
        goal: "0 candidates lost, recall change < 1 point, verdict latency +-10 %",
        play: syns,
    },
    Row {
        id: "T25",
        fault: "5 % of a CPU for the daemon, the rest busy, under a flood",
        goal: "0 leaked, 0 lost; every alert, < 30 s late",
        play: starved,
    },
    Row {
        id: "T26",
        fault: "a scan, and one host that contacts a thousand listed ones",
        goal: "alerts <= burst + rate; sum of withheld = counter",
        play: storm,
    },
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Cuts whatever is on a list of threat intelligence.
const CUT_LISTED: &str = "\
apiVersion: netd/v1
kind: ResponsePolicy
metadata: {name: listed}
spec:
  mode: enforce
  target: endpoint
  block_at: {threat_intel: 0.5}
  max_blocks_per_hour: 1000000
";

/// Sends one datagram to each of these from a host of the lan.
fn contact(lab: &Lab, from: IpAddr, each: impl IntoIterator<Item = SocketAddr> + Send, pause: Duration) -> Result<u64> {
    lab.lan().run(|| {
        let socket = UdpSocket::bind((from, 0)).with_context(|| format!("cannot send from {from}"))?;
        let mut sent = 0;
        for to in each {
            // What an earlier datagram was answered with, or a verdict: the next one is another's.
            sent += u64::from(socket.send_to(&[0x66; 40], to).is_ok());
            std::thread::sleep(pause);
        }
        Ok(sent)
    })
}

/// Ports of the C2 server, each a pair of its own.
fn listed(count: u16) -> impl Iterator<Item = SocketAddr> + Send {
    (0..count).map(|number| SocketAddr::from((C2, 10_000 + number)))
}

/// Reads one number of the metrics: the sample that begins with `name`, or the sum of those that do.
fn metric(daemon: &Daemon, name: &str) -> Result<f64> {
    let text = daemon.api().send("GET", "/metrics", "text/plain", "")?.body;
    let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.sum())
}

/// Returns the bound, in seconds, below which a share of a histogram's observations lie, and how many there are.
fn quantile(daemon: &Daemon, name: &str, labels: &str, share: f64) -> Result<(f64, u64)> {
    let text = daemon.api().send("GET", "/metrics", "text/plain", "")?.body;
    let bucket = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix("_bucket{")?;
        let (inside, count) = rest.split_once("} ")?;
        let bound = inside.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        inside.contains(labels).then_some((bound, count.parse::<f64>().ok()? as u64))
    };
    let buckets: Vec<(f64, u64)> = text.lines().filter_map(bucket).collect();
    let all = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let wanted = all as f64 * share;
    let bounds = buckets.iter().filter(|(_, count)| *count as f64 >= wanted).map(|(bound, _)| *bound);
    Ok((bounds.fold(f64::INFINITY, f64::min), all))
}

fn findings(setting: Setting) -> Result<Outcome> {
    let count = setting.amount(1_000, 100);
    let lab = Lab::gateway()?;
    let intel = C2.to_string();
    let setup = Setup { policy: Some(CUT_LISTED), intel: &intel, ..Setup::default() };
    let daemon = Daemon::start(&lab, setup)?;
    contact(&lab, IMPLANT.into(), listed(count), Duration::from_millis(20))?;
    let in_force = daemon.api().until("/api/v1/status", PATIENCE, |status| {
        status["verdicts"].as_u64().filter(|verdicts| *verdicts >= u64::from(count))
    })?;
    let name = "netd_enforcement_latency_seconds";
    let (median, observed) = quantile(&daemon, name, "", 0.5)?;
    let (most, _) = quantile(&daemon, name, "", 0.99)?;
    let mean = metric(&daemon, "netd_enforcement_latency_seconds_sum")? / observed.max(1) as f64;
    let measured = format!(
        "median < {:.1} ms, 99 % < {:.0} ms, mean {:.1} ms, each with its fsync; {in_force} verdicts of {count} findings",
        median * 1e3,
        most * 1e3,
        mean * 1e3,
    );
    Ok(Outcome { measured, holds: median <= 0.005 && observed >= u64::from(count) })
}

/// Beacons at work: seven hosts, each to as many servers, no two of a host with the same period.
struct Beacons {
    running: Vec<(Running<crate::traffic::Sent>, IpAddr, SocketAddr)>,
    _servers: Vec<Server>,
}

impl Beacons {
    /// Starts them on `ports` of each server; `least` is the shortest period.
    fn start(lab: &Lab, ports: std::ops::Range<u16>, servers: usize, least: Duration, lasts: Duration) -> Result<Self> {
        let addresses = [C2, STORE].into_iter().chain(WEB).take(servers);
        let ends: Vec<SocketAddr> = addresses.flat_map(|ip| ports.clone().map(move |port| (ip, port).into())).collect();
        let servers = ends.iter().map(|end| Server::udp(lab.wan(), *end)).collect::<Result<Vec<_>>>()?;
        let mut running = Vec::new();
        for (host, from) in [IMPLANT].into_iter().chain(PEOPLE).enumerate() {
            for (number, server) in servers.iter().enumerate() {
                // Periods a tenth apart are no fleet's.
                let period = least.mul_f64(1.12_f64.powi(number as i32));
                let implant = Implant {
                    from: from.into(),
                    transport: Transport::Udp,
                    timer: Timer::new(period, Jitter::Below(0.1)),
                    connections: Connections::PerCheckIn,
                    lengths: Lengths { request: 120, answer: 90 },
                    tasks: None,
                    look: Look::Raw,
                    seed: (host * 1_000 + number) as u64,
                    duration: lasts,
                };
                running.push((implant.start(lab.lan(), server)?, from.into(), ends[number]));
            }
        }
        Ok(Self { running, _servers: servers })
    }

    /// Waits until all are found or `until`; returns how many were.
    fn found(&self, daemon: &Daemon, until: Instant) -> Result<usize> {
        loop {
            let findings = daemon.api().items("/api/v1/findings?detector=beacon")?;
            let is_found = |from: &IpAddr, to: &SocketAddr| {
                findings.iter().any(|finding| {
                    finding["originator"] == from.to_string()
                        && finding["responder"] == to.ip().to_string()
                        && finding["responder_port"] == to.port()
                })
            };
            let found = self.running.iter().filter(|(_, from, to)| is_found(from, to)).count();
            if found == self.running.len() || Instant::now() >= until {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Returns the median time that a verdict by the API takes.
fn verdict_latency(daemon: &Daemon, calls: u32, first: u32) -> Result<Duration> {
    let mut took = Vec::new();
    for number in 0..calls {
        let address = Ipv4Addr::from_bits(u32::from_be_bytes([203, 0, 113, 0]) + first + number);
        let begun = Instant::now();
        daemon.api().block(&json!({"target": {"address": address}, "ttl": "1m"}))?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

/// Beacons have periods of 60 s in the published table; here of seconds, so that the row ends.
fn syns(setting: Setting) -> Result<Outcome> {
    let (packets, rate) = setting.amount((10_000_000, 40_000), (150_000, 8_000));
    let (servers, ports, least, lasts) = setting.amount(
        (7, 9_000..9_002, Duration::from_secs(3), Duration::from_secs(300)),
        (1, 9_000..9_002, Duration::from_millis(1_200), Duration::from_secs(40)),
    );
    let lab = Lab::gateway()?;
    // Far fewer histories than the flood has pairs, and every source of it is one of ours.
    let keys = "local_networks = [\"10.77.0.0/24\", \"2001:db8:77::/48\"]";
    let setup = || Setup { keys, tables: "pairs = 8192\n", ..Setup::default() };
    let quiet = {
        let daemon = Daemon::start(&lab, setup())?;
        let beacons = Beacons::start(&lab, ports.clone(), servers, least, lasts)?;
        beacons.found(&daemon, Instant::now() + lasts)? as f64 / beacons.running.len() as f64
    };

    let daemon = Daemon::start(&lab, setup())?;
    let calls = setting.amount(200, 30);
    let before = [verdict_latency(&daemon, calls, 0)?, verdict_latency(&daemon, calls, 1_000)?];
    let beacons = Beacons::start(&lab, ports, servers, least, lasts)?;
    let deadline = Instant::now() + lasts;
    let pace = Pace { packets: Some(packets / 2), per_second: Some(rate / 2), duration: lasts };
    let walks = [
        (IpAddr::from(IMPLANT), Walk::Hosts { to: NOWHERE.into(), hosts: 1 << 17 }),
        (v6(IMPLANT).into(), Walk::Hosts { to: NOWHERE_V6.into(), hosts: u32::MAX }),
    ];
    let hop = lab.first_hop();
    let floods = walks.map(|(from, walk)| SynFlood { hop, from, walk, pace }.start(lab.lan()));
    let during = verdict_latency(&daemon, calls, 2_000)?;
    let found = beacons.found(&daemon, deadline)?;
    let mut sent = 0;
    for flood in floods {
        sent += flood?.stop()?.packets;
    }
    let count = beacons.running.len();
    let recall = found as f64 / count as f64;
    let status = daemon.api().get("/api/v1/status")?;
    let change = 100.0 * (quiet - recall);
    let apart = |a: Duration, b: Duration| 100.0 * (b.as_secs_f64() / a.as_secs_f64() - 1.0);
    let latency = apart(before[0].min(before[1]), during);
    let measured = format!(
        "{found} of {count} beacons found under {sent} SYNs (without: {:.0} %); {} histories gave way; verdicts {:.1?} and \
         {:.1?} before (noise {:+.0} %), {during:.1?} under the flood ({latency:+.0} %)",
        100.0 * quiet,
        status["engine"]["histories_evicted"],
        before[0],
        before[1],
        apart(before[0], before[1]),
    );
    // In the short form the machine builds or tests something else: the latency is told, and no more.
    let is_steady = setting.short || latency <= 10.0;
    Ok(Outcome { measured, holds: found == count && change < 1.0 && is_steady })
}

/// A thread that does nothing else than take time.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(threads: usize, lasts: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Instant::now() + lasts;
        let spin = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..threads).map(|_| std::thread::spawn(spin(Arc::clone(&stop)))).collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It ends by itself.
            let _ = thread.join();
        }
    }
}

fn starved(setting: Setting) -> Result<Outcome> {
    // As many as are told at once: what is withheld beyond that is row T26's matter.
    let (alerts, pause) = setting.amount((60, Duration::from_secs(2)), (12, Duration::from_millis(400)));
    let lasts = pause * u32::from(alerts) + PATIENCE;
    let lab = Lab::gateway()?;
    let intel = C2.to_string();
    let daemon = Daemon::start(&lab, Setup { intel: &intel, ..Setup::default() })?;
    let (from, to) = (SocketAddr::from((PEOPLE[1], 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    let free = (SocketAddr::from((PEOPLE[0], 5_000)), SocketAddr::from((NOWHERE, 6_001)));
    daemon.api().block(&json!({"target": {"address": NOWHERE, "port": 6_000, "protocol": "udp"}}))?;
    let leaks = PacketCounter::start(lab.wan(), "eth0", tuple(from, to))?;
    let passes = PacketCounter::start(lab.wan(), "eth0", tuple(free.0, free.1))?;

    let group = Group::of_cpu(5)?;
    group.take(daemon.id()?)?;
    let busy = Busy::start(std::thread::available_parallelism().map_or(1, usize::from), lasts);
    let pace = Pace::full(lasts).at(2_000);
    let flood = Flood { from, to, payload: 18, pace }.start(lab.lan())?;
    let stream = Flood { from: free.0, to: free.1, payload: 18, pace }.start(lab.lan())?;
    let far = Ipv4Addr::from_bits(u32::from(NOWHERE) + 1_000);
    let hop = lab.first_hop();
    let flows =
        FlowFlood { hop, from: PEOPLE[2].into(), to: far.into(), first: 0, flows: u64::MAX, pace: pace.at(500) };
    let flows = flows.start(lab.lan())?;
    contact(&lab, IMPLANT.into(), listed(alerts), pause)?;

    // The API starves with the daemon: it is asked patiently, and seldom.
    let api = daemon.api().patient(PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let found = api.items("/api/v1/findings?detector=threat_intel").map_or(0, |findings| findings.len());
        if found >= usize::from(alerts) || Instant::now() >= deadline {
            break found;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let (flooded, sent) = (flood.stop()?.packets, stream.stop()?.packets);
    flows.stop()?;
    drop(busy);
    drop(group);
    let (leaked, lost) = (leaks.packets()?, sent - passes.packets()?);
    let detector = "detector=\"threat_intel\"";
    let (median, _) = quantile(&daemon, "netd_detection_latency_seconds", detector, 0.5)?;
    let (most, told) = quantile(&daemon, "netd_detection_latency_seconds", detector, 1.0)?;
    let (behind, _) = quantile(&daemon, "netd_analysis_delay_seconds", "", 1.0)?;
    let measured = format!(
        "{leaked} leaked of {flooded}, {lost} lost of {sent}; {found} of {alerts} alerts, median < {median} s, most < {most} s late; the analysis at most < {behind} s behind"
    );
    let is_bounded = told >= u64::from(alerts) && most <= 30.0;
    Ok(Outcome { measured, holds: (leaked, lost) == (0, 0) && found == usize::from(alerts) && is_bounded })
}

/// What [`netd_engine::config::Reports`] allows the daemon about one source.
const LIMITS: netd_engine::config::Reports =
    netd_engine::config::Reports { source_burst: 60, source_per_minute: 6, burst: 1_200, per_minute: 600 };

fn storm(setting: Setting) -> Result<Outcome> {
    ensure!(LIMITS == netd_engine::config::Reports::default(), "other limits than the row's");
    let (hosts, ports, pairs) = setting.amount((1_000, 65_000, 20_000_u16), (100, 200, 1_500));
    let lab = Lab::gateway()?;
    let intel = C2.to_string();
    let daemon = Daemon::start(&lab, Setup { intel: &intel, ..Setup::default() })?;
    let begun = Instant::now();
    let pace = Pace::count(hosts * u64::from(ports), Duration::from_secs(1_700));
    let walk = Walk::Ports { to: NOWHERE, first: 1, ports };
    let scan = SynFlood { hop: lab.first_hop(), from: PEOPLE[3].into(), walk, pace }.start(lab.lan())?;
    contact(&lab, IMPLANT.into(), listed(pairs), Duration::from_millis(1))?;
    let scanned = scan.join()?.packets;

    // Summaries come each ten seconds; at rest they have told everything.
    let api = daemon.api();
    let deadline = Instant::now() + PATIENCE;
    let (counter, summed) = loop {
        let status: Value = api.get("/api/v1/status")?;
        let counter = status["engine"]["withheld"].as_u64().context("no counter")?;
        let summed = metric(&daemon, "netd_findings_withheld_total")? as u64;
        if counter > 0 && counter == summed || Instant::now() >= deadline {
            break (counter, summed);
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let allowed = f64::from(LIMITS.source_burst) + (f64::from(LIMITS.source_per_minute) * minutes).ceil();
    let told = |detector: &str| metric_of(&daemon, "netd_findings_total", &format!("detector=\"{detector}\""));
    let (intel, scans) = (told("threat_intel")?, told("port_scan")?);
    let measured = format!(
        "{intel} alerts of {pairs} listed pairs ({allowed:.0} allowed), {scans} of a scan of {scanned} targets, in {:.1} min; {summed} withheld by summaries, {counter} by the counter",
        minutes,
    );
    let is_bounded = intel > 0.0 && intel <= allowed && scans <= allowed;
    Ok(Outcome { measured, holds: is_bounded && counter > 0 && counter == summed })
}

/// Adds up the samples of a metric whose labels hold a text.
fn metric_of(daemon: &Daemon, name: &str, label: &str) -> Result<f64> {
    let text = daemon.api().send("GET", "/metrics", "text/plain", "")?.body;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}
