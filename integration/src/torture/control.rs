//! Faults done to the control plane: guesses, oversize, dawdling, hostile names, races, privileges.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::Lab;
use crate::namespace::Namespace;

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "T61",
        fault: "token guessing from one address",
        goal: "at most 10 looked at a minute; the unix socket is never locked",
        play: guessing,
    },
    Row {
        id: "T62",
        fault: "oversize: body, chunks without end, deep JSON, headers, a line of 64 MB, gzip",
        goal: "400, 408, 413, 415, 422 or 431; memory grows by less than 160 MB",
        play: oversize,
    },
    Row {
        id: "T63",
        fault: "slow-loris: half heads, silence, slow bodies, from 1,000 connections",
        goal: "honest p99 < 200 ms",
        play: slow_loris,
    },
    Row {
        id: "T64",
        fault: "names of lists that are paths",
        goal: "none taken, nothing outside of the state directory",
        play: hostile_names,
    },
    Row {
        id: "T66",
        fault: "TLS: no token, a wrong authority, a key that others can read",
        goal: "refused each; with token and authority answered",
        play: tls,
    },
    Row {
        id: "T72b",
        fault: "concurrent replacements of one list with If-Match",
        goal: "linearizable: one winner a generation",
        play: races,
    },
    Row {
        id: "T73",
        fault: "every kind of caller at reading, blocking and administering routes",
        goal: "what the scope covers, and nothing else",
        play: callers,
    },
    Row {
        id: "T82",
        fault: "the running daemon is asked for its privileges; with none it must go on enforcing",
        goal: "drop: the stated minimum in every thread; none: CapEff 0 and all runtime operations pass",
        play: privileges,
    },
];

const PORT: u16 = 9_443;

/// Where the daemon listens inside its namespace.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

fn outcome(holds: bool, measured: String) -> Result<Outcome> {
    Ok(Outcome { measured, holds })
}

/// Sends a text over TCP and returns the status of the answer, 0 without one.
fn status_of(address: SocketAddr, request: &[u8]) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    // Whoever is refused may be cut off while it still sends.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = (&mut stream).take(1 << 16).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0))
}

fn request(method: &str, path: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
    .into_bytes()
}

fn with_token(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub(super) fn make_token(daemon: &Daemon, scope: &str) -> Result<String> {
    let wanted = json!({"name": scope, "scopes": [scope]});
    let made = daemon.api().send_json("POST", "/api/v1/tokens", &wanted)?.accepted()?;
    Ok(made["token"].as_str().context("a token")?.to_owned())
}

fn guessing(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup { listen: &["127.0.0.1:9443"], ..Setup::default() })?;
    let guesses = lab.watched().run(|| {
        let guess = |number: u64| {
            status_of(LOOPBACK, &request("GET", "/api/v1/status", &with_token(&format!("ntd_{number:072x}")), ""))
        };
        (0..100).map(guess).collect::<Result<Vec<_>>>()
    })?;
    let looked_at = guesses.iter().filter(|status| **status == 401).count();
    let locked = guesses.iter().filter(|status| **status == 429).count();
    let mut socket = 0;
    for _ in 0..100 {
        socket += usize::from(daemon.api().get("/api/v1/status").is_ok());
    }
    let measured = format!("{looked_at} of 100 looked at, {locked} locked out; unix socket {socket} of 100 answered");
    // A slow machine gives a guess back every six seconds.
    outcome(looked_at <= 12 && looked_at + locked == 100 && socket == 100, measured)
}

/// Returns the resident memory of a process, in bytes.
fn memory(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("the process has ended")?;
    let kilobytes: u64 = field(&status, "VmRSS")?.split(' ').next().unwrap_or_default().parse().context("VmRSS")?;
    Ok(kilobytes << 10)
}

/// Returns a field of the status of a process or thread.
fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("a status without {name}"))?.trim())
}

/// Returns the text of a file of `/proc` unless what it tells of has ended.
fn read_unless_ended(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        // ESRCH where it ended after the file was opened.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn oversize(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let setup = Setup { listen: &["127.0.0.1:9443"], api: "loopback = \"admin\"", ..Setup::default() };
    let daemon = Daemon::start(&lab, setup)?;
    let before = memory(daemon.id()?)?;
    let json = "Content-Type: application/json\r\n";
    let text = "Content-Type: text/plain\r\n";
    let list = "/api/v1/blocklists/big";
    let chunked = |route: &str, media: &str| {
        let head = format!(
            "{route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{media}\r\n"
        );
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
        [head.into_bytes(), chunk.repeat(70).into_bytes()].concat()
    };
    let headers: String = (0..1_000).map(|number| format!("X-{number}: x\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("2 MB of JSON", request("POST", "/api/v1/verdicts", json, &"x".repeat(2 << 20)), &[413]),
        ("announced 1 TB", format!("PUT {list} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{text}Content-Length: 1000000000000\r\n\r\n").into_bytes(), &[413]),
        ("chunks without end", chunked("POST /api/v1/verdicts", json), &[413]),
        // Fewer than a list may have; the rest never comes.
        ("chunks that stop", chunked(&format!("PUT {list}"), text), &[408]),
        ("deep JSON", request("POST", "/api/v1/verdicts", json, &"[".repeat(500_000)), &[400]),
        ("1,000 headers", request("GET", "/livez", &headers, ""), &[431]),
        ("a header of 1 MB", request("GET", "/livez", &format!("X: {}\r\n", "x".repeat(1 << 20)), ""), &[431, 0]),
        ("a line of 60 MB", request("PUT", list, text, &"1".repeat(60 << 20)), &[422, 413]),
        ("gzip", request("PUT", list, &format!("{text}Content-Encoding: gzip\r\n"), "x"), &[415]),
    ];
    let mut wrong = Vec::new();
    let mut most = 0;
    for (name, bytes, expected) in &cases {
        let status = lab.watched().run(|| status_of(LOOPBACK, bytes))?;
        if !expected.contains(&status) {
            wrong.push(format!("{name}: {status}"));
        }
        most = most.max(memory(daemon.id()?)?);
    }
    let grown = most.saturating_sub(before) >> 20;
    let ready = daemon.api().get("/readyz").is_ok();
    let measured =
        format!("{} of {} refused as they must be {wrong:?}; {grown} MB more", cases.len() - wrong.len(), cases.len());
    outcome(wrong.is_empty() && grown < 160 && ready, measured)
}

/// Connections that dawdle, until the flag is set: those that are closed come again.
fn dawdle(
    namespace: &Namespace,
    connections: usize,
    stop: &Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<Result<u64>>> {
    let stop = Arc::clone(stop);
    namespace.spawn("dawdlers", move || {
        let begin = |number: usize| -> Option<TcpStream> {
            let mut stream = TcpStream::connect_timeout(&LOOPBACK, Duration::from_secs(2)).ok()?;
            stream.set_nonblocking(true).ok()?;
            let text: &[u8] = match number % 3 {
                0 => b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
                1 => b"",
                _ => b"PUT /api/v1/blocklists/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n1",
            };
            let _ = stream.write_all(text);
            Some(stream)
        };
        let mut streams: Vec<Option<TcpStream>> = (0..connections).map(begin).collect();
        let mut begun = connections as u64;
        while !stop.load(Ordering::Relaxed) {
            for (number, slot) in streams.iter_mut().enumerate() {
                let mut byte = [0; 512];
                let is_open = slot.as_mut().is_some_and(|stream| match stream.read(&mut byte) {
                    Ok(0) => false,
                    Ok(_) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                });
                if !is_open {
                    *slot = begin(number);
                    begun += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(begun)
    })
}

fn slow_loris(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let setup = Setup { listen: &["127.0.0.1:9443"], ..Setup::default() };
    let _daemon = Daemon::start(&lab, setup)?;
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    let stop = Arc::new(AtomicBool::new(false));
    let attack = dawdle(lab.watched(), 1_000, &stop)?;
    let asked = setting.amount(2_000, 300);
    let honest = request("GET", "/api/v1/version", "", "");
    let times = lab.watched().run(|| {
        let mut times = Vec::new();
        for _ in 0..asked {
            let began = Instant::now();
            let status = status_of(LOOPBACK, &honest)?;
            if status != 200 {
                bail!("an honest request was answered with {status}");
            }
            times.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(times)
    });
    stop.store(true, Ordering::Relaxed);
    let begun = attack.join().map_err(|_| anyhow::anyhow!("the attack panicked"))??;
    let mut times = times?;
    times.sort_unstable();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let measured =
        format!("{asked} requests: median {median:.1?}, p99 {p99:.1?}; the attack began {begun} connections");
    outcome(p99 < Duration::from_millis(200), measured)
}

fn hostile_names(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let long = "a".repeat(65);
    let names = [
        "../evil",
        "..%2fevil",
        "%2e%2e%2fevil",
        "/etc/evil",
        "%2fetc%2fevil",
        "a%00b",
        "a/b",
        "a%5cb",
        ".",
        "..",
        ".hidden",
        "A",
        "ä",
        "a b",
        "a%0ab",
        "a.list",
        "con%3aevil",
        "~",
        &long,
        "%",
        "%zz",
        "",
    ];
    let mut taken = Vec::new();
    for name in names {
        let answer = daemon.api().send("PUT", &format!("/api/v1/blocklists/{name}"), "text/plain", "192.0.2.1\n");
        if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
            taken.push(name);
        }
    }
    let good = daemon.api().send("PUT", "/api/v1/blocklists/good", "text/plain", "192.0.2.1\n")?.status;
    let lists = std::fs::read_dir(daemon.path("state/lists"))?.count();
    let escaped = [
        daemon.path("evil"),
        daemon.path("evil.list"),
        daemon.path("state/evil.list"),
        PathBuf::from("/etc/evil.list"),
    ];
    let escapes = escaped.iter().filter(|path| path.exists()).count();
    let measured = format!("{} of {} names taken {taken:?}, {escapes} escapes", taken.len(), names.len());
    outcome(escapes == 0 && taken.is_empty() && good == 201 && lists == 1, measured)
}

fn tls(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let mut daemon = Daemon::start(&lab, Setup { listen: &["tls:127.0.0.1:9444"], ..Setup::default() })?;
    let token = make_token(&daemon, "read")?;
    let own = daemon.path("state/tls/ca.pem");
    let other = daemon.path("other.pem");
    std::fs::write(&other, "no authority")?;
    let ask = |ca: &std::path::Path, token: &str| -> Result<bool> {
        let mut command = std::process::Command::new(crate::binary::netd()?);
        command.args(["status", "--server", "https://127.0.0.1:9444", "--ca"]).arg(ca).env("NETD_TOKEN", token);
        Ok(lab.watched().command(&mut command)?.output()?.status.success())
    };
    let (good, no_token, foreign) = (ask(&own, &token)?, ask(&own, "ntd_none")?, ask(&other, &token)?);
    let key = daemon.path("state/tls/ca.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    daemon.terminate()?;
    let open_key = daemon.again(&[]).is_ok();
    let measured = format!(
        "answered: {good} with token and authority, {no_token} with a wrong token, {foreign} with a wrong authority; \
         started with a key of mode 0644: {open_key}"
    );
    outcome(good && !no_token && !foreign && !open_key, measured)
}

fn races(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let rounds = setting.amount(200_u32, 25);
    daemon.api().send("PUT", "/api/v1/blocklists/race", "text/plain", "192.0.2.1\n")?.accepted()?;
    let (mut odd, mut other) = (0, 0);
    let written = AtomicU64::new(1);
    for _ in 0..rounds {
        let tag = daemon.api().get("/api/v1/blocklists")?["items"][0]["tag"].as_str().context("a tag")?.to_owned();
        let statuses: Vec<Result<u16>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (daemon, tag, written) = (&daemon, &tag, &written);
                    scope.spawn(move || {
                        let entry = written.fetch_add(1, Ordering::Relaxed);
                        let address = Ipv4Addr::from_bits(0xc612_0000 + u32::try_from(entry)?);
                        let type_and_tag = format!("text/plain\r\nIf-Match: {tag}");
                        let path = "/api/v1/blocklists/race";
                        Ok(daemon.api().send("PUT", path, &type_and_tag, &format!("{address}\n"))?.status)
                    })
                })
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|status| status.unwrap_or_else(|_| bail!("a writer panicked"))).collect()
        });
        let statuses = statuses.into_iter().collect::<Result<Vec<_>>>()?;
        odd += u32::from(statuses.iter().filter(|status| **status == 200).count() != 1);
        other += statuses.iter().filter(|status| !matches!(**status, 200 | 412)).count();
    }
    let measured =
        format!("{rounds} generations of 8 writers: {odd} without exactly one winner, {other} other answers");
    outcome(odd == 0 && other == 0, measured)
}

fn callers(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup { listen: &["127.0.0.1:9443"], ..Setup::default() })?;
    // Method, path, and the scopes that cover it.
    let routes: [(&str, &str, &[&str]); 10] = [
        ("GET", "/metrics", &["metrics", "read", "admin"]),
        ("GET", "/api/v1/status", &["read", "triage", "block", "policy", "admin"]),
        ("DELETE", "/api/v1/verdicts/999", &["block", "admin"]),
        ("DELETE", "/api/v1/blocklists/none", &["block", "admin"]),
        ("DELETE", "/api/v1/suppressions/999", &["triage", "admin"]),
        ("PUT", "/api/v1/mode", &["policy", "admin"]),
        ("DELETE", "/api/v1/policies/nobody", &["policy", "admin"]),
        ("GET", "/api/v1/jobs", &["triage", "admin"]),
        ("GET", "/api/v1/tokens", &["admin"]),
        ("GET", "/api/v1/audit", &["admin"]),
    ];
    let (mut asked, mut wrong) = (0, Vec::new());
    for scope in ["read", "metrics", "triage", "block", "policy", "admin"] {
        let token = with_token(&make_token(&daemon, scope)?);
        for (method, path, covering) in routes {
            let status = lab.watched().run(|| status_of(LOOPBACK, &request(method, path, &token, "")))?;
            let got_in = !matches!(status, 401 | 403 | 0);
            asked += 1;
            if got_in != covering.contains(&scope) {
                wrong.push(format!("{scope} {method} {path}: {status}"));
            }
        }
    }
    for (method, path, covering) in routes {
        // Loopback without a token reads.
        let status = lab.watched().run(|| status_of(LOOPBACK, &request(method, path, "", "")))?;
        asked += 1;
        if matches!(status, 401 | 403) == covering.contains(&"read") {
            wrong.push(format!("loopback {method} {path}: {status}"));
        }
    }
    outcome(wrong.is_empty(), format!("{asked} asked, {} wrong {wrong:?}", wrong.len()))
}

/// Returns the effective capabilities of every thread of a process, and whether all are filtered and gain none.
fn threads(id: u32) -> Result<(Vec<u64>, bool)> {
    let (mut sets, mut confined) = (Vec::new(), true);
    for entry in std::fs::read_dir(format!("/proc/{id}/task"))? {
        // Threads of a pool end when they like, also between the listing and the reading.
        let Some(status) = read_unless_ended(&entry?.path().join("status"))? else { continue };
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            sets.push(u64::from_str_radix(field(&status, set)?, 16)?);
        }
        confined &= field(&status, "NoNewPrivs")? == "1" && field(&status, "Seccomp")? == "2";
    }
    ensure!(!sets.is_empty(), "process {id} has no threads");
    Ok((sets, confined))
}

fn privileges(_: Setting) -> Result<Outcome> {
    const DAC_READ_SEARCH: u64 = 1 << 2;
    const KILL: u64 = 1 << 5;
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_PTRACE: u64 = 1 << 19;
    const SYS_ADMIN: u64 = 1 << 21;
    let lab = Lab::host()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    let (sets, confined) = threads(daemon.id()?)?;
    let held = sets.iter().fold(0, |all, set| all | set);
    let minimum = DAC_READ_SEARCH | NET_ADMIN | SYS_PTRACE | SYS_ADMIN;
    daemon.terminate()?;
    drop(daemon);

    // One right more where the API may kill, and it is told.
    let mut daemon = Daemon::start(&lab, Setup { api: "kill = true", ..Setup::default() })?;
    let killing = threads(daemon.id()?)?.0.iter().fold(0, |all, set| all | set);
    let is_told = daemon.api().get("/api/v1/status")?["api_kill"]["allowed"] == true;
    let kills = is_told && killing == held | KILL;
    daemon.terminate()?;
    drop(daemon);

    let mut daemon = Daemon::start(&lab, Setup { keys: "privileges = \"none\"", ..Setup::default() })?;
    let (none, none_confined) = threads(daemon.id()?)?;
    let api = daemon.api();
    let target = json!({"target": {"address": crate::lab::NOWHERE}});
    let from = SocketAddr::from((crate::lab::IMPLANT, 5_000));
    let to = SocketAddr::from((crate::lab::NOWHERE, 6_000));
    let id = api.block(&target)?;
    let cut = crate::traffic::probe::datagrams(&lab, from, to)? == crate::traffic::probe::Passage::Cut;
    api.send("PUT", "/api/v1/blocklists/corp", "text/plain", "198.18.0.0/24\n")?.accepted()?;
    api.release(id)?;
    let listed = crate::traffic::probe::datagrams(&lab, from, to)? == crate::traffic::probe::Passage::Cut;
    api.send("DELETE", "/api/v1/blocklists/corp", "text/plain", "")?.accepted()?;
    let free = crate::traffic::probe::datagrams(&lab, from, to)? == crate::traffic::probe::Passage::Free;
    api.send_json("PUT", "/api/v1/mode", &json!({"mode": "shadow"}))?.accepted()?;
    // An interface that comes later is watched too.
    lab.watched().ip(&[
        "link add late0 type veth peer name late1",
        "link set dev late0 up",
        "link set dev late1 up",
    ])?;
    let followed = api.until("/api/v1/status", Duration::from_secs(10), |status: &Value| {
        status["interfaces"].as_array()?.iter().any(|interface| interface["name"] == "late0").then_some(())
    });
    let ended = daemon.terminate()?.success();
    let measured = format!(
        "drop: {held:#x} in {} threads, minimum {minimum:#x}, confined {confined}; with kill one \
         more {kills}; none: {:#x}, confined {none_confined}; cut \
         {cut}, by list {listed}, released {free}, new interface {}, ended well {ended}",
        sets.len() / 4,
        none.iter().fold(0, |all, set| all | set),
        followed.is_ok(),
    );
    let without = none.iter().all(|set| *set == 0) && none_confined;
    outcome(
        held & !minimum == 0 && confined && kills && without && cut && listed && free && followed.is_ok() && ended,
        measured,
    )
}
