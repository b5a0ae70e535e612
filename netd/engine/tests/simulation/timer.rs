//! Timers: what implants, cron jobs and retry loops do.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{normal, uniform};

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 24.0 * HOUR_S;
const WORK_S: f64 = 8.0 * HOUR_S;

/// When a timer fires next. Everything is in multiples of its period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Sleeps between the shortest and the longest, uniformly.
    Sleep { from: f64, to: f64 },
    /// At t0 + mT, later by a delay between 0 and the longest, uniformly: what is late once is not late the next time.
    Cron { delay: f64 },
    /// Each sleep is longer by the ratio, up to the cap; then from the start.
    Geometric { ratio: f64, cap: f64 },
    /// Each sleep is the sum of the two before, up to the cap; then from the start.
    Fibonacci { cap: f64 },
    /// Two fixed sleeps on one key, the second one of this many periods.
    TwoTimers { other: f64 },
    /// Sleeps, in eight hours of the day; the first beat of a day comes when the day begins.
    WorkingHours { from: f64, to: f64 },
}

pub(crate) const LAWS: [(&str, Law); 21] = [
    ("fixed", Law::Sleep { from: 1.0, to: 1.0 }),
    ("jitter 10 %", Law::Sleep { from: 0.9, to: 1.0 }),
    ("jitter 25 %", Law::Sleep { from: 0.75, to: 1.0 }),
    ("jitter 50 %, uniform S/2..S (Caldera)", Law::Sleep { from: 0.5, to: 1.0 }),
    ("jitter 75 %", Law::Sleep { from: 0.25, to: 1.0 }),
    ("jitter 90 %", Law::Sleep { from: 0.1, to: 1.0 }),
    ("+-50 % (Empire, PoshC2, Mythic)", Law::Sleep { from: 0.5, to: 1.5 }),
    ("+-80 %", Law::Sleep { from: 0.2, to: 1.8 }),
    ("Sliver default S+U(0,S/2)", Law::Sleep { from: 1.0, to: 1.5 }),
    ("cron", Law::Cron { delay: 0.005 }),
    ("cron, delay U(0,S/4)", Law::Cron { delay: 0.25 }),
    ("cron, delay U(0,S/2)", Law::Cron { delay: 0.5 }),
    ("growing by 1.1", Law::Geometric { ratio: 1.1, cap: 16.0 }),
    ("growing by 1.3", Law::Geometric { ratio: 1.3, cap: 32.0 }),
    ("growing by 1.6", Law::Geometric { ratio: 1.6, cap: 64.0 }),
    ("growing by 2", Law::Geometric { ratio: 2.0, cap: 64.0 }),
    ("Fibonacci", Law::Fibonacci { cap: 100.0 }),
    ("two timers, S and 1.62 S", Law::TwoTimers { other: 1.62 }),
    ("two timers, S and 3.3 S", Law::TwoTimers { other: 3.3 }),
    ("working hours, fixed", Law::WorkingHours { from: 1.0, to: 1.0 }),
    ("working hours, jitter 25 %", Law::WorkingHours { from: 0.75, to: 1.0 }),
];

/// Where check-ins are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Turns of one connection that stays open: the network adds some milliseconds.
    Inside,
    /// A connection each: names, handshakes and now and then a lost SYN come before the first payload.
    Across,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Implant {
    pub(crate) law: Law,
    pub(crate) period_s: f64,
    pub(crate) place: Place,
    /// Probability that a check-in is not seen.
    pub(crate) missed: f64,
    /// Probability that a check-in brings tasks: a burst of quick turns, then the sleep again.
    pub(crate) tasked: f64,
}

/// One turn of an implant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) at_s: f64,
    /// Not part of a burst of tasks.
    pub(crate) is_check_in: bool,
}

impl Implant {
    /// Returns an implant whose every check-in is seen inside one connection, and which has nothing to do.
    pub(crate) fn new(law: Law, period_s: f64) -> Self {
        Self { law, period_s, place: Place::Inside, missed: 0.0, tasked: 0.0 }
    }

    /// Returns the times, in seconds, of the first `count` check-ins that are seen.
    pub(crate) fn times(&self, random: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
        self.turns(random, count).filter(|turn| turn.is_check_in).map(|turn| turn.at_s).collect()
    }

    /// Returns the turns of the first `count` check-ins that are seen, in the order of time.
    pub(crate) fn turns(&self, random: &mut ChaCha8Rng, count: usize) -> impl Iterator<Item = Turn> {
        let mut clock = Clock::new(self, random);
        let (mut left, mut burst, mut busy_s) = (count, 0, 0.0_f64);
        std::iter::from_fn(move || {
            if burst > 0 {
                burst -= 1;
                let work_s = uniform(random, 0.8, 4.0);
                busy_s += work_s;
                clock.work(self.law, work_s);
                return Some(Turn { at_s: busy_s, is_check_in: false });
            }
            left = left.checked_sub(1)?;
            let at_s = loop {
                let at_s = clock.next(self, random);
                if !random.random_bool(self.missed) {
                    break at_s.max(busy_s);
                }
            };
            busy_s = at_s;
            if random.random_bool(self.tasked) {
                burst = random.random_range(1..=4);
            }
            Some(Turn { at_s, is_check_in: true })
        })
    }

    /// Returns what the network adds to a check-in, in seconds.
    fn network_s(&self, random: &mut ChaCha8Rng) -> f64 {
        match self.place {
            Place::Inside => uniform(random, 0.0, 0.02),
            Place::Across => {
                let lost_syn = if random.random_bool(0.02) { 1.0 } else { 0.0 };
                lost_syn + 0.08 * (0.6 * normal(random)).exp()
            }
        }
    }
}

/// Where a timer stands.
struct Clock {
    /// When the timers would fire next, before anything delays them; only [`Law::TwoTimers`] has a second one.
    due_s: f64,
    other_s: f64,
    /// The latest sleeps of a growing schedule, in periods.
    sleeps: [f64; 2],
}

impl Clock {
    fn new(implant: &Implant, random: &mut ChaCha8Rng) -> Self {
        let due_s = match implant.law {
            Law::WorkingHours { .. } => DAY_S + uniform(random, 0.0, 1.0) * WORK_S,
            Law::Sleep { .. }
            | Law::Cron { .. }
            | Law::Geometric { .. }
            | Law::Fibonacci { .. }
            | Law::TwoTimers { .. } => uniform(random, 0.0, 1000.0),
        };
        let other_s = due_s + uniform(random, 0.0, 1.0) * implant.period_s;
        Self { due_s, other_s, sleeps: [0.0, 1.0] }
    }

    /// Returns when the next check-in happens, in seconds.
    fn next(&mut self, implant: &Implant, random: &mut ChaCha8Rng) -> f64 {
        let Implant { law, period_s, .. } = *implant;
        let network_s = implant.network_s(random);
        match law {
            Law::Sleep { from, to } => {
                let at_s = self.due_s + network_s;
                self.due_s = at_s + period_s * uniform(random, from, to);
                at_s
            }
            Law::Cron { delay } => {
                let at_s = self.due_s + period_s * uniform(random, 0.0, delay) + network_s;
                self.due_s += period_s;
                at_s
            }
            Law::Geometric { ratio, cap } => {
                let at_s = self.due_s + network_s;
                let [_, sleep] = self.sleeps;
                self.due_s = at_s + period_s * sleep;
                self.sleeps = [sleep, if sleep * ratio > cap { 1.0 } else { sleep * ratio }];
                at_s
            }
            Law::Fibonacci { cap } => {
                let at_s = self.due_s + network_s;
                let [before, sleep] = self.sleeps;
                self.due_s = at_s + period_s * sleep;
                self.sleeps = if before + sleep > cap { [0.0, 1.0] } else { [sleep, before + sleep] };
                at_s
            }
            Law::TwoTimers { other } => {
                let is_first = self.due_s <= self.other_s;
                let (due_s, sleep) = if is_first { (&mut self.due_s, 1.0) } else { (&mut self.other_s, other) };
                let at_s = *due_s + network_s;
                *due_s = at_s + period_s * sleep;
                at_s
            }
            Law::WorkingHours { from, to } => {
                let at_s = self.due_s + network_s;
                let next_s = at_s + period_s * uniform(random, from, to);
                let day_s = (at_s / DAY_S).floor() * DAY_S;
                self.due_s = if next_s < day_s + WORK_S { next_s } else { next_s.max(day_s + DAY_S) };
                at_s
            }
        }
    }

    /// A sleep begins when the work is done; a schedule does not wait.
    fn work(&mut self, law: Law, work_s: f64) {
        match law {
            Law::Sleep { .. } | Law::Geometric { .. } | Law::Fibonacci { .. } | Law::WorkingHours { .. } => {
                self.due_s += work_s;
            }
            Law::Cron { .. } | Law::TwoTimers { .. } => {}
        }
    }
}
