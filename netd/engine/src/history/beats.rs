//! The sequences of a history that may follow a timer, and their evidence together.

use serde::{Deserialize, Serialize};

use super::Side;
use crate::detect::beacon::Timing;
use crate::time::set_back;

/// A sequence of events that may follow a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// From one turn of the originator to the next: a timer that does not wait.
    Interval = 0,
    /// From the end of all activity to the next turn of the originator: a sleep after work of any length.
    Pause = 1,
    /// From one turn of the responder to the next: it polls, or keeps the connection alive.
    Responder = 2,
    /// From one attempt to connect that failed to the next: the retry loop of whoever finds its server gone.
    Attempt = 3,
}

impl Beat {
    const ALL: [Self; 4] = [Self::Interval, Self::Pause, Self::Responder, Self::Attempt];

    /// Returns whose turns it times.
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Interval | Self::Pause | Self::Attempt => Side::Originator,
            Self::Responder => Side::Responder,
        }
    }
}

/// Shares of the e-values in their mean, by [`Beat`]: intervals, pauses, the responder's intervals, which are keep-alives
/// more often than polls, attempts. No weights of evidence: any that add up to at most 1 give an e-value.
const SHARES: [f64; 4] = [0.5, 0.35, 0.1, 0.05];
const _: () = assert!(SHARES[0] + SHARES[1] + SHARES[2] + SHARES[3] <= 1.0);
/// Weighted ln E of intervals above which pauses are not followed: well above what counts (`beacon.most_timing`).
const SETTLED: f64 = 24.0;
/// Work that takes at least this share of an interval, and this long, tells pauses from intervals.
const WORK_SHARE: u64 = 50;
const WORK_NS: u64 = 50_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Beats {
    intervals: Timing,
    responder: Timing,
    /// None while pauses are what intervals are: then both are one sequence.
    pauses: Option<Box<Pauses>>,
    /// None until an attempt fails.
    attempts: Option<Box<Attempts>>,
    /// The originator's latest turn, and the latest activity that is known of any connection; record time.
    turn_ns: u64,
    active_ns: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pauses {
    timing: Timing,
    /// All pauses so far, one after the other: the timing's clock.
    clock_ns: u64,
}

impl Beats {
    pub(super) fn new() -> Self {
        Self {
            intervals: Timing::new(),
            responder: Timing::new(),
            pauses: None,
            attempts: None,
            turn_ns: 0,
            active_ns: 0,
        }
    }

    /// Takes a turn into account.
    pub(super) fn observe(&mut self, side: Side, at_ns: u64, gap_ns: u64) {
        match side {
            Side::Originator => self.observe_originator(at_ns, gap_ns),
            Side::Responder => self.responder.observe(at_ns, gap_ns),
        }
        self.note_activity(at_ns);
    }

    fn observe_originator(&mut self, at_ns: u64, gap_ns: u64) {
        let is_first = self.turn_ns == 0;
        if !is_first && at_ns <= self.turn_ns.saturating_add(gap_ns) {
            // Part of the turn before.
            return;
        }
        let interval_ns = at_ns - self.turn_ns;
        let work_ns = self.active_ns.saturating_sub(self.turn_ns);
        if !is_first && self.pauses.is_none() && work_ns > interval_ns / WORK_SHARE + WORK_NS {
            let pauses = Pauses { timing: self.intervals.clone(), clock_ns: self.turn_ns };
            self.pauses = Some(Box::new(pauses));
        }
        let pause_ns = at_ns.saturating_sub(self.active_ns);
        // Where intervals say all that timing may say, pauses are not worth their time.
        let is_settled = self.weighed(Beat::Interval) > SETTLED;
        if let Some(pauses) = self.pauses.as_mut().filter(|_| !is_settled && pause_ns > gap_ns) {
            pauses.clock_ns += pause_ns;
            pauses.timing.observe(pauses.clock_ns, gap_ns);
        }
        self.intervals.observe(at_ns, gap_ns);
        self.turn_ns = at_ns;
    }

    /// Takes an attempt that failed into account.
    pub(super) fn observe_attempt(&mut self, at_ns: u64, gap_ns: u64) {
        self.attempts.get_or_insert_with(Box::default).observe(at_ns, gap_ns);
    }

    /// Returns whether failed attempts follow each other ever more slowly, as a client's should.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.attempts.as_ref().is_some_and(|attempts| attempts.is_backing_off())
    }

    pub(super) fn note_activity(&mut self, at_ns: u64) {
        self.active_ns = self.active_ns.max(at_ns);
    }

    /// Makes all that happened `by_ns` earlier.
    pub(super) fn set_back(&mut self, by_ns: u64) {
        self.intervals.set_back(by_ns);
        self.responder.set_back(by_ns);
        // Pauses have a clock of their own.
        if let Some(attempts) = &mut self.attempts {
            attempts.timing.set_back(by_ns);
            attempts.last_ns = set_back(attempts.last_ns, by_ns);
        }
        self.turn_ns = set_back(self.turn_ns, by_ns);
        self.active_ns = set_back(self.active_ns, by_ns);
    }

    /// Goes on after a time without a watch: see [`Timing::resume`].
    pub(super) fn resume(&mut self, unwatched_s: f64) {
        self.intervals.resume(unwatched_s);
        self.responder.resume(unwatched_s);
        if let Some(pauses) = &mut self.pauses {
            pauses.timing.resume(unwatched_s);
        }
        if let Some(attempts) = &mut self.attempts {
            attempts.timing.resume(unwatched_s);
        }
    }

    pub(crate) fn turns(&self) -> u32 {
        let attempts = self.attempts.as_ref().map_or(0, |attempts| attempts.timing.turns());
        self.intervals.turns().saturating_add(self.responder.turns()).saturating_add(attempts)
    }

    /// Returns the turns that one side started.
    pub(crate) fn turns_of(&self, side: Side) -> u32 {
        match side {
            Side::Originator => self.intervals.turns(),
            Side::Responder => self.responder.turns(),
        }
    }

    /// Returns the beat that speaks most for a timer.
    pub(crate) fn strongest(&self) -> Beat {
        let mut best = Beat::Interval;
        for beat in Beat::ALL {
            if self.weighed(beat) > self.weighed(best) {
                best = beat;
            }
        }
        best
    }

    /// Returns ln E of all beats together: a weighted mean of e-values is one.
    pub(crate) fn ln_e(&self) -> f64 {
        let most = self.weighed(self.strongest());
        most + Beat::ALL.iter().map(|beat| (self.weighed(*beat) - most).exp()).sum::<f64>().ln()
    }

    fn weighed(&self, beat: Beat) -> f64 {
        self.timing(beat).ln_e() + SHARES[beat as usize].ln()
    }

    pub(crate) fn timing(&self, beat: Beat) -> &Timing {
        match beat {
            Beat::Interval => &self.intervals,
            Beat::Pause => self.pauses.as_ref().map_or(&self.intervals, |pauses| &pauses.timing),
            Beat::Responder => &self.responder,
            // Where none fails, attempts are turns.
            Beat::Attempt => self.attempts.as_ref().map_or(&self.intervals, |attempts| &attempts.timing),
        }
    }
}

/// Attempts that failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Attempts {
    timing: Timing,
    last_ns: u64,
    gap_ns: u64,
    /// The gap from which gaps have only grown, or stayed: 0 for none.
    base_ns: u64,
    /// How often a gap was clearly longer than the one before it.
    steps: u32,
}

/// Factors between one gap and the next, in percent: below the first a back-off has begun anew, from the second on it
/// has taken a step.
const SHORTER: u64 = 80;
const LONGER: u64 = 135;
/// Steps, and the growth in all, that make a back-off.
const STEPS: u32 = 2;
const GROWN: u64 = 2;

impl Attempts {
    fn observe(&mut self, at_ns: u64, gap_ns: u64) {
        let is_first = self.last_ns == 0;
        if !is_first && at_ns <= self.last_ns.saturating_add(gap_ns) {
            return;
        }
        self.timing.observe(at_ns, gap_ns);
        let gap = at_ns.saturating_sub(self.last_ns);
        self.last_ns = at_ns;
        if is_first {
            return;
        }
        let hundredth = self.gap_ns / 100;
        if self.base_ns == 0 || gap < hundredth * SHORTER {
            (self.base_ns, self.steps) = (gap, 0);
        } else if gap >= hundredth * LONGER {
            self.steps = self.steps.saturating_add(1);
        }
        self.gap_ns = gap;
    }

    fn is_backing_off(&self) -> bool {
        self.steps >= STEPS && self.gap_ns >= self.base_ns.saturating_mul(GROWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const GAP: u64 = 750_000_000;

    #[test]
    fn without_work_pauses_are_intervals_and_cost_nothing() {
        let mut beats = Beats::new();
        for n in 1..20 {
            beats.observe(Side::Originator, n * 60 * SECOND, GAP);
            beats.note_activity(n * 60 * SECOND + 200_000_000);
        }

        assert!(beats.pauses.is_none());
        assert_eq!(beats.strongest(), Beat::Interval);
    }

    #[test]
    fn a_sleep_after_work_of_any_length_is_regular_by_its_pauses() {
        let mut beats = Beats::new();
        let mut now = SECOND;
        for n in 0..24 {
            beats.observe(Side::Originator, now, GAP);
            let work = [1, 40, 3, 200, 9, 90, 2, 600][n % 8] * SECOND;
            beats.note_activity(now + work);
            now += work + 10 * SECOND;
        }

        assert_eq!(beats.strongest(), Beat::Pause);
        assert!(beats.ln_e() > 9.0, "{}", beats.ln_e());
    }

    #[test]
    fn a_burst_is_one_turn() {
        let mut beats = Beats::new();
        for at in [10 * SECOND, 10 * SECOND + GAP / 2, 10 * SECOND + GAP] {
            beats.observe(Side::Originator, at, GAP);
        }

        assert_eq!(beats.turns(), 1);
    }

    #[test]
    fn failed_attempts_are_a_beat_of_their_own() {
        let mut beats = Beats::new();
        for n in 1..30 {
            beats.observe_attempt(n * 30 * SECOND, GAP);
        }

        assert_eq!(beats.strongest(), Beat::Attempt);
        assert!(beats.ln_e() > 9.0 && !beats.is_backing_off(), "{}", beats.ln_e());
    }

    #[test]
    fn growing_gaps_are_a_back_off_also_at_their_limit() {
        let mut beats = Beats::new();
        let mut now = SECOND;
        for n in 0..20 {
            beats.observe_attempt(now, GAP);
            now += (SECOND << n).min(60 * SECOND);
        }

        assert!(beats.is_backing_off());
    }
}
