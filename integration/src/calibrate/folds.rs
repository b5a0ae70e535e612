//! Folds: no capture, no laboratory, no day stands on both sides of a test.

use std::collections::BTreeMap;

use super::case::Case;
use super::model::{Freedom, Model};

pub(crate) const FOLDS: usize = 5;

/// Returns each case's fold. Groups with malicious cases are dealt first, so that every fold gets its share.
pub(crate) fn assign(cases: &[Case]) -> Vec<usize> {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *groups.entry(&case.group).or_default() += usize::from(case.is_malicious);
    }
    let mut sorted: Vec<(&str, usize)> = groups.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let fold: BTreeMap<&str, usize> = sorted.iter().enumerate().map(|(at, (group, _))| (*group, at % FOLDS)).collect();
    cases.iter().map(|case| fold[case.group.as_str()]).collect()
}

/// What was fitted without each fold, and the log-odds that it gave to the cases in it.
pub(crate) struct Held {
    pub(crate) coefficients: Vec<Vec<f64>>,
    pub(crate) log_odds: Vec<f64>,
}

pub(crate) fn held_out(model: &Model<'_>, folds: &[usize], freedom: Freedom) -> Held {
    let coefficients: Vec<Vec<f64>> = (0..FOLDS).map(|fold| model.fit(freedom, |at| folds[at] != fold)).collect();
    let log_odds = model.rows.iter().zip(folds).map(|(row, fold)| row.log_odds(&coefficients[*fold])).collect();
    Held { coefficients, log_odds }
}

#[cfg(test)]
mod tests {
    use netd_engine::weights::Weights;

    use super::*;
    use crate::calibrate::case::Origin;

    #[test]
    fn a_group_is_in_one_fold_and_every_fold_has_malice() {
        let case = |n: usize| {
            let group = format!("g{}", n % 12);
            let origin = Origin { group: &group, destination: "d", is_malicious: n % 12 < 6 };
            Case::of(&Weights::default(), "beacon", std::iter::empty(), origin).unwrap()
        };
        let cases: Vec<Case> = (0..60).map(case).collect();

        let folds = assign(&cases);

        for (one, fold) in cases.iter().zip(&folds) {
            assert!(cases.iter().zip(&folds).all(|(other, its)| one.group != other.group || fold == its));
        }
        for fold in 0..FOLDS {
            assert!(cases.iter().zip(&folds).any(|(case, its)| case.is_malicious && *its == fold));
        }
    }
}
