//! The engine's task: records in, findings and verdicts out. It owns the engine and the ring buffer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use netd_engine::{
    Command, Counts, Engine, Withheld,
    config::Networks,
    intel::Intel,
    listed::{Listed, Resolved},
    lookup::Lookup,
    respond::Order,
    suppress::Suppression,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    host::{self, Host},
    policies,
    respond::Asked,
    shift::Shift,
    snapshot::Saver,
    sweep::Sweeper,
};
use crate::{
    host::clock,
    kernel::{EventRef, Events, Steering},
    store::{Findings, Flows, evidence::Evidence, questions},
    time,
};

/// Longest wait for records: the engine's clock, expiry and heartbeat go on without traffic.
const PATIENCE: Duration = Duration::from_millis(200);
/// Records taken between two looks at everything else.
const BATCH: usize = 4_096;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two copies of the live conversations for the API. A copy of a large table takes time, so the next one
/// waits at least this many times as long as the last one took.
const VIEW: Duration = Duration::from_secs(1);
const VIEW_SHARE: u32 = 50;

/// What the rest of the daemon hears of the analysis.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// Records that did not decode.
    pub(super) undecoded: u64,
    /// Automatic verdicts and responses that found their queue full.
    pub(super) verdicts_lost: u64,
    /// Look-ups that the sinks were too slow for.
    pub(super) lookups_lost: u64,
    /// Attribution and tracing.
    pub(super) host: host::Tally,
}

/// What found its queue full.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    verdicts: u64,
    lookups: u64,
}

pub(super) struct Analyst {
    pub(super) engine: Engine,
    pub(super) shift: Shift,
    pub(super) saver: Saver,
    pub(super) events: Events,
    pub(super) host: Host,
    pub(super) sweeper: Sweeper,
    pub(super) steering: Steering,
    pub(super) findings: Arc<Findings>,
    pub(super) flows: Arc<Flows>,
    pub(super) evidence: Arc<Evidence>,
    pub(super) enforce: mpsc::Sender<Asked>,
    pub(super) respond: mpsc::Sender<Order>,
    pub(super) resolve: mpsc::Sender<Box<Resolved>>,
    /// What sinks are told of DNS.
    pub(super) lookups: mpsc::Sender<Arc<Lookup>>,
    /// Names that lists hold, whenever they change.
    pub(super) listed: watch::Receiver<Arc<Listed>>,
    pub(super) tally: watch::Sender<Tally>,
    /// Threat intelligence, whenever its files change.
    pub(super) intel: watch::Receiver<Arc<Intel>>,
    pub(super) suppressions: watch::Receiver<Arc<[Suppression]>>,
    pub(super) policies: policies::Heard,
    /// Whose addresses are whose, whenever that changes.
    pub(super) networks: watch::Receiver<Arc<Networks>>,
    pub(super) asked: mpsc::Receiver<questions::Asked>,
}

impl Analyst {
    /// Analyses until `shutdown`, then what is still in the ring buffer.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.host.begin(&mut self.engine, self.shift);
        self.listed.mark_changed();
        // Before the first record: lists and policies hold from the first conversation on.
        self.hear();
        let (mut verdicts_lost, mut lookups_lost) = (0, 0);
        let (mut next_beat, mut next_view) = (Instant::now(), Instant::now());
        loop {
            let waited = shutdown.run_until_cancelled(self.wait()).await;
            let begun = Instant::now();
            let taken = self.take();
            self.engine.tick(self.shift.now());
            if taken > 0 {
                self.findings.timings().detectors.observe(begun.elapsed().as_secs_f64());
            }
            self.hear();
            let lost = self.carry_out();
            verdicts_lost += lost.verdicts;
            lookups_lost += lost.lookups;
            let now = Instant::now();
            if now >= next_beat {
                self.steering.beat()?;
                next_beat = now + HEARTBEAT;
            }
            if now >= next_view {
                self.sweeper.sweep(&mut self.engine, self.shift);
                for conversation in self.engine.conversations() {
                    self.flows.put(conversation);
                }
                next_view = now + VIEW.max(now.elapsed() * VIEW_SHARE);
            }
            let tally = Tally {
                counts: self.engine.counts(),
                undecoded: self.events.undecoded() + self.host.tally().undecoded,
                host: self.host.tally(),
                verdicts_lost,
                lookups_lost,
            };
            self.tally.send_replace(tally);
            self.saver.save_now_and_then(&self.engine);
            match waited {
                Some(waited) => waited?,
                // The ring buffer is empty, or somebody writes faster than we read: then the rest is the next run's.
                None if taken < BATCH => {
                    self.saver.save_last(&self.engine).await;
                    return Ok(());
                }
                None => {}
            }
        }
    }

    /// Waits for records of either ring buffer, or for a question, which is answered.
    async fn wait(&mut self) -> std::io::Result<()> {
        tokio::select! {
            waited = self.events.wait(PATIENCE) => waited,
            waited = self.host.wait(PATIENCE) => waited,
            Some(asked) = self.asked.recv() => {
                asked.answer(&self.engine);
                Ok(())
            }
        }
    }

    /// Takes over what operators changed, and answers what they asked.
    fn hear(&mut self) {
        if self.intel.has_changed().unwrap_or(false) {
            self.engine.set_intel(Arc::clone(&self.intel.borrow_and_update()));
        }
        if self.listed.has_changed().unwrap_or(false) {
            self.engine.set_listed(Arc::clone(&self.listed.borrow_and_update()));
        }
        if self.suppressions.has_changed().unwrap_or(false) {
            self.engine.set_suppressions(Arc::clone(&self.suppressions.borrow_and_update()));
        }
        self.policies.hand_over(&mut self.engine);
        if self.networks.has_changed().unwrap_or(false) {
            self.engine.set_networks(&self.networks.borrow_and_update());
        }
        while let Ok(asked) = self.asked.try_recv() {
            asked.answer(&self.engine);
        }
    }

    fn take(&mut self) -> usize {
        let Self { engine, host, shift, evidence, .. } = self;
        // Who a process is comes before what its sockets do.
        let heard = host.take(engine, *shift);
        let mut oldest_ns = u64::MAX;
        let taken = self.events.poll_batch(BATCH, |event| match event {
            EventRef::Flow(record) => {
                oldest_ns = oldest_ns.min(record.header.time_ns);
                engine.observe_flow(&shift.flow(record));
            }
            EventRef::Turn(record) => {
                oldest_ns = oldest_ns.min(record.header.time_ns);
                engine.observe_turn(&shift.turn(record));
            }
            EventRef::Payload(record, bytes) => {
                let record = shift.payload(record);
                evidence.take(&record, bytes);
                engine.observe_payload(&record, bytes);
            }
            EventRef::Socket(record) => {
                host.meet(engine, &record.owner);
                engine.observe_socket(&shift.socket(record));
            }
            EventRef::Process(..) | EventRef::Exit(_) => {}
        });
        if oldest_ns != u64::MAX {
            let delay_ns = clock::monotonic_ns().saturating_sub(oldest_ns);
            self.findings.timings().analysis.observe(delay_ns as f64 / 1e9);
        }
        heard.max(taken)
    }

    /// Carries out what the engine asks for; returns what found no room.
    fn carry_out(&mut self) -> Lost {
        let mut lost = Lost::default();
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::Report(finding) => {
                    info!(
                        id = finding.id,
                        detector = finding.detector,
                        severity = ?finding.severity,
                        score = finding.score,
                        originator = %finding.pair.originator,
                        responder = %finding.pair.responder,
                        port = finding.pair.responder_port,
                        block = finding.block,
                        "finding"
                    );
                    self.evidence.put_aside(finding.id, &finding.pair);
                    if finding.host.is_none() {
                        let latency_s = self.shift.now().secs_since(finding.time).max(0.0);
                        self.findings.timings().found(finding.detector, latency_s);
                    }
                    self.findings.report(*finding);
                }
                Command::Withheld(Withheld { detector, originator, count, since }) => {
                    let originator = originator.map_or_else(|| "several".to_owned(), |address| address.to_string());
                    warn!(count, detector, originator, since = time::rfc3339(since), "too many findings; withheld");
                    self.findings.withhold(detector, count);
                }
                Command::Update(finding) => self.findings.update(*finding),
                Command::Respond(order) => {
                    let finding = order.finding;
                    if self.respond.try_send(self.shift.order(*order)).is_err() {
                        warn!(finding, "no room for a response");
                        lost.verdicts += 1;
                    }
                }
                Command::Enforce { verdict, finding } => {
                    let asked = Asked { verdict: self.shift.verdict(verdict), at: Instant::now() };
                    if self.enforce.try_send(asked).is_err() {
                        warn!(finding, "no room for a verdict");
                        lost.verdicts += 1;
                    }
                }
                // The service expires verdicts itself, by the clock the kernel uses.
                Command::Release { .. } => {}
                Command::Resolved(resolved) => {
                    if let Err(error) = self.resolve.try_send(resolved) {
                        let resolved = error.into_inner();
                        warn!(name = %resolved.name, address = %resolved.address, "no room for a listed name's address");
                        lost.verdicts += 1;
                    }
                }
                Command::FlowEnded(conversation) => {
                    let direction = self.engine.direction_between(conversation.originator, conversation.responder);
                    self.flows.ended().count(&conversation, direction);
                    self.flows.end(*conversation);
                }
                Command::Lookup(lookup) => {
                    lost.lookups += u64::from(self.lookups.try_send(Arc::from(lookup)).is_err());
                }
            }
        }
        lost
    }
}
