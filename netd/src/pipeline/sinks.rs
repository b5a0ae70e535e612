//! Tells every sink what happens: one task hears the events, each sink has a queue and a thread or a task.
//!
//! It ends when nobody tells any more. What the sinks could not write by [`PATIENCE`] is counted as failed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use netd_engine::lookup::Lookup;
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

/// Who works on one sink's queue.
enum Worker {
    Poster(Box<Poster>, mpsc::Receiver<Item>),
    Writer { name: String, writer: Box<Writer>, items: mpsc::Receiver<Item> },
}

/// The sinks before there is a runtime.
pub(super) struct Ready {
    routes: Vec<Route>,
    workers: Vec<Worker>,
    heard: Told,
    sources: Sources,
    give_up: CancellationToken,
}

/// Where sinks hear what happens.
pub(super) struct Told {
    pub(super) events: Listener,
    pub(super) lookups: mpsc::Receiver<Arc<Lookup>>,
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

/// Makes every sink ready to hear what is told: what they keep secret is read, nothing is begun.
///
/// # Errors
/// When a secret is missing.
pub(super) fn ready(
    sinks: Vec<Sink>,
    tallies: &[Arc<Tally>],
    heard: Told,
    surroundings: &Surroundings,
) -> anyhow::Result<Ready> {
    let give_up = CancellationToken::new();
    let (mut routes, mut workers) = (Vec::with_capacity(sinks.len()), Vec::with_capacity(sinks.len()));
    for (sink, tally) in sinks.into_iter().zip(tallies) {
        let (queue, items) = mpsc::channel(sink.queue);
        routes.push(Route { filter: sink.filter, queue, tally: Arc::clone(tally) });
        info!(sink = sink.name, output = ?sink.output, "telling");
        let (surroundings, tally, give_up) = (surroundings.clone(), Arc::clone(tally), give_up.clone());
        if let Output::Webhook(webhook) = sink.output {
            let poster = Poster::new(webhook, surroundings, tally, give_up);
            let poster = poster.with_context(|| format!("cannot start the sink {}", sink.name))?;
            workers.push(Worker::Poster(Box::new(poster), items));
        } else if let Some(writer) = Writer::new(sink.output, surroundings, tally, give_up) {
            workers.push(Worker::Writer { name: sink.name, writer: Box::new(writer), items });
        }
    }
    Ok(Ready { routes, workers, heard, sources: surroundings.sources.clone(), give_up })
}

impl Ready {
    /// Starts every sink, each on a thread or a task of its own, and the task that tells them.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn start(self) -> anyhow::Result<Running> {
        let (alive, ended) = mpsc::channel(1);
        for worker in self.workers {
            let alive = alive.clone();
            match worker {
                Worker::Poster(poster, items) => drop(tokio::spawn(async move {
                    poster.run(items).await;
                    drop(alive);
                })),
                Worker::Writer { name, writer, items } => {
                    let run = move || {
                        writer.run(items);
                        drop(alive);
                    };
                    let thread = std::thread::Builder::new().name(format!("sink-{name}")).spawn(run);
                    thread.with_context(|| format!("cannot start the sink {name}"))?;
                }
            }
        }
        let dispatcher = tokio::spawn(dispatch(self.heard, self.routes, self.sources));
        Ok(Running { dispatcher, ended, give_up: self.give_up })
    }
}

impl Running {
    /// Waits until everything that was told is written, or the sinks' patience is over.
    pub(super) async fn finish(mut self) {
        if tokio::time::timeout(PATIENCE, &mut self.dispatcher).await.is_err() {
            warn!("somebody still tells events at the end; the sinks do not hear them");
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

async fn dispatch(heard: Told, routes: Vec<Route>, sources: Sources) {
    let Told { mut events, mut lookups } = heard;
    if routes.is_empty() {
        return;
    }
    let start = tokio::time::Instant::now() + STATS;
    let mut ticks = tokio::time::interval_at(start, STATS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let wants_stats = routes.iter().any(|route| route.filter.kinds.contains(&Kind::Stats));
    loop {
        tokio::select! {
            Some(lookup) = lookups.recv() => tell(&routes, &Item::Lookup(lookup)),
            heard = events.next() => match heard {
                Some(Heard::Event(event)) => tell(&routes, &Item::Event { event, at: time::now() }),
                Some(Heard::Missed(missed)) => {
                    warn!(missed, "the sinks heard too late");
                    routes.iter().for_each(|route| route.tally.count(Fate::Missed, missed));
                }
                None => {
                    while let Some(lookup) = lookups.recv().await {
                        tell(&routes, &Item::Lookup(lookup));
                    }
                    return;
                }
            },
            _ = ticks.tick(), if wants_stats => {
                let at = time::now();
                let stats = Arc::new(Stats::of(&sources.borrow(), at));
                tell(&routes, &Item::Stats { stats, at });
            }
        }
    }
}

/// Whether any sink wants to hear of look-ups.
pub(super) fn want_lookups(sinks: &[Sink]) -> bool {
    sinks.iter().any(|sink| sink.filter.kinds.contains(&Kind::Dns))
}

/// Puts an item into the queue of everybody who wants it and has room.
fn tell(routes: &[Route], item: &Item) {
    for route in routes.iter().filter(|route| route.filter.wants(item)) {
        route.tally.push();
        // The last quarter of a queue is not for look-ups, of which any host can make a flood.
        let is_full = matches!(item, Item::Lookup(_)) && route.queue.capacity() <= route.queue.max_capacity() / 4;
        if is_full || route.queue.try_send(item.clone()).is_err() {
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
    use crate::sinks::webhook::{Secret, Webhook};
    use crate::sinks::{Format, Rotation, Site};
    use crate::store::events::Events;
    use crate::store::status::{self, Snapshot};
    use crate::store::{Findings, findings_for_tests::finding, flows_for_tests::lookup};

    fn sink(name: &str, path: PathBuf, queue: usize) -> Sink {
        let rotation = Rotation { size: None, keep: 1, fsync: false };
        let filter = Filter { kinds: vec![Kind::Finding], min_severity: Severity::Medium };
        Sink { name: name.into(), filter, queue, output: Output::File { path, format: Format::Jsonl, rotation } }
    }

    fn heard(events: &Events) -> Told {
        Told { events: events.listen(), lookups: mpsc::channel(1).1 }
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
        let running = ready(sinks, &tallies, heard(&events), &surroundings()).unwrap().start().unwrap();
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
    async fn a_flood_of_look_ups_leaves_room_for_what_matters() {
        let folder = tempfile::tempdir().unwrap();
        let mut flooded = sink("flooded", folder.path().join("log"), 100);
        flooded.filter.kinds = vec![Kind::Dns, Kind::Stats];
        assert!(want_lookups(std::slice::from_ref(&flooded)));
        let tally = Arc::new(Tally::new("flooded".into(), 100));
        // Nobody takes anything out of the queue.
        let (queue, mut items) = mpsc::channel(100);
        let routes = [Route { filter: flooded.filter, queue, tally: Arc::clone(&tally) }];

        for _ in 0..1_000 {
            tell(&routes, &Item::Lookup(Arc::new(lookup())));
        }
        tell(&routes, &Item::Stats { stats: Arc::default(), at: time::now() });

        let state = tally.state();
        assert_eq!((state.queued, state.fates[Fate::Dropped as usize]), (76, 925));
        let mut heard = Vec::new();
        while let Ok(item) = items.try_recv() {
            heard.push(item);
        }
        assert!(matches!(heard.last(), Some(Item::Stats { .. })));
    }

    /// The daemon has one thread until it has given up its privileges.
    #[test]
    fn sinks_are_ready_before_there_is_a_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let url = Secret::Here("https://127.0.0.1:9/".into());
        let mut webhook = sink("webhook", folder.path().join("a"), 10);
        webhook.output = Output::Webhook(Webhook { url, ..Webhook::default() });
        let sinks = vec![webhook, sink("file", folder.path().join("a"), 10)];
        let tallies = tallies(&sinks);

        let ready = ready(sinks, &tallies, heard(&Events::default()), &surroundings()).unwrap();

        assert_eq!((ready.routes.len(), ready.workers.len()), (2, 2));
    }

    #[tokio::test]
    async fn without_sinks_nobody_listens() {
        let events = Events::default();

        let running = ready(Vec::new(), &[], heard(&events), &surroundings()).unwrap().start().unwrap();

        running.finish().await;
        events.tell(|| unreachable!("an event was made for nobody"));
    }
}
