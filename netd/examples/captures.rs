//! Prints what netd finds in a folder of labelled captures (`make captures`).
//!
//! The folder holds `INDEX.tsv`: file, kind, contents, expected finding. A capture whose expectation begins with
//! `beacon ORIGINATOR->RESPONDER:PORT/PROTOCOL` must give a beacon finding for that pair; one in `benign/` must give
//! none that is fit for a block.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use netd::source::accounting::{Accounting, Settings};
use netd::source::replay::Replay;
use netd_engine::config::Config;
use netd_engine::finding::Finding;
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use netd_engine::{Command, Engine};

/// Of the fifteen Cobalt Strike, Empire and Covenant captures, at least this many must be found.
const REQUIRED: usize = 13;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("usage: captures FOLDER")?;
    let folder = Path::new(&folder);
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).context("cannot read INDEX.tsv")?;
    let out = &mut io::stdout().lock();
    let mut labelled = (0, 0);
    let mut blocked = 0;
    writeln!(
        out,
        "{:<72} {:<24} {:>5} {:>8} {:<8} {:>6} block",
        "capture", "kind", "found", "after s", "severity", "score"
    )?;
    for row in index.lines().skip(1) {
        let mut columns = row.split('\t');
        let (Some(file), Some(kind), Some(expected)) = (columns.next(), columns.next(), columns.nth(1)) else {
            continue;
        };
        let (findings, first) = findings(&folder.join(file))?;
        let is_benign = file.starts_with("benign/");
        let wanted = label(expected).filter(|_| !is_benign);
        let relevant: Vec<&Finding> =
            findings.iter().filter(|finding| wanted.as_ref().is_none_or(|wanted| *wanted == pair(finding))).collect();
        if wanted.is_some() {
            labelled.0 += usize::from(!relevant.is_empty());
            labelled.1 += 1;
        }
        blocked += usize::from(is_benign && findings.iter().any(|finding| finding.block));
        let short = file.rsplit('/').next().unwrap_or(file);
        let found = match (wanted.is_some(), relevant.is_empty()) {
            (true, false) => "yes",
            (true, true) => "NO",
            (false, false) => "other",
            (false, true) => "-",
        };
        let worst = relevant.iter().max_by(|a, b| a.severity.cmp(&b.severity).then(b.id.cmp(&a.id)));
        match (relevant.first(), worst) {
            (Some(finding), Some(worst)) => writeln!(
                out,
                "{short:<72} {kind:<24} {found:>5} {:>8.1} {:<8} {:>6.4} {}",
                finding.time.secs_since(first),
                format!("{:?}", worst.severity),
                worst.score,
                worst.block
            )?,
            _ => writeln!(out, "{short:<72} {kind:<24} {found:>5}")?,
        }
    }
    writeln!(
        out,
        "{} of {} labelled beacons found; {blocked} benign captures fit for a block",
        labelled.0, labelled.1
    )?;
    if labelled.0 < REQUIRED.min(labelled.1) || blocked > 0 {
        bail!("fewer than {REQUIRED} labelled beacons were found, or a benign capture was fit for a block");
    }
    Ok(())
}

fn findings(path: &Path) -> Result<(Vec<Finding>, Timestamp)> {
    let mut engine = Engine::new(Config::default());
    let mut replay = Replay::new(Accounting::new(&Settings::default()));
    let mut findings = Vec::new();
    let errors = replay.run(&[path], &mut engine, |command| {
        if let Command::Report(finding) = command {
            findings.push(*finding);
        }
    });
    if let Some(error) = errors.into_iter().next() {
        return Err(error).context("replaying");
    }
    Ok((findings, replay.tally().first.unwrap_or_default()))
}

/// Reads the pair of `beacon ORIGINATOR->RESPONDER:PORT/PROTOCOL`.
fn label(expected: &str) -> Option<String> {
    expected.strip_prefix("beacon ")?.split([',', ' ']).next().map(str::to_owned)
}

fn pair(finding: &Finding) -> String {
    let pair = &finding.pair;
    format!("{}->{}:{}/{}", pair.originator, pair.responder, pair.responder_port, protocol_name(pair.proto))
}
