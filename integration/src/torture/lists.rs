//! Faults of lists: hostile content, hostile feeds, hostile URLs, and many writers at once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::control::make_token;
use super::{Outcome, Row, Setting};
use crate::api::Api;
use crate::binary;
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, WEB};
use crate::namespace::Namespace;
use crate::traffic::dice::Dice;

pub const ROWS: &[Row] = &[
    Row {
        id: "T60",
        fault: "random lists against protected addresses, with and without force",
        goal: "the management session and the API's own client are answered after every list",
        play: t60,
    },
    Row { id: "T65", fault: "feeds by URLs that lead inside", goal: "100 % refused", play: t65 },
    Row {
        id: "T67",
        fault: "feeds that are empty, cut short, pages, too large, too small, forged, replayed",
        goal: "0 bad generations activated",
        play: t67,
    },
    Row { id: "T72", fault: "concurrent PUT, POST, DELETE with If-Match on one list", goal: "linearizable", play: t72 },
];

/// Who is logged in on the watched host.
const OPERATOR: Ipv4Addr = WEB[5];
/// Lists between two calls of the API's client.
const CALLED_EACH: u32 = 20;
/// How long an answer of the session may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn t60(setting: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let protect = OPERATOR.to_string();
    let hosts = format!("hosts = [\"{IMPLANT}\"]");
    let setup = Setup { protect: &[&protect], listen: &["0.0.0.0:9443"], api: &hosts, ..Setup::default() };
    let daemon = Daemon::start(&lab, setup)?;
    let mut session = Session::start(&lab)?;
    let client = Client::new(&lab, &daemon)?;
    let own = [IMPLANT, OPERATOR, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), client.address];
    let mut dice = Dice::new(60);
    let (wanted, mut answered, mut taken) = (setting.amount(10_000, 200), 0_u32, 0_u64);
    let (mut called, mut heard) = (0_u32, 0_u32);
    for round in 0..wanted {
        let (text, force) = (list(&mut dice, &own), dice.chance(0.5));
        let change = daemon
            .api()
            .send("PUT", &format!("/api/v1/blocklists/random?force={force}"), "text/plain", &text)?
            .accepted()?;
        taken += change["entries"].as_u64().unwrap_or(0);
        answered += u32::from(session.ask().is_ok());
        // A connection of its own each time: what is established might outlive a verdict on new ones.
        if round % CALLED_EACH == 0 {
            called += 1;
            heard += u32::from(client.ask().is_ok());
        }
    }
    let measured = format!(
        "{answered} of {wanted} lists left the session alive, {heard} of {called} calls of the API's client were \
         answered; {taken} entries were in force"
    );
    Ok(Outcome { measured, holds: answered == wanted && heard == called && taken > 0 })
}

/// Returns a list in which what must not be cut stands in every form, among others.
fn list(dice: &mut Dice, own: &[Ipv4Addr]) -> String {
    let mut text = String::new();
    for _ in 0..dice.whole(1, 20) {
        let address = match dice.chance(0.5) {
            true => own.get(dice.whole(0, own.len() - 1)).copied().unwrap_or(IMPLANT),
            false => Ipv4Addr::from(dice.bits() as u32),
        };
        let bits = dice.whole(0, 32) as u32;
        let network = u32::from(address) & u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        text.push_str(&format!("{}/{bits}\n", Ipv4Addr::from(network)));
    }
    text
}

/// An operator's client of the API, over TLS from outside. Nobody told the daemon of its address.
struct Client {
    lab: Namespace,
    authority: PathBuf,
    token: String,
    address: Ipv4Addr,
}

impl Client {
    fn new(lab: &Lab, daemon: &Daemon) -> Result<Self> {
        let token = make_token(daemon, "block")?;
        let authority = daemon.path("state/tls/ca.pem");
        let client = Self { lab: lab.wan().clone(), authority, token, address: Ipv4Addr::UNSPECIFIED };
        client.ask()?;
        let status = daemon.api().get("/api/v1/status")?;
        let address = status["operators"][0]["address"].as_str().context("the status names no operator")?;
        Ok(Self { address: address.parse()?, ..client })
    }

    fn ask(&self) -> Result<()> {
        let mut command = Command::new(binary::netd()?);
        command.args(["status", "--server", &format!("https://{IMPLANT}:9443"), "--ca"]).arg(&self.authority);
        let answer = self.lab.command(command.env("NETD_TOKEN", &self.token))?.output()?;
        ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        Ok(())
    }
}

/// A TCP session of the watched host with the operator, who echoes.
struct Session(TcpStream);

impl Session {
    fn start(lab: &Lab) -> Result<Self> {
        let address = SocketAddr::new(IpAddr::V4(OPERATOR), 2_222);
        let listener = lab.wan().run(|| TcpListener::bind(address).context("cannot listen"))?;
        std::thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut byte = [0];
            while stream.read(&mut byte)? == 1 {
                stream.write_all(&byte)?;
            }
            Ok(())
        });
        let stream = lab.watched().run(|| TcpStream::connect(address).context("cannot connect"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    fn ask(&mut self) -> Result<()> {
        self.0.write_all(b"?")?;
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(())
    }
}

/// What leads inside, or is no URL of a feed at all, a line each.
const HOSTILE: &str = include_str!("../../../netd/src/feeds/hostile.txt");

/// Names that the host's own resolver leads inside.
const INSIDE: [&str; 2] = ["https://localhost/", "https://localhost:9443/api/v1/status"];

fn t65(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    let bad = daemon.path("bad.toml");
    let mut let_through = Vec::new();
    for url in HOSTILE.lines() {
        fs::write(&bad, format!("[[feed]]\nname = \"x\"\nurl = {url:?}\n"))?;
        let checked = Command::new(binary::netd()?).args(["config", "check"]).arg(&bad).output()?;
        if checked.status.success() {
            let_through.push(url);
        }
    }
    let feeds: String =
        INSIDE.iter().enumerate().map(|(n, url)| format!("[[feed]]\nname = \"inside-{n}\"\nurl = {url:?}\n")).collect();
    restart_with(&mut daemon, &feeds)?;
    for (n, url) in INSIDE.iter().enumerate() {
        let reason = update(&daemon.api(), &format!("inside-{n}"))?["failure"]["reason"].take();
        if reason != "forbidden" && reason != "resolve" {
            let_through.push(url);
        }
    }
    let total = HOSTILE.lines().count() + INSIDE.len();
    let measured = format!("{} of {total} refused {let_through:?}", total - let_through.len());
    Ok(Outcome { measured, holds: let_through.is_empty() })
}

fn t67(_: Setting) -> Result<Outcome> {
    let lab = Lab::host()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    let (plain, signed, key) = (daemon.path("plain.txt"), daemon.path("signed.txt"), daemon.path("key"));
    let public = netd(&["feeds", "keygen", text(&key)?])?;
    fs::write(&plain, addresses(1_000))?;
    sign(&plain, &signed, &key, 7)?;
    let feed = |name: &str, path: &Path, more: &str| {
        format!("[[feed]]\nname = \"{name}\"\nurl = \"file://{}\"\naction = \"block\"\n{more}", path.display())
    };
    let feeds = feed("plain", &plain, "") + &feed("signed", &signed, &format!("public_key = \"{}\"\n", public.trim()));
    restart_with(&mut daemon, &feeds)?;
    let api = daemon.api();
    for name in ["plain", "signed"] {
        let feed = update(&api, name)?;
        ensure!(feed["entries"] == 1_000, "the good list was not taken: {feed}");
    }
    let good = [tag(&api, "plain")?, tag(&api, "signed")?];

    let whole = fs::read(&signed)?;
    let mut forged = whole.clone();
    forged.extend_from_slice(b"203.0.113.77\n");
    let mut activated = Vec::new();
    let mut played = 0;
    let mut try_one = |what: &str, name: &str, path: &Path, bytes: &[u8]| -> Result<()> {
        fs::write(path, bytes)?;
        let feed = update(&api, name)?;
        played += 1;
        if feed["failure"].is_null() || [tag(&api, "plain")?, tag(&api, "signed")?] != good {
            activated.push(what.to_owned());
        }
        Ok(())
    };
    let json = format!("[{}]", ["\"198.51.100.9\""; 900].join(","));
    let corpus: [(&str, Vec<u8>); 12] = [
        ("empty", Vec::new()),
        ("blank", b"\n\n \n".to_vec()),
        ("comments", b"# nothing\n".to_vec()),
        ("page", b"<!DOCTYPE html><html><h1>502 Bad Gateway</h1></html>".to_vec()),
        ("page with an address", b"<html>\n198.51.100.9\n</html>".to_vec()),
        ("message", b"rate limit exceeded\n".to_vec()),
        ("JSON error", b"{\"error\":\"quota\"}".to_vec()),
        ("JSON cut short", json.as_bytes()[..json.len() - 1].to_vec()),
        ("cut short", addresses(400).into_bytes()),
        ("a tenth", addresses(100).into_bytes()),
        ("a hundred times", addresses(100_000).into_bytes()),
        ("noise", (0..=255_u8).cycle().take(10_000).collect()),
    ];
    for (what, bytes) in &corpus {
        try_one(what, "plain", &plain, bytes)?;
    }
    try_one("forged", "signed", &signed, &forged)?;
    try_one("unsigned", "signed", &signed, addresses(1_000).as_bytes())?;
    try_one("signed, cut short", "signed", &signed, &whole[..whole.len() / 2])?;
    fs::write(&plain, addresses(1_001))?;
    let older = daemon.path("older.txt");
    sign(&plain, &older, &key, 6)?;
    try_one("replayed", "signed", &signed, &fs::read(&older)?)?;
    let other = daemon.path("other.key");
    netd(&["feeds", "keygen", text(&other)?])?;
    sign(&plain, &older, &other, 8)?;
    try_one("another's signature", "signed", &signed, &fs::read(&older)?)?;

    // What must not be cut is left out, and the rest taken.
    fs::write(&plain, addresses(1_000) + "127.0.0.1\n192.0.2.2\n0.0.0.0/0\n")?;
    let feed = update(&api, "plain")?;
    let dropped = feed["refused"].as_u64();
    let measured =
        format!("{} of {played} activated {activated:?}; {dropped:?} of 3 protected entries left out", activated.len());
    Ok(Outcome { measured, holds: activated.is_empty() && dropped == Some(3) && feed["failure"].is_null() })
}

fn t72(setting: Setting) -> Result<Outcome> {
    const WRITERS: u64 = 4;
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup::default())?;
    let api = daemon.api();
    let wanted = setting.amount(100_000, 2_000);
    let first = api.send_with("PUT", LIST, &[("content-type", "text/plain")], "198.18.0.1\n")?;
    let first = first.etag.context("a list without a tag")?;
    let done = AtomicU64::new(0);
    let histories = std::thread::scope(|scope| {
        let (api, done) = (&api, &done);
        let writers = (0..WRITERS).map(|number| scope.spawn(move || write(api, number, done, wanted)));
        let writers: Vec<_> = writers.collect();
        let ended = writers.into_iter().map(|writer| writer.join());
        ended.map(|ended| ended.unwrap_or_else(|_| anyhow::bail!("a writer panicked"))).collect::<Result<Vec<_>>>()
    })?;
    let last = api.send_with("GET", LIST, &[], "")?.etag.context("the list is gone")?;

    // Each success leads from one state to another. Done one after the other they are one walk from the first state to the
    // last: every other state is entered as often as it is left. A lost update leaves a state twice.
    let mut balance = BTreeMap::<&str, i64>::new();
    let (mut successes, mut refused) = (0_u64, 0_u64);
    for history in &histories {
        refused += history.refused;
        for (from, to) in &history.steps {
            successes += 1;
            *balance.entry(from).or_default() -= 1;
            *balance.entry(to).or_default() += 1;
        }
    }
    *balance.entry(&first).or_default() += 1;
    *balance.entry(&last).or_default() -= 1;
    let wrong = balance.values().filter(|sum| **sum != 0).count();
    let measured = format!("{successes} changes and {refused} refusals (412), {wrong} states lost or doubled");
    Ok(Outcome { measured, holds: wrong == 0 && successes > 0 && refused > 0 })
}

const LIST: &str = "/api/v1/blocklists/shared";
const JSON: (&str, &str) = ("content-type", "application/json");

#[derive(Debug, Default)]
struct History {
    /// Tags before and after.
    steps: Vec<(String, String)>,
    refused: u64,
}

/// Changes the list as it was read, and again, until enough was done by all.
fn write(api: &Api, number: u64, done: &AtomicU64, wanted: u64) -> Result<History> {
    let (mut history, mut dice) = (History::default(), Dice::new(72 + number));
    while done.fetch_add(1, Ordering::Relaxed) < wanted {
        let read = api.send_with("GET", LIST, &[], "")?;
        let tag = read.etag.context("a list without a tag")?;
        let entry = Ipv4Addr::from(0xc612_0000 + dice.whole(1, 60) as u32);
        let matching = ("if-match", tag.as_str());
        let answer = match dice.whole(0, 2) {
            0 => api.send_with("PUT", LIST, &[("content-type", "text/plain"), matching], &format!("{entry}\n"))?,
            1 => {
                let body = json!({"value": entry, "reason": format!("writer {number}")}).to_string();
                api.send_with("POST", &format!("{LIST}/entries"), &[JSON, matching], &body)?
            }
            _ => {
                let held = read.body.lines().next().and_then(|line| line.split_whitespace().next());
                let Some(held) = held.map(str::to_owned) else { continue };
                api.send_with("DELETE", &format!("{LIST}/entries/{held}"), &[matching], "")?
            }
        };
        match (answer.status, answer.etag) {
            (200 | 201, Some(after)) => history.steps.push((tag, after)),
            (412, _) => history.refused += 1,
            (status, _) => anyhow::bail!("{status}: {}", answer.body),
        }
    }
    Ok(history)
}

fn restart_with(daemon: &mut Daemon, feeds: &str) -> Result<()> {
    let path = daemon.path("netd.toml");
    let config = fs::read_to_string(&path)?;
    daemon.terminate()?;
    fs::write(&path, config + feeds)?;
    daemon.again(&[])
}

fn update(api: &Api, feed: &str) -> Result<Value> {
    api.send("POST", &format!("/api/v1/feeds/{feed}:update"), "application/json", "")?.accepted()
}

fn tag(api: &Api, list: &str) -> Result<Option<String>> {
    Ok(api.send_with("GET", &format!("/api/v1/blocklists/{list}"), &[], "")?.etag)
}

fn addresses(count: u32) -> String {
    (0..count).map(|n| format!("{}\n", Ipv4Addr::from(0xc612_0000 + n))).collect()
}

fn sign(list: &Path, to: &Path, key: &Path, serial: u32) -> Result<()> {
    let serial = serial.to_string();
    let words =
        ["feeds", "sign", text(list)?, "--key", text(key)?, "--name", "signed", "--serial", &serial, "--to", text(to)?];
    netd(&words).map(|_| ())
}

/// Runs `netd` and returns what it printed.
fn netd(words: &[&str]) -> Result<String> {
    let output = Command::new(binary::netd()?).args(words).output()?;
    ensure!(output.status.success(), "netd {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not text")
}
