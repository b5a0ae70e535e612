//! Laws without a timer.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{GATE_NS, exponential, normal};

const HOUR_S: f64 = 3600.0;
/// What people do in each hour of a day, over the busiest hour.
const ACTIVITY: [f64; 24] = [
    0.05, 0.02, 0.01, 0.01, 0.01, 0.02, 0.1, 0.3, 0.7, 1.0, 1.0, 0.9, 0.6, 0.8, 1.0, 0.9, 0.8, 0.6, 0.4, 0.5, 0.6, 0.5,
    0.3, 0.1,
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Irregular {
    Poisson,
    Lognormal(f64),
    /// Pareto of the second kind (Lomax) beyond the gate.
    Pareto(f64),
    /// Quick turns in a session, long pauses between sessions.
    Sessions,
    /// The sum of two exponential waits: outside the null, but close.
    Gamma2,
    /// Sessions of people, whose rate follows the hour of the day, of clicks that come in bursts.
    Diurnal,
    /// Pareto of the first kind: no gap is below a fifth of the scale. Such a floor is timing, and outside the null.
    ParetoAboveFloor(f64),
}

pub(crate) const IRREGULARS: [(&str, Irregular); 8] = [
    ("Poisson", Irregular::Poisson),
    ("lognormal 1.0", Irregular::Lognormal(1.0)),
    ("lognormal 1.8", Irregular::Lognormal(1.8)),
    ("Pareto 1.2", Irregular::Pareto(1.2)),
    ("sessions", Irregular::Sessions),
    ("gamma 2", Irregular::Gamma2),
    ("diurnal people", Irregular::Diurnal),
    ("Pareto 1.2 above a floor (outside)", Irregular::ParetoAboveFloor(1.2)),
];

impl Irregular {
    /// Whether false alarms on it break the promise.
    pub(crate) fn is_promised(self) -> bool {
        match self {
            Self::ParetoAboveFloor(_) => false,
            Self::Poisson | Self::Lognormal(_) | Self::Pareto(_) | Self::Sessions | Self::Gamma2 | Self::Diurnal => {
                true
            }
        }
    }

    /// Returns the times of `count` events, in seconds, whose gaps are about `mean_s`.
    pub(crate) fn times(self, random: &mut ChaCha8Rng, count: usize, mean_s: f64) -> Vec<f64> {
        let mut at_s = 1.0;
        let mut next = || {
            let now_s = at_s;
            at_s = self.after(now_s, random, mean_s);
            now_s
        };
        (0..count).map(|_| next()).collect()
    }

    fn after(self, now_s: f64, random: &mut ChaCha8Rng, mean_s: f64) -> f64 {
        let gate_s = GATE_NS as f64 * 1e-9;
        now_s
            + match self {
                Self::Poisson => mean_s * exponential(random),
                Self::Lognormal(sigma) => gate_s + mean_s * (sigma * normal(random)).exp(),
                Self::Pareto(shape) => gate_s + mean_s * (exponential(random) / shape).exp_m1(),
                Self::ParetoAboveFloor(shape) => gate_s + 0.2 * mean_s * (exponential(random) / shape).exp(),
                Self::Sessions if random.random_bool(0.15) => mean_s * 20.0 * exponential(random),
                Self::Sessions => gate_s + 0.2 * mean_s * exponential(random),
                Self::Gamma2 => 0.5 * mean_s * (exponential(random) + exponential(random)),
                Self::Diurnal if random.random_bool(0.2) => return next_session(now_s, random, 5.0 * mean_s),
                Self::Diurnal => gate_s + 0.15 * mean_s * normal(random).exp(),
            }
    }
}

/// Returns when the next session begins: Poisson arrivals, thinned by the hour of the day (Lewis and Shedler 1979).
fn next_session(now_s: f64, random: &mut ChaCha8Rng, mean_s: f64) -> f64 {
    let mut at_s = now_s;
    loop {
        at_s += mean_s * exponential(random);
        let hour = (at_s / HOUR_S) as usize % ACTIVITY.len();
        if random.random_bool(ACTIVITY[hour]) {
            return at_s;
        }
    }
}
