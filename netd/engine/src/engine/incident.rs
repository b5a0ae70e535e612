//! Incidents: one for a pair, a name, or both where they belong together; one for each other subject of a detector.

use std::collections::{HashMap, VecDeque};

use netd_common::key::Address;

use crate::detect::{About, Detector, Subject};
use crate::finding::{Finding, Severity};
use crate::slab::{Handle, Slab};

/// Subjects remembered of one incident: addresses behind one name.
const SUBJECTS: usize = 16;

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) id: u64,
    /// As last told, and when; record time.
    pub(super) severity: Severity,
    pub(super) reported_ns: u64,
    pub(super) detector: Detector,
    pub(super) name: Option<String>,
    subjects: Vec<Subject>,
    ends: (Address, Address),
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

    /// Opens an incident, or adds to the one that is known, whose severity changes only when it `is_told`; returns the
    /// incident's number, and whether it is new.
    pub(super) fn note(
        &mut self,
        known: Option<Handle>,
        detector: Detector,
        about: &About,
        finding: &Finding,
        is_told: bool,
    ) -> (u64, bool) {
        if let Some((handle, incident)) = known.and_then(|known| Some((known, self.incidents.get_mut(known)?))) {
            if is_told {
                (incident.severity, incident.reported_ns) = (finding.severity, finding.time.0);
            }
            if !incident.subjects.contains(&about.subject) && incident.subjects.len() < SUBJECTS {
                incident.subjects.push(about.subject.clone());
                self.by_subject.insert((detector, about.subject.clone()), handle);
            }
            return (incident.id, false);
        }
        if self.order.len() >= self.limit {
            self.forget_oldest();
        }
        self.last_id += 1;
        let ends = (about.pair.originator, about.pair.responder);
        let handle = self.incidents.insert(Incident {
            id: self.last_id,
            severity: finding.severity,
            reported_ns: finding.time.0,
            detector,
            name: finding.name.clone(),
            subjects: vec![about.subject.clone()],
            ends,
        });
        self.by_subject.insert((detector, about.subject.clone()), handle);
        self.by_ends.entry(ends).or_default().push(detector);
        self.order.push_back(handle);
        (self.last_id, true)
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
