//! The report: how reliable the posterior is, what each term would weigh, and on what that rests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use netd_engine::detect::Detector;
use serde_json::{Value, json};

use super::folds::FOLDS;
use super::model::{LEAST_GROUPS, LEAST_VOTES, SPREAD, Support};
use super::regression::Row;
use super::reliability::{Bin, Losses, Predicted, losses, table};
use crate::accuracy::document::{Section, Table};

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(super) quick: bool,
    pub(super) day_seeds: Vec<u64>,
    pub(super) has_captures: bool,
    /// Benign and malicious histories that are followed and never judged: their rhythm tells too little.
    pub(super) unjudged: [usize; 2],
    /// Benign and malicious cases of each capture, laboratory or day.
    pub(super) groups: BTreeMap<String, [usize; 2]>,
    /// Detector, its prior, the constant fitted to these cases.
    pub(super) priors: Vec<(&'static str, f64, f64)>,
    pub(super) all: Option<Judged>,
    pub(super) detectors: Vec<Judged>,
    pub(super) terms: Vec<Moved>,
}

/// A detector's cases, or all, as three models see them: shipped, base rate fitted, weights fitted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) detector: Option<Detector>,
    cases: [usize; 2],
    votes: [f64; 2],
    losses: [Losses; 3],
    shipped: Vec<Bin>,
    fitted: Vec<Bin>,
}

/// A term, and where the fit would have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moved {
    pub(super) name: &'static str,
    pub(super) present: f64,
    pub(super) fitted: f64,
    /// Over the folds.
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) support: Support,
}

impl Judged {
    pub(super) fn of(detector: Option<Detector>, predicted: &[Vec<(&Row, f64)>; 3]) -> Self {
        let [shipped, base_rate, fitted] = predicted.each_ref().map(|predicted| -> &Predicted<'_> { predicted });
        let (mut cases, mut votes) = ([0; 2], [0.0; 2]);
        for (row, _) in shipped {
            cases[usize::from(row.is_positive)] += 1;
            votes[usize::from(row.is_positive)] += row.votes;
        }
        let losses = [losses(shipped), losses(base_rate), losses(fitted)];
        Self { detector, cases, votes, losses, shipped: table(shipped), fitted: table(fitted) }
    }

    fn name(&self) -> &'static str {
        self.detector.map_or("all", Detector::name)
    }
}

impl Moved {
    fn remark(&self) -> &'static str {
        match self.support.objection() {
            Some(objection) => objection,
            None if self.fitted == 0.0 => "at its bound",
            None if self.least <= self.present && self.present <= self.most => "within the folds' range",
            None => "",
        }
    }
}

impl Report {
    /// Returns the report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = self.preamble();
        for section in [self.cases(), self.reliability(), self.weights()] {
            let _ = write!(out, "{}", section.markdown());
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn preamble(&self) -> String {
        let seeds: Vec<String> = self.day_seeds.iter().map(u64::to_string).collect();
        let command = match self.quick {
            false if self.day_seeds == super::DAY_SEEDS => "make calibrate".to_owned(),
            quick => {
                let quick = if quick { " --quick" } else { "" };
                format!("cargo run --release -p netd-lab --bin calibrate --{quick} --day-seeds {}", seeds.join(","))
            }
        };
        let hosts = if self.quick { "thirty" } else { "two hundred" };
        format!(
            "# Calibration\n\nMade by `{command}`: captures, and {} days of {hosts} hosts. {}",
            self.day_seeds.len(),
            include_str!("preamble.md")
        )
        .replace("SPREAD", &format!("{:.0} %", 100.0 * SPREAD))
        .replace("LEAST_VOTES", &LEAST_VOTES.to_string())
        .replace("LEAST_GROUPS", &LEAST_GROUPS.to_string())
        .replace("FOLDS", &FOLDS.to_string())
    }

    fn cases(&self) -> Section {
        let mut section = Section::new("Cases");
        if !self.has_captures {
            section.text(
                "Left out: there are no labelled captures here. Name a folder with an `INDEX.tsv` in NETD_CAPTURES.",
            );
        }
        let mut table = Table::new("", &["captures of one laboratory, or day", "malicious", "benign"]);
        let (mut silent, mut files) = ([0; 2], 0);
        for (group, [benign, malicious]) in &self.groups {
            if *malicious == 0 {
                silent[0] += benign;
                files += 1;
            } else {
                table.row([group.clone(), malicious.to_string(), benign.to_string()]);
            }
        }
        table.row([format!("{files} others"), "0".to_owned(), silent[0].to_string()]);
        section.table(table);
        let [benign, malicious] = self.unjudged;
        section.text(format!(
            "Besides, {benign} benign and {malicious} malicious histories were followed and not judged, because their rhythm told too little."
        ));
        section
    }

    fn reliability(&self) -> Section {
        let mut section = Section::new("Reliability");
        let columns =
            ["detector", "malicious (votes)", "benign (votes)", "shipped", "base rate fitted", "weights fitted"];
        let mut table = Table::new("Brier score / log loss, on cases that the fit did not see", &columns);
        for judged in self.all.iter().chain(&self.detectors) {
            let side = |at: usize| format!("{} ({:.1})", judged.cases[at], judged.votes[at]);
            let losses = judged.losses.map(|losses| format!("{:.4} / {:.4}", losses.brier, losses.log_loss));
            table.row([judged.name().to_owned(), side(1), side(0)].into_iter().chain(losses));
        }
        section.table(table);
        for judged in &self.detectors {
            section.table(bins(&format!("{}: posterior as shipped", judged.name()), &judged.shipped));
            section.table(bins(
                &format!("{}: posterior with fitted weights and base rate", judged.name()),
                &judged.fitted,
            ));
        }
        section
    }

    fn weights(&self) -> Section {
        let mut section = Section::new("Weights");
        let mut constants = Table::new("", &["detector", "prior", "fitted to these cases"]);
        for (name, prior, fitted) in &self.priors {
            constants.row([(*name).to_owned(), format!("{prior:.2}"), format!("{fitted:.2}")]);
        }
        section.table(constants);
        let columns = [
            "term",
            "present",
            "fitted",
            "folds",
            "malicious: cases (votes)",
            "benign: cases (votes)",
            "groups",
            "remark",
        ];
        let mut table = Table::new("", &columns);
        for moved in self.terms.iter().filter(|moved| moved.support.groups > 0) {
            let Support { cases, votes, groups } = &moved.support;
            let side = |at: usize| format!("{} ({:.1})", cases[at], votes[at]);
            let is_held = moved.support.objection().is_some();
            let (fitted, folds) = match is_held {
                true => ("held".to_owned(), String::new()),
                false => (format!("{:.2}", moved.fitted), format!("{:.2} to {:.2}", moved.least, moved.most)),
            };
            let present = format!("{:.2}", moved.present);
            let remark = moved.remark().to_owned();
            table.row([moved.name.to_owned(), present, fitted, folds, side(1), side(0), groups.to_string(), remark]);
        }
        section.table(table);
        let unseen: Vec<&str> =
            self.terms.iter().filter(|moved| moved.support.groups == 0).map(|moved| moved.name).collect();
        if !unseen.is_empty() {
            section.text(format!("Never seen: {}.", unseen.join(", ")));
        }
        section
    }

    /// Returns the report as JSON, to six decimals.
    ///
    /// # Errors
    ///
    /// None that this report can cause.
    pub fn json(&self) -> Result<String> {
        let judged = |judged: &Judged| {
            let losses = judged
                .losses
                .map(|losses| json!({ "brier": rounded(losses.brier), "log_loss": rounded(losses.log_loss) }));
            json!({
                "detector": judged.name(),
                "malicious": { "cases": judged.cases[1], "votes": rounded(judged.votes[1]) },
                "benign": { "cases": judged.cases[0], "votes": rounded(judged.votes[0]) },
                "losses": { "shipped": losses[0], "base_rate_fitted": losses[1], "weights_fitted": losses[2] },
                "reliability": { "shipped": json_bins(&judged.shipped), "weights_fitted": json_bins(&judged.fitted) },
            })
        };
        let term = |moved: &Moved| {
            let Support { cases, votes, groups } = &moved.support;
            json!({
                "name": moved.name, "present": moved.present, "fitted": rounded(moved.fitted),
                "folds": [rounded(moved.least), rounded(moved.most)], "held": moved.support.objection(),
                "malicious": { "cases": cases[1], "votes": rounded(votes[1]) },
                "benign": { "cases": cases[0], "votes": rounded(votes[0]) }, "groups": groups,
            })
        };
        let priors = |(name, prior, fitted): &(&str, f64, f64)| json!({ "detector": name, "prior": prior, "fitted": rounded(*fitted) });
        let value = json!({
            "quick": self.quick, "day_seeds": self.day_seeds, "has_captures": self.has_captures,
            "unjudged": { "malicious": self.unjudged[1], "benign": self.unjudged[0] },
            "groups": self.groups.iter().map(|(name, [benign, malicious])| json!({ "name": name, "malicious": malicious, "benign": benign })).collect::<Vec<_>>(),
            "detectors": self.all.iter().chain(&self.detectors).map(judged).collect::<Vec<_>>(),
            "priors": self.priors.iter().map(priors).collect::<Vec<_>>(),
            "terms": self.terms.iter().map(term).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

fn bins(title: &str, bins: &[Bin]) -> Table {
    let columns = ["posterior", "cases (votes)", "predicted", "malicious", "95 % interval", ""];
    let mut table = Table::new(title, &columns);
    for bin in bins {
        table.row([
            format!("{} to {}", bin.from, bin.to),
            format!("{} ({:.1})", bin.cases, bin.votes),
            format!("{:.4}", bin.predicted),
            format!("{:.4}", bin.observed),
            format!("{:.4} to {:.4}", bin.low, bin.high),
            if bin.is_within() { "as predicted" } else { "off" }.to_owned(),
        ]);
    }
    table
}

fn json_bins(bins: &[Bin]) -> Vec<Value> {
    let bin = |bin: &Bin| {
        json!({
            "from": bin.from, "to": bin.to, "cases": bin.cases, "votes": rounded(bin.votes),
            "predicted": rounded(bin.predicted), "observed": rounded(bin.observed),
            "interval": [rounded(bin.low), rounded(bin.high)],
        })
    };
    bins.iter().map(bin).collect()
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
