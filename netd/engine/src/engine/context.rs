//! What evidence is seen in: the ends' history, names, processes, regions, lists.

use std::sync::Arc;

use super::Engine;
use crate::detect::{About, Context};
use crate::intel::Listed;
use crate::opening::{Facts, Opening};
use crate::process::Process;

impl Engine {
    /// Returns who speaks with whom, and all that is known around them at `at_ns`.
    pub(super) fn context<'a>(&'a self, about: &'a About, at_ns: u64) -> Context<'a> {
        let history = about.history.and_then(|history| self.histories.get(history));
        let conversation = about.conversation.and_then(|conversation| self.table.get(conversation));
        let process = conversation.and_then(|conversation| conversation.own_process());
        let seconds = |from_ns: u64| at_ns.saturating_sub(from_ns) as f64 / 1e9;
        let facts = history.map_or_else(|| conversation.map_or(Facts::default(), |c| c.facts), |h| h.facts);
        let originator = about.pair.originator;
        let resolved_name = self.answers.name(originator, about.pair.responder, at_ns);
        let is_internal = self.scope.is_local(about.pair.responder.ip());
        Context {
            pair: about.pair.pair(),
            name: about.name.as_ref(),
            facts,
            is_internal,
            surroundings: if is_internal { None } else { self.regions.around(about.pair.responder) },
            prevalence: self.histories.prevalence(&about.pair, resolved_name.map(|name| &**name)),
            age_s: history.map_or(0.0, |history| seconds(history.first_ns)),
            watched_s: seconds(self.began_ns.unwrap_or(at_ns)),
            unrelated_answers: if about.name.is_some() || self.dns_watch.is_hiding(originator) {
                0
            } else {
                self.answers.answers_of(originator)
            },
            process,
            provenance: process.and_then(|process| self.processes.provenance(process.id)),
            services: &self.services,
            listed: self.listed(about),
            resolved_name,
            companions: self.incidents.companions(originator, about.pair.responder),
        }
    }

    /// Returns the matches of threat intelligence: at most one for the destination and one for the TLS client.
    pub(super) fn listed(&self, about: &About) -> Vec<Listed<'_>> {
        if self.intel.is_empty() {
            return Vec::new();
        }
        let by_name = about.name.as_ref().and_then(|name| self.intel.name(name));
        let destination = by_name.or_else(|| self.intel.address(about.pair.responder.ip(), about.pair.port));
        let opening = self.opening(about);
        let mut fingerprints = opening.into_iter().flat_map(|opening| [opening.ja4.as_ref(), opening.ja3.as_ref()]);
        let client = fingerprints.find_map(|fingerprint| self.intel.fingerprint(fingerprint?));
        destination.into_iter().chain(client).collect()
    }

    /// Returns what the first bytes of the conversation said, or of the latest one of the history.
    fn opening(&self, about: &About) -> Option<&Arc<Opening>> {
        let conversation = about.conversation.and_then(|conversation| self.table.get(conversation));
        let history = about.history.and_then(|history| self.histories.get(history));
        let own = conversation.and_then(|conversation| conversation.opening.as_ref());
        own.or_else(|| history.and_then(|history| history.opening.as_ref()))
    }

    /// What the shell learned of a process may come later than its socket.
    pub(super) fn with_details(&self, process: &Arc<Process>) -> Process {
        self.processes.details(process.id).map_or_else(|| (**process).clone(), |(known, _)| (**known).clone())
    }
}
