//! Timers that keep their phase: cron, schedulers, implants that call at t0 + mT.
//!
//! What is late at one beat is not late at the next, and a missed beat moves nothing. The last gaps are read as beats
//! of a clock: beat m comes at `t = r + m T`. With a first guess T0 of the period, the lateness `r = t - m T0` is regressed on m; its slope
//! corrects the period, its level is the phase, its residue the spread. After a gap of more than [`PAUSE`] periods the phase is learned
//! anew, but not the period.

use super::student::Student;
use super::window::Window;
use super::{RESOLUTION_S, fast_exp, fast_round};

/// Gaps that are read.
const READ: usize = 20;
/// Periods of silence after which no phase is expected to have been kept.
const PAUSE: f32 = 20.0;
/// Spreads, in periods, that are expected before any is known.
const SPREADS: [f32; 3] = [0.001, 0.03, 0.12];
/// Beats of evidence that the first guess of the period is worth.
const GUESS: f32 = 1.0;
/// Beats ahead that have a probability.
const AHEAD: i32 = 4;

pub(super) const EXPERTS: usize = SPREADS.len();
pub(super) const WEIGHTS: [f32; EXPERTS] = [0.015, 0.02, 0.025];

/// What the gaps say about the clock.
struct Fit {
    period: f32,
    /// Beats of the current run, and the means of their numbers and latenesses.
    held: f32,
    mean_number: f32,
    mean: f32,
    /// Sums around each run's own means.
    numbers: f32,
    products: f32,
    squares: f32,
    freedom: f32,
    /// What is added to the first guess of the period.
    slope: f32,
    /// The last event.
    number: f32,
    late: f32,
    missed: f32,
    beats: f32,
}

impl Fit {
    fn new(period: f32) -> Self {
        Self {
            period,
            held: 1.0,
            mean_number: 0.0,
            mean: 0.0,
            numbers: 0.0,
            products: 0.0,
            squares: 0.0,
            freedom: 0.0,
            slope: 0.0,
            number: 0.0,
            late: 0.0,
            missed: 0.0,
            beats: 0.0,
        }
    }

    /// Returns the lateness expected at the beat `number`.
    fn expected(&self, number: f32) -> f32 {
        self.mean + self.slope * (number - self.mean_number)
    }

    fn observe(&mut self, gap: f32) {
        if gap > PAUSE * self.period {
            (self.held, self.mean_number, self.mean) = (1.0, 0.0, 0.0);
            (self.number, self.late) = (0.0, 0.0);
            return;
        }
        let since = gap + self.late - self.expected(self.number);
        let beats = fast_round(since / (self.period + self.slope));
        self.late += gap - beats * self.period;
        self.number += beats;
        if beats < 1.0 {
            // Between two beats: tasks, or another timer's.
            return;
        }
        self.beats += 1.0;
        self.missed += beats - 1.0;
        self.held += 1.0;
        let (from_number, from) = (self.number - self.mean_number, self.late - self.mean);
        let share = 1.0 / self.held;
        self.mean_number += from_number * share;
        self.mean += from * share;
        self.numbers += from_number * (self.number - self.mean_number);
        self.products += from_number * (self.late - self.mean);
        self.squares += from * (self.late - self.mean);
        self.freedom += 1.0;
        self.slope = self.products / (self.numbers + GUESS);
    }
}

/// Fills in the experts' densities of `x`; `period` is a first guess, in seconds.
pub(super) fn fill(densities: &mut [f32], x: f32, past: &Window, period: f32, prior: f32) {
    let mut fit = Fit::new(period);
    for gap in past.last(READ) {
        fit.observe(fast_exp(gap));
    }
    let d = fast_exp(x);
    let slope = fit.slope;
    let residue = (fit.squares - slope * (2.0 * fit.products - slope * fit.numbers)).max(0.0);
    let freedom = fit.freedom.max(1.0);
    let miss = (fit.missed + 0.1) / (fit.beats + fit.missed + 1.0);
    for (density, spread) in densities.iter_mut().zip(SPREADS) {
        let spread = spread * period;
        let variance = (spread * spread + residue) / freedom;
        let mut sum = 0.0;
        let mut share = 0.95 * (1.0 - miss);
        for beat in 1..=AHEAD {
            let number = fit.number + beat as f32;
            let from = number - fit.mean_number;
            let leverage = 1.0 + 1.0 / fit.held + from * from / (fit.numbers + GUESS);
            let location = beat as f32 * period + fit.expected(number) - fit.late;
            sum +=
                share * Student::new(location, variance * leverage + RESOLUTION_S * RESOLUTION_S, freedom).density(d);
            share *= miss;
        }
        *density = sum * d + 0.05 * prior;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn densities(times: &[f32], next: f32) -> [f32; EXPERTS] {
        let mut past = Window::new();
        for pair in times.windows(2) {
            past.push((pair[1] - pair[0]).ln());
        }
        let last = times[times.len() - 1];
        let mut densities = [0.0; EXPERTS];
        fill(&mut densities, (next - last).ln(), &past, 57.0, 0.05);
        densities
    }

    #[test]
    fn what_was_late_once_is_not_late_the_next_time() {
        let [_, _, on_phase] = densities(&[0.0, 70.0, 121.0, 195.0, 240.0, 301.0, 374.0], 427.0);
        let [_, _, on_gap] = densities(&[0.0, 70.0, 121.0, 195.0, 240.0, 301.0, 374.0], 454.0);

        assert!(on_phase > 3.0 * on_gap, "{on_phase} {on_gap}");
    }

    #[test]
    fn missed_beats_and_extra_turns_do_not_move_the_phase() {
        let [narrow, _, _] = densities(&[0.0, 60.0, 120.0, 180.0, 190.0, 300.0, 420.0, 480.0], 600.0);

        assert!(narrow > 10.0, "{narrow}");
    }

    #[test]
    fn the_period_outlives_a_night() {
        let [narrow, _, _] = densities(&[0.0, 60.0, 120.0, 180.0, 30_007.0, 30_067.0], 30_127.0);

        assert!(narrow > 10.0, "{narrow}");
    }
}
