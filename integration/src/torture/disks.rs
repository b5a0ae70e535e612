//! Faults of the disk: full under the audit log; full, then read-only, then there again under everything.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::{Outcome, Row, Setting};
use crate::api::Answer;
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, WEB};
use crate::namespace::Namespace;
use crate::traffic::probe::connects;
use crate::traffic::server::Server;

/// The rows of this room.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "T68",
        fault: "the disk of the audit log is full",
        goal: "every change has a record; more is not cut, unblocking works; recovers by itself",
        play: full_disk,
    },
    Row {
        id: "T69",
        fault: "state directory of 1 MB full, then read-only, then back",
        goal: "what is enforced stays, detection goes on, errors counted, history recovers without a restart",
        play: disk,
    },
];

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);
const SIZE: &str = "size=1m";
/// Between two visits.
const VISIT: Duration = Duration::from_millis(200);

fn disk(setting: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let servers: Vec<_> =
        WEB[..4].iter().map(|web| Server::tcp(lab.wan(), at(*web, 80))).collect::<Result<Vec<_>>>()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    daemon.terminate()?;
    let state = daemon.path("state");
    let small = Mount::new(&lab, &state, MsFlags::empty())?;
    daemon.again(&[])?;
    visit(&lab, WEB[0], 5)?;
    let whole = history(&daemon, "writes", |history| number(history, "written") > 0 && history["error"].is_null())?;
    ask(&daemon, WEB[1])?.accepted()?;

    let ballast = state.join("ballast");
    lab.watched().run(|| fill(&ballast))?;
    let full = fail(&lab, &daemon, &whole)?;
    let enforced_full = is_cut(&lab, WEB[1])? && !is_cut(&lab, WEB[0])?;
    let recorded = is_cut_with_a_record_only(&lab, &daemon, WEB[2])?;
    let seen_full = sees(&lab, &daemon, WEB[3])?;

    // The file systems of hosts turn read-only under whoever has files open: what is opened from here on meets this.
    let over = Mount::new(&lab, &state.join("history"), MsFlags::MS_RDONLY)?;
    let read_only = fail(&lab, &daemon, &full)?;
    let enforced_read_only = is_cut(&lab, WEB[1])? && !is_cut(&lab, WEB[0])?;
    std::thread::sleep(setting.amount(Duration::from_secs(60), Duration::ZERO));

    drop(over);
    lab.watched().run(|| fs::remove_file(&ballast).context("cannot remove the ballast"))?;
    visit(&lab, WEB[0], 5)?;
    let written = number(&read_only, "written");
    let back = history(&daemon, "recovers", |history| {
        history["error"].is_null() && number(history, "written") > written && number(history, "waiting") == 0
    })?;
    let lost = number(&back, "lost");
    ask(&daemon, WEB[2])?.accepted()?;
    let enforced_after = is_cut(&lab, WEB[2])?;
    daemon.terminate()?;
    drop((small, servers));

    let holds = enforced_full && recorded && enforced_read_only && enforced_after && seen_full && lost == 0;
    let measured = format!(
        "{} errors; full: enforced {enforced_full}, seen {seen_full}, nothing cut without a record {recorded}; \
         read-only: enforced {enforced_read_only}; after: enforced {enforced_after}, {} flows written, {lost} lost",
        number(&back, "errors"),
        number(&back, "written") - number(&whole, "written"),
    );
    Ok(Outcome { measured, holds })
}

/// Visits a server until history fails once more; so seldom that what waits fits the disk afterwards.
fn fail(lab: &Lab, daemon: &Daemon, before: &Value) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        visit(lab, WEB[0], 1)?;
        std::thread::sleep(VISIT);
        let history = daemon.api().get("/api/v1/status")?["history"].take();
        if number(&history, "errors") > number(before, "errors") && history["error"].is_string() {
            return Ok(history);
        }
        ensure!(Instant::now() < deadline, "history did not notice: {history}\n{}", daemon.log());
    }
}

/// Asks for a verdict.
fn ask(daemon: &Daemon, whom: Ipv4Addr) -> Result<Answer> {
    daemon.api().send_json("POST", "/api/v1/verdicts", &json!({ "target": { "address": whom } }))
}

/// Asks for a verdict while its record may find no room: returns whether it cuts if it was accepted, and only then.
fn is_cut_with_a_record_only(lab: &Lab, daemon: &Daemon, whom: Ipv4Addr) -> Result<bool> {
    let is_accepted = match ask(daemon, whom)? {
        Answer { status: 503, .. } => false,
        answer => answer.accepted().map(|_| true)?,
    };
    Ok(is_cut(lab, whom)? == is_accepted)
}

fn is_cut(lab: &Lab, whom: Ipv4Addr) -> Result<bool> {
    Ok(connects(lab, IpAddr::V4(IMPLANT), at(whom, 80))?.is_err())
}

/// Returns whether a visit is seen.
fn sees(lab: &Lab, daemon: &Daemon, whom: Ipv4Addr) -> Result<bool> {
    visit(lab, whom, 1)?;
    let found = |page: &Value| page["items"].as_array().filter(|items| !items.is_empty()).map(|_| ());
    Ok(daemon.api().until(&format!("/api/v1/flows?dst={whom}"), PATIENCE, found).is_ok())
}

fn visit(lab: &Lab, whom: Ipv4Addr, times: usize) -> Result<()> {
    for _ in 0..times {
        connects(lab, IpAddr::V4(IMPLANT), at(whom, 80))?.context("a server cannot be reached")?;
    }
    Ok(())
}

fn history(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let found = |status: &Value| Some(status["history"].clone()).filter(|history| is_so(history));
    let found = daemon.api().until("/api/v1/status", PATIENCE, found);
    found.with_context(|| format!("waited until history {what}\n{}", daemon.log()))
}

fn number(history: &Value, name: &str) -> u64 {
    history[name].as_u64().unwrap_or(0)
}

fn at(web: Ipv4Addr, port: u16) -> SocketAddr {
    (web, port).into()
}

/// Writes until there is no room.
fn fill(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    let mut piece = vec![0; 64 << 10];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A small file system of memory over a folder where the daemon is, until it is dropped: the laboratory has mounts of
/// its own.
#[derive(Debug)]
struct Mount {
    namespace: Namespace,
    folder: PathBuf,
}

impl Mount {
    fn new(lab: &Lab, folder: &Path, flags: MsFlags) -> Result<Self> {
        lab.watched().run(|| {
            fs::create_dir_all(folder)?;
            mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some(SIZE))
                .with_context(|| format!("cannot mount over {}", folder.display()))
        })?;
        Ok(Self { namespace: lab.watched().clone(), folder: folder.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever still has files open in it keeps it alive, unseen.
        let _ = self.namespace.run(|| Ok(umount2(&self.folder, MntFlags::MNT_DETACH)?));
    }
}

/// A file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(size: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("netd-full-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let options = format!("size={size},mode=0700");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // It goes when nobody uses it any more.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

fn full_disk(_: Setting) -> Result<Outcome> {
    // Mounted before the laboratory: its mount namespace is a copy, and what is mounted later is not seen there.
    let disk = Tmpfs::mount("4m")?;
    let lab = Lab::host()?;
    let state = disk.0.join("state");
    let daemon = Daemon::start(&lab, Setup { state_dir: Some(&state), ..Setup::default() })?;
    let api = daemon.api();
    let block = |number: u64| {
        api.send_json("POST", "/api/v1/verdicts", &json!({"target": {"address": format!("198.18.0.{number}")}}))
    };
    let mut made = Vec::new();
    for number in 1..=10 {
        let answer = block(number)?.accepted()?;
        made.push(answer["id"].as_u64().context("a verdict without a number")?);
    }
    let ballast = disk.0.join("ballast");
    fill(&ballast)?;
    // What is left of the log's last block still takes records; then it is full.
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for number in 11..=250 {
        match block(number)?.status {
            201 => accepted += 1,
            503 => refused += 1,
            other => bail!("a verdict was answered with {other}"),
        }
    }
    let mut released = 0;
    for &id in &made {
        released += u64::from(api.release(id).is_ok());
    }
    let switched = api.send_json("PUT", "/api/v1/kill-switch", &json!({"on": true}))?.status;
    fs::remove_file(&ballast)?;
    api.until("/api/v1/status", Duration::from_secs(10), |status| {
        (status["audit"]["waiting"] == 0 && status["audit"]["error"].is_null()).then_some(())
    })?;
    let again = block(251)?.status;
    let records = api.items("/api/v1/audit")?;
    let count = |action: &str| records.iter().filter(|record| record["action"] == action).count() as u64;
    let (adds, releases, switches) = (count("verdict.add"), count("verdict.release"), count("kill-switch.set"));
    let verified = daemon.netd(&["audit", "verify", "--state-dir", state.to_str().context("a path")?])?;
    let (made, whole) = (made.len() as u64, verified.status.success());
    let measured = format!(
        "{made}+{accepted} blocks taken, {refused} refused while full, {released} of 10 released; records: {adds} blocks, \
         {releases} releases, {switches} kill switch; afterwards {again}; chain whole: {whole}"
    );
    let complete = adds == made + accepted + 1 && releases == 10 && switches == 1;
    let holds = made == 10 && refused > 0 && released == 10 && switched == 200 && again == 201 && complete && whole;
    Ok(Outcome { measured, holds })
}
