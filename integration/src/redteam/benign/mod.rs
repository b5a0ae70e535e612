//! The benign list: programs that look like a shell on the network and are none, run for real; netd is to say nothing.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::arena::{Arena, outside_address, victim_address};
use super::control::traced;
use super::findings::{self, Found};
use super::published::{Published, judge};
use super::tree::{Scratch, Streams, Tree};
use super::variant::program;
use super::{at_once, now_ns, trace};
use crate::namespace::Namespace;

mod local;
mod outbound;
mod services;

const FIRST_PORT: u16 = 24_000;
/// Cases at once without netd.
const CONTROLS_AT_ONCE: usize = 2;
/// How long a server may take to listen, and a client to be served.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between the end of a case and the next: what netd says until then is about this one.
const SETTLED: Duration = Duration::from_millis(800);

/// Something harmless.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub needs: &'static [&'static str],
    /// Written into the case's folder; filled in as the scripts are.
    pub files: &'static [(&'static str, &'static str)],
    /// Run by sh on the outside before anything else.
    pub prepare: &'static str,
    /// Servers: run by sh in the background.
    pub victim: &'static str,
    pub outside: &'static str,
    /// Who serves at `{port}`: the play waits until it listens.
    pub listener: Option<Side>,
    pub player: Side,
    pub play: &'static str,
    /// What the play prints when all went well.
    pub answer: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Victim,
    Outside,
}

/// A case that runs on the victim alone.
const LOCAL: Case = Case {
    name: "",
    needs: &[],
    files: &[],
    prepare: "",
    victim: "",
    outside: "",
    listener: None,
    player: Side::Victim,
    play: "",
    answer: "",
};

/// What netd said of a benign case.
#[derive(Debug)]
pub struct Verdict {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What published rules say of the same system calls; absent where strace is, or the case does not work under it.
    pub published: Option<Published>,
}

#[derive(Debug)]
pub enum Outcome {
    LeftOut(String),
    /// It did not do what it is there for: netd's silence says nothing.
    Broken(String),
    /// What the detectors about shells said, of any severity.
    Played(Vec<Found>),
}

/// Plays all cases whose names hold `only`, one after the other, under one netd.
///
/// # Errors
///
/// When the laboratory or netd does not start.
pub fn play(only: Option<&str>) -> Result<Vec<Verdict>> {
    let cases = [services::ALL, outbound::ALL, local::ALL].into_iter().flatten();
    let wanted = cases.filter(|case| only.is_none_or(|part| case.name.contains(part)));
    let cases: Vec<(&Case, u16)> = wanted.zip(FIRST_PORT..).collect();
    let published = {
        let arena = Arena::new()?;
        at_once(CONTROLS_AT_ONCE, &cases, |(case, port)| control(&arena, case, *port))
    };
    let mut arena = Arena::new()?;
    arena.watch("enforce")?;
    let verdict = |((case, port), published): ((&Case, u16), Option<Published>)| {
        Ok(Verdict { name: case.name, outcome: one(&arena, case, port)?, published })
    };
    cases.into_iter().zip(published).map(verdict).collect()
}

/// Plays a case without netd, under strace. The controlling terminals are not looked at: the rule `terminal` says the same
/// of every login.
fn control(arena: &Arena, case: &Case, port: u16) -> Option<Published> {
    let is_missing = case.needs.iter().any(|name| program(name).is_none());
    if is_missing || program("strace").is_none() {
        return None;
    }
    let folder = Scratch::new().ok()?;
    perform(arena, case, port, Some(&folder)).ok()?;
    let records = fs::read_dir(folder.path()).ok()?.flatten().filter_map(|record| fs::read(record.path()).ok());
    let mut published = Published::default();
    for record in records {
        let said = judge(&trace::read(&String::from_utf8_lossy(&record)), &[]);
        published.falco.extend(said.falco);
        published.tracee.extend(said.tracee);
    }
    Some(published)
}

fn one(arena: &Arena, case: &Case, port: u16) -> Result<Outcome> {
    if let Some(name) = case.needs.iter().find(|name| program(name).is_none()) {
        return Ok(Outcome::LeftOut(format!("{name} is not installed")));
    }
    let begun_ns = now_ns();
    let outcome = perform(arena, case, port, None);
    thread::sleep(SETTLED);
    if let Err(error) = outcome {
        return Ok(Outcome::Broken(format!("{error:#}")));
    }
    let here = arena.victim_inode()?;
    let findings = findings::read(&arena.api().context("netd was not started")?)?;
    let about_this = |found: &Found| {
        found.is_about_shells() && found.when_ns >= begun_ns && found.netns.is_none_or(|inode| inode == here)
    };
    Ok(Outcome::Played(findings.into_iter().filter(about_this).collect()))
}

/// Plays a case; where `records` is given, what runs on the victim's side is traced into it.
fn perform(arena: &Arena, case: &Case, port: u16, records: Option<&Scratch>) -> Result<()> {
    let folder = Scratch::new()?;
    let fill = |text: &str| fill(text, &folder, port);
    for (name, text) in case.files {
        folder.write(name, &fill(text))?;
    }
    let side = |side: Side| match side {
        Side::Victim => arena.victim(),
        Side::Outside => arena.outside(),
    };
    let run = |where_to: Side, script: &str, name: &str| -> Result<Tree> {
        let output = File::create(folder.path().join(name))?;
        let words = ["/bin/sh".to_owned(), "-c".to_owned(), fill(script)];
        let records = records.filter(|_| where_to == Side::Victim);
        let traced = records.and_then(|records| traced(&words, &records.path().join(name)));
        let streams = Streams { input: None, output: Some(output) };
        let words = traced.as_deref().unwrap_or(&words);
        Tree::start(side(where_to), words, folder.path(), &format!("benign{port}"), streams)
    };
    let said = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();

    finish(run(Side::Outside, case.prepare, "prepared")?).with_context(|| said("prepared"))?;
    let _served = run(Side::Outside, case.outside, "outside")?;
    let _serves = run(Side::Victim, case.victim, "victim")?;
    if let Some(listener) = case.listener {
        listens(side(listener), port).with_context(|| said("victim") + &said("outside"))?;
    }
    let ended = finish(run(case.player, case.play, "played")?);
    let answer = said("played");
    if ended.is_err() || !answer.contains(case.answer) {
        bail!("it answered {:?}; servers: {:?} {:?}", answer.trim(), said("victim").trim(), said("outside").trim());
    }
    Ok(())
}

fn finish(mut tree: Tree) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while tree.child().try_wait()?.is_none() {
        if Instant::now() >= deadline {
            bail!("it does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Waits until somebody listens on a TCP port of the namespace; a connection to find out would be seen.
fn listens(namespace: &Namespace, port: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (local, listening) = (format!(":{port:04X}"), "0A");
    namespace.run(|| {
        loop {
            for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
                let rows = fs::read_to_string(table)?;
                let is_listener = |row: &str| {
                    let mut fields = row.split_ascii_whitespace().skip(1);
                    fields.next().is_some_and(|own| own.ends_with(&local)) && fields.nth(1) == Some(listening)
                };
                if rows.lines().any(is_listener) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                bail!("nobody listens on port {port}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Options of ssh for throw-away keys.
const SSH: &str = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i {dir}/key";

fn fill(text: &str, folder: &Scratch, port: u16) -> String {
    text.replace("{ssh}", SSH)
        .replace("{dir}", &folder.path().display().to_string())
        .replace("{port}", &port.to_string())
        .replace("{victim}", &victim_address(false).to_string())
        .replace("{outside}", &outside_address(false).to_string())
}

impl Verdict {
    /// Returns the findings that would have alarmed somebody.
    #[must_use]
    pub fn alarms(&self) -> usize {
        match &self.outcome {
            Outcome::Played(findings) => findings.iter().filter(|found| found.counts).count(),
            Outcome::LeftOut(_) | Outcome::Broken(_) => 0,
        }
    }

    fn words(&self) -> String {
        match &self.outcome {
            Outcome::LeftOut(why) => format!("left out: {why}"),
            Outcome::Broken(why) => format!("did not work: {why}"),
            Outcome::Played(findings) if findings.is_empty() => "silent".to_owned(),
            Outcome::Played(findings) => findings
                .iter()
                .map(|f| format!("{} {}: {}", f.detector, f.severity, f.title))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "case": self.name, "alarms": self.alarms(), "said": self.words(),
            "played": matches!(self.outcome, Outcome::Played(_)),
            "falco": self.published.as_ref().map(|published| &published.falco),
            "tracee": self.published.as_ref().map(|published| &published.tracee),
        })
    }
}

/// Writes the table of the benign list.
#[must_use]
pub fn table(verdicts: &[Verdict]) -> String {
    let mut rows = format!("{:<35} {:<22} {:<12} netd\n", "benign", "Falco", "Tracee");
    for verdict in verdicts {
        let (falco, tracee) = Published::cells(verdict.published.as_ref());
        rows += &format!("{:<35} {falco:<22} {tracee:<12} {}\n", verdict.name, verdict.words());
    }
    let count = |is: fn(&Outcome) -> bool| verdicts.iter().filter(|verdict| is(&verdict.outcome)).count();
    let alarms: usize = verdicts.iter().map(Verdict::alarms).sum();
    format!(
        "{rows}\n{} played, {alarms} findings of medium or above; left out {}, did not work {}\n",
        count(|outcome| matches!(outcome, Outcome::Played(_))),
        count(|outcome| matches!(outcome, Outcome::LeftOut(_))),
        count(|outcome| matches!(outcome, Outcome::Broken(_)))
    )
}

/// Returns the goals that were missed, in words.
#[must_use]
pub fn missed(verdicts: &[Verdict]) -> Vec<String> {
    let alarms =
        verdicts.iter().filter(|verdict| verdict.alarms() > 0).map(|v| format!("benign: {}: {}", v.name, v.words()));
    let broken = verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Broken(_)));
    alarms.chain(broken.map(|verdict| format!("benign: {}: {}", verdict.name, verdict.words()))).collect()
}
