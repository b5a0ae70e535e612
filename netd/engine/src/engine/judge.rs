//! From a history that changed to a finding: one for each incident, raised again only when its severity rises.

use std::sync::Arc;

use super::verdicts::Outcome;
use super::{Command, Engine};
use crate::benign::{self, Candidate};
use crate::detect::beacon::Rhythm;
use crate::detect::{self, Case, DETECTORS, Detector};
use crate::finding::{Finding, Pair, Process, Severity};
use crate::history::{Beat, Place};
use crate::score::Ledger;
use crate::slab::Handle;
use crate::weights;

/// What a case came to.
struct Judgement {
    severity: Severity,
    may_block: bool,
}

impl Engine {
    /// Looks at the histories that a turn of `conversation` changed.
    pub(super) fn judge(&mut self, changed: [Option<Handle>; 2], conversation: Handle, at_ns: u64) {
        let [_, own_name] = changed;
        for handle in changed.into_iter().flatten() {
            let Some(history) = self.histories.get(handle) else { continue };
            if history.has_names && own_name.is_some() {
                continue;
            }
            let ln_e = history.beats.ln_e();
            if ln_e < weights::LN_E_WORTH_SCORING {
                continue;
            }
            let beat = history.beats.strongest();
            let Some(rhythm) = history.beats.timing(beat).rhythm() else { continue };
            self.histories.note_regular(handle);
            for detector in DETECTORS {
                self.judge_with(detector, handle, conversation, (beat, &rhythm), at_ns);
            }
        }
    }

    fn judge_with(
        &mut self,
        detector: &'static Detector,
        handle: Handle,
        conversation: Handle,
        (beat, rhythm): (Beat, &Rhythm),
        at_ns: u64,
    ) {
        let Some(case) = self.case(handle, conversation, beat, rhythm, at_ns) else { return };
        let mut ledger = Ledger::new();
        if !detect::assess(detector, &case, &mut ledger) || !ledger.is_finding() {
            return;
        }
        let is_protected = self.scope.is_protected(case.pair.responder);
        let may_block = ledger.suffices_for_block() && !is_protected && case.history.is_answered;
        let judgement = Judgement { severity: ledger.severity(may_block), may_block };
        let known = self.known_incident(detector, handle, conversation);
        let rises = match known.and_then(|incident| self.incidents.get(incident)) {
            Some(incident) => judgement.severity > incident.severity,
            None => true,
        };
        if !rises && !self.verdicts.may_act() {
            return;
        }
        let Some(finding) = self.explain(detector, handle, conversation, (beat, rhythm), at_ns, &judgement) else {
            return;
        };
        let finding = Finding { id: self.note(&finding, handle, known), ..finding };
        if rises {
            self.commands.push_back(Command::Report(Box::new(finding.clone())));
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

    fn case<'a>(
        &'a self,
        handle: Handle,
        conversation: Handle,
        beat: Beat,
        rhythm: &'a Rhythm,
        at_ns: u64,
    ) -> Option<Case<'a>> {
        let history = self.histories.get(handle)?;
        let process = self.process(conversation);
        let is_named = history.name().is_some() || self.table.get(conversation)?.name.is_some();
        let seconds = |from_ns: u64| at_ns.saturating_sub(from_ns) as f64 / 1e9;
        Some(Case {
            history,
            pair: history.latest.pair(),
            is_named,
            is_internal: self.scope.is_local(history.latest.responder.ip()),
            beat,
            rhythm,
            ln_e: history.beats.ln_e(),
            prevalence: self.histories.prevalence(&history.latest),
            same_interval: self.histories.same_interval(history.latest.originator, rhythm.interval_s),
            age_s: seconds(history.first_ns),
            watched_s: seconds(self.began_ns.unwrap_or(at_ns)),
            unrelated_answers: if is_named { 0 } else { self.answers.answers_of(history.latest.originator) },
            provenance: process.and_then(|process| self.processes.provenance(process.pid)).map(|(_, known)| *known),
        })
    }

    fn process(&self, conversation: Handle) -> Option<&Arc<Process>> {
        self.table.get(conversation)?.process.as_ref()
    }

    fn explain(
        &self,
        detector: &Detector,
        handle: Handle,
        conversation: Handle,
        (beat, rhythm): (Beat, &Rhythm),
        at_ns: u64,
        judgement: &Judgement,
    ) -> Option<Finding> {
        let case = self.case(handle, conversation, beat, rhythm, at_ns)?;
        let mut ledger = Ledger::explained();
        detect::assess(detector, &case, &mut ledger);
        let name = case.history.name().or(self.table.get(conversation)?.name.as_ref());
        Some(Finding {
            id: 0,
            time: self.timestamp(at_ns),
            first_seen: self.timestamp(case.history.first_ns),
            detector: detector.name,
            severity: judgement.severity,
            score: ledger.posterior(),
            pair: case.pair,
            name: name.map(|name| name.to_string()),
            process: self.process(conversation).map(|process| self.with_executable(process)),
            block: judgement.may_block,
            interval_s: rhythm.interval_s,
            jitter: rhythm.jitter,
            turns: rhythm.turns,
            considered: self.considered(&case),
            attack: (detector.attack)(&case),
            reasons: ledger.into_reasons(),
        })
    }

    /// What the shell learned of a process may come later than its socket.
    fn with_executable(&self, process: &Process) -> Process {
        let exe = self.processes.provenance(process.pid).and_then(|(exe, _)| exe.clone());
        Process { exe: exe.or_else(|| process.exe.clone()), ..process.clone() }
    }

    fn considered(&self, case: &Case<'_>) -> Vec<String> {
        let pair: &Pair = &case.pair;
        let is_internal = self.scope.is_local(pair.responder);
        let mut considered = benign::considered(&Candidate { pair, facts: case.history.facts, is_internal });
        if case.same_interval < weights::MESH_PEERS {
            considered.push(format!("mesh or monitoring: this interval to {} destinations only", case.same_interval));
        }
        considered
    }

    /// Returns the incident that a history belongs to: its own, or that of the same traffic by the other key.
    fn known_incident(&self, detector: &Detector, handle: Handle, conversation: Handle) -> Option<Handle> {
        let own = self.histories.get(handle)?;
        let name = own.name().or(self.table.get(conversation)?.name.as_ref());
        let is_same = |incident: &Handle| {
            let known = self.incidents.get(*incident);
            known.is_some_and(|known| {
                let names_agree =
                    known.name.is_none() || name.is_none() || known.name.as_deref() == name.map(|name| &**name);
                known.detector == detector.name && names_agree
            })
        };
        let Place::At { pair, name: named } = self.table.get(conversation)?.place else { return None };
        let others = [Some(handle), Some(pair), named];
        let incidents = others.into_iter().flatten().filter_map(|other| self.histories.get(other)?.incident);
        incidents.into_iter().find(is_same)
    }

    /// Notes a finding's severity in its incident, opening one if there is none; returns the incident's number.
    fn note(&mut self, finding: &Finding, handle: Handle, known: Option<Handle>) -> u64 {
        let (incident, id) = match known.and_then(|known| Some((known, self.incidents.get_mut(known)?))) {
            Some((handle, incident)) => {
                incident.severity = incident.severity.max(finding.severity);
                (handle, incident.id)
            }
            None => {
                self.counts.findings += 1;
                self.incidents.open(finding)
            }
        };
        if let Some(history) = self.histories.get_mut(handle) {
            history.incident = Some(incident);
        }
        id
    }
}
