//! The findings, newest state of each, with how their severity rose.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use netd_engine::finding::{Finding, Pair, Severity};
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Backlog;
use super::events::{Event, Events};
use super::responses::{Response, Timings};
use super::triage::Triage;

/// One step of a finding's severity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rise {
    pub time: Timestamp,
    pub severity: Severity,
    pub score: f64,
}

/// A finding as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Number of its last report among all reports of this run, from 1 on; what a former run left comes first.
    pub sequence: u64,
    pub finding: Finding,
    /// First report and every rise since, oldest first.
    pub rises: Vec<Rise>,
    /// What was done at once about it, the last time.
    pub response: Option<Response>,
    /// What people made of it.
    pub triage: Triage,
}

/// Why a finding's triage was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTriaged {
    Unknown,
    /// Somebody changed it meanwhile; this is the present revision.
    Changed(u64),
}

/// A bounded number of findings; the oldest gives way.
pub struct Findings {
    limit: usize,
    timings: Timings,
    events: Events,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: BTreeMap<u64, Stored>,
    /// The finding of each report that is its last.
    reports: BTreeMap<u64, u64>,
    reported: u64,
    /// The last report of any finding that gave way.
    forgotten_report: u64,
    /// Reports by detector and severity, since the start.
    counts: BTreeMap<(&'static str, Severity), u64>,
    forgotten: u64,
    /// Reports that the engine withheld, by detector.
    withheld: BTreeMap<&'static str, u64>,
    /// What history has not heard of yet.
    changed: BTreeSet<u64>,
}

/// Rises kept of one finding; severity has five steps, so more means that it fell in between.
const RISES: usize = 16;

impl Inner {
    /// Takes back the number of a finding that gave way.
    fn forget_report(&mut self, stored: &Stored) {
        self.reports.remove(&stored.sequence);
        self.forgotten_report = self.forgotten_report.max(stored.sequence);
    }
}

impl Findings {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (timings, events) = (Timings::default(), Events::default());
        Self { limit: limit.max(1), timings, events, inner: RwLock::default() }
    }

    /// Tells each report to the listeners of `events`.
    #[must_use]
    pub fn telling(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Takes over what a former run left. Nobody is told, and nothing is counted: it was then.
    #[must_use]
    pub fn restored(self, stored: Vec<Stored>) -> Self {
        {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            let mut stored = stored;
            stored.sort_by_key(|stored| (stored.rises.last().map(|rise| rise.time), stored.finding.id));
            for mut stored in stored {
                inner.reported += 1;
                stored.sequence = inner.reported;
                let (sequence, id) = (stored.sequence, stored.finding.id);
                inner.reports.insert(sequence, id);
                inner.by_id.insert(id, stored);
            }
            while inner.by_id.len() > self.limit
                && let Some((_, stored)) = inner.by_id.pop_first()
            {
                inner.forget_report(&stored);
            }
        }
        self
    }

    /// Takes a report: a new finding, or a known one whose severity rose.
    pub fn report(&self, finding: Finding) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        *inner.counts.entry((finding.detector, finding.severity)).or_default() += 1;
        let rise = Rise { time: finding.time, severity: finding.severity, score: finding.score };
        let id = finding.id;
        inner.reported += 1;
        let sequence = inner.reported;
        match inner.by_id.get_mut(&id) {
            Some(stored) => {
                stored.finding = finding;
                let before = std::mem::replace(&mut stored.sequence, sequence);
                if stored.rises.len() == RISES {
                    stored.rises.remove(1);
                }
                stored.rises.push(rise);
                inner.reports.remove(&before);
            }
            None => {
                if let Some(host) = &finding.host {
                    self.timings.found(finding.detector, host.latency_s);
                }
                let stored = Stored { sequence, finding, rises: vec![rise], response: None, triage: Triage::default() };
                inner.by_id.insert(id, stored);
            }
        }
        inner.reports.insert(sequence, id);
        inner.changed.insert(id);
        if let Some(stored) = inner.by_id.get(&id) {
            self.events.tell(|| Event::Finding(Arc::new(stored.clone())));
        }
        if inner.by_id.len() > self.limit
            && let Some((id, stored)) = inner.by_id.pop_first()
        {
            inner.forget_report(&stored);
            inner.changed.remove(&id);
            inner.forgotten += 1;
        }
    }

    /// Takes in that the engine withheld reports.
    pub fn withhold(&self, detector: &'static str, count: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        *inner.withheld.entry(detector).or_default() += count;
    }

    /// Takes in that more is known of a finding, without a new step of its severity.
    pub fn update(&self, finding: Finding) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = inner.by_id.get_mut(&finding.id) {
            if finding.host.is_some() {
                stored.finding.host = finding.host;
            }
            if finding.decision.is_some() {
                stored.finding.decision = finding.decision;
            }
            inner.changed.insert(finding.id);
        }
    }

    /// Takes in what was done about a finding.
    pub fn respond(&self, id: u64, detector: &'static str, response: Response) {
        self.timings.responded(detector, &response);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = inner.by_id.get_mut(&id) {
            stored.response = Some(response);
            inner.changed.insert(id);
        }
    }

    /// Changes what people made of a finding, if nobody did since `revision`, and returns it as it then stands.
    ///
    /// # Errors
    ///
    /// When there is no such finding, or somebody was quicker.
    pub fn triage(
        &self,
        id: u64,
        revision: u64,
        now: Timestamp,
        change: impl FnOnce(&mut Triage),
    ) -> Result<Stored, NotTriaged> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let stored = inner.by_id.get_mut(&id).ok_or(NotTriaged::Unknown)?;
        if stored.triage.revision != revision {
            return Err(NotTriaged::Changed(stored.triage.revision));
        }
        change(&mut stored.triage);
        stored.triage.revision += 1;
        stored.triage.changed = Some(now);
        let stored = stored.clone();
        inner.changed.insert(id);
        Ok(stored)
    }

    /// Returns the findings that changed since the last call, for history to keep.
    #[must_use]
    pub fn take_changed(&self) -> Vec<Stored> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut inner.changed);
        changed.iter().filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }

    /// Takes back what could not be kept: it stays changed.
    pub fn put_back(&self, changed: &[Stored]) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for stored in changed {
            let id = stored.finding.id;
            if inner.by_id.contains_key(&id) {
                inner.changed.insert(id);
            }
        }
    }

    /// Returns the lowest number held; older ones gave way.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.read(|inner| inner.by_id.keys().next().copied())
    }

    /// Returns every finding that `keep` accepts, oldest first.
    #[must_use]
    pub fn all(&self, keep: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        self.read(|inner| inner.by_id.values().filter(|stored| keep(stored)).cloned().collect())
    }

    /// Returns how long findings and responses took.
    #[must_use]
    pub const fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Returns one finding.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Stored> {
        self.read(|inner| inner.by_id.get(&id).cloned())
    }

    /// Returns up to `limit` findings that `keep` accepts with ids below `before`, newest first, and whether there
    /// are more.
    #[must_use]
    pub fn page(&self, before: Option<u64>, limit: usize, keep: impl Fn(&Stored) -> bool) -> (Vec<Stored>, bool) {
        self.read(|inner| {
            let below = inner.by_id.range(..before.unwrap_or(u64::MAX)).rev();
            let mut kept = below.map(|(_, stored)| stored).filter(|stored| keep(stored));
            let page: Vec<_> = kept.by_ref().take(limit).cloned().collect();
            let more = kept.next().is_some();
            (page, more)
        })
    }

    /// Returns the findings reported after the report `sequence`, by their last report, the newest `limit` at most.
    #[must_use]
    pub fn reported_after(&self, sequence: u64, limit: usize) -> Backlog<Stored> {
        self.read(|inner| {
            let newer = inner.reports.range(sequence.saturating_add(1)..).rev();
            let mut ids = newer.map(|(_, id)| id);
            let mut events: Vec<_> = ids.by_ref().take(limit).filter_map(|id| inner.by_id.get(id).cloned()).collect();
            events.reverse();
            let is_whole = ids.next().is_none() && inner.forgotten_report <= sequence && sequence <= inner.reported;
            Backlog { events, is_whole }
        })
    }

    /// Returns the highest score of any finding, by pair, with the finding's id.
    #[must_use]
    pub fn scores(&self) -> HashMap<Pair, (u64, f64)> {
        self.read(|inner| {
            let mut scores = HashMap::new();
            for stored in inner.by_id.values() {
                let Finding { id, score, pair, .. } = stored.finding;
                let best = scores.entry(pair).or_insert((id, score));
                if score >= best.1 {
                    *best = (id, score);
                }
            }
            scores
        })
    }

    /// Returns how many reports there were, by detector and severity.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(&'static str, Severity), u64> {
        self.read(|inner| inner.counts.clone())
    }

    /// Returns how many reports were withheld, by detector, since the start.
    #[must_use]
    pub fn withheld(&self) -> BTreeMap<&'static str, u64> {
        self.read(|inner| inner.withheld.clone())
    }

    /// Returns how many findings are held, by the severity they have.
    #[must_use]
    pub fn open(&self) -> BTreeMap<Severity, u64> {
        self.read(|inner| {
            inner.by_id.values().fold(BTreeMap::new(), |mut open, stored| {
                *open.entry(stored.finding.severity).or_default() += 1;
                open
            })
        })
    }

    /// Returns how many findings there are, and how many gave way.
    #[must_use]
    pub fn len_and_forgotten(&self) -> (usize, u64) {
        self.read(|inner| (inner.by_id.len(), inner.forgotten))
    }

    fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use netd_engine::attack::{Attack, Technique};
    use netd_engine::finding::Beats;

    use super::*;

    /// A finding of 10.0.0.7 to 198.51.100.9, port 443.
    pub(crate) fn finding(id: u64, severity: Severity, score: f64) -> Finding {
        Finding {
            id,
            time: Timestamp(1_800_000_000_000_000_000 + id * 1_000_000_000),
            first_seen: Timestamp(1_799_999_000_000_000_000),
            detector: "beacon",
            title: "check-ins every 60.0 s".into(),
            severity,
            score,
            pair: Pair {
                originator: "10.0.0.7".parse().unwrap(),
                responder: "198.51.100.9".parse().unwrap(),
                responder_port: 443,
                proto: 6,
            },
            name: Some("cdn.example.net".into()),
            process: None,
            responder_region: None,
            block: true,
            rhythm: Some(Beats { interval_s: 60.0, jitter: 0.02, turns: 130 }),
            reasons: Vec::new(),
            considered: Vec::new(),
            attack: vec!["T1071.001"],
            techniques: vec![Attack::default().entry(Technique::WebProtocols)],
            host: None,
            decision: None,
        }
    }

    #[test]
    fn a_rising_finding_stays_one_and_remembers_its_rise() {
        let findings = Findings::new(10);

        findings.report(finding(1, Severity::Medium, 0.7));
        findings.report(finding(1, Severity::High, 0.9));

        let stored = findings.get(1).unwrap();
        assert_eq!(stored.finding.severity, Severity::High);
        assert_eq!(
            stored.rises.iter().map(|rise| rise.severity).collect::<Vec<_>>(),
            [Severity::Medium, Severity::High]
        );
        assert_eq!(findings.len_and_forgotten(), (1, 0));
    }

    #[test]
    fn the_oldest_gives_way_and_is_counted() {
        let findings = Findings::new(3);
        for id in 1..=5 {
            findings.report(finding(id, Severity::Low, 0.5));
        }

        let (page, more) = findings.page(None, 10, |_| true);

        assert_eq!(page.iter().map(|stored| stored.finding.id).collect::<Vec<_>>(), [5, 4, 3]);
        assert!(!more);
        assert_eq!(findings.len_and_forgotten(), (3, 2));
    }

    #[test]
    fn pages_join_without_a_gap_while_findings_arrive() {
        let findings = Findings::new(100);
        for id in 1..=5 {
            findings.report(finding(id, Severity::Low, 0.5));
        }

        let (first, more) = findings.page(None, 2, |_| true);
        findings.report(finding(6, Severity::Low, 0.5));
        let (second, _) = findings.page(first.last().map(|stored| stored.finding.id), 2, |_| true);

        assert!(more);
        let ids: Vec<_> = first.iter().chain(&second).map(|stored| stored.finding.id).collect();
        assert_eq!(ids, [5, 4, 3, 2]);
    }

    #[test]
    fn what_a_former_run_left_comes_before_what_is_reported() {
        let former = Findings::new(10);
        former.report(finding(1, Severity::Low, 0.5));
        former.report(finding(2, Severity::Low, 0.5));
        former.report(Finding { time: finding(9, Severity::Low, 0.5).time, ..finding(1, Severity::High, 0.9) });
        let findings = Findings::new(10).restored(former.take_changed());

        findings.report(finding(3, Severity::Low, 0.5));

        let backlog = findings.reported_after(0, 10);
        let ids: Vec<_> = backlog.events.iter().map(|stored| stored.finding.id).collect();
        assert_eq!((ids, backlog.is_whole), (vec![2, 1, 3], true));
    }
}
