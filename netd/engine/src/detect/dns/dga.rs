//! The detector of domain generation algorithms: one client asks for many domains that do not exist, with names that no
//! one would register.

use super::asked::Asked;
use super::sketch::Few;
use crate::attack::Technique;
use crate::detect::{About, Context, Detector, Evidence, Subject};
use crate::score::Ledger;
use crate::slab::Handle;
use crate::weights::Term;

/// Lengths told apart; longer ones count as the longest.
const LENGTHS: usize = 32;

/// Domains of one client's failed queries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failed {
    domains: Few<4>,
    count: u16,
    scored: u16,
    ln_p: f32,
    lengths: [u8; LENGTHS],
}

impl Failed {
    /// Takes a domain that does not exist into account, by its number and its registered label; returns whether it is
    /// another one.
    pub(super) fn note(&mut self, domain: u64, label: &[u8], ln_p: Option<f64>) -> bool {
        if !self.domains.add(domain) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        if let Some(ln_p) = ln_p {
            self.scored = self.scored.saturating_add(1);
            self.ln_p += ln_p as f32;
        }
        let length = &mut self.lengths[label.len().min(LENGTHS - 1)];
        *length = length.saturating_add(1);
        true
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.domains.join(&other.domains);
        self.count = self.count.saturating_add(other.count);
        self.scored = self.scored.saturating_add(other.scored);
        self.ln_p += other.ln_p;
        for (mine, theirs) in self.lengths.iter_mut().zip(other.lengths) {
            *mine = mine.saturating_add(theirs);
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.domains.count()
    }

    /// Returns the mean ln p of the domains' letters.
    fn mean(&self) -> f64 {
        f64::from(self.ln_p) / f64::from(self.scored.max(1))
    }

    /// Returns whether a label has the length of many of them.
    pub(super) fn resembles(&self, label: &[u8]) -> bool {
        let alike = self.lengths[label.len().min(LENGTHS - 1)];
        10 * u16::from(alike) >= self.count
    }

    /// Returns the share of domains with the commonest length.
    fn alike(&self) -> f64 {
        let most = self.lengths.iter().copied().max().unwrap_or(0);
        f64::from(most) / f64::from(self.count.max(1))
    }
}

/// A client's failed queries of five minutes.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) asked: Asked,
    pub(super) failed: Failed,
    /// Different domains asked for that exist.
    pub(super) existing: u32,
    /// The domain asked about exists, and looks like those that do not.
    pub(super) is_found: bool,
}

impl Evidence for Generated {
    fn detector(&self) -> Detector {
        Detector::Dga
    }

    fn weigh(&self, _context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let count = self.failed.count();
        let folds = (f64::from(count) / thresholds.ordinary_failed).ln().clamp(0.0, thresholds.most_folds);
        let existing = self.existing;
        let value = || format!("{count} domains that do not exist within 5 min, {existing} that do");
        ledger.add_times(Term::DgaFailedDomains, folds, value);
        let mean = self.failed.mean();
        if mean <= thresholds.random_ln_p {
            ledger.add(Term::DgaRandomNames, || {
                format!("their letters follow each other as by chance: mean ln p {mean:.1}, words have -2.4")
            });
        }
        let alike = self.failed.alike();
        if alike >= thresholds.alike_lengths {
            ledger.add(Term::DgaAlikeLengths, || format!("{:.0} % of them have the same length", 100.0 * alike));
        }
        if self.is_found && mean <= thresholds.random_ln_p {
            ledger.add(Term::DgaFound, || format!("{} exists, and looks like them", self.asked.domain));
        }
    }

    fn title(&self, _context: &Context<'_>) -> String {
        format!("{} generated domains asked for, {} for example", self.failed.count(), self.asked.domain)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::DomainGeneration]
    }

    fn is_two_way(&self) -> bool {
        true
    }

    fn may_block(&self) -> bool {
        false
    }

    fn correct<'a>(&'a self, context: &mut Context<'a>) {
        self.asked.correct(context);
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        vec![
            "search suffixes: names below one suffix are one domain".to_owned(),
            "a browser's probes for redirection: they have no domain".to_owned(),
            "misspelling: its names are words".to_owned(),
        ]
    }
}

impl Generated {
    /// All domains are one incident of the client.
    pub(crate) fn about(&self, conversation: Handle) -> About {
        About { subject: Subject::Host(self.asked.client), ..self.asked.about(conversation) }
    }
}
