//! A judged case: what a ledger held, and whether it was rightly suspected.

use std::collections::BTreeMap;

use netd_engine::detect::Detector;
use netd_engine::weights::{Term, Weights};

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) detector: Detector,
    pub(crate) is_malicious: bool,
    /// Cases that share a laboratory or a day: they are never on both sides of a test.
    pub(crate) group: String,
    /// Whom it is about, by name or address and port.
    pub(crate) destination: String,
    /// How often each term's weight was counted.
    pub(crate) factors: Vec<(Term, f64)>,
}

/// Where a case comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) group: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) is_malicious: bool,
}

impl Case {
    /// Makes a case of a ledger's reasons: name and nats. Nothing, if the detector is unknown.
    pub(crate) fn of<'r>(
        weights: &Weights,
        detector: &str,
        reasons: impl Iterator<Item = (&'r str, f64)>,
        origin: Origin<'_>,
    ) -> Option<Self> {
        let detector = *Detector::ALL.iter().find(|known| known.name() == detector)?;
        let mut factors = BTreeMap::new();
        for (name, nats) in reasons {
            let term = *Term::ALL.iter().find(|known| known.name() == name)?;
            let weight = weights.worth(term).weight;
            // A term that weighs nothing does not tell how often it was counted.
            if weight != 0.0 {
                *factors.entry(term).or_insert(0.0) += nats / weight;
            }
        }
        Some(Self {
            detector,
            is_malicious: origin.is_malicious,
            group: origin.group.to_owned(),
            destination: origin.destination.to_owned(),
            factors: factors.into_iter().collect(),
        })
    }
}

impl Case {
    /// Returns whether the engine would judge it: histories whose rhythm tells too little are never looked at, and must
    /// not teach what a rhythm is worth.
    pub(crate) fn is_judged(&self, weights: &Weights) -> bool {
        let ln_e = self.factors.iter().find(|(term, _)| *term == Term::IntervalRegularity).map(|(_, factor)| *factor);
        self.detector != Detector::Beacon || ln_e.is_some_and(|ln_e| ln_e >= weights.beacon.ln_e_worth_judging)
    }
}

/// Returns how much each case counts: those of one detector about one destination in one group count as one together.
/// Two hundred hosts that ask one update service are one observation about update services.
pub(crate) fn votes(cases: &[Case]) -> Vec<f64> {
    let key = |case: &Case| (case.detector, case.is_malicious, case.group.clone(), case.destination.clone());
    let mut sizes: BTreeMap<_, f64> = BTreeMap::new();
    for case in cases {
        *sizes.entry(key(case)).or_insert(0.0) += 1.0;
    }
    cases.iter().map(|case| 1.0 / sizes[&key(case)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin { group: "a", destination: "b", is_malicious: true };

    #[test]
    fn factors_are_what_the_weights_were_counted() {
        let weights = Weights::default();
        let nats = 7.0 * weights.worth(Term::IntervalRegularity).weight;
        let half = 0.5 * weights.worth(Term::SelfSigned).weight;
        let reasons = [("interval_regularity", nats), ("self_signed", half)];

        let case = Case::of(&weights, "beacon", reasons.into_iter(), ORIGIN).unwrap();

        assert_eq!(case.factors, [(Term::IntervalRegularity, 7.0), (Term::SelfSigned, 0.5)]);
    }

    #[test]
    fn a_rhythm_that_tells_too_little_is_not_judged() {
        let weights = Weights::default();
        let judged = |ln_e: f64| {
            let nats = ln_e * weights.worth(Term::IntervalRegularity).weight;
            let case = Case::of(&weights, "beacon", [("interval_regularity", nats)].into_iter(), ORIGIN).unwrap();
            case.is_judged(&weights)
        };

        assert!(judged(weights.beacon.ln_e_worth_judging + 0.1));
        assert!(!judged(weights.beacon.ln_e_worth_judging - 0.1) && !judged(-40.0));
    }

    #[test]
    fn what_this_engine_does_not_know_is_no_case() {
        let weights = Weights::default();

        assert!(Case::of(&weights, "nobody", std::iter::empty(), ORIGIN).is_none());
        assert!(Case::of(&weights, "beacon", [("no_such_term", 1.0)].into_iter(), ORIGIN).is_none());
    }

    #[test]
    fn cases_about_one_destination_count_as_one() {
        let case = |destination| {
            let origin = Origin { destination, ..ORIGIN };
            Case::of(&Weights::default(), "beacon", std::iter::empty(), origin).unwrap()
        };

        assert_eq!(votes(&[case("a"), case("b"), case("b")]), [1.0, 0.5, 0.5]);
    }
}
