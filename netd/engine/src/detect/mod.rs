//! Detectors: each reads one kind of evidence and says what it saw, never what to do about it.
//!
//! To add one: a file here, a line in [`DETECTORS`], a section of the configuration, a scenario.

pub mod beacon;
mod case;
mod checkin;
mod context;

pub(crate) use case::Case;

use crate::score::Ledger;

/// One detector. It adds its terms to the ledger of a case; what all detectors share is added by [`assess`].
pub(crate) struct Detector {
    pub(crate) name: &'static str,
    /// Returns whether the case concerns the detector at all.
    examine: fn(&Case<'_>, &mut Ledger) -> bool,
    /// MITRE ATT&CK techniques.
    pub(crate) attack: fn(&Case<'_>) -> Vec<&'static str>,
}

/// Every detector.
pub(crate) const DETECTORS: &[Detector] =
    &[Detector { name: "beacon", examine: checkin::examine, attack: checkin::attack }];

/// Fills `ledger` with a detector's terms and those about process and destination; returns whether there is a case.
pub(crate) fn assess(detector: &Detector, case: &Case<'_>, ledger: &mut Ledger) -> bool {
    if !(detector.examine)(case, ledger) {
        return false;
    }
    context::add(case, ledger);
    true
}
