//! `netd policy test`: the captures that policies name, played through the detectors.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netd_engine::config::Config;
use netd_engine::detect::Detector;
use netd_engine::policy::{Expectation, Policy, Trial};
use netd_engine::{Command, Engine};

use super::super::Error;
use crate::config::policies::{self, Faults};
use crate::source::accounting::{Accounting, Settings};
use crate::source::replay::Replay;

/// What came of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Each finding's detector, and whether it is suppressed.
    findings: BTreeMap<u64, (&'static str, bool)>,
    blocks: u64,
    responses: u64,
}

/// Tries every policy alone, and returns 1 where one does not do what it promises.
pub(super) fn run(paths: &[PathBuf], out: &mut dyn Write) -> Result<u8, Error> {
    let (mut tried, mut failed) = (0_u32, 0_u32);
    for file in files(paths)? {
        let policies = match policies::read(&file) {
            Ok(policies) => policies,
            Err(Faults(faults)) if faults.iter().all(|fault| fault.line == 0 && policies::is_services(&file)) => {
                continue;
            }
            Err(faults) => {
                writeln!(out, "{faults}")?;
                failed += 1;
                continue;
            }
        };
        for policy in policies.iter() {
            if policy.spec.tests.is_empty() {
                writeln!(out, "{}: warning: policy {} has no tests", file.display(), policy.name)?;
            }
            for trial in &policy.spec.tests {
                tried += 1;
                let flaws =
                    play(policy, trial, &file).map_or_else(|error| vec![error], |seen| flaws(&trial.expect, &seen));
                let capture = trial.capture.display();
                match flaws.as_slice() {
                    [] => writeln!(out, "ok      {} {capture}", policy.name)?,
                    flaws => {
                        failed += 1;
                        writeln!(out, "FAILED  {} {capture}", policy.name)?;
                        flaws.iter().try_for_each(|flaw| writeln!(out, "        {flaw}"))?;
                    }
                }
            }
        }
    }
    writeln!(out, "{tried} captures, {failed} failures")?;
    Ok(u8::from(failed > 0))
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        let found = policies::files(path);
        files.extend(found.map_err(|source| Error::Input { path: path.display().to_string(), source })?);
    }
    Ok(files)
}

fn play(policy: &Policy, trial: &Trial, file: &Path) -> Result<Seen, String> {
    let capture = file.parent().unwrap_or(Path::new(".")).join(&trial.capture);
    let mut config = Config { policies: Arc::new(policy.clone().into()), ..Config::default() };
    config.networks.local.clone_from(&trial.local);
    let mut engine = Engine::new(config);
    let mut seen = Seen::default();
    let errors =
        Replay::new(Accounting::new(&Settings::default())).run(&[capture], &mut engine, |command| match command {
            Command::Report(finding) | Command::Update(finding) => {
                seen.findings.insert(finding.id, (finding.detector, finding.is_suppressed()));
            }
            Command::Enforce { .. } => seen.blocks += 1,
            Command::Respond(_) => seen.responses += 1,
            Command::Withheld(_)
            | Command::Release { .. }
            | Command::FlowEnded(_)
            | Command::Resolved(_)
            | Command::Lookup(_) => {}
        });
    match errors.first() {
        None => Ok(seen),
        Some(error) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            Err(format!("{error}{}", cause.unwrap_or_default()))
        }
    }
}

/// Returns each promise that is not kept.
fn flaws(expected: &Expectation, seen: &Seen) -> Vec<String> {
    let mut flaws = Vec::new();
    if let Some(wanted) = &expected.findings {
        for detector in Detector::ALL {
            let found = seen.findings.values().filter(|(name, _)| *name == detector.name()).count() as u64;
            let wanted = wanted.get(detector).copied().unwrap_or(0);
            if found != wanted {
                flaws.push(format!("findings of {}: {found}, expected {wanted}", detector.name()));
            }
        }
    }
    let suppressed = seen.findings.values().filter(|(_, is_suppressed)| *is_suppressed).count() as u64;
    for (what, wanted, found) in [
        ("suppressed", expected.suppressed, suppressed),
        ("blocks", expected.blocks, seen.blocks),
        ("responses", expected.responses, seen.responses),
    ] {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            flaws.push(format!("{what}: {found}, expected {wanted}"));
        }
    }
    flaws
}
