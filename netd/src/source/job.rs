//! A capture replayed because somebody asked the API: the way `netd replay` goes, with an end in time and in results.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use netd_engine::config::Config;
use netd_engine::finding::Finding;
use netd_engine::{Command, Engine};

use super::accounting::{Accounting, Settings};
use super::capture::{Capture, Error};
use super::replay::Replay;
use super::summary::Summary;
use super::watch::{Stop, Watched};
use crate::store::jobs::{Outcome, Work};

/// How long a replay may take.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Findings kept of a replay.
const FINDINGS: usize = 500;
/// What errors call the capture: where it lies for the moment is nobody's concern.
const NAME: &str = "capture";

/// Replays a capture to its end, or until nobody wants it any more. Blocks as long as that takes.
#[must_use]
pub fn replay(work: &Work, config: Config, prepare: impl FnOnce(&mut Engine)) -> Outcome {
    let watched = Watched::new(work.watch(), Instant::now() + LONGEST);
    let replayed = catch_unwind(AssertUnwindSafe(|| replayed(work, config, prepare, watched)));
    replayed.unwrap_or_else(|_| {
        tracing::error!("a replay met a fault");
        Outcome { error: Some("netd met a fault of its own; its log says more".to_owned()), ..Outcome::default() }
    })
}

fn replayed(work: &Work, config: Config, prepare: impl FnOnce(&mut Engine), watched: Watched) -> Outcome {
    let capture = match open(work.path(), &watched) {
        Ok(capture) => capture,
        Err(error) => return Outcome { error: Some(chain(&error)), ..Outcome::default() },
    };
    let mut engine = Engine::new(config);
    prepare(&mut engine);
    let mut replay = Replay::new(Accounting::new(&Settings::default())).watched(watched.clone());
    let mut findings = Findings::default();
    let errors = replay.run_open(vec![capture], &mut engine, |command| findings.take(command));
    let error = match watched.ended() {
        Some(Stop::Late) => Some(format!("it took longer than {} minutes", LONGEST.as_secs() / 60)),
        Some(Stop::Asked) => Some("it was cancelled".to_owned()),
        Some(Stop::Memory) => Some("memory ran short; netd replay on another machine takes its own".to_owned()),
        None => errors.first().map(|error| chain(error)),
    };
    Outcome {
        summary: Some(Summary::of(&replay, &engine)),
        findings: findings.kept.into_values().collect(),
        left_out: findings.left_out,
        error,
    }
}

fn open(path: &Path, watched: &Watched) -> Result<Capture, Error> {
    let file = File::open(path).map_err(|source| Error::Open { path: NAME.into(), source })?;
    Capture::read(Path::new(NAME), watched.counting(file))
}

/// Findings as they were last raised, by number.
#[derive(Debug, Default)]
struct Findings {
    kept: BTreeMap<u64, Finding>,
    left_out: u64,
}

impl Findings {
    fn take(&mut self, command: Command) {
        match command {
            Command::Report(finding) => self.keep(*finding),
            // Nothing that a capture holds is enforced, resolved or written down.
            Command::Update(_)
            | Command::Withheld(_)
            | Command::Respond(_)
            | Command::Enforce { .. }
            | Command::Release { .. }
            | Command::Resolved(_)
            | Command::FlowEnded(_)
            | Command::Lookup(_) => {}
        }
    }

    /// Keeps a finding. Where there is no room the least severe gives way, so that noise hides nothing.
    fn keep(&mut self, finding: Finding) {
        if self.kept.len() >= FINDINGS && !self.kept.contains_key(&finding.id) {
            self.left_out += 1;
            let least = self.kept.values().min_by_key(|kept| kept.severity).map(|kept| (kept.id, kept.severity));
            match least {
                Some((id, severity)) if severity < finding.severity => drop(self.kept.remove(&id)),
                Some(_) | None => return,
            }
        }
        self.kept.insert(finding.id, finding);
    }
}

/// Returns an error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use netd_engine::finding::Severity;

    use super::*;
    use crate::store::findings_for_tests::finding;

    #[test]
    fn noise_leaves_out_what_is_less_severe() {
        let mut findings = Findings::default();
        for id in 0..FINDINGS as u64 + 10 {
            findings.take(Command::Report(finding(id, Severity::Low, 0.5).into()));
        }

        findings.take(Command::Report(finding(9_999, Severity::Critical, 0.9).into()));
        findings.take(Command::Report(finding(9_999, Severity::High, 0.9).into()));

        assert_eq!((findings.kept.len(), findings.left_out), (FINDINGS, 11));
        assert_eq!(findings.kept[&9_999].severity, Severity::High);
    }
}
