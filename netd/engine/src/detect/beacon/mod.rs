//! Beacon timing: how sure it is that a key's turns follow a timer.
//!
//! An implant calls home on a timer. However much jitter its author adds, its sleeps are drawn
//! from a bounded interval, while people, sessions and Poisson arrivals leave gaps spread over more than a factor of e. [`Timing`]
//! watches the turns of one starter of one key and keeps ln E, the evidence against "irregular", as a running e-process:
//! one may look after every turn, and an irregular key ever reaches E >= 1/a with probability at most a. [`evalue`] says
//! exactly when that holds.
//!
//! A key costs 64 bytes until its first gaps look alike, and about 0.7 KB after.

mod evalue;
mod growth;
mod null;
mod pair;
mod phase;
mod predictor;
mod range;
mod shape;
mod student;
mod window;

use serde::{Deserialize, Serialize};

use crate::stats;
use crate::time::set_back;
use evalue::Evidence;
pub use shape::Shape;
use window::Window;

/// Times are known to about half of this: ticks of a coarse kernel clock, scheduling.
const RESOLUTION_S: f32 = 0.004;
/// The alternative's probability of a gap that ends within the resolution of the gate.
const GATE_CELL: f64 = 0.001;
const LN_2: f32 = std::f32::consts::LN_2;
const LN_3: f32 = 1.098_612_3;
/// Gaps that an unpromoted key remembers.
const EARLY: usize = 8;
/// A key is promoted when 1.4826 MAD/median of its gaps is below this: at its beginning, and later.
const ALIKE_EARLY: f32 = 0.8;
const ALIKE_LATE: f32 = 0.5;
/// Also, when all steps of ln d but one are this close to their median, which is at least so large.
const ALIKE_STEP: f32 = 0.12;
const LEAST_STEP: f32 = 0.05;
/// ln of the E value whose first crossing is remembered.
pub const LN_CONVINCING: f64 = 9.210_340_371_976_184;

/// The turns of one starter of one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    last_ns: u64,
    turns: u32,
    /// The gap before the next turn tells nothing: nobody watched all of it.
    is_blind: bool,
    stage: Stage,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    /// Too few gaps, or too different ones, to be worth scoring. `blocks` counts the ones given up.
    Early {
        gaps: [f32; EARLY],
        seen: u32,
        blocks: u32,
    },
    Scored(Box<Scored>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scored {
    window: Window,
    evidence: Evidence,
    ln_e_max: f32,
    /// The turn at which E first reached 10^4.
    convinced_at: Option<u32>,
}

/// What a finding says about a key's timing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rhythm {
    pub turns: u32,
    /// Median gap, seconds.
    pub interval_s: f64,
    /// Median absolute deviation of the gaps over their median.
    pub jitter: f64,
    /// The kind of schedule that explains the gaps best.
    pub shape: Shape,
    pub within: Within,
    /// Beats that the last gaps seem to have skipped.
    pub missed: u32,
    pub ln_e: f64,
    pub ln_e_max: f64,
    /// The turn at which E first reached 10^4.
    pub convinced_at: Option<u32>,
}

/// How many of the last gaps lie around the median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Within {
    pub low_s: f64,
    pub high_s: f64,
    pub count: u32,
    pub of: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self::new()
    }
}

impl Timing {
    #[must_use]
    pub fn new() -> Self {
        Self { last_ns: 0, turns: 0, is_blind: false, stage: Stage::Early { gaps: [0.0; EARLY], seen: 0, blocks: 0 } }
    }

    /// Takes a turn at `at_ns` into account. A turn within `gate_ns` of the one before, or before it, belongs to it.
    pub fn observe(&mut self, at_ns: u64, gate_ns: u64) {
        if self.turns > 0 && at_ns <= self.last_ns.saturating_add(gate_ns) {
            return;
        }
        let gap_ns = at_ns.wrapping_sub(self.last_ns);
        self.last_ns = at_ns;
        self.turns = self.turns.saturating_add(1);
        if std::mem::take(&mut self.is_blind) || self.turns == 1 {
            return;
        }
        let x = (gap_ns as f32 * 1e-9).ln();
        let gate_s = gate_ns as f32 * 1e-9;
        match &mut self.stage {
            Stage::Early { gaps, seen, blocks } => {
                gaps[*seen as usize % EARLY] = x;
                *seen = seen.saturating_add(1);
                let (held, blocks) = ((*seen as usize).min(EARLY), *blocks);
                if held < 3 {
                    return;
                }
                let mut ordered = *gaps;
                ordered.rotate_left(if held < EARLY { 0 } else { *seen as usize % EARLY });
                let gaps = &ordered[..held];
                let is_late = *seen as usize > EARLY;
                if !alike(gaps, is_late) && !grows(gaps) {
                    return;
                }
                let scored = if blocks == 0 && !is_late {
                    Scored::from_start(gaps, gate_s, self.turns)
                } else {
                    Scored::from_now(gaps, blocks + 2)
                };
                self.stage = Stage::Scored(Box::new(scored));
            }
            Stage::Scored(scored) => {
                scored.observe(x, gate_s, self.turns);
                if scored.evidence.is_hopeless() && scored.convinced_at.is_none() {
                    self.stage = scored.give_up();
                }
            }
        }
    }

    /// Makes all turns `by_ns` earlier.
    pub(crate) fn set_back(&mut self, by_ns: u64) {
        self.last_ns = set_back(self.last_ns, by_ns);
    }

    /// Goes on after `unwatched_s` seconds in which turns may have gone unseen. Where a turn is hardly likely to have
    /// fallen into them, the gap around them still counts.
    pub(crate) fn resume(&mut self, unwatched_s: f64) {
        let interval_s = self.rhythm().map_or(0.0, |rhythm| rhythm.interval_s);
        self.is_blind = self.turns > 0 && unwatched_s > 0.1 * interval_s;
    }

    /// Returns ln E, the evidence against "irregular" after the last turn.
    #[must_use]
    pub fn ln_e(&self) -> f64 {
        match &self.stage {
            Stage::Early { .. } => 0.0,
            Stage::Scored(scored) => scored.evidence.ln_e(),
        }
    }

    #[must_use]
    pub fn turns(&self) -> u32 {
        self.turns
    }

    /// Returns what the last gaps look like, or `None` before the third.
    #[must_use]
    pub fn rhythm(&self) -> Option<Rhythm> {
        let (gaps, shape, ln_e_max, convinced_at) = match &self.stage {
            Stage::Early { gaps, seen, .. } => (&gaps[..(*seen as usize).min(EARLY)], Shape::Interval, 0.0, None),
            Stage::Scored(scored) => {
                (scored.window.filled(), scored.evidence.shape(), scored.ln_e_max, scored.convinced_at)
            }
        };
        if gaps.len() < 3 {
            return None;
        }
        let mut gaps_s = [0.0_f32; Window::LEN];
        let gaps_s = &mut gaps_s[..gaps.len()];
        for (gap, x) in gaps_s.iter_mut().zip(gaps) {
            *gap = x.exp();
        }
        let interval = stats::median(gaps_s)?;
        let mut scratch = [0.0_f32; Window::LEN];
        let scratch = &mut scratch[..gaps.len()];
        scratch.copy_from_slice(gaps_s);
        let spread = stats::mad(scratch, interval)?;
        let reach = (3.0 * stats::MAD_TO_SD * spread).max(0.02 * interval + RESOLUTION_S);
        let (low, high) = ((interval - reach).max(0.0), interval + reach);
        let count = gaps_s.iter().filter(|gap| (low..=high).contains(*gap)).count();
        let missed = gaps_s.iter().filter(|gap| **gap > high).map(|gap| skipped(*gap, interval, reach)).sum();
        Some(Rhythm {
            turns: self.turns,
            interval_s: f64::from(interval),
            jitter: f64::from(spread / interval),
            shape,
            within: Within {
                low_s: f64::from(low),
                high_s: f64::from(high),
                count: count as u32,
                of: gaps.len() as u32,
            },
            missed,
            ln_e: self.ln_e(),
            ln_e_max: f64::from(ln_e_max),
            convinced_at,
        })
    }
}

impl Scored {
    /// Scores `gaps`, all that there were.
    fn from_start(gaps: &[f32], gate_s: f32, turns: u32) -> Self {
        let mut scored = Self { window: Window::new(), evidence: Evidence::new(1), ln_e_max: 0.0, convinced_at: None };
        for (at, x) in gaps.iter().enumerate() {
            scored.observe(*x, gate_s, turns - (gaps.len() - 1 - at) as u32);
        }
        scored
    }

    /// Scores what follows `gaps`. They were chosen for looking alike, so they teach but do not count.
    fn from_now(gaps: &[f32], block: u32) -> Self {
        let mut scored =
            Self { window: Window::new(), evidence: Evidence::new(block), ln_e_max: 0.0, convinced_at: None };
        for x in gaps {
            scored.evidence.learn(*x, &scored.window);
            scored.window.push(*x);
        }
        scored
    }

    fn observe(&mut self, x: f32, gate_s: f32, turn: u32) {
        self.evidence.observe(x, &mut self.window, gate_s);
        let ln_e = self.evidence.ln_e();
        self.ln_e_max = self.ln_e_max.max(ln_e as f32);
        if self.convinced_at.is_none() && ln_e >= LN_CONVINCING {
            self.convinced_at = Some(turn);
        }
    }

    fn give_up(&self) -> Stage {
        let mut gaps = [0.0; EARLY];
        for (gap, x) in gaps.iter_mut().zip(self.window.last(EARLY)) {
            *gap = x;
        }
        Stage::Early { gaps, seen: EARLY as u32, blocks: self.evidence.block() - 1 }
    }
}

/// Whether gaps, as ln d, are alike enough to be worth scoring.
fn alike(gaps: &[f32], late: bool) -> bool {
    let mut scratch = [0.0_f32; EARLY];
    let scratch = &mut scratch[..gaps.len()];
    for (gap, x) in scratch.iter_mut().zip(gaps) {
        *gap = fast_exp(*x);
    }
    let Some(median) = stats::median(scratch) else { return false };
    let Some(spread) = stats::mad(scratch, median) else { return false };
    stats::MAD_TO_SD * spread < if late { ALIKE_LATE } else { ALIKE_EARLY } * median
}

/// Whether gaps, as ln d in the order of time, grow by a nearly constant ratio, but for one.
fn grows(gaps: &[f32]) -> bool {
    let mut steps = [0.0_f32; EARLY];
    let count = gaps.len() - 1;
    if count < 3 {
        return false;
    }
    for (step, pair) in steps.iter_mut().zip(gaps.windows(2)) {
        *step = pair[1] - pair[0];
    }
    let steps = &mut steps[..count];
    let Some(median) = stats::median(steps) else { return false };
    let near = steps.iter().filter(|step| (**step - median).abs() < ALIKE_STEP).count();
    median > LEAST_STEP && near >= 3 && near + 1 >= count
}

/// Returns how many beats a long gap skipped, if it is near a multiple of the interval.
fn skipped(gap: f32, interval: f32, reach: f32) -> u32 {
    let beats = (gap / interval).round();
    let near = (gap - beats * interval).abs() <= reach * beats.sqrt();
    if near && (2.0..=20.0).contains(&beats) { beats as u32 - 1 } else { 0 }
}

/// Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Returns e^x to a relative error of 1e-7 (1 + |x|), without a branch, so that loops over it vectorise.
fn fast_exp(x: f32) -> f32 {
    let scaled = x.clamp(-87.0, 88.0) * std::f32::consts::LOG2_E;
    let rounded = scaled + ROUND;
    let part = (scaled - (rounded - ROUND)) * std::f32::consts::LN_2;
    let series = 0.166_666_66 + part * (0.041_666_66 + part * (0.008_333_33 + part * 0.001_388_89));
    let series = 1.0 + part * (1.0 + part * (0.5 + part * series));
    series * f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23)
}

/// Returns ln x to about 1e-6, for any x from 1 to the largest, without a call.
fn fast_ln(x: f32) -> f32 {
    // The exponent is split off so that the rest lies in sqrt(1/2)..sqrt(2), where atanh's series is short.
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(ROOT_HALF);
    let exponent = (shifted as i32 >> 23) as f32;
    let rest = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(ROOT_HALF));
    let s = (rest - 1.0) / (rest + 1.0);
    let squared = s * s;
    let series = 1.0 + squared * (0.333_333_34 + squared * (0.2 + squared * (0.142_857_15 + squared * 0.111_111_11)));
    exponent * std::f32::consts::LN_2 + 2.0 * s * series
}

/// Returns the nearest whole number of an `x` below 2^22, without a call.
fn fast_round(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE_NS: u64 = 750_000_000;

    fn timing(gaps_s: impl IntoIterator<Item = f64>) -> Timing {
        let mut timing = Timing::new();
        let mut at_s = 100.0;
        timing.observe((at_s * 1e9) as u64, GATE_NS);
        for gap in gaps_s {
            at_s += gap;
            timing.observe((at_s * 1e9) as u64, GATE_NS);
        }
        timing
    }

    fn minute(n: usize) -> impl Iterator<Item = f64> {
        (0..n).map(|i| 60.0 + 0.01 * (i * 7 % 11) as f64)
    }

    #[test]
    fn the_fast_exponential_is_exact_enough_for_the_null() {
        for x in (-8000..=8000).map(|i| i as f32 * 0.01) {
            let exact = f64::from(x).exp();
            let relative = (f64::from(fast_exp(x)) / exact - 1.0).abs();
            assert!(relative < 1.2e-7 * (1.0 + f64::from(x.abs())), "{x}: {relative}");
        }
    }

    #[test]
    fn the_fast_logarithm_and_rounding_are_exact_enough() {
        for x in (0..8000).map(|i| (i as f32 * 0.01).exp()) {
            assert!((fast_ln(x) - x.ln()).abs() < 1e-6 * (1.0 + x.ln()), "{x}");
        }
        for x in (-5000..5000).map(|i| i as f32 * 0.013) {
            assert!((fast_round(x) - x).abs() <= 0.5 && fast_round(x).fract() == 0.0, "{x}");
        }
    }

    #[test]
    fn turns_within_the_gate_are_one_turn() {
        let mut timing = Timing::new();
        for at_ms in [1000, 1200, 1750, 1751, 2400] {
            timing.observe(at_ms * 1_000_000, GATE_NS);
        }

        assert_eq!(timing.turns(), 2);
    }

    #[test]
    fn a_turn_from_the_past_is_ignored() {
        let mut timing = timing(minute(5));
        let before = timing.ln_e();

        timing.observe(5, GATE_NS);

        assert_eq!((timing.turns(), timing.ln_e()), (6, before));
    }

    #[test]
    fn a_night_of_sleep_does_not_destroy_the_evidence() {
        let before = timing(minute(12)).ln_e();

        let after = timing(minute(12).chain([8.0 * 3600.0])).ln_e();

        assert!(after > before - 4.0, "{before} -> {after}");
    }

    #[test]
    fn a_long_irregular_past_does_not_hide_a_beacon() {
        let people = (1..400_u32).map(|i| 1.0 + f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 65536.0 * 9.0);
        let people = people.map(|u| 0.8 + (u - 4.0).exp());

        let timing = timing(people.chain(minute(30)));

        assert!(timing.ln_e() > LN_CONVINCING, "{}", timing.ln_e());
    }

    #[test]
    fn evidence_keeps_growing_past_the_window() {
        assert!(timing(minute(300)).ln_e() > timing(minute(150)).ln_e() + 100.0);
    }

    #[test]
    fn the_rhythm_says_what_an_analyst_would_count() {
        let gaps = minute(17).enumerate().map(|(i, gap)| if i == 9 { 2.0 * gap } else { gap });

        let rhythm = timing(gaps).rhythm().unwrap();

        assert_eq!((rhythm.turns, rhythm.missed), (18, 1));
        assert_eq!((rhythm.within.count, rhythm.within.of), (16, 17));
        assert!((rhythm.interval_s - 60.05).abs() < 0.1 && rhythm.jitter < 0.01, "{rhythm:?}");
        assert!(rhythm.convinced_at.is_some_and(|turn| turn <= 5), "{rhythm:?}");
    }

    #[test]
    fn ticks_of_a_coarse_clock_are_not_regularity() {
        // Gaps between 1 s and 3.7 s, spread as widely as the null allows, all on a 4 ms lattice.
        let gaps = (0..200_u32).map(|i| {
            let u = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
            0.752 + (-(1.0 - u).ln() * 300.0).round() * 0.004
        });

        assert!(timing(gaps).ln_e() < 2.0);
    }

    #[test]
    fn gaps_that_double_are_promoted_and_named() {
        let rhythm = timing((0..18).map(|n| 5.0 * f64::from(1 << (n % 9)))).rhythm().unwrap();

        assert!(rhythm.ln_e > LN_CONVINCING, "{rhythm:?}");
        assert!(matches!(rhythm.shape, Shape::Growing { ratio } if (ratio - 2.0).abs() < 0.02), "{rhythm:?}");
    }

    #[test]
    fn a_restored_key_goes_on_as_if_nothing_had_happened() {
        // Unpromoted, promoted, with a window that wrapped, and with every expert in use.
        let two = |n: usize| [60.0, 37.0, 23.0, 60.0, 14.0, 46.0][n % 6] + 0.01 * (n * 7 % 11) as f64;
        for turns in [0, 2, 12, 64, 100, 201] {
            let mut kept = timing((0..turns).map(two));
            let mut restored: Timing = toml::from_str(&toml::to_string(&kept).unwrap()).unwrap();
            let mut at_ns = kept.last_ns;
            for n in turns..turns + 90 {
                assert_eq!(restored.ln_e().to_bits(), kept.ln_e().to_bits(), "{turns} turns, {n}");
                at_ns += (two(n) * 1e9) as u64;
                kept.observe(at_ns, GATE_NS);
                restored.observe(at_ns, GATE_NS);
            }
            assert_eq!(restored.rhythm(), kept.rhythm());
        }
    }

    #[test]
    fn an_unpromoted_key_is_small() {
        assert!(size_of::<Timing>() <= 64);
        assert!(size_of::<Scored>() <= 736, "{}", size_of::<Scored>());
    }
}
