//! Incidents: one for a pair, a name, or both where they belong together; one for each other subject of a detector.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use netd_common::key::Address;

use crate::detect::{About, Detector, Subject};
use crate::finding::{Finding, Severity};
use crate::history::PairKey;
use crate::policy::{Effect, Why};
use crate::slab::{Handle, Slab};

/// Subjects remembered of one incident: addresses behind one name.
const SUBJECTS: usize = 16;

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) id: u64,
    /// As last told, and when; record time. 0: it was not told so far.
    pub(super) severity: Severity,
    pub(super) reported_ns: u64,
    /// Nats, as last told.
    pub(super) log_odds: f64,
    /// What was decided about it the last time.
    decided: Option<(Effect, Why)>,
    /// As last told, where it is to be looked at again.
    rare: Option<(Box<Finding>, Rare)>,
    pub(super) detector: Detector,
    pub(super) name: Option<String>,
    subjects: Vec<Subject>,
    ends: (Address, Address),
}

/// Why a finding of more than low severity might be explained later: few use its destination so far.
#[derive(Clone, Debug)]
pub(super) struct Rare {
    pub(super) pair: PairKey,
    /// The name by which DNS told the client the address.
    pub(super) resolved: Option<Arc<str>>,
    /// Whether the evidence was sure enough for its detector's highest severities.
    pub(super) is_sure: bool,
}

#[derive(Debug)]
pub(super) struct Incidents {
    incidents: Slab<Incident>,
    by_subject: HashMap<(Detector, Subject), Handle>,
    /// Detectors with an incident between two hosts.
    by_ends: HashMap<(Address, Address), Vec<Detector>>,
    order: VecDeque<Handle>,
    /// Incidents remembered; the oldest gives way, and would be reported again.
    limit: usize,
    last_id: u64,
}

impl Incidents {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            incidents: Slab::new(),
            by_subject: HashMap::new(),
            by_ends: HashMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
            last_id: 0,
        }
    }

    /// Numbers on from whatever a former run came to.
    pub(super) fn number_after(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&Incident> {
        self.incidents.get(handle)
    }

    pub(super) fn find(&self, detector: Detector, subject: &Subject) -> Option<Handle> {
        self.by_subject.get(&(detector, subject.clone())).copied()
    }

    /// Returns the detectors with an incident between two hosts.
    pub(super) fn companions(&self, originator: Address, responder: Address) -> &[Detector] {
        self.by_ends.get(&(originator, responder)).map_or(&[], Vec::as_slice)
    }

    /// Returns the incidents that rest on a destination that few use.
    pub(super) fn rare(&self) -> impl Iterator<Item = (Handle, Detector, &Finding, &Rare)> {
        self.order.iter().filter_map(|handle| {
            let incident = self.incidents.get(*handle)?;
            let (finding, rare) = incident.rare.as_ref()?;
            Some((*handle, incident.detector, &**finding, rare))
        })
    }

    /// Notes what was decided about an incident; returns whether it is something else than before.
    pub(super) fn decide(&mut self, about: Handle, decided: (Effect, Why)) -> bool {
        self.incidents.get_mut(about).is_some_and(|incident| incident.decided.replace(decided) != Some(decided))
    }

    /// Notes what is told of an incident; returns it with the incident's number.
    pub(super) fn tell(&mut self, told: Handle, finding: Finding, log_odds: f64, rare: Option<Rare>) -> Finding {
        let Some(incident) = self.incidents.get_mut(told) else { return finding };
        let finding = Finding { id: incident.id, ..finding };
        (incident.severity, incident.reported_ns) = (finding.severity, finding.time.0);
        incident.log_odds = log_odds;
        incident.rare = rare.map(|rare| (Box::new(finding.clone()), rare));
        finding
    }

    /// Adds a subject to the incident that is known, or opens one, which is to be told; returns it.
    pub(super) fn note(
        &mut self,
        known: Option<Handle>,
        detector: Detector,
        about: &About,
        name: Option<&str>,
    ) -> Handle {
        if let Some((handle, incident)) = known.and_then(|known| Some((known, self.incidents.get_mut(known)?))) {
            if !incident.subjects.contains(&about.subject) && incident.subjects.len() < SUBJECTS {
                incident.subjects.push(about.subject.clone());
                self.by_subject.insert((detector, about.subject.clone()), handle);
            }
            return handle;
        }
        if self.order.len() >= self.limit {
            self.forget_oldest();
        }
        self.last_id += 1;
        let ends = (about.pair.originator, about.pair.responder);
        let handle = self.incidents.insert(Incident {
            id: self.last_id,
            severity: Severity::Info,
            reported_ns: 0,
            log_odds: 0.0,
            decided: None,
            rare: None,
            detector,
            name: name.map(str::to_owned),
            subjects: vec![about.subject.clone()],
            ends,
        });
        self.by_subject.insert((detector, about.subject.clone()), handle);
        self.by_ends.entry(ends).or_default().push(detector);
        self.order.push_back(handle);
        handle
    }

    fn forget_oldest(&mut self) {
        let Some(incident) = self.order.pop_front().and_then(|oldest| self.incidents.remove(oldest)) else { return };
        for subject in incident.subjects {
            self.by_subject.remove(&(incident.detector, subject));
        }
        if let Some(detectors) = self.by_ends.get_mut(&incident.ends) {
            if let Some(at) = detectors.iter().position(|detector| *detector == incident.detector) {
                detectors.swap_remove(at);
            }
            if detectors.is_empty() {
                self.by_ends.remove(&incident.ends);
            }
        }
    }
}
