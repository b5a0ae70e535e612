//! What a detector is shown: one history and what is known around it.

use crate::detect::beacon::Rhythm;
use crate::finding::Pair;
use crate::history::{Beat, History, Prevalence};
use crate::process::Provenance;

/// One pair or name, at one moment.
pub(crate) struct Case<'a> {
    pub(crate) history: &'a History,
    pub(crate) pair: Pair,
    pub(crate) is_named: bool,
    /// The responder is monitored, too.
    pub(crate) is_internal: bool,
    /// The beat that speaks most for a timer, what it looks like, and the evidence of all beats together.
    pub(crate) beat: Beat,
    pub(crate) rhythm: &'a Rhythm,
    pub(crate) ln_e: f64,
    pub(crate) prevalence: Prevalence,
    /// Destinations to which the originator speaks at this interval, this one included.
    pub(crate) same_interval: u32,
    /// Seconds since the history began, and since the engine did.
    pub(crate) age_s: f64,
    pub(crate) watched_s: f64,
    /// DNS answers the originator was seen to get, none of which gave this address.
    pub(crate) unrelated_answers: u64,
    pub(crate) provenance: Option<Provenance>,
}
