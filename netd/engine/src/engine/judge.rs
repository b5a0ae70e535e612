//! From what a detector saw to a finding: one for each incident, raised again only when its severity rises.

use std::sync::Arc;

use super::verdicts::Outcome;
use super::{Command, Engine};
use crate::detect::beacon::Shape;
use crate::detect::checkin::CheckIns;
use crate::detect::{self, About, Context, Detector, Evidence, Subject};
use crate::finding::{Finding, Severity};
use crate::history::{Beat, Key, PairKey, Place};
use crate::intel::Listed;
use crate::opening::{Facts, Opening};
use crate::process::Process;
use crate::score::Ledger;
use crate::slab::Handle;
use crate::time::Timestamp;

/// An incident's severity falls at the earliest so long after it was last told.
const FALLS_AFTER_NS: u64 = 3_600_000_000_000;

/// A finding about to be raised, or to be acted on again.
pub(super) struct Judged {
    detector: Detector,
    pub(super) finding: Finding,
    known: Option<Handle>,
    rises: bool,
    is_protected: bool,
}

/// What evidence permits.
struct Fitness {
    block: bool,
    severity: Severity,
    is_protected: bool,
}

impl Engine {
    /// Looks at the histories that a turn of `conversation` changed.
    pub(super) fn judge_histories(&mut self, changed: [Option<Handle>; 2], conversation: Handle, at_ns: u64) {
        let [_, own_name] = changed;
        for handle in changed.into_iter().flatten() {
            let Some(history) = self.histories.get(handle) else { continue };
            if history.has_names && own_name.is_some() {
                continue;
            }
            let ln_e = history.beats.ln_e();
            if ln_e < self.weights.beacon.ln_e_worth_judging {
                continue;
            }
            let beat = history.beats.strongest();
            // Whoever waits longer each time is a client that behaves.
            if beat == Beat::Attempt && history.beats.is_backing_off() {
                self.counts.backing_off += 1;
                continue;
            }
            let Some(rhythm) = history.beats.timing(beat).rhythm() else { continue };
            // A client that waits longer and longer for a server that is gone: back-off.
            if beat == Beat::Attempt && matches!(rhythm.shape, Shape::Growing { .. }) {
                continue;
            }
            self.histories.note_regular(handle);
            let Some(history) = self.histories.get(handle) else { continue };
            let same_interval = self.histories.same_interval(history.latest.originator, rhythm.interval_s);
            let destinations = self.histories.destinations(history.latest.originator);
            let about = self.about_history(handle, conversation);
            let evidence = CheckIns { history, beat, rhythm: &rhythm, ln_e, same_interval, destinations };
            let judged = about.as_ref().and_then(|about| self.judge(&evidence, about, at_ns));
            if let Some((about, judged)) = about.zip(judged) {
                self.act(judged, &about);
            }
        }
    }

    fn about_history(&self, handle: Handle, conversation: Handle) -> Option<About> {
        let history = self.histories.get(handle)?;
        let name = history.name().or(self.table.get(conversation)?.name.as_ref());
        Some(About {
            pair: history.latest,
            name: name.cloned(),
            conversation: Some(conversation),
            history: Some(handle),
            subject: subject(&history.key),
        })
    }

    /// Returns what evidence of one conversation is about: its two ends and the port.
    pub(super) fn about_conversation(&self, conversation: Handle) -> Option<About> {
        let entry = self.table.get(conversation)?;
        let flow = entry.key.flow(entry.originator());
        let port = if matches!(entry.key.proto, 1 | 58) { 0 } else { flow.dst_port() };
        let pair = PairKey { originator: flow.src, responder: flow.dst, port, proto: entry.key.proto };
        let history = match entry.place {
            Place::At { pair, name } => name.filter(|name| self.histories.get(*name).is_some()).or(Some(pair)),
            Place::Unknown | Place::Outside | Place::Excluded(_) => None,
        };
        Some(About {
            pair,
            name: entry.name.as_ref().or_else(|| self.answers.name(flow.src, flow.dst, self.now_ns)).cloned(),
            conversation: Some(conversation),
            history,
            subject: Subject::Pair(pair),
        })
    }

    /// Weighs evidence; returns the finding that it amounts to, unless there is nothing new in it.
    pub(super) fn judge(&self, evidence: &dyn Evidence, about: &About, at_ns: u64) -> Option<Judged> {
        let mut context = self.context(about, at_ns);
        evidence.correct(&mut context);
        let mut ledger = Ledger::new(&self.weights, evidence.detector());
        weigh(evidence, &context, &mut ledger);
        let is_finding = ledger.is_finding();
        let known = self.known_incident(evidence.detector(), about);
        if !is_finding && known.is_none() {
            return None;
        }
        let Fitness { is_protected, severity, .. } = self.fitness(evidence, &context, &ledger);
        // What is no finding any more stays known, for information.
        let severity = if is_finding { severity } else { Severity::Info };
        let incident = known.and_then(|known| self.incidents.get(known));
        let rises = incident.is_none_or(|known| severity > known.severity);
        // Severity falls when the evidence has: once in a while, so that it does not waver.
        let falls = incident.is_some_and(|known| {
            let is_standing = evidence.is_standing(&self.weights);
            is_standing && severity < known.severity && at_ns.saturating_sub(known.reported_ns) >= FALLS_AFTER_NS
        });
        let may_act = is_finding && self.verdicts.may_act();
        if !rises && !falls && !may_act {
            return None;
        }
        let finding = Finding { severity, ..self.describe(evidence, about, at_ns) };
        let rises = rises || falls;
        Some(Judged { detector: evidence.detector(), finding, known, rises, is_protected })
    }

    fn fitness(&self, evidence: &dyn Evidence, context: &Context<'_>, ledger: &Ledger<'_>) -> Fitness {
        let is_protected = self.scope.is_protected(context.pair.responder) || !evidence.may_block();
        let is_sure = ledger.suffices_for_block() && evidence.is_two_way();
        let block = is_sure && !is_protected;
        // Evidence about something else than the responder is as urgent whoever the responder is.
        let severity = ledger.severity(block || is_sure && !evidence.may_block());
        Fitness { block, severity: severity.min(evidence.most()), is_protected }
    }

    /// Returns the finding that evidence amounts to, sufficient or not, in words. It has no number yet.
    pub(super) fn describe(&self, evidence: &dyn Evidence, about: &About, at_ns: u64) -> Finding {
        let mut context = self.context(about, at_ns);
        evidence.correct(&mut context);
        let mut ledger = Ledger::explained(&self.weights, evidence.detector());
        weigh(evidence, &context, &mut ledger);
        let Fitness { block, severity, .. } = self.fitness(evidence, &context, &ledger);
        let techniques: Vec<_> =
            evidence.techniques(&context).into_iter().map(|technique| self.attack.entry(technique)).collect();
        let first_ns = about.history.and_then(|history| self.histories.get(history)).map_or(at_ns, |h| h.first_ns);
        Finding {
            id: 0,
            time: Timestamp(at_ns),
            first_seen: Timestamp(first_ns),
            detector: evidence.detector().name(),
            title: evidence.title(&context),
            severity,
            score: ledger.posterior(),
            pair: context.pair,
            name: about.name.as_ref().map(|name| name.to_string()),
            process: context.process.map(|process| self.with_details(process)),
            responder_region: context.surroundings.as_ref().map(|around| around.region.clone()),
            block,
            rhythm: evidence.rhythm(),
            considered: evidence.considered(&context),
            attack: techniques.iter().map(|technique| technique.id).collect(),
            techniques,
            reasons: ledger.into_reasons(),
            host: evidence.host(),
        }
    }

    /// Raises a finding and asks for the verdict that the policy wants.
    pub(super) fn act(&mut self, judged: Judged, about: &About) {
        let Judged { detector, finding, known, rises, is_protected } = judged;
        let (id, is_new) = self.incidents.note(known, detector, about, &finding);
        self.counts.findings += u64::from(is_new);
        if let Some(history) = about.history.and_then(|history| self.histories.get_mut(history)) {
            history.has_incident = true;
        }
        let finding = Finding { id, ..finding };
        if rises {
            self.commands.push_back(Command::Report(Box::new(finding.clone())));
        }
        if self.suppressions.iter().any(|suppression| suppression.covers(&finding, finding.time)) {
            return;
        }
        if is_protected {
            self.counts.spared_protected += u64::from(self.verdicts.may_act());
            return;
        }
        match self.verdicts.consider(&finding, &mut self.commands) {
            Outcome::Asked => self.counts.enforced += 1,
            Outcome::BudgetSpent => self.counts.spared_budget += 1,
            Outcome::NotWanted | Outcome::InForce => {}
        }
    }

    fn context<'a>(&'a self, about: &'a About, at_ns: u64) -> Context<'a> {
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
    fn with_details(&self, process: &Arc<Process>) -> Process {
        self.processes.details(process.id).map_or_else(|| (**process).clone(), |(known, _)| (**known).clone())
    }

    /// Returns the incident that evidence belongs to: its own subject's, or that of the same traffic by the other key.
    fn known_incident(&self, detector: Detector, about: &About) -> Option<Handle> {
        let own = self.incidents.find(detector, &about.subject);
        if own.is_some() || about.history.is_none() {
            return own;
        }
        let conversation = about.conversation.and_then(|conversation| self.table.get(conversation))?;
        let Place::At { pair, name } = conversation.place else { return None };
        let others = [Some(pair), name].into_iter().flatten().filter_map(|other| self.histories.get(other));
        let known = others.filter_map(|other| self.incidents.find(detector, &subject(&other.key)));
        let agrees = |known: &Handle| {
            let known = self.incidents.get(*known).and_then(|known| known.name.as_deref());
            known.is_none() || about.name.is_none() || known == about.name.as_deref()
        };
        known.into_iter().find(agrees)
    }
}

fn weigh(evidence: &dyn Evidence, context: &Context<'_>, ledger: &mut Ledger<'_>) {
    evidence.weigh(context, ledger);
    detect::add_context(context, ledger);
}

pub(super) fn subject(key: &Key) -> Subject {
    match key {
        Key::Pair(key) => Subject::Pair(*key),
        Key::Name(key) => Subject::Name(key.clone()),
    }
}
