//! `make calibrate`: what the evidence is worth on labelled captures and simulated days.
//!
//! Cases are ledgers with a label (`case`, `captures`, `days`). The weights are fitted around those that stand in
//! `weights.toml` (`regression`, `model`), judged on cases that the fit did not see (`folds`, `reliability`), and told
//! (`report`); only who asks for it gets them written (`rewrite`). Everything is a function of captures and seeds.

mod captures;
mod case;
mod days;
mod folds;
mod model;
mod regression;
mod reliability;
mod report;
mod rewrite;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use netd_engine::detect::Detector;
use netd_engine::weights::{Term, Weights};

use crate::accuracy::day;
use case::Case;
use model::{Freedom, Model, coefficient, constant};
use regression::Row;
pub use report::Report;
use report::{Judged, Moved};

/// The days that are played: none of them is the accuracy report's, which is kept back.
pub const DAY_SEEDS: [u64; 3] = [101, 102, 103];

/// What is read and played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A folder with captures and their `INDEX.tsv`.
    pub captures: PathBuf,
    pub day_seeds: Vec<u64>,
    /// Networks of thirty hosts.
    pub quick: bool,
}

/// Collects the cases, fits, and judges the fit.
///
/// # Errors
///
/// When a capture cannot be replayed, or there is nothing to learn from.
pub fn calibrate(options: &Options) -> Result<Report> {
    let weights = Weights::default();
    let captures = captures::cases(&options.captures, &weights)?;
    let population = if options.quick { day::THIRTY } else { day::TWO_HUNDRED };
    let played = days::cases(population, &options.day_seeds, &weights);
    let has_captures = captures.is_some();
    let followed = captures.into_iter().flatten().chain(played);
    let (cases, unjudged): (Vec<Case>, Vec<Case>) = followed.partition(|case| case.is_judged(&weights));
    if !cases.iter().any(|case| case.is_malicious) {
        bail!("no malicious case: nothing to learn from");
    }
    let malicious = unjudged.iter().filter(|case| case.is_malicious).count();
    Ok(Report { unjudged: [unjudged.len() - malicious, malicious], ..learn(&weights, &cases, (options, has_captures)) })
}

fn learn(weights: &Weights, cases: &[Case], (options, has_captures): (&Options, bool)) -> Report {
    let model = Model::new(weights, cases);
    let folds = folds::assign(cases);
    let held =
        [Freedom::None, Freedom::BaseRate, Freedom::Weights].map(|freedom| folds::held_out(&model, &folds, freedom));
    let fitted = model.fit(Freedom::Weights, |_| true);
    let judged = |detector: Option<Detector>| {
        let chosen: Vec<usize> =
            (0..cases.len()).filter(|at| detector.is_none_or(|detector| cases[*at].detector == detector)).collect();
        (!chosen.is_empty()).then(|| {
            let predicted = held.each_ref().map(|held| -> Vec<(&Row, f64)> {
                chosen.iter().map(|at| (&model.rows[*at], held.log_odds[*at])).collect()
            });
            Judged::of(detector, &predicted)
        })
    };
    let detectors: Vec<Judged> = Detector::ALL.iter().filter_map(|detector| judged(Some(*detector))).collect();
    let terms = Term::ALL.iter().map(|term| {
        let at = coefficient(*term);
        let by_fold = held[2].coefficients.iter().map(|coefficients| coefficients[at]);
        Moved {
            name: term.name(),
            present: weights.worth(*term).weight,
            fitted: fitted[at],
            least: by_fold.clone().fold(f64::INFINITY, f64::min),
            most: by_fold.fold(f64::NEG_INFINITY, f64::max),
            support: model.support[term].clone(),
        }
    });
    let priors = detectors.iter().filter_map(|judged| judged.detector).map(|detector| {
        let at = constant(detector);
        (detector.name(), weights.start(detector).prior, fitted[at])
    });
    Report {
        quick: options.quick,
        day_seeds: options.day_seeds.clone(),
        has_captures,
        unjudged: [0; 2],
        groups: groups(cases),
        priors: priors.collect(),
        all: judged(None),
        detectors,
        terms: terms.collect(),
    }
}

/// Returns, for each group, benign and malicious cases.
fn groups(cases: &[Case]) -> BTreeMap<String, [usize; 2]> {
    let mut groups: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for case in cases {
        groups.entry(case.group.clone()).or_default()[usize::from(case.is_malicious)] += 1;
    }
    groups
}

/// Returns the text of a weights file with the fitted weights of a report.
///
/// # Errors
///
/// When the text is not one that can be rewritten line by line.
pub fn rewritten(text: &str, report: &Report) -> Result<String> {
    let fitted = Term::ALL.iter().zip(&report.terms).filter(|(_, moved)| moved.support.objection().is_none());
    rewrite::with_weights(text, &fitted.map(|(term, moved)| (*term, moved.fitted)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without captures: a small day, twice.
    #[test]
    fn the_report_is_a_function_of_its_seeds() {
        let options = Options { captures: PathBuf::from("/nonexistent"), day_seeds: vec![9], quick: true };
        let small = day::Population { workstations: 8, servers: 6, devices: 2 };
        let report = || {
            let weights = Weights::default();
            learn(&weights, &days::cases(small, &options.day_seeds, &weights), (&options, false))
        };

        let [one, other] = [report(), report()];

        assert_eq!(one.json().unwrap(), other.json().unwrap());
        assert!(one.markdown().contains("Left out: there are no labelled captures"));
    }
}
