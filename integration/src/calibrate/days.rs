//! Cases of simulated days, which know their implants.

use netd_engine::detect::Detector;
use netd_engine::finding::Finding;
use netd_engine::weights::Weights;

use super::case::{Case, Origin};
use crate::accuracy::day::{self, Day, Population};
use crate::accuracy::parallel;

/// Plays a day for each seed.
pub(super) fn cases(population: Population, seeds: &[u64], weights: &Weights) -> Vec<Case> {
    let days = parallel::map(seeds, |seed| of_day(&day::play(population, *seed), *seed, weights));
    days.into_iter().flatten().collect()
}

fn of_day(day: &Day, seed: u64, weights: &Weights) -> Vec<Case> {
    let group = format!("day {seed}");
    let case = |finding: &Finding| {
        let pair = &finding.pair;
        let name = finding.name.as_deref();
        let is_malicious = day.implants.iter().any(|implant| implant.is(pair.originator, pair.responder, name));
        let destination = match name {
            Some(name) => name.to_owned(),
            None => format!("{} {}", pair.responder, pair.responder_port),
        };
        let origin = Origin { group: &group, destination: &destination, is_malicious };
        let reasons = finding.reasons.iter().map(|reason| (reason.evidence, reason.weight));
        Case::of(weights, finding.detector, reasons, origin)
    };
    let mut cases: Vec<Case> = day
        .engine
        .explain_all()
        .filter_map(|followed| followed.would_be)
        .filter_map(|finding| case(&finding))
        .collect();
    let raised = day.inbox.sorted().into_iter().map(|incident| &incident.finding);
    cases.extend(raised.filter(|finding| finding.detector != Detector::Beacon.name()).filter_map(case));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handful of hosts is enough to hold all ten implants, and ordinary traffic besides.
    #[test]
    fn a_day_gives_cases_of_both_labels() {
        let cases = cases(Population { workstations: 8, servers: 6, devices: 2 }, &[9], &Weights::default());

        let malicious = cases.iter().filter(|case| case.is_malicious).count();
        assert!(malicious >= 4, "{malicious} malicious cases");
        assert!(cases.len() > 10 * malicious, "{} cases", cases.len());
        assert!(cases.iter().all(|case| case.group == "day 9"));
    }
}
