//! From what a detector saw to a finding: one for each incident, told again when its severity changes, or its odds have.

use std::net::IpAddr;

use super::incident::Rare;
use super::verdicts::{Culprit, Outcome, Surroundings};
use super::{Command, Engine};
use crate::detect::beacon::Shape;
use crate::detect::checkin::CheckIns;
use crate::detect::{self, About, Context, Detector, Evidence, Subject};
use crate::finding::{Finding, Severity};
use crate::history::Beat;
use crate::policy::{Case, Decision, Direction, Effect};
use crate::score::Ledger;
use crate::slab::Handle;
use crate::time::Timestamp;
use crate::weights::Term;

/// An incident is told again at the earliest so long after it was last told, unless its severity rises.
pub(super) const AGAIN_AFTER_NS: u64 = 3_600_000_000_000;
/// Change of the odds that is worth being told, nats: by a factor of nearly three.
const MOVES_BY: f64 = 0.99;

/// A finding about to be raised, or to be acted on again.
pub(super) struct Judged {
    detector: Detector,
    pub(super) finding: Finding,
    known: Option<Handle>,
    /// None: there is nothing new to tell, it is only acted on.
    told: Option<Told>,
    is_protected: bool,
}

/// What is remembered of a finding that is told.
struct Told {
    log_odds: f64,
    rare: Option<Rare>,
}

/// What evidence permits.
struct Fitness {
    block: bool,
    /// Sure enough for its detector's highest severities.
    is_sure: bool,
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
        let Fitness { is_protected, is_sure, severity, .. } = self.fitness(evidence, &context, &ledger);
        // What is no finding any more stays known, for information.
        let severity = if is_finding { severity } else { Severity::Info };
        let incident = known.and_then(|known| self.incidents.get(known));
        let rises = incident.is_none_or(|known| severity > known.severity);
        // The rest once in a while, so that it does not waver; less only where the evidence itself stands.
        let moves = incident.is_some_and(|known| {
            let by = ledger.log_odds() - known.log_odds;
            let is_less = severity < known.severity || by <= -MOVES_BY;
            let is_due = at_ns.saturating_sub(known.reported_ns) >= AGAIN_AFTER_NS;
            is_due && (is_less && evidence.is_standing(&self.weights) || severity == known.severity && by >= MOVES_BY)
        });
        let may_act = is_finding && self.verdicts.may_act();
        if !rises && !moves && !may_act {
            return None;
        }
        let finding = Finding { severity, ..self.describe(evidence, about, at_ns) };
        let told = (rises || moves).then(|| {
            let is_rare = finding.reasons.iter().any(|reason| reason.evidence == Term::RareDestination.name());
            // What a client asks of somebody else than the responder is no matter of who speaks to the responder.
            let is_direct = matches!(about.subject, Subject::Pair(_) | Subject::Name(_));
            let is_open = is_rare && is_direct && severity > Severity::Low;
            let resolved = context.resolved_name.cloned();
            Told { log_odds: ledger.log_odds(), rare: is_open.then_some(Rare { pair: about.pair, resolved, is_sure }) }
        });
        Some(Judged { detector: evidence.detector(), finding, known, told, is_protected })
    }

    fn fitness(&self, evidence: &dyn Evidence, context: &Context<'_>, ledger: &Ledger<'_>) -> Fitness {
        let is_protected = self.scope.is_protected(context.pair.responder) || !evidence.may_block();
        let is_sure = ledger.suffices_for_block() && evidence.is_two_way();
        let block = is_sure && !is_protected;
        // Evidence about something else than the responder is as urgent whoever the responder is.
        let is_sure = block || is_sure && !evidence.may_block();
        Fitness { block, is_sure, severity: ledger.severity(is_sure).min(evidence.most()), is_protected }
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
            decision: None,
        }
    }

    /// Raises a finding and asks for the response and the verdict that the policy wants.
    pub(super) fn act(&mut self, judged: Judged, about: &About) {
        let culprit = self.culprit(about, &judged.finding);
        self.act_on(judged, about, culprit);
    }

    /// As [`Self::act`], where it is known whose doing it is.
    pub(super) fn act_on(&mut self, judged: Judged, about: &About, culprit: Option<Culprit>) {
        let Judged { detector, finding, known, told, is_protected } = judged;
        let incident = self.incidents.note(known, detector, about, finding.name.as_deref());
        if let Some(history) = about.history.and_then(|history| self.histories.get_mut(history)) {
            history.has_incident = true;
        }
        let (id, is_new) = self.incidents.get(incident).map_or((0, false), |known| (known.id, known.reported_ns == 0));
        let mut finding = Finding { id, ..finding };
        let (decision, asked) = self.decide(&finding, culprit.as_ref(), is_protected);
        // What is acted on is told in any storm: nobody is cut without a reason that can be read.
        let (originator, severity, at_ns) = (about.pair.originator, finding.severity, finding.time.0);
        let told = told.filter(|_| !asked.is_empty() || self.pace.admit(detector, originator, severity, at_ns));
        let is_told = told.is_some();
        if let Some(Told { log_odds, rare }) = told {
            self.counts.findings += u64::from(is_new);
            finding = self.incidents.tell(incident, finding, log_odds, rare);
        }
        let is_news = self.incidents.decide(incident, (decision.effect, decision.why));
        self.counts.suppressed += u64::from(is_told && decision.effect == Effect::Suppress);
        finding.decision = Some(decision);
        if is_told {
            self.commands.push_back(Command::Report(Box::new(finding)));
        } else if is_news {
            self.commands.push_back(Command::Update(Box::new(finding)));
        }
        self.commands.extend(asked);
    }

    pub(super) fn direction(&self, finding: &Finding) -> Direction {
        self.direction_between(finding.pair.originator, finding.pair.responder)
    }

    /// Returns which way a conversation was opened, seen from the monitored networks.
    #[must_use]
    pub fn direction_between(&self, originator: IpAddr, responder: IpAddr) -> Direction {
        Direction::between(self.scope.is_local(originator), self.scope.is_local(responder))
    }

    /// Decides about a finding; returns that with what is to be done.
    fn decide(&mut self, finding: &Finding, culprit: Option<&Culprit>, is_protected: bool) -> (Decision, Vec<Command>) {
        let direction = self.direction(finding);
        let is_suppressed = self.suppressions.iter().any(|suppression| suppression.covers(finding, finding.time));
        let mut asked = Vec::new();
        let case = Case { finding, direction };
        let decided = self.verdicts.decide(&case, &Surroundings { culprit, is_protected, is_suppressed }, &mut asked);
        for outcome in [decided.response, decided.verdict] {
            match outcome {
                Outcome::Asked => {}
                Outcome::BudgetSpent => self.counts.spared_budget += 1,
                Outcome::Protected => self.counts.spared_protected += 1,
                Outcome::NotWanted | Outcome::InForce => {}
            }
        }
        self.counts.responded += u64::from(decided.response == Outcome::Asked);
        self.counts.enforced += u64::from(decided.verdict == Outcome::Asked);
        (decided.decision, asked)
    }

    /// Returns the conversation that evidence is about, and this host's process at its end.
    fn culprit(&self, about: &About, finding: &Finding) -> Option<Culprit> {
        let entry = self.table.get(about.conversation?)?;
        let flow = entry.key.flow(entry.originator());
        let is_turned = self.scope.is_own(flow.dst.ip()) && !self.scope.is_own(flow.src.ip());
        let (key, process) = match is_turned {
            true => (flow.reversed(), &entry.responder_process),
            false => (flow, &entry.process),
        };
        let process = process.as_ref().map(|process| process.id);
        Some(Culprit {
            key,
            process,
            holder: process.map(|id| id.pid),
            since: finding.time,
            is_own: self.scope.is_own(key.src.ip()),
            is_protected: self.scope.is_protected(key.dst.ip()),
        })
    }
}

fn weigh(evidence: &dyn Evidence, context: &Context<'_>, ledger: &mut Ledger<'_>) {
    evidence.weigh(context, ledger);
    detect::add_context(context, ledger);
}
