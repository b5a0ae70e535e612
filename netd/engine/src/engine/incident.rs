//! Incidents: one for a pair, a name, or both where they belong together.

use std::collections::VecDeque;

use crate::finding::{Finding, Severity};
use crate::slab::{Handle, Slab};

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) id: u64,
    pub(super) severity: Severity,
    pub(super) detector: &'static str,
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(super) struct Incidents {
    incidents: Slab<Incident>,
    order: VecDeque<Handle>,
    /// Incidents remembered; the oldest gives way, and would be reported again.
    limit: usize,
    last_id: u64,
}

impl Incidents {
    pub(super) const fn new(limit: usize) -> Self {
        Self { incidents: Slab::new(), order: VecDeque::new(), limit, last_id: 0 }
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&Incident> {
        self.incidents.get(handle)
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Incident> {
        self.incidents.get_mut(handle)
    }

    /// Opens the incident of a finding and returns its number.
    pub(super) fn open(&mut self, finding: &Finding) -> (Handle, u64) {
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.incidents.remove(oldest);
        }
        self.last_id += 1;
        let handle = self.incidents.insert(Incident {
            id: self.last_id,
            severity: finding.severity,
            detector: finding.detector,
            name: finding.name.clone(),
        });
        self.order.push_back(handle);
        (handle, self.last_id)
    }
}
