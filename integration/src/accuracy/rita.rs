//! RITA v5's beacon score: what netd is compared with, and nothing that netd uses.
//!
//! Written from the published formulas (activecm/rita, Go, v5): four scores of equal weight over the connections of a
//! pair of addresses. Times are whole seconds, as in the logs that RITA reads.

use super::connection::Connection;

/// RITA calls a score from here on a threat worth showing; 0.7 is the second of its four steps.
pub(crate) const THREAT: f64 = 0.7;
/// How often RITA imports logs when it watches continuously, and how much it then looks at.
pub(crate) const HOUR_S: f64 = 3_600.0;
pub(crate) const DAY_S: f64 = 24.0 * HOUR_S;

const BINS: usize = 24;
const LEAST_TIMES: usize = 4;
const LEAST_BARS_BIMODAL: usize = 11;
const LEAST_BARS_DURATION: usize = 6;
const CONSISTENT_BARS: f64 = 12.0;
const LEAST_QUARTILE_RANGE: f64 = 10.0;
const MODE_WIDTH: f64 = 0.05;

/// The four scores, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) timestamps: f64,
    pub(crate) sizes: f64,
    pub(crate) histogram: f64,
    pub(crate) duration: f64,
}

impl Score {
    #[must_use]
    pub(crate) fn total(&self) -> f64 {
        (self.timestamps + self.sizes + self.histogram + self.duration) / 4.0
    }
}

/// The time that a score is about, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
}

/// Returns the score of a pair's connections in a window, or `None` when RITA does not score them.
#[must_use]
pub(crate) fn score(window: Window, connections: &[Connection]) -> Option<Score> {
    let inside = connections.iter().filter(|one| one.start_s >= window.from_s && one.end_s <= window.to_s);
    let (mut times, mut sizes): (Vec<f64>, Vec<f64>) =
        inside.map(|one| (one.start_s.floor(), one.bytes as f64)).unzip();
    times.sort_by(f64::total_cmp);
    sizes.sort_by(f64::total_cmp);
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0).collect();
    if gaps.len() + 1 < LEAST_TIMES || window.to_s <= window.from_s {
        return None;
    }
    gaps.sort_by(f64::total_cmp);
    let bars = bars(window, &times);
    Some(Score {
        timestamps: evenness(&gaps),
        sizes: evenness(&sizes),
        histogram: flatness(&bars).max(bimodality(&bars)),
        duration: duration(window, &times, &bars),
    })
}

/// Returns when a continuously watching RITA first shows the pair as a threat: scored each full hour over the last
/// day's closed connections.
#[must_use]
pub(crate) fn first_alert_s(connections: &[Connection]) -> Option<f64> {
    let first = connections.iter().map(|one| one.start_s).fold(f64::INFINITY, f64::min);
    let last = connections.iter().map(|one| one.end_s).fold(0.0, f64::max);
    let mut now_s = (first / HOUR_S).ceil() * HOUR_S;
    while now_s < last + HOUR_S {
        let window = Window { from_s: now_s - DAY_S, to_s: now_s };
        if score(window, connections).is_some_and(|score| score.total() >= THREAT) {
            return Some(now_s);
        }
        now_s += HOUR_S;
    }
    None
}

/// Symmetry by Bowley's skewness, and MAD over the median, of sorted values.
fn evenness(sorted: &[f64]) -> f64 {
    let middle = median(sorted);
    let half = sorted.len() / 2;
    let (low, high) = (median(&sorted[..half]), median(&sorted[sorted.len() - half..]));
    let range = high - low;
    let is_defined = range >= LEAST_QUARTILE_RANGE && middle != low && middle != high;
    let skewness = if is_defined { (low + high - 2.0 * middle) / range } else { 0.0 };
    let mut deviations: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let steadiness = if middle > 0.0 { ((middle - median(&deviations)) / middle).max(0.0) } else { 0.0 };
    (1.0 - skewness.abs() + steadiness) / 2.0
}

fn bars(window: Window, times: &[f64]) -> [u32; BINS] {
    let mut bars = [0; BINS];
    for time in times {
        let place = (time - window.from_s) / (window.to_s - window.from_s) * BINS as f64;
        // Both ends belong to the window; the floor of a time may lie just before it.
        bars[(place.max(0.0) as usize).min(BINS - 1)] += 1;
    }
    bars
}

fn flatness(bars: &[u32; BINS]) -> f64 {
    let mean = f64::from(bars.iter().sum::<u32>()) / BINS as f64;
    let variance = bars.iter().map(|bar| (f64::from(*bar) - mean).powi(2)).sum::<f64>() / BINS as f64;
    (1.0 - variance.sqrt() / mean).max(0.0)
}

fn bimodality(bars: &[u32; BINS]) -> f64 {
    let high: Vec<u32> = bars.iter().copied().filter(|bar| *bar > 0).collect();
    if high.len() < LEAST_BARS_BIMODAL {
        return 0.0;
    }
    let width = (MODE_WIDTH * f64::from(high.iter().copied().max().unwrap_or(1))).ceil();
    let mut modes = std::collections::BTreeMap::<u64, u32>::new();
    for bar in &high {
        *modes.entry((f64::from(*bar) / width).floor() as u64).or_default() += 1;
    }
    let mut counts: Vec<u32> = modes.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let two: u32 = counts.iter().take(2).sum();
    (f64::from(two) / (high.len() - 1) as f64).min(1.0)
}

fn duration(window: Window, times: &[f64], bars: &[u32; BINS]) -> f64 {
    if bars.iter().filter(|bar| **bar > 0).count() < LEAST_BARS_DURATION {
        return 0.0;
    }
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0.0 };
    let coverage = ((last - first) / (window.to_s - window.from_s)).min(1.0);
    // A run may go on from the last bin into the first.
    let (mut longest, mut run) = (0_usize, 0);
    for bar in bars.iter().chain(bars) {
        run = if *bar > 0 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    coverage.max(longest.min(BINS) as f64 / CONSISTENT_BARS).min(1.0)
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Window = Window { from_s: 0.0, to_s: DAY_S };

    fn at(times: &[f64], sizes: &[u64]) -> Vec<Connection> {
        let sizes = sizes.iter().cycle();
        times
            .iter()
            .zip(sizes)
            .map(|(time, bytes)| Connection { start_s: *time, end_s: *time, bytes: *bytes })
            .collect()
    }

    fn near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() < 1e-12, "{seen} instead of {expected}");
    }

    /// Gaps 100, 100, 120, 160, 200 in order: median 120; the halves without it are {100, 100} and {160, 200}, so that
    /// Q1 = 100 and Q3 = 180. Bowley = (100 + 180 - 240) / 80 = 0.5. Deviations 0, 20, 20, 40, 80: MAD 20.
    /// ts = ((1 - 0.5) + (120 - 20) / 120) / 2 = (1/2 + 5/6) / 2 = 2/3.
    #[test]
    fn times_are_scored_by_skewness_and_mad() {
        let connections = at(&[0.0, 100.0, 260.0, 380.0, 580.0, 680.0], &[1]);

        near(score(DAY, &connections).unwrap().timestamps, 2.0 / 3.0);
    }

    /// Gaps 58, 60, 61, 63: median 60.5, halves {58, 60} and {61, 63}, so that Q3 - Q1 = 62 - 59 = 3 < 10: no skewness.
    /// Deviations 0.5, 0.5, 2.5, 2.5: MAD 1.5. ts = (1 + 59 / 60.5) / 2 = 119.5 / 121.
    #[test]
    fn a_narrow_range_has_no_skewness() {
        let connections = at(&[0.0, 58.0, 121.0, 181.0, 242.0], &[1]);

        near(score(DAY, &connections).unwrap().timestamps, 119.5 / 121.0);
    }

    /// Sizes 400, 400, 400, 700: median 400 = Q1 = 400 (halves {400, 400} and {400, 700}, Q3 = 550): skewness 0, though
    /// Q3 - Q1 = 150. MAD 0. ds = (1 + 1) / 2 = 1.
    #[test]
    fn sizes_whose_median_is_a_quartile_have_no_skewness() {
        let connections = at(&[0.0, 50.0, 100.0, 150.0], &[400, 400, 400, 700]);

        near(score(DAY, &connections).unwrap().sizes, 1.0);
    }

    /// One connection in each of 12 neighbouring hours of 24: mean 1/2, deviation 1/2, CV 1, so flatness 0. The only
    /// height is 1, in 12 bars: bimodal = 12 / (12 - 1), at most 1. Run of 12: 12 / 12 = 1.
    #[test]
    fn half_a_day_of_equal_hours_is_full_marks() {
        let times: Vec<f64> = (0..12).map(|hour| 1_800.0 + HOUR_S * f64::from(hour)).collect();
        let found = score(DAY, &at(&times, &[10])).unwrap();

        near(found.histogram, 1.0);
        near(found.duration, 1.0);
        near(found.total(), 1.0);
    }

    /// Hours with 3, 1, 3, 1, 3, 1, 3, 1 connections and 16 empty ones: mean 16/24 = 2/3; squares 4 (9 + 1) = 40, over 24
    /// less 4/9 = 11/9; CV = sqrt(11/9) / (2/3) > 1: flatness 0. Eight bars are fewer than eleven: not bimodal.
    /// Duration: 8 bars; first at 0 s, last at 7 h, so coverage 7/24; run 8 of 12 = 2/3.
    #[test]
    fn eight_hours_are_two_thirds_of_a_duration() {
        let times: Vec<f64> = (0..8)
            .flat_map(|hour| {
                let starts: &[f64] = if hour % 2 == 0 { &[0.0, 900.0, 1_800.0] } else { &[0.0] };
                starts.iter().map(move |start| HOUR_S * f64::from(hour) + start)
            })
            .collect();
        let found = score(DAY, &at(&times, &[10])).unwrap();

        near(found.histogram, 0.0);
        near(found.duration, 2.0 / 3.0);
    }

    /// Heights 20 in six hours, 19 in five, 5 in one: width ceil(0.05 * 20) = 1, so the modes hold 6, 5 and 1 bars.
    /// bimodal = (6 + 5) / (12 - 1) = 1.
    #[test]
    fn two_heights_are_bimodal() {
        let heights = [20, 19, 20, 19, 20, 19, 20, 19, 20, 19, 20, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

        near(bimodality(&heights), 1.0);
    }

    /// The same with 10 in place of every other 20: modes 19 (five bars), 20 (three), 10 (three), 5 (one):
    /// (5 + 3) / 11.
    #[test]
    fn three_heights_are_less_so() {
        let heights = [20, 19, 10, 19, 20, 19, 10, 19, 20, 19, 10, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

        near(bimodality(&heights), 8.0 / 11.0);
    }

    #[test]
    fn fewer_than_four_times_are_not_scored() {
        assert_eq!(score(DAY, &at(&[0.0, 60.0, 120.0, 120.4], &[1])), None);
    }

    /// Sizes and times are perfect from the beginning (ts = ds = 1), so that 0.7 needs hist + dur >= 0.8. After k full
    /// hours of a day hist = max(1 - sqrt((24 - k) / k), 0), or 1 from 11 hours on (bimodal); dur = k / 12 from 6 on.
    /// k = 9: 0 + 0.75; k = 10: 0 + 0.833: an alert at the end of the tenth hour.
    #[test]
    fn a_new_minute_timer_is_shown_after_ten_hours() {
        let times: Vec<f64> = (0..1_440).map(|minute| 30.0 + 60.0 * f64::from(minute)).collect();

        assert_eq!(first_alert_s(&at(&times, &[500])), Some(10.0 * HOUR_S));
    }
}
