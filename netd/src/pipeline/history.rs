//! Keeps what happened: ended flows, findings and changes of verdicts, at least once a second.
//!
//! Nothing waits for the disk. What it does not take stays queued, within a bound, and is tried again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netd_engine::region::Geography;
use netd_engine::time::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::events::{Event, Heard, Listener, VerdictEvent};
use crate::store::history::{Error, History, Limits, Opened, Writer};
use crate::store::{Findings, Row, Stored};
use crate::time;

/// Between two batches: what a killed daemon loses is younger.
const EVERY: Duration = Duration::from_millis(500);
/// After an attempt that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest between two looks for what is too old.
const TRIM: Duration = Duration::from_secs(3_600);
/// Flows of one batch.
const BATCH: usize = 8_192;
/// Flows that may wait for the disk, and changes of verdicts.
const QUEUE: usize = 65_536;
const VERDICT_QUEUE: usize = 4_096;

/// History at the daemon's start.
pub(super) struct Start {
    pub(super) history: Arc<History>,
    pub(super) opened: Opened,
    writer: Writer,
}

/// Opens history, and reads back what the API goes on showing.
///
/// # Errors
///
/// When the folder cannot be used.
pub(super) fn open(
    folder: &Path,
    limits: Limits,
    findings: usize,
    geography: Option<Arc<dyn Geography>>,
) -> Result<Start, Error> {
    let (history, writer) = History::open(folder, limits, geography, time::now().0)?;
    // Findings come again; what is not readable is no reason not to detect.
    let opened = history.control.read(findings).unwrap_or_else(|error| {
        history.health.failed(&error.to_string());
        warn!(%error, "the findings of former runs are not shown");
        Opened::default()
    });
    let report = history.report();
    info!(files = report.files, flows = report.flows, findings = opened.findings.len(), "history of former runs");
    Ok(Start { history: Arc::new(history), opened, writer })
}

impl Start {
    /// Returns what keeps events of `listener` from now on.
    pub(super) fn keeper(self, listener: Listener, findings: Arc<Findings>) -> Keeper {
        let batch = Batch { writer: self.writer, flows: Vec::new(), findings: Vec::new(), verdicts: Vec::new() };
        Keeper {
            history: self.history,
            findings,
            listener,
            resting: Some(batch),
            flows: Vec::new(),
            verdicts: Vec::new(),
            due: Instant::now() + EVERY,
            has_failed: false,
            trimmed: Instant::now(),
        }
    }
}

/// Keeps events.
pub(super) struct Keeper {
    history: Arc<History>,
    findings: Arc<Findings>,
    listener: Listener,
    /// The writer between two batches, with what the last one left.
    resting: Option<Batch>,
    flows: Vec<Arc<Row>>,
    verdicts: Vec<(Timestamp, Arc<VerdictEvent>)>,
    due: Instant,
    has_failed: bool,
    /// When the last batch was begun; each removes what is too old.
    trimmed: Instant,
}

/// What is written together.
struct Batch {
    writer: Writer,
    flows: Vec<Arc<Row>>,
    findings: Vec<Stored>,
    verdicts: Vec<(Timestamp, Arc<VerdictEvent>)>,
}

impl Keeper {
    /// Keeps events until `closing`, then what has been told by then.
    pub(super) async fn run(mut self, closing: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writing: Option<JoinHandle<Batch>> = None;
        loop {
            tokio::select! {
                biased;
                written = finished(&mut writing) => {
                    writing = None;
                    self.rest(written?);
                }
                _ = ticks.tick() => {}
                heard = self.listener.next() => match heard {
                    Some(heard) => self.hear(heard),
                    None => break,
                },
                () = closing.cancelled() => break,
            }
            let now = Instant::now();
            if now >= self.due || (self.flows.len() >= BATCH && !self.has_failed) {
                writing = self.begin().or(writing);
            }
        }
        if let Some(writing) = writing {
            let written = writing.await?;
            self.rest(written);
        }
        self.drain().await;
        while let Some(last) = self.begin() {
            let last = last.await?;
            let is_stuck = !last.flows.is_empty() || !last.findings.is_empty();
            self.rest(last);
            if is_stuck || self.flows.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event(Event::Flow(row)) if self.flows.len() < QUEUE => self.flows.push(row),
            Heard::Event(Event::Verdict(event)) if self.verdicts.len() < VERDICT_QUEUE => {
                self.verdicts.push((time::now(), event));
            }
            Heard::Event(Event::Flow(_) | Event::Verdict(_)) => self.history.health.lose(1),
            // Asked for by what changed of them, which misses none.
            Heard::Event(Event::Finding(_)) => {}
            Heard::Missed(missed) => self.history.health.lose(missed),
        }
    }

    /// Takes in what has been told already.
    async fn drain(&mut self) {
        loop {
            tokio::select! {
                biased;
                heard = self.listener.next() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return,
                },
                () = std::future::ready(()) => return,
            }
        }
    }

    /// Begins to write a batch, unless one is being written or nothing is to be.
    fn begin(&mut self) -> Option<JoinHandle<Batch>> {
        let mut batch = self.resting.take()?;
        let room = BATCH.saturating_sub(batch.flows.len()).min(self.flows.len());
        batch.flows.extend(self.flows.drain(..room));
        batch.findings = self.findings.take_changed();
        let room = VERDICT_QUEUE.saturating_sub(batch.verdicts.len()).min(self.verdicts.len());
        batch.verdicts.extend(self.verdicts.drain(..room));
        self.due = Instant::now() + EVERY;
        self.history.health.wait(self.flows.len() + batch.flows.len());
        let is_idle = batch.flows.is_empty() && batch.findings.is_empty() && batch.verdicts.is_empty();
        // Where nothing happens, something still grows too old.
        if is_idle && self.trimmed.elapsed() < TRIM {
            self.resting = Some(batch);
            return None;
        }
        self.trimmed = Instant::now();
        let (history, oldest) = (Arc::clone(&self.history), self.findings.oldest());
        Some(tokio::task::spawn_blocking(move || batch.write(&history, oldest)))
    }

    /// Takes the writer back; what was not written waits for the next attempt.
    fn rest(&mut self, mut batch: Batch) {
        self.has_failed = !(batch.flows.is_empty() && batch.findings.is_empty() && batch.verdicts.is_empty());
        self.findings.put_back(&batch.findings);
        batch.findings.clear();
        if self.has_failed {
            self.due = Instant::now() + AGAIN;
        }
        self.history.health.wait(self.flows.len() + batch.flows.len());
        self.resting = Some(batch);
    }
}

impl Batch {
    /// Writes, and keeps what could not be written.
    fn write(mut self, history: &History, oldest: Option<u64>) -> Self {
        let mut is_well = true;
        match self.writer.write(time::now(), &self.flows) {
            Ok(written) => {
                history.health.wrote(written);
                self.flows.clear();
            }
            Err(error) => {
                is_well = false;
                tell(history, &error);
            }
        }
        if !(self.findings.is_empty() && self.verdicts.is_empty()) {
            match history.control.write(&self.findings, &self.verdicts, oldest) {
                Ok(()) => {
                    self.findings.clear();
                    self.verdicts.clear();
                }
                Err(error) => {
                    is_well = false;
                    tell(history, &error);
                }
            }
        }
        if is_well && history.health.recovered() {
            info!("history is written again");
        }
        self
    }
}

fn tell(history: &History, error: &Error) {
    if history.health.failed(&error.to_string()) {
        warn!(%error, "history cannot be written; it is tried again, everything else goes on");
    }
}

async fn finished(writing: &mut Option<JoinHandle<Batch>>) -> Result<Batch, tokio::task::JoinError> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use netd_engine::flow::EndReason;

    use super::*;
    use crate::query::{Query, Table};
    use crate::store::Flows;
    use crate::store::events::Events;
    use crate::store::findings_for_tests::finding;
    use crate::store::flows_for_tests::conversation;
    use crate::store::history::{Interrupt, Scores};

    const LIMITS: Limits = Limits { retention: Duration::from_secs(86_400), bytes: 1 << 30 };
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Kept {
        flows: Flows,
        findings: Arc<Findings>,
        history: Arc<History>,
        closing: CancellationToken,
        task: JoinHandle<anyhow::Result<()>>,
    }

    fn keep(folder: &Path) -> Kept {
        let events = Events::default();
        let flows = Flows::new(100_000).telling(events.clone());
        let mut start = open(folder, LIMITS, 100, None).unwrap();
        let opened = std::mem::take(&mut start.opened);
        let findings = Arc::new(Findings::new(100).telling(events.clone()).restored(opened.findings));
        let (history, closing) = (Arc::clone(&start.history), CancellationToken::new());
        let keeper = start.keeper(events.listen(), Arc::clone(&findings));
        Kept { flows, findings, history, task: tokio::spawn(keeper.run(closing.clone())), closing }
    }

    impl Kept {
        async fn until(&self, is_so: impl Fn(&History) -> bool) {
            let deadline = Instant::now() + PATIENCE;
            while !is_so(&self.history) {
                assert!(Instant::now() < deadline, "{:?}", self.history.report());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        async fn close(self) -> Arc<History> {
            self.closing.cancel();
            self.task.await.unwrap().unwrap();
            self.history
        }
    }

    #[tokio::test]
    async fn what_was_told_before_the_end_is_there_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = keep(folder.path());
        kept.findings.report(finding(3, netd_engine::finding::Severity::High, 0.9));
        for port in 0..10_000 {
            kept.flows.end(conversation(port, EndReason::Closed));
        }
        let history = kept.close().await;
        let report = history.report();

        assert_eq!((report.flows, report.lost, report.waiting, report.error), (10_000, 0, 0, None));
        let again = keep(folder.path());
        assert_eq!(again.findings.get(3).unwrap().finding.id, 3);
        again.close().await;
    }

    #[tokio::test]
    async fn what_a_disk_does_not_take_waits_and_is_written_when_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let kept = keep(folder.path());
        let path = folder.path().join("flows-blocked");
        // Its place is taken by a folder, as root writes to a read-only one too.
        let day = crate::time::rfc3339(time::now());
        let file = folder.path().join(format!("flows-{}.db", &day[..10]));
        std::fs::create_dir(&file).unwrap();
        kept.flows.end(conversation(1, EndReason::Closed));
        kept.until(|history| history.report().errors > 0).await;
        assert!(kept.history.report().error.is_some() && kept.history.report().waiting == 1);

        std::fs::rename(&file, &path).unwrap();
        kept.until(|history| history.report().written == 1).await;

        let query = Query::all(Table::Flows);
        let page = kept.history.reader.page(&query, None, 10, &Scores::new(), &Interrupt::default()).unwrap();
        assert_eq!(page.flows.len(), 1);
        assert_eq!(kept.close().await.report().error, None);
    }
}
