//! When an implant calls: a period, jitter, missed beats.

use std::time::Duration;

use crate::traffic::dice::Dice;

/// A timer as implants have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timer {
    pub period: Duration,
    pub jitter: Jitter,
    /// The share of beats that do not come.
    pub missed: f64,
}

/// How a timer spreads around its period; shares are of the period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    None,
    /// Uniform in [(1 - share) period, period], as Cobalt Strike sleeps.
    Below(f64),
    /// Uniform in [(1 - share) period, (1 + share) period], as Empire and Mythic sleep.
    Around(f64),
    /// Uniform in [period, (1 + share) period], as Sliver sleeps.
    Above(f64),
}

impl Timer {
    #[must_use]
    pub fn new(period: Duration, jitter: Jitter) -> Self {
        Self { period, jitter, missed: 0.0 }
    }

    #[must_use]
    pub fn missing(self, share: f64) -> Self {
        Self { missed: share, ..self }
    }

    /// Returns the time from one check-in to the next; missed beats are in it.
    #[must_use]
    pub fn next(&self, dice: &mut Dice) -> Duration {
        // A share of 1 would never call again.
        let missed = self.missed.clamp(0.0, 0.95);
        let mut gap = self.sleep(dice);
        while dice.chance(missed) {
            gap += self.sleep(dice);
        }
        gap
    }

    fn sleep(&self, dice: &mut Dice) -> Duration {
        let (low, high) = match self.jitter {
            Jitter::None => return self.period,
            Jitter::Below(share) => (1.0 - share, 1.0),
            Jitter::Around(share) => (1.0 - share, 1.0 + share),
            Jitter::Above(share) => (1.0, 1.0 + share),
        };
        self.period.mul_f64(dice.between(low.max(0.0), high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn jitter_below_never_sleeps_longer_than_the_period() {
        let mut dice = Dice::new(3);
        let timer = Timer::new(MINUTE, Jitter::Below(0.2));

        for _ in 0..1_000 {
            let gap = timer.next(&mut dice);
            assert!(gap >= MINUTE.mul_f64(0.8) && gap <= MINUTE, "{gap:?}");
        }
    }

    #[test]
    fn missed_beats_are_whole_periods() {
        let mut dice = Dice::new(3);
        let timer = Timer::new(MINUTE, Jitter::None).missing(0.25);

        let gaps: Vec<u64> = (0..1_000).map(|_| timer.next(&mut dice).as_secs()).collect();

        assert!(gaps.iter().all(|gap| gap % 60 == 0));
        assert!((200..300).contains(&gaps.iter().filter(|gap| **gap > 60).count()));
    }
}
