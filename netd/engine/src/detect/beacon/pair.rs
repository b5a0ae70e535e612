//! Two timers on one key.
//!
//! Each event belongs to one of two sleeping timers, so the next event comes when the first of the two is due. The periods are
//! searched for among the differences of the last events' times: a timer's next beat follows each of its beats
//! after one period. What the first timer does not explain must be the second's.

use serde::{Deserialize, Serialize};

use super::student::Student;
use super::window::Window;
use super::{RESOLUTION_S, fast_exp};

/// Events that a search reads, and how many of the latest may be the first timer's.
const EVENTS: usize = 28;
const LATEST: usize = 3;
/// Gaps between two searches.
const PATIENCE: u8 = 3;
/// How far from its due time a beat may come: a share of its period, and this much.
const SLACK_SHARE: f32 = 0.02;
const SLACK_S: f32 = 0.05;
/// The share of a timer's beats that must be seen, and how many periods at least.
const SEEN: f32 = 0.7;
const LEAST: usize = 3;
/// Below this share of explained events, the timers are given up.
const TRUST: f32 = 0.5;
/// Spreads around a due time, in periods, that are expected before any is known.
const SPREADS: [f32; 2] = [0.000_5, 0.01];

pub(super) const WEIGHT: f32 = 0.015;

/// Two timers, once they are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timers {
    /// Periods, seconds; 0 while unknown.
    periods: [f32; 2],
    /// When each is due, seconds from the last event.
    due: [f32; 2],
    /// Squared errors in periods, and their count.
    squares: f32,
    count: f32,
    /// The share of the latest events that either explained.
    trust: f32,
    /// Gaps since the last search.
    waited: u8,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { periods: [0.0; 2], due: [0.0; 2], squares: 0.0, count: 0.0, trust: 0.0, waited: 0 }
    }

    fn is_known(&self) -> bool {
        self.periods[0] > 0.0
    }

    /// Returns the density of `x`, or `None` while no two timers are known.
    pub(super) fn density(&self, x: f32, prior: f32) -> Option<f32> {
        if !self.is_known() {
            return None;
        }
        let d = fast_exp(x);
        let at = |timer: usize, beats: f32| {
            let period = self.periods[timer];
            let of = |spread: f32| {
                let variance = (spread * spread + self.squares) / self.count * period * period;
                let location = self.due[timer] + beats * period;
                Student::new(location, variance + RESOLUTION_S * RESOLUTION_S, self.count).density(d)
            };
            0.5 * (of(SPREADS[0]) + of(SPREADS[1]))
        };
        let (first, second) = if self.due[0] < self.due[1] { (0, 1) } else { (1, 0) };
        let sum = 0.76 * at(first, 0.0) + 0.14 * at(second, 0.0) + 0.04 * at(first, 1.0) + 0.02 * at(second, 1.0);
        Some(sum * d + 0.04 * prior)
    }

    /// Learns from the gap `x`; `past` does not hold it yet.
    pub(super) fn learn(&mut self, x: f32, past: &Window) {
        if self.is_known() {
            self.follow(fast_exp(x));
            return;
        }
        self.waited += 1;
        if self.waited >= PATIENCE {
            self.waited = 0;
            if let Some((periods, due)) = search(x, past) {
                *self = Self { periods, due, count: 1.0, trust: 1.0, ..Self::new() };
            }
        }
    }

    fn follow(&mut self, d: f32) {
        let errors = [d - self.due[0], d - self.due[1]];
        let nearest = usize::from(errors[1].abs() < errors[0].abs());
        let error = errors[nearest];
        for timer in 0..2 {
            self.due[timer] -= d;
        }
        let is_explained = error.abs() <= 2.0 * slack(self.periods[nearest]);
        if is_explained {
            let period = self.periods[nearest];
            let keep = if self.count < Window::LEN as f32 { 1.0 } else { 1.0 - 1.0 / self.count };
            self.squares = keep * self.squares + (error / period) * (error / period);
            self.count = keep * self.count + 1.0;
            self.periods[nearest] += 0.1 * error;
            self.due[nearest] = self.periods[nearest];
        }
        for timer in 0..2 {
            // Missed, or taken for a part of the other's turn.
            let (due, period) = (self.due[timer], self.periods[timer]);
            if due < -slack(period) {
                self.due[timer] += period * (-due / period).ceil().min(1e6);
            }
        }
        self.trust = 0.8 * self.trust + if is_explained { 0.2 } else { 0.0 };
        if self.trust < TRUST {
            *self = Self::new();
        }
    }
}

fn slack(period: f32) -> f32 {
    SLACK_SHARE * period + SLACK_S
}

/// Returns the periods of two timers that explain the last events, the one of the gap `x` being the last, and when they are due.
fn search(x: f32, past: &Window) -> Option<([f32; 2], [f32; 2])> {
    // Times before the last event, latest first.
    let mut ago = [0.0_f32; EVENTS];
    let mut gaps = [0.0_f32; EVENTS];
    let mut count = 1;
    let held = past.len().min(EVENTS - 2);
    for (gap, x) in gaps.iter_mut().zip(past.last(held).chain([x])) {
        *gap = fast_exp(x);
        count += 1;
    }
    for event in 1..count {
        ago[event] = ago[event - 1] + gaps[count - 1 - event];
    }
    let events = &ago[..count];
    let (period, is_first) = first_timer(events)?;
    let mut rest = [0.0_f32; EVENTS];
    let mut left = 0;
    for (at, _) in events.iter().zip(is_first).filter(|(_, is_first)| !is_first) {
        rest[left] = *at;
        left += 1;
    }
    let rest = &rest[..left];
    let (other, is_second) = first_timer(rest)?;
    // Half of the first timer's beats are no second timer.
    let explained = is_first.iter().filter(|is| **is).count() + is_second.iter().filter(|is| **is).count();
    if explained * 5 < count * 4 {
        return None;
    }
    let due = |events: &[f32], is_of: &[bool], period: f32| {
        let last = events.iter().zip(is_of).find(|(_, is_of)| **is_of).map_or(0.0, |(ago, _)| *ago);
        let late = last - period;
        if late <= slack(period) { -late } else { period * (late / period).ceil() - late }
    };
    Some(([period, other], [due(events, &is_first, period), due(rest, &is_second, other)]))
}

/// Returns the shortest period of which nearly all beats are among `ago`, and which of them they are.
fn first_timer(ago: &[f32]) -> Option<(f32, [bool; EVENTS])> {
    let span = *ago.last()?;
    let mut best: Option<f32> = None;
    for (at, latest) in ago.iter().enumerate().take(LATEST) {
        for before in &ago[at + 1..] {
            let period = before - latest;
            if best.is_some_and(|best| period >= best) || period * LEAST as f32 > span {
                break;
            }
            let (beats, _) = chain(ago, period);
            let room = span / period - 1.0;
            if beats >= LEAST && beats as f32 >= SEEN * room {
                best = Some(period);
            }
        }
    }
    let period = best?;
    Some((period, chain(ago, period).1))
}

/// Returns how many pairs of events are one period apart, and which events are part of one.
fn chain(ago: &[f32], period: f32) -> (usize, [bool; EVENTS]) {
    let mut is_beat = [false; EVENTS];
    let (mut pairs, mut before) = (0, 0);
    for after in 0..ago.len() {
        let expected = ago[after] + period;
        while before < ago.len() && ago[before] < expected - slack(period) {
            before += 1;
        }
        if before < ago.len() && ago[before] <= expected + slack(period) {
            pairs += 1;
            is_beat[after] = true;
            is_beat[before] = true;
        }
    }
    (pairs, is_beat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(times: &[f32]) -> Timers {
        let (mut timers, mut past) = (Timers::new(), Window::new());
        for pair in times.windows(2) {
            let x = (pair[1] - pair[0]).ln();
            timers.learn(x, &past);
            past.push(x);
        }
        timers
    }

    fn two(periods: [f32; 2], until: f32) -> Vec<f32> {
        let beats =
            |period: f32, from: f32| (0..).map(move |n| from + period * n as f32).take_while(move |at| *at < until);
        let mut times: Vec<f32> = beats(periods[0], 0.0).chain(beats(periods[1], 13.0)).collect();
        times.sort_by(f32::total_cmp);
        times
    }

    #[test]
    fn two_sleeps_are_told_apart() {
        for periods in [[60.0, 97.0], [60.0, 200.0], [60.0, 71.0]] {
            let mut found = learned(&two(periods, 1200.0)).periods;
            found.sort_by(f32::total_cmp);

            assert!((found[0] - periods[0]).abs() < 0.5 && (found[1] - periods[1]).abs() < 0.5, "{found:?}");
        }
    }

    #[test]
    fn one_timer_and_no_timer_are_not_two() {
        let irregular: Vec<f32> = (0..40_u32).map(|n| (n * n % 97 + 60 * n) as f32).collect();

        assert!(!learned(&irregular).is_known());
        assert!(!learned(&two([60.0, 1e6], 2000.0)[..20]).is_known());
    }

    #[test]
    fn the_next_event_is_the_first_that_is_due() {
        let times = two([60.0, 97.0], 1260.5);
        let next = 13.0 + 97.0 * 13.0;
        let gap = next - times[times.len() - 1];

        let density = learned(&times).density(gap.ln(), 0.0).unwrap();

        assert!(density > 10.0, "{density}");
    }

    #[test]
    fn timers_that_stop_explaining_are_given_up() {
        let mut times = two([60.0, 97.0], 1200.0);
        let last = times[times.len() - 1];
        times.extend((1..12).map(|n| last + 31.7 * n as f32 + (n * n) as f32));

        assert!(!learned(&times).is_known());
    }
}
