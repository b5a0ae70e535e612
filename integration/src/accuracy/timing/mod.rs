//! Simulated timing: how soon timers are told from irregular keys, and how seldom irregular keys are taken for timers.
//!
//! The laws are those of the engine's own tests, on seeds that no choice was made with.

mod check_ins;
mod nulls;
mod rivals;
mod seam;
#[expect(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../../../netd/engine/tests/simulation/mod.rs"]
mod simulation;

use super::document::Section;

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Keys for each law, period and share of missed check-ins.
    pub(crate) runs: u64,
    /// Keys of each law that netd, RITA and the CV rule look at for a day.
    pub(crate) days: u64,
    /// Keys of each irregular law and mean.
    pub(crate) null_keys: u64,
    pub(crate) periods_s: &'static [f64],
    /// Whether null keys are many enough to bound a rate of 10^-4.
    pub(crate) bounds_rate: bool,
}

pub(crate) const FULL: Effort = Effort {
    runs: 100,
    days: 40,
    null_keys: 8_000,
    periods_s: &[1.0, 5.0, 20.0, 60.0, 600.0, 3_600.0, 21_600.0],
    bounds_rate: true,
};
pub(crate) const QUICK: Effort = Effort { runs: 40, days: 4, null_keys: 150, periods_s: &[60.0], bounds_rate: false };

/// Returns the section about timing.
pub(crate) fn section(effort: Effort) -> Section {
    let mut section = Section::new("Simulated timing");
    section.text(
        "E is the evidence that a key follows a timer: an e-value, which an irregular key reaches 10^4 with at most once in 10^4 \
         keys, whenever one looks (universal inference: Wasserman, Ramdas and Balakrishnan 2020; Ville's inequality). \
         Check-ins are those that were seen. A key inside a connection is delayed by 0-20 ms; with a connection each, by a \
         lognormal 80 ms and, once in fifty, by a lost SYN. `-`: not within 400 check-ins.",
    );
    check_ins::add(&mut section, effort);
    seam::add(&mut section, effort);
    rivals::add(&mut section, effort);
    nulls::add(&mut section, effort);
    section
}
