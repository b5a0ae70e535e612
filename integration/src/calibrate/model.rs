//! The score as a regression: a constant for each detector, a weight for each term, and how far each may move.

use std::collections::{BTreeMap, BTreeSet};

use netd_engine::detect::Detector;
use netd_engine::weights::{Term, Weights};

use super::case::{Case, votes};
use super::regression::{Prior, Row, fit};

/// Standard deviation of a weight around its present value, as a share of it: with no more than a few captures a weight
/// moves by tenths, and its scale (a timing weight counts up to twelve times) does not matter.
pub(crate) const SPREAD: f64 = 0.25;
/// That of a detector's constant, in nats: how many of the cases are malicious was chosen by whoever collected them.
pub(crate) const BASE_RATE_SPREAD: f64 = 5.0;
/// A weight moves only where a term was seen in so many cases of either label that count for themselves, and in so many
/// groups.
pub(crate) const LEAST_VOTES: f64 = 5.0;
pub(crate) const LEAST_GROUPS: usize = 4;

/// How often a term was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Support {
    /// Cases by label, benign first.
    pub(crate) cases: [usize; 2],
    /// The same, where cases about one destination in one group are one.
    pub(crate) votes: [f64; 2],
    pub(crate) groups: usize,
}

impl Support {
    pub(crate) fn of(term: Term, cases: &[Case]) -> Self {
        let (mut support, mut groups) = (Self::default(), BTreeSet::new());
        for (case, votes) in cases.iter().zip(votes(cases)) {
            if case.factors.iter().any(|(known, _)| *known == term) {
                support.cases[usize::from(case.is_malicious)] += 1;
                support.votes[usize::from(case.is_malicious)] += votes;
                groups.insert(case.group.as_str());
            }
        }
        support.groups = groups.len();
        support
    }

    /// Returns why the weight is held; a ratio of likelihoods cannot be told from one side.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        let [benign, malicious] = self.votes;
        if benign + malicious == 0.0 {
            Some("never seen")
        } else if benign.min(malicious) == 0.0 {
            Some("seen on one side only")
        } else if benign.min(malicious) < LEAST_VOTES || self.groups < LEAST_GROUPS {
            Some("too little support")
        } else {
            None
        }
    }
}

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// Nothing: the score as it is shipped.
    None,
    /// The detectors' constants.
    BaseRate,
    /// Those, and the weights with support.
    Weights,
}

/// Cases as rows, with their priors.
pub(crate) struct Model<'a> {
    weights: &'a Weights,
    pub(crate) rows: Vec<Row>,
    pub(crate) support: BTreeMap<Term, Support>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(weights: &'a Weights, cases: &[Case]) -> Self {
        let rows = cases.iter().zip(votes(cases)).map(|(case, votes)| row(case, votes)).collect();
        let support = Term::ALL.iter().map(|term| (*term, Support::of(*term, cases))).collect();
        Self { weights, rows, support }
    }

    /// Returns the coefficients fitted to the rows that `is_used` picks.
    pub(crate) fn fit(&self, freedom: Freedom, is_used: impl Fn(usize) -> bool) -> Vec<f64> {
        let rows: Vec<&Row> = self.rows.iter().enumerate().filter(|(at, _)| is_used(*at)).map(|(_, row)| row).collect();
        fit(&rows, &self.priors(freedom))
    }

    fn priors(&self, freedom: Freedom) -> Vec<Prior> {
        let constants = Detector::ALL.iter().map(|detector| Prior {
            centre: self.weights.start(*detector).prior,
            spread: if freedom == Freedom::None { 0.0 } else { BASE_RATE_SPREAD },
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        });
        let terms = Term::ALL.iter().map(|term| {
            let centre = self.weights.worth(*term).weight;
            let is_free = freedom == Freedom::Weights && self.support[term].objection().is_none();
            let (low, high) = if centre >= 0.0 { (0.0, f64::INFINITY) } else { (f64::NEG_INFINITY, 0.0) };
            Prior { centre, spread: if is_free { SPREAD * centre.abs() } else { 0.0 }, low, high }
        });
        constants.chain(terms).collect()
    }
}

pub(crate) fn constant(detector: Detector) -> usize {
    detector as usize
}

pub(crate) fn coefficient(term: Term) -> usize {
    Detector::ALL.len() + term as usize
}

fn row(case: &Case, votes: f64) -> Row {
    let terms = case.factors.iter().map(|(term, factor)| (coefficient(*term), *factor));
    let factors = std::iter::once((constant(case.detector), 1.0)).chain(terms).collect();
    Row { factors, is_positive: case.is_malicious, votes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::case::Origin;

    fn cases(groups: usize, is_malicious: bool, times: f64) -> Vec<Case> {
        let weights = Weights::default();
        let nats = times * weights.worth(Term::SizesAlike).weight;
        let of = |n: usize| {
            let (group, destination) = (format!("g{}", n % groups), n.to_string());
            let origin = Origin { group: &group, destination: &destination, is_malicious };
            let reasons = [("sizes_alike", nats), ("self_signed", weights.worth(Term::SelfSigned).weight)];
            Case::of(&weights, "beacon", reasons.into_iter().take(if is_malicious { 2 } else { 1 }), origin).unwrap()
        };
        (0..40).map(of).collect()
    }

    #[test]
    fn a_term_on_one_side_or_of_one_group_is_held() {
        let weights = Weights::default();
        let both = |groups| [cases(groups, true, 1.0), cases(groups, false, 1.0)].concat();
        let objection = |cases: &[Case], term| Model::new(&weights, cases).support[&term].objection();

        assert_eq!(objection(&both(4), Term::SizesAlike), None);
        assert_eq!(objection(&both(3), Term::SizesAlike), Some("too little support"));
        assert_eq!(objection(&both(4), Term::SelfSigned), Some("seen on one side only"));
        assert_eq!(objection(&both(4), Term::Echo), Some("never seen"));
    }

    #[test]
    fn only_what_is_free_moves() {
        let weights = Weights::default();
        let cases = [cases(4, true, 2.0), cases(4, false, 1.0)].concat();
        let model = Model::new(&weights, &cases);
        let fitted = model.fit(Freedom::Weights, |_| true);
        let worth = |term| weights.worth(term).weight;

        assert!(fitted[coefficient(Term::SizesAlike)] > worth(Term::SizesAlike) + 0.01, "{fitted:?}");
        assert_eq!(fitted[coefficient(Term::SelfSigned)], worth(Term::SelfSigned));
        let shipped = model.fit(Freedom::None, |_| true);
        assert_eq!(shipped[constant(Detector::Beacon)], weights.start(Detector::Beacon).prior);
    }
}
