//! The matrix: every variant over IPv4 and IPv6, first without netd, then with it.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::arena::{Arena, outside_address, victim_address};
use super::attacker::{Attacker, GAP, Plan, Session};
use super::findings::{self, Found};
use super::published::Published;
use super::tree::{Scratch, Streams, Tree};
use super::variant::{Class, Place, Role, Variant};
use super::{at_once, control, now_ns, variants};

/// The ports of the trials, below those that the kernel gives away, with room for two more ports a trial.
const FIRST_PORT: u16 = 20_000;
/// What a late finding may take; nobody waits longer for one.
const LATEST: Duration = Duration::from_millis(1_500);
/// What left the victim before the cut may be read by the attacker's thread this much later.
const TRANSIT_NS: u64 = 5_000_000;
/// Trials at once while netd watches, and without it.
const WATCHED_AT_ONCE: usize = 2;
const CONTROLS_AT_ONCE: usize = 4;

/// What to play.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// One variant a class, over IPv4.
    pub short: bool,
    /// Only variants whose names hold this.
    pub only: Option<String>,
    /// Leaves the control out: nothing is said about other tools then.
    pub no_control: bool,
}

/// One run of a variant.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub variant: Variant,
    pub is_v6: bool,
    port: u16,
}

impl Trial {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn plan(&self) -> Plan {
        let Variant { transport, role, .. } = self.variant;
        let ip = match role {
            Role::Connects => outside_address(self.is_v6),
            Role::Listens => victim_address(self.is_v6),
        };
        Plan { address: (ip, self.port).into(), transport, role, gap: GAP }
    }

    /// Returns the command line, for a run in `folder`.
    ///
    /// # Errors
    ///
    /// When this program does not know where it is.
    pub fn words(&self, folder: &Path) -> Result<Vec<String>> {
        let me = std::env::current_exe().context("this program does not know where it is")?;
        let place = Place { address: self.plan().address, folder: folder.to_owned(), me };
        Ok(place.fill(self.variant.command))
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    pub variant: Variant,
    pub is_v6: bool,
    pub outcome: Outcome,
    /// Absent without a control.
    pub published: Option<Published>,
}

/// What became of a trial.
#[derive(Debug)]
pub enum Outcome {
    /// It was not tried, for a reason.
    LeftOut(String),
    /// It is no shell even without netd.
    Broken(String),
    Played(Box<Played>),
}

/// A trial that netd watched.
#[derive(Debug)]
pub struct Played {
    /// The command line started, and the first moment at which there was something to find.
    pub spawned_ns: u64,
    pub decisive_ns: u64,
    pub bytes: usize,
    /// The first finding that counts, if any.
    pub found: Option<Found>,
    /// Output that the attacker received after the finding.
    pub bytes_after: usize,
    /// Of it, what commands answered, [`TRANSIT_NS`] after the cut or later; all of it where nothing was cut.
    pub bytes_leaked: usize,
    /// Findings of other detectors on the same port.
    pub others: Vec<String>,
}

/// Plays the matrix.
///
/// # Errors
///
/// When the laboratory or netd does not start. What is wrong with a single variant is said in its row.
pub fn play(options: &Options) -> Result<Vec<Row>> {
    let trials = trials(options);
    let controls = if options.no_control {
        trials.iter().map(|_| Ok(None)).collect()
    } else {
        let arena = Arena::new()?;
        at_once(CONTROLS_AT_ONCE, &trials, |trial| match trial.variant.missing() {
            Some(_) => Ok(None),
            None => control::run(&arena, trial),
        })
    };
    let mut arena = Arena::new()?;
    arena.watch("enforce")?;
    let ready: Vec<bool> = trials
        .iter()
        .zip(&controls)
        .map(|(trial, control)| trial.variant.missing().is_none() && control.is_ok())
        .collect();
    let numbered: Vec<usize> = (0..trials.len()).collect();
    let sessions =
        at_once(WATCHED_AT_ONCE, &numbered, |number| ready[*number].then(|| session(&arena, &trials[*number])));
    let findings = findings::read(&arena.api().context("netd was not started")?)?;

    let rows = trials.into_iter().zip(controls).zip(sessions);
    Ok(rows.map(|((trial, control), session)| row(trial, control, session, &findings)).collect())
}

fn row(
    trial: Trial,
    control: Result<Option<Published>>,
    session: Option<Result<(u64, Session)>>,
    findings: &[Found],
) -> Row {
    let Trial { variant, is_v6, port } = trial;
    let missing = variant.missing();
    let published = control.as_ref().ok().cloned().flatten();
    let outcome = match (missing, control, session) {
        (Some(name), ..) => Outcome::LeftOut(format!("{name} is not installed")),
        (None, Err(error), _) => Outcome::Broken(format!("{error:#}")),
        (None, Ok(_), None) => Outcome::LeftOut("not played".to_owned()),
        (None, Ok(_), Some(Err(error))) => match cut_at_once(findings, port) {
            Some(played) => Outcome::Played(Box::new(played)),
            None => Outcome::Broken(format!("with netd: {error:#}")),
        },
        (None, Ok(_), Some(Ok((spawned_ns, session)))) => {
            let here = || findings.iter().filter(|found| found.responder_port == port);
            let found =
                here().filter(|found| found.is_about_shells() && found.counts).min_by_key(|found| found.when_ns);
            let cut_ns = here().filter_map(|found| found.cut_ns).min();
            // Before the first command a prompt may come, and no command's output.
            let leaked_from = found.map(|found| match cut_ns {
                Some(cut_ns) => (cut_ns + TRANSIT_NS).max(session.first_command_ns),
                None => found.when_ns,
            });
            let others = here().filter(|found| !found.is_about_shells() || !found.counts);
            let decisive_ns = if variant.per_command { session.first_command_ns } else { session.opened_ns };
            Outcome::Played(Box::new(Played {
                spawned_ns,
                decisive_ns,
                bytes: session.bytes_after(0),
                found: found.cloned(),
                bytes_after: found.map_or(0, |found| session.bytes_after(found.when_ns)),
                bytes_leaked: leaked_from.map_or(0, |from_ns| session.bytes_after(from_ns)),
                others: others.map(|found| format!("{} {}", found.detector, found.severity)).collect(),
            }))
        }
    };
    Row { variant, is_v6, outcome, published }
}

/// Returns what a shell was that netd cut before the attacker heard of it.
fn cut_at_once(findings: &[Found], port: u16) -> Option<Played> {
    let cut = findings.iter().filter(|found| found.responder_port == port && found.is_about_shells() && found.counts);
    let found = cut.filter(|found| found.cut_ns.is_some()).min_by_key(|found| found.when_ns)?;
    Some(Played {
        spawned_ns: found.when_ns,
        decisive_ns: found.when_ns,
        bytes: 0,
        found: Some(found.clone()),
        bytes_after: 0,
        bytes_leaked: 0,
        others: Vec::new(),
    })
}

fn session(arena: &Arena, trial: &Trial) -> Result<(u64, Session)> {
    let folder = Scratch::new()?;
    let (opened, _) = mpsc::channel();
    let attacker = Attacker::start(arena.outside(), trial.plan(), opened)?;
    let spawned_ns = now_ns();
    let words = trial.words(folder.path())?;
    let _tree = Tree::start(arena.victim(), &words, folder.path(), &trial.port.to_string(), Streams::default())?;
    let session = attacker.wait()?;
    // It stays as it is until the last moment at which a finding would count.
    let since = Duration::from_nanos(now_ns().saturating_sub(session.first_command_ns));
    thread::sleep(LATEST.saturating_sub(since));
    Ok((spawned_ns, session))
}

fn trials(options: &Options) -> Vec<Trial> {
    let wanted = |variant: &Variant| options.only.as_ref().is_none_or(|part| variant.name.contains(part.as_str()));
    let mut chosen: Vec<Variant> = variants::all().filter(wanted).collect();
    if options.short {
        let mut classes: Vec<Class> = Vec::new();
        // Of each class the first whose tools are here; if none has them, the first, which then says so.
        chosen.sort_by_key(|variant| variant.missing().is_some());
        chosen.retain(|variant| {
            let is_new = !classes.contains(&variant.class);
            classes.push(variant.class);
            is_new
        });
        chosen.sort_by_key(|variant| variant.class);
    }
    let versions = |variant: Variant| {
        let with_v6 = variant.v6 && !options.short;
        [(variant, false)].into_iter().chain(with_v6.then_some((variant, true)))
    };
    let ports = FIRST_PORT..;
    chosen
        .into_iter()
        .flat_map(versions)
        .zip(ports)
        .map(|((variant, is_v6), port)| Trial { variant, is_v6, port })
        .collect()
}
