//! What every detector's evidence is seen in: who speaks, and where to.

use std::sync::Arc;

use super::Detector;
use crate::finding::Pair;
use crate::history::Prevalence;
use crate::intel::Listed;
use crate::opening::Facts;
use crate::process::Process;
use crate::process::Provenance;
use crate::regions::{Surroundings, Usage};
use crate::score::Ledger;
use crate::services::{Candidate, Services};
use crate::weights::Term;

/// Two ends at one moment, and what is known around them.
pub(crate) struct Context<'a> {
    pub(crate) pair: Pair,
    pub(crate) name: Option<&'a Arc<str>>,
    pub(crate) facts: Facts,
    /// The responder is monitored, too.
    pub(crate) is_internal: bool,
    pub(crate) prevalence: Prevalence,
    /// Where the responder is, if a database says.
    pub(crate) surroundings: Option<Surroundings>,
    /// Seconds since the ends were first seen, and since the engine began.
    pub(crate) age_s: f64,
    pub(crate) watched_s: f64,
    /// DNS answers the originator was seen to get, none of which gave this address.
    pub(crate) unrelated_answers: u64,
    pub(crate) process: Option<&'a Arc<Process>>,
    pub(crate) provenance: Option<Provenance>,
    /// Detectors with an open incident between the same two hosts.
    pub(crate) companions: &'a [Detector],
    pub(crate) services: &'a Services,
    /// Matches of threat intelligence.
    pub(crate) listed: Vec<Listed<'a>>,
    /// The name by which DNS told the client this address.
    pub(crate) resolved_name: Option<&'a Arc<str>>,
}

impl<'a> Context<'a> {
    /// Returns the benign service that explains traffic to this destination.
    pub(crate) fn service(&self) -> Option<&'a Arc<str>> {
        self.services.explaining(&self.candidate(), self.resolved_name.map(|name| &**name))
    }

    pub(crate) const fn candidate(&self) -> Candidate<'_> {
        Candidate { pair: &self.pair, facts: self.facts, is_internal: self.is_internal }
    }
}

/// Adds the terms that every detector shares.
pub(crate) fn add(context: &Context<'_>, ledger: &mut Ledger<'_>) {
    destination(context, ledger);
    region(context, ledger);
    process(context, ledger);
    for listed in &context.listed {
        let term = if listed.is_fingerprint { Term::ListedFingerprint } else { Term::ListedDestination };
        ledger.add(term, || format!("{} is on the list {}", listed.indicator, listed.list));
    }
}

fn destination(context: &Context<'_>, ledger: &mut Ledger<'_>) {
    let thresholds = ledger.weights().destination;
    add_prevalence(context.prevalence, context.is_internal, ledger);
    if context.watched_s >= thresholds.watched_for_s && context.age_s < thresholds.new_within_s {
        ledger.add(Term::NewDestination, || format!("first seen {:.1} h ago", context.age_s / 3_600.0));
    } else if context.age_s > thresholds.known_after_s {
        ledger.add(Term::KnownDestination, || format!("known for {:.0} days", context.age_s / 86_400.0));
    }
    if context.name.is_none() && context.unrelated_answers >= thresholds.resolves {
        let value = || format!("none of {} DNS answers to this host gave the address", context.unrelated_answers);
        ledger.add(Term::NeverResolved, value);
    }
    if let Some(service) = context.service() {
        ledger.add(Term::BenignService, || format!("DNS names it as {service}"));
    }
}

/// Adds what it means how many monitored hosts use a destination.
pub(crate) fn add_prevalence(prevalence: Prevalence, is_internal: bool, ledger: &mut Ledger<'_>) {
    let thresholds = ledger.weights().destination;
    let Prevalence { hosts, users } = prevalence;
    let share = f64::from(users) / f64::from(hosts.max(1));
    let value = || format!("used by {users} of {hosts} monitored hosts");
    let is_rare = users == 1 || share <= thresholds.rare_share;
    if hosts >= thresholds.rare_hosts && is_rare && !is_internal {
        ledger.add(Term::RareDestination, value);
    } else if hosts >= thresholds.common_hosts && users > 1 {
        // A stolen host or two look alike; what many hosts do alike is the fleet's software.
        let doublings = f64::from(users).log2().min(thresholds.most_doublings);
        ledger.add_times(Term::CommonDestination, doublings, value);
    }
}

/// Rarity of the responder's country and autonomous system, by hosts where there are enough, else by conversations.
fn region(context: &Context<'_>, ledger: &mut Ledger<'_>) {
    let Some(Surroundings { region, country, system }) = &context.surroundings else { return };
    let thresholds = ledger.weights().destination;
    let mut add = |term, what: Option<String>, usage: &Option<Usage>| {
        let Some((what, usage)) = what.zip(*usage) else { return };
        let (hosts, others) = (usage.hosts as f64, usage.others as f64);
        if usage.hosts >= thresholds.region_hosts {
            if usage.users as f64 <= thresholds.rare_region_hosts * hosts {
                ledger.add(term, || format!("{what}: used by {} of {} monitored hosts", usage.users, usage.hosts));
            }
        } else if usage.others >= thresholds.region_conversations
            && usage.others_here as f64 <= thresholds.rare_region_conversations * others
        {
            ledger.add(term, || format!("{what}: {} of {} other conversations", usage.others_here, usage.others));
        }
    };
    add(Term::RareCountry, region.country.map(|country| country.to_string()), country);
    add(Term::RareAsn, region.asn.map(|asn| format!("AS{asn}")), system);
}

fn process(context: &Context<'_>, ledger: &mut Ledger<'_>) {
    let Some(provenance) = context.provenance else { return };
    let mut add = |holds: bool, term, value: &str| {
        if holds {
            ledger.add(term, || value.to_owned());
        }
    };
    add(provenance.is_memory, Term::MemoryExecutable, "runs from memory, without a file");
    let is_deleted = provenance.is_deleted && !provenance.is_memory;
    add(is_deleted, Term::DeletedExecutable, "its executable was deleted");
    add(provenance.is_temporary, Term::TemporaryExecutable, "its executable lies in a temporary directory");
    let is_bare = provenance.is_bare_interpreter;
    add(is_bare, Term::BareInterpreter, "an interpreter that runs no script file");
    let is_suspect = is_bare || is_deleted || provenance.is_memory || provenance.is_temporary;
    match provenance.is_packaged {
        Some(true) => add(!is_suspect, Term::PackagedExecutable, "its executable belongs to a package"),
        Some(false) => add(true, Term::UnpackagedExecutable, "no package owns its executable"),
        None => {}
    }
}
