//! How much is told: a token bucket for each detector and originator and one for all of them, so that a storm of reports
//! says what it is about and how much more of it there was.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use netd_common::key::Address;

use crate::config;
use crate::detect::Detector;
use crate::finding::Severity;
use crate::time::Timestamp;

/// Between two summaries of what was withheld.
const SUMMARY_NS: u64 = 10_000_000_000;
/// Sources that a summary names; the rest is added up by detector.
const NAMED: usize = 16;
/// Sources followed at once, about 100 bytes each. Beyond them a detector's further sources share one bucket.
const SOURCES: usize = 4_096;
/// The share of the common bucket that only findings of high severity may use.
const RESERVED: f64 = 0.5;

/// Reports that a full bucket held back. What they would have said is told with the next evidence that finds room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    pub detector: &'static str,
    /// None: of several originators.
    pub originator: Option<IpAddr>,
    pub count: u64,
    /// When the first of them was held back.
    pub since: Timestamp,
}

/// Who is told of: by which detector, and about whom.
type Source = (Detector, Option<Address>);

#[derive(Debug)]
pub(super) struct Pace {
    /// None: everything is told.
    limits: Option<config::Reports>,
    all: Bucket,
    sources: HashMap<Source, State>,
    summary_ns: u64,
    /// Reports held back since the engine began.
    pub(super) withheld: u64,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    withheld: u64,
    since_ns: u64,
}

impl Pace {
    pub(super) fn new(limits: Option<config::Reports>) -> Self {
        let all = Bucket { tokens: limits.map_or(0.0, |limits| f64::from(limits.burst)), at_ns: 0 };
        Self { limits, all, sources: HashMap::new(), summary_ns: 0, withheld: 0 }
    }

    /// Returns whether one more report may be told at `at_ns`, and counts it if not.
    pub(super) fn admit(&mut self, detector: Detector, originator: Address, severity: Severity, at_ns: u64) -> bool {
        let Some(limits) = self.limits else { return true };
        let config::Reports { source_burst, source_per_minute, burst, per_minute } = limits;
        let reserved = if severity >= Severity::High { 0.0 } else { f64::from(burst) * RESERVED };
        let source = self.source(limits, (detector, originator), at_ns);
        let fresh = || State { bucket: Bucket { tokens: f64::from(source_burst), at_ns }, withheld: 0, since_ns: 0 };
        let state = self.sources.entry(source).or_insert_with(fresh);
        state.bucket.fill(source_burst, source_per_minute, at_ns);
        self.all.fill(burst, per_minute, at_ns);
        let has_room = state.bucket.holds(0.0) && self.all.holds(reserved);
        if has_room {
            state.bucket.tokens -= 1.0;
            self.all.tokens -= 1.0;
        } else {
            if state.withheld == 0 {
                state.since_ns = at_ns;
            }
            state.withheld += 1;
            self.withheld += 1;
        }
        has_room
    }

    /// Returns what was withheld since the last summary, once in a while; `all` does not wait.
    pub(super) fn summaries(&mut self, now_ns: u64, all: bool) -> Vec<Withheld> {
        if !all && now_ns.saturating_sub(self.summary_ns) < SUMMARY_NS {
            return Vec::new();
        }
        self.summary_ns = now_ns;
        let mut summaries: Vec<_> =
            self.sources.iter_mut().filter_map(|(source, state)| state.summary(*source)).collect();
        // Most first. The order of a hash map is nobody's business.
        summaries.sort_unstable_by_key(|summary| (Reverse(summary.count), summary.detector, summary.originator));
        let mut rest = BTreeMap::<_, Withheld>::new();
        for summary in summaries.split_off(summaries.len().min(NAMED)) {
            let sum = rest.entry(summary.detector).or_insert(Withheld { originator: None, count: 0, ..summary });
            sum.count += summary.count;
            sum.since = sum.since.min(summary.since);
        }
        summaries.extend(rest.into_values());
        summaries
    }

    /// Returns whose bucket a report takes from, after making room for it.
    fn source(&mut self, limits: config::Reports, (detector, originator): (Detector, Address), at_ns: u64) -> Source {
        let own = (detector, Some(originator));
        if self.sources.contains_key(&own) {
            return own;
        }
        if self.sources.len() >= SOURCES {
            self.sources.retain(|_, state| {
                state.bucket.fill(limits.source_burst, limits.source_per_minute, at_ns);
                state.withheld > 0 || !state.bucket.is_full(limits.source_burst)
            });
        }
        if self.sources.len() < SOURCES { own } else { (detector, None) }
    }
}

impl State {
    fn summary(&mut self, (detector, originator): Source) -> Option<Withheld> {
        let count = std::mem::take(&mut self.withheld);
        (count > 0).then(|| Withheld {
            detector: detector.name(),
            originator: originator.map(|address| address.ip()),
            count,
            since: Timestamp(self.since_ns),
        })
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at_ns: u64,
}

impl Bucket {
    fn fill(&mut self, burst: u32, per_minute: u32, at_ns: u64) {
        let passed_s = at_ns.saturating_sub(self.at_ns) as f64 / 1e9;
        self.tokens = f64::from(per_minute).mul_add(passed_s / 60.0, self.tokens).min(f64::from(burst));
        self.at_ns = self.at_ns.max(at_ns);
    }

    fn holds(&self, reserved: f64) -> bool {
        self.tokens >= reserved + 1.0
    }

    fn is_full(&self, burst: u32) -> bool {
        self.tokens >= f64::from(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LIMITS: config::Reports =
        config::Reports { source_burst: 4, source_per_minute: 6, burst: 20, per_minute: 60 };

    fn host(number: u32) -> Address {
        let [_, b, c, d] = number.to_be_bytes();
        Address::v4([10, b, c, d])
    }

    fn admitted(pace: &mut Pace, of: Address, severity: Severity, times: impl IntoIterator<Item = u64>) -> usize {
        times.into_iter().filter(|at_ns| pace.admit(Detector::PortScan, of, severity, *at_ns)).count()
    }

    #[test]
    fn a_source_tells_a_burst_and_then_so_many_a_minute() {
        let mut pace = Pace::new(Some(LIMITS));

        assert_eq!(admitted(&mut pace, host(7), Severity::Low, vec![SECOND; 100]), 4);
        assert_eq!(admitted(&mut pace, host(7), Severity::Low, (1..=600).map(|second| second * SECOND)), 59);
    }

    #[test]
    fn without_limits_everything_is_told() {
        let mut pace = Pace::new(None);

        assert_eq!(admitted(&mut pace, host(7), Severity::Low, vec![SECOND; 5_000]), 5_000);
    }

    #[test]
    fn one_source_takes_no_other_sources_room() {
        let mut pace = Pace::new(Some(LIMITS));
        admitted(&mut pace, host(7), Severity::Low, vec![SECOND; 100]);

        assert_eq!(admitted(&mut pace, host(8), Severity::Low, [SECOND]), 1);
    }

    #[test]
    fn all_sources_together_leave_room_for_what_is_severe() {
        let mut pace = Pace::new(Some(LIMITS));
        let slight: usize = (0..1_000).map(|n| admitted(&mut pace, host(n), Severity::Medium, [SECOND])).sum();

        let severe: usize = (0..1_000).map(|n| admitted(&mut pace, host(n), Severity::High, [SECOND])).sum();

        assert_eq!((slight, severe), (10, 10));
    }

    #[test]
    fn summaries_add_up_to_what_was_withheld_however_many_sources_there_are() {
        let mut pace = Pace::new(Some(LIMITS));
        for n in 0..20_000 {
            admitted(&mut pace, host(n), Severity::Low, vec![SECOND + u64::from(n) * 1_000; 7]);
        }

        let summaries = pace.summaries(100 * SECOND, false);

        assert!(pace.sources.len() <= SOURCES + Detector::ALL.len());
        assert_eq!(summaries.iter().map(|summary| summary.count).sum::<u64>(), pace.withheld);
        assert!(summaries.len() <= NAMED + Detector::ALL.len());
        assert!(pace.withheld > 100_000 && summaries.iter().any(|summary| summary.originator.is_none()));
        assert!(pace.summaries(200 * SECOND, false).is_empty());
    }
}
