//! What is remembered of a conversation in which the responder has started an exchange: constant in size.

use super::Thresholds;
use crate::flow::SizedTurn;

/// Classes of request sizes: up to 2^0, 2^1, … bytes; the last holds whatever is larger.
const CLASSES: usize = 12;

/// Exchanges of one conversation.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// All exchanges, and those that the responder started.
    exchanges: u32,
    led: u32,
    /// Of those that the responder started: answered, and by size of the request.
    answered: u32,
    sizes: [u32; CLASSES],
    /// Payload of the originator and of the responder since the first of them.
    up: u64,
    down: u64,
    /// Logarithms of the gaps between them, seconds; how many lie within those of people.
    gaps: Spread,
    within: u32,
    last_ns: u64,
}

/// The rhythm of the responder's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    Unclear,
    Human,
    Machine,
}

impl Session {
    /// Begins with the responder's first exchange, after `earlier` of the originator.
    pub(crate) fn after(earlier: u32) -> Self {
        Self {
            exchanges: earlier,
            led: 0,
            answered: 0,
            sizes: [0; CLASSES],
            up: 0,
            down: 0,
            gaps: Spread::default(),
            within: 0,
            last_ns: 0,
        }
    }

    pub(crate) fn observe(&mut self, turn: &SizedTurn, is_led: bool, thresholds: &Thresholds) {
        self.exchanges = self.exchanges.saturating_add(1);
        let (up, down) = if is_led { (turn.answer, turn.request) } else { (turn.request, turn.answer) };
        self.up = self.up.saturating_add(up);
        self.down = self.down.saturating_add(down);
        if !is_led {
            return;
        }
        if self.led > 0 {
            let gap_s = turn.at_ns.saturating_sub(self.last_ns) as f64 / 1e9;
            let [least, most] = thresholds.human_gap_s;
            self.gaps.observe(gap_s.max(1e-3).ln());
            self.within += u32::from((least..=most).contains(&gap_s));
        }
        self.last_ns = turn.at_ns;
        self.led = self.led.saturating_add(1);
        self.answered = self.answered.saturating_add(u32::from(turn.answer > 0));
        let class = turn.request.max(1).next_power_of_two().trailing_zeros() as usize;
        self.sizes[class.min(CLASSES - 1)] += 1;
    }

    pub(crate) const fn led(&self) -> u32 {
        self.led
    }

    pub(super) const fn is_answered(&self) -> bool {
        self.answered > 0
    }

    /// Returns the share of exchanges that the responder started.
    pub(super) fn led_share(&self) -> f64 {
        f64::from(self.led) / f64::from(self.exchanges.max(1))
    }

    pub(super) fn answered_share(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.led.max(1))
    }

    /// Returns a power of two that at least half of the responder's requests do not exceed, bytes.
    pub(super) fn median_request(&self) -> u64 {
        let mut below = 0;
        for (class, count) in self.sizes[..CLASSES - 1].iter().enumerate() {
            below += count;
            if 2 * below >= self.led {
                return 1 << class;
            }
        }
        u64::MAX
    }

    /// Returns the producer/consumer ratio of the connecting side (Bullard and Gerth, 2014): −1 to 1.
    pub(super) fn pcr(&self) -> f64 {
        let (up, down) = (self.up as f64, self.down as f64);
        if up + down == 0.0 { 0.0 } else { (up - down) / (up + down) }
    }

    pub(super) fn rhythm(&self, thresholds: &Thresholds) -> Rhythm {
        if self.gaps.count < thresholds.gaps {
            return Rhythm::Unclear;
        }
        let spread = self.spread();
        if spread >= thresholds.human_spread && 2 * self.within >= self.gaps.count {
            Rhythm::Human
        } else if spread < thresholds.machine_spread {
            Rhythm::Machine
        } else {
            Rhythm::Unclear
        }
    }

    /// Returns the standard deviation of the gaps' logarithms.
    pub(super) fn spread(&self) -> f64 {
        self.gaps.deviation()
    }

    /// Returns the geometric mean of the gaps, seconds.
    pub(super) fn typical_gap_s(&self) -> f64 {
        self.gaps.mean.exp()
    }

    /// Whether its exchanges alone have the shape of an interactive shell.
    pub(super) fn has_shape(&self, thresholds: &Thresholds) -> bool {
        self.led >= thresholds.exchanges
            && self.led_share() >= thresholds.led_share
            && self.median_request() <= thresholds.request_bytes
            && self.answered_share() >= thresholds.answered_share
            && self.pcr() > 0.0
    }
}

/// Mean and variance of a stream of values (Welford, 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: u32,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn observe(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let delta = value - self.mean;
        self.mean += delta / f64::from(self.count);
        self.squares += delta * (value - self.mean);
    }

    /// Returns the standard deviation of the sample, 0 for fewer than two values.
    fn deviation(&self) -> f64 {
        if self.count < 2 { 0.0 } else { (self.squares / f64::from(self.count - 1)).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use netd_common::key::Direction;

    use super::*;
    use crate::weights::Weights;

    fn session(exchanges: &[(f64, bool, u64, u64)]) -> Session {
        let thresholds = Weights::default().reverse_shell;
        let mut session = Session::after(0);
        for (at_s, is_led, request, answer) in exchanges {
            let turn =
                SizedTurn { at_ns: (at_s * 1e9) as u64, starter: Direction::AToB, request: *request, answer: *answer };
            session.observe(&turn, *is_led, &thresholds);
        }
        session
    }

    #[test]
    fn the_ratio_is_that_of_the_connecting_side() {
        assert!((session(&[(0.0, true, 10, 30)]).pcr() - 0.5).abs() < 1e-9);
        assert!((session(&[(0.0, false, 10, 30)]).pcr() + 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_median_request_is_bounded_from_above() {
        let sizes = [4, 5, 9, 400, 2_000].map(|size| (0.0, true, size, 1));

        assert_eq!(session(&sizes).median_request(), 16);
        assert_eq!(session(&[(0.0, true, 9_000, 1)]).median_request(), u64::MAX);
        assert!(size_of::<Session>() <= 128, "one for each conversation whose responder leads");
    }

    #[test]
    fn people_and_machines_are_told_apart_by_the_spread_of_their_gaps() {
        let thresholds = Weights::default().reverse_shell;
        let at = |times: &[f64]| {
            let exchanges: Vec<_> = times.iter().map(|at_s| (*at_s, true, 5, 50)).collect();
            session(&exchanges).rhythm(&thresholds)
        };

        assert_eq!(at(&[0.0, 2.0, 11.0, 14.0, 40.0]), Rhythm::Human);
        assert_eq!(at(&[0.0, 30.0, 61.0, 90.0, 121.0]), Rhythm::Machine);
        assert_eq!(at(&[0.0, 2.0, 11.0]), Rhythm::Unclear, "too few");
        assert_eq!(at(&[0.0, 300.0, 1_500.0, 1_800.0, 5_400.0]), Rhythm::Unclear, "nobody waits like that at a prompt");
    }

    #[test]
    fn shape_needs_every_part_of_it() {
        let thresholds = Weights::default().reverse_shell;
        let shell = vec![(0.0, true, 6, 60), (3.0, true, 12, 160), (11.0, true, 8, 90)];
        let has_shape = |exchanges: &[(f64, bool, u64, u64)]| session(exchanges).has_shape(&thresholds);

        assert!(has_shape(&shell));
        assert!(!has_shape(&shell[..2]), "too few");
        let client_led: Vec<_> = shell.iter().copied().chain([(20.0, false, 9, 0); 3]).collect();
        assert!(!has_shape(&client_led), "the originator leads as well");
        let pushes: Vec<_> = shell.iter().map(|(at_s, led, _, _)| (*at_s, *led, 900, 20)).collect();
        assert!(!has_shape(&pushes), "pushes");
        let silent: Vec<_> = shell.iter().map(|(at_s, led, request, _)| (*at_s, *led, *request, 0)).collect();
        assert!(!has_shape(&silent), "nobody answers");
    }
}
