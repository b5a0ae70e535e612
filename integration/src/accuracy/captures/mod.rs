//! The labelled captures: what netd finds in each, beside RITA and the CV rule on the very same flows.
//!
//! netd is the program itself: `netd replay`, which reads captures as `netd run` reads the network.

pub(crate) mod label;
mod replay;
mod report;

use std::path::Path;

use anyhow::{Context as _, Result};

use super::connection::Log;
use super::cv;
use super::document::{Measure, Section};
use super::parallel;
use super::rita::{self, THREAT, Window};
use label::Label;
use replay::{Finding, Replayed};

const TITLE: &str = "Captures";

/// A capture, what is known of it, and what was found.
struct Row {
    file: String,
    kind: String,
    contains: String,
    is_benign: bool,
    label: Label,
    found: Replayed,
    rita: Rival,
    cv: Rival,
}

/// What a rival says of a capture's pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rival {
    is_label_found: bool,
    /// Other pairs that it alerts on.
    others: usize,
}

/// Returns the section about the captures in a folder, or one that says that there are none.
pub(crate) fn section(folder: &Path) -> Result<Section> {
    let mut section = Section::new(TITLE);
    let index = folder.join("INDEX.tsv");
    if !index.exists() {
        section.text(format!(
            "Left out: there is no `INDEX.tsv` in `{}`. Name a folder of labelled captures in NETD_CAPTURES.",
            folder.display()
        ));
        section.measures.push(Measure::left_out(
            "captures",
            "found, and no false finding above low",
            "no captures here",
        ));
        return Ok(section);
    }
    let index = std::fs::read_to_string(&index).context("reading INDEX.tsv")?;
    let lines: Vec<&str> = index.lines().skip(1).collect();
    let rows = parallel::map(&lines, |line| Row::measure(folder, line)).into_iter().collect::<Result<Vec<_>>>()?;
    report::fill(&mut section, &rows);
    Ok(section)
}

impl Row {
    fn measure(folder: &Path, line: &str) -> Result<Self> {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut column = || columns.next().unwrap_or_default();
        let (file, kind, contains, expected) = (column(), column(), column(), column());
        let is_benign = file.starts_with("benign/");
        let label = if is_benign { Label::default() } else { Label::read(&kind, &expected) };
        let mut found = replay::replay(&folder.join(&file)).with_context(|| format!("replaying {file}"))?;
        let (rita, cv) = rivals(&mut found.log, &label);
        Ok(Self { file, kind, contains, is_benign, label, found, rita, cv })
    }

    /// Returns the finding that answers the label, the earliest of the worst.
    fn answer(&self) -> Option<&Finding> {
        let fitting = self.found.incidents.iter().filter(|finding| self.label.is_met_by(finding));
        fitting.min_by(|a, b| a.after_s.total_cmp(&b.after_s))
    }

    fn short(&self) -> &str {
        let name = self.file.rsplit('/').next().unwrap_or(&self.file);
        name.split('.').next().unwrap_or(name)
    }
}

/// Scores each pair over the capture's own time, which is how a capture is imported into RITA.
fn rivals(log: &mut Log, label: &Label) -> (Rival, Rival) {
    let (mut rita, mut cv) = (Rival::default(), Rival::default());
    let (mut from_s, mut to_s) = (f64::INFINITY, 0.0_f64);
    for (_, connections) in log.pairs() {
        for connection in connections {
            from_s = from_s.min(connection.start_s.floor());
            to_s = to_s.max(connection.end_s.ceil());
        }
    }
    let window = Window { from_s, to_s };
    for (pair, connections) in log.pairs() {
        let is_label = label.is_between(pair.0, pair.1);
        let by_rita = rita::score(window, connections).is_some_and(|score| score.total() >= THREAT);
        let by_cv = cv::first_alert_s(connections).is_some();
        for (rival, alerts) in [(&mut rita, by_rita), (&mut cv, by_cv)] {
            rival.is_label_found |= is_label && alerts;
            rival.others += usize::from(!is_label && alerts);
        }
    }
    (rita, cv)
}
