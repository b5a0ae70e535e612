//! Tells every sink what happens: one task hears the events, each sink has a queue and a thread or a task.
//!
//! It ends when nobody tells any more. What the sinks could not write by [`PATIENCE`] is counted as failed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    sinks::{Fate, Filter, Item, Kind, Output, Sink, Stats, Surroundings, Tally, Writer, webhook::Poster},
    store::{
        events::{Heard, Listener},
        status::Sources,
    },
    time,
};

/// Between two statistics.
const STATS: Duration = Duration::from_secs(60);
/// How long the sinks may take to write what they hold at the end, and then to notice that it is over.
const PATIENCE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(1);

/// Where one sink's events go.
struct Route {
    filter: Filter,
    queue: mpsc::Sender<Item>,
    tally: Arc<Tally>,
}

/// The sinks under way.
pub(super) struct Running {
    dispatcher: JoinHandle<()>,
    /// Closed when the last sink has ended.
    ended: mpsc::Receiver<()>,
    give_up: CancellationToken,
}

/// Makes the counters of sinks, in their order.
pub(super) fn tallies(sinks: &[Sink]) -> Arc<[Arc<Tally>]> {
    sinks.iter().map(|sink| Arc::new(Tally::new(sink.name.clone(), sink.queue))).collect()
}

/// Starts every sink; they hear what `listener` hears.
///
/// # Errors
/// When a secret is missing, or a thread cannot be started.
pub(super) fn start(
    sinks: Vec<Sink>,
    tallies: &[Arc<Tally>],
    listener: Listener,
    surroundings: &Surroundings,
) -> anyhow::Result<Running> {
    let give_up = CancellationToken::new();
    let (alive, ended) = mpsc::channel(1);
    let mut routes = Vec::with_capacity(sinks.len());
    for (sink, tally) in sinks.into_iter().zip(tallies) {
        let (queue, items) = mpsc::channel(sink.queue);
        routes.push(Route { filter: sink.filter, queue, tally: Arc::clone(tally) });
        let failed = format!("cannot start the sink {}", sink.name);
        let (tally, alive) = (Arc::clone(tally), alive.clone());
        info!(sink = sink.name, output = ?sink.output, "telling");
        if let Output::Webhook(webhook) = sink.output {
            let poster = Poster::new(webhook, surroundings.clone(), tally, give_up.clone()).context(failed)?;
            tokio::spawn(async move {
                poster.run(items).await;
                drop(alive);
            });
        } else if let Some(writer) = Writer::new(sink.output, surroundings.clone(), tally, give_up.clone()) {
            let thread = std::thread::Builder::new().name(format!("sink-{}", sink.name));
            let run = move || {
                writer.run(items);
                drop(alive);
            };
            thread.spawn(run).context(failed)?;
        }
    }
    let dispatcher = tokio::spawn(dispatch(listener, routes, surroundings.sources.clone()));
    Ok(Running { dispatcher, ended, give_up })
}

impl Running {
    /// Waits until everything that was told is written, or the sinks' patience is over.
    pub(super) async fn finish(mut self) {
        if tokio::time::timeout(PATIENCE, &mut self.dispatcher).await.is_err() {
            self.dispatcher.abort();
        }
        if tokio::time::timeout(PATIENCE, self.ended.recv()).await.is_err() {
            warn!("a sink could not be written to its end");
            self.give_up.cancel();
            // A thread that a device blocks ends with the process.
            let _ = tokio::time::timeout(GRACE, self.ended.recv()).await;
        }
    }
}

async fn dispatch(mut listener: Listener, routes: Vec<Route>, sources: Sources) {
    if routes.is_empty() {
        return;
    }
    let start = tokio::time::Instant::now() + STATS;
    let mut ticks = tokio::time::interval_at(start, STATS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wants_stats = routes.iter().any(|route| route.filter.kinds.contains(&Kind::Stats));
    loop {
        tokio::select! {
            heard = listener.next() => match heard {
                Some(Heard::Event(event)) => tell(&routes, &Item::Event { event, at: time::now() }),
                Some(Heard::Missed(missed)) => {
                    warn!(missed, "the sinks heard too late");
                    routes.iter().for_each(|route| route.tally.count(Fate::Missed, missed));
                }
                None => return,
            },
            _ = ticks.tick(), if wants_stats => {
                let at = time::now();
                let stats = Arc::new(Stats::of(&sources.borrow(), at));
                tell(&routes, &Item::Stats { stats, at });
            }
        }
    }
}

/// Puts an item into the queue of everybody who wants it and has room.
fn tell(routes: &[Route], item: &Item) {
    for route in routes.iter().filter(|route| route.filter.wants(item)) {
        route.tally.push();
        if route.queue.try_send(item.clone()).is_err() {
            route.tally.pop();
            route.tally.count(Fate::Dropped, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use netd_engine::finding::Severity;
    use netd_geoip::{Databases, Paths};

    use super::*;
    use crate::sinks::{Format, Rotation, Site};
    use crate::store::events::Events;
    use crate::store::status::{self, Snapshot};
    use crate::store::{Findings, findings_for_tests::finding};

    fn sink(name: &str, path: PathBuf, queue: usize) -> Sink {
        let rotation = Rotation { size: None, keep: 1, fsync: false };
        let filter = Filter { kinds: vec![Kind::Finding], min_severity: Severity::Medium };
        Sink { name: name.into(), filter, queue, output: Output::File { path, format: Format::Jsonl, rotation } }
    }

    fn surroundings() -> Surroundings {
        let (_, sources) = status::channel(Snapshot::default());
        Surroundings { site: Site::default(), sources, databases: Arc::new(Databases::new(Paths::default())) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sink_that_cannot_be_written_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good");
        let sinks = vec![sink("bad", "/dev/full".into(), 10), sink("good", good.clone(), 5_000)];
        let tallies = tallies(&sinks);
        let events = Events::default();
        let running = start(sinks, &tallies, events.listen(), &surroundings()).unwrap();
        let findings = Findings::new(10_000).telling(events);

        for id in 1..=1_000 {
            findings.report(finding(id, Severity::High, 0.9));
        }
        findings.report(finding(1_001, Severity::Low, 0.9));
        drop(findings);
        running.finish().await;

        let text = std::fs::read_to_string(good).unwrap();
        assert_eq!(text.lines().count(), 1_000);
        let [bad, good] = [0, 1].map(|index: usize| tallies[index].state());
        let of = |state: &crate::sinks::SinkState, fate: Fate| state.fates[fate as usize];
        assert_eq!((of(&good, Fate::Sent), good.queued), (1_000, 0));
        // Each event is counted once, whatever became of it.
        assert_eq!(of(&bad, Fate::Failed) + of(&bad, Fate::Dropped), 1_000, "{bad:?}");
        assert!(of(&bad, Fate::Dropped) > 0 && bad.queued == 0, "{bad:?}");
    }

    #[tokio::test]
    async fn without_sinks_nobody_listens() {
        let events = Events::default();

        let running = start(Vec::new(), &[], events.listen(), &surroundings()).unwrap();

        running.finish().await;
        events.tell(|| unreachable!("an event was made for nobody"));
    }
}
