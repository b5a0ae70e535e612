//! What of all that happens is worth a message: not the same twice, and not too much.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use netd_engine::finding::{Finding, Pair, Severity};
use netd_engine::time::Timestamp;

/// Findings remembered for de-duplication; beyond that the oldest may be told twice.
const REMEMBERED: usize = 16_384;

pub(super) struct Gate {
    window_ns: u64,
    told: HashMap<(&'static str, Pair), Told>,
    bucket: Bucket,
    held: Summary,
}

#[derive(Clone, Copy)]
struct Told {
    at: Timestamp,
    severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Tell,
    /// The same was told within the window.
    Duplicate,
    /// There were too many; the next summary counts it.
    Hold,
}

/// What was held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) findings: BTreeMap<(Severity, &'static str), u64>,
    /// Other events.
    pub(super) others: u64,
}

/// A token bucket: an hour's messages may come at once, then one each 1/n hour.
struct Bucket {
    per_hour: u32,
    tokens: f64,
    filled: Timestamp,
}

impl Gate {
    pub(super) fn new(window: Duration, per_hour: u32, now: Timestamp) -> Self {
        Self {
            window_ns: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            told: HashMap::new(),
            bucket: Bucket { per_hour, tokens: f64::from(per_hour), filled: now },
            held: Summary::default(),
        }
    }

    /// Decides about a finding.
    pub(super) fn admit(&mut self, finding: &Finding, now: Timestamp) -> Admission {
        let key = (finding.detector, finding.pair);
        if let Some(told) = self.told.get(&key)
            && now.0.saturating_sub(told.at.0) < self.window_ns
            && finding.severity <= told.severity
        {
            return Admission::Duplicate;
        }
        if !self.bucket.take(now) {
            *self.held.findings.entry((finding.severity, finding.detector)).or_default() += 1;
            return Admission::Hold;
        }
        if self.told.len() >= REMEMBERED {
            self.forget(now);
        }
        self.told.insert(key, Told { at: now, severity: finding.severity });
        Admission::Tell
    }

    /// Decides about something that is no finding.
    pub(super) fn admit_other(&mut self, now: Timestamp) -> Admission {
        if self.bucket.take(now) {
            return Admission::Tell;
        }
        self.held.others += 1;
        Admission::Hold
    }

    /// Returns what was held back, if anything was and there is room for a message.
    pub(super) fn summary(&mut self, now: Timestamp) -> Option<Summary> {
        let is_empty = self.held == Summary::default();
        (!is_empty && self.bucket.take(now)).then(|| std::mem::take(&mut self.held))
    }

    /// Forgets what is older than the window; if that is not enough, the older half.
    fn forget(&mut self, now: Timestamp) {
        let window_ns = self.window_ns;
        self.told.retain(|_, told| now.0.saturating_sub(told.at.0) < window_ns);
        if self.told.len() >= REMEMBERED {
            let mut times: Vec<_> = self.told.values().map(|told| told.at).collect();
            let (_, median, _) = times.select_nth_unstable(REMEMBERED / 2);
            let median = *median;
            self.told.retain(|_, told| told.at > median);
        }
    }
}

impl Summary {
    /// Returns how many events it is about.
    pub(super) fn count(&self) -> u64 {
        self.findings.values().sum::<u64>() + self.others
    }

    /// Returns the highest severity among them.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.findings.keys().map(|(severity, _)| *severity).max()
    }
}

impl Bucket {
    fn take(&mut self, now: Timestamp) -> bool {
        let most = f64::from(self.per_hour);
        let hours = now.0.saturating_sub(self.filled.0) as f64 / 3.6e12;
        self.tokens = (self.tokens + hours * most).min(most);
        self.filled = self.filled.max(now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::findings_for_tests::finding;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(minutes: u64) -> Timestamp {
        Timestamp(1_800_000_000_000_000_000 + minutes * 60_000_000_000)
    }

    fn of_port(port: u16, severity: Severity) -> Finding {
        let mut finding = finding(u64::from(port), severity, 0.9);
        finding.pair.responder_port = port;
        finding
    }

    #[test]
    fn the_same_is_told_once_an_hour_unless_it_grew_worse() {
        let mut gate = Gate::new(HOUR, 100, at(0));
        let (high, critical) = (of_port(1, Severity::High), of_port(1, Severity::Critical));

        let admitted = [
            gate.admit(&high, at(0)),
            gate.admit(&high, at(59)),
            gate.admit(&critical, at(59)),
            gate.admit(&high, at(60)),
            gate.admit(&of_port(2, Severity::High), at(60)),
            gate.admit(&high, at(120)),
        ];

        use Admission::{Duplicate, Tell};
        assert_eq!(admitted, [Tell, Duplicate, Tell, Duplicate, Tell, Tell]);
    }

    #[test]
    fn what_is_too_much_is_held_and_summed_up_when_there_is_room() {
        let mut gate = Gate::new(HOUR, 2, at(0));
        let admitted: Vec<_> = (0..5).map(|port| gate.admit(&of_port(port, Severity::High), at(0))).collect();
        assert_eq!(admitted.iter().filter(|admission| **admission == Admission::Tell).count(), 2);
        assert_eq!(gate.summary(at(0)), None);

        let summary = gate.summary(at(31)).unwrap();

        assert_eq!((summary.count(), summary.worst()), (3, Some(Severity::High)));
        assert_eq!(gate.summary(at(90)), None);
        assert_eq!(gate.admit(&of_port(9, Severity::High), at(90)), Admission::Tell);
    }

    #[test]
    fn what_was_held_back_counts_as_not_told() {
        let mut gate = Gate::new(HOUR, 1, at(0));
        gate.admit(&of_port(1, Severity::High), at(0));
        assert_eq!(gate.admit(&of_port(2, Severity::High), at(0)), Admission::Hold);

        assert_eq!(gate.admit(&of_port(2, Severity::High), at(60)), Admission::Tell);
    }

    #[test]
    fn a_flood_of_findings_takes_bounded_memory() {
        let mut gate = Gate::new(HOUR, 4_000_000, at(0));
        for number in 0..40_000_u32 {
            let mut flood = finding(u64::from(number), Severity::Low, 0.5);
            flood.pair.originator = std::net::Ipv4Addr::from(number).into();
            gate.admit(&flood, Timestamp(at(0).0 + u64::from(number)));
        }

        assert!(gate.told.len() <= REMEMBERED);
    }
}
