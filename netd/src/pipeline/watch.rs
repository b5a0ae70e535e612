//! Follows interfaces and counters, and tells the API.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use netd_engine::time::Timestamp;
use netd_geoip::Databases;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{analyse, traffic::Ledger};
use crate::{
    kernel::{Counters, Degraded, FlowTable, Kernel, Runs, Totals, interfaces::Watch},
    sinks::Tally,
    store::{
        disk::StateDir,
        history::History,
        status::{self, Fill, Interface, Loss, Snapshot},
    },
    time,
};

/// Between two snapshots.
const SNAPSHOT: Duration = Duration::from_secs(1);
/// Snapshots between two looks whether somebody has detached us, and between two counts of the flow table and of what
/// lies on disk.
const HEAL: u32 = 2;
const FILL: u32 = 30;
/// What was missing for a while is told at most so often.
const DEGRADED: usize = 64;

/// What others change and the watcher tells of.
pub(super) struct Shared {
    /// Automatic verdicts that were refused.
    pub(super) refused: Arc<AtomicU64>,
    pub(super) databases: Arc<Databases>,
    pub(super) disk: Option<StateDir>,
    pub(super) sinks: Arc<[Arc<Tally>]>,
    pub(super) history: Option<Arc<History>>,
    pub(super) protected: watch::Receiver<Arc<status::Protected>>,
    pub(super) managers: watch::Receiver<Arc<[status::Manager]>>,
}

pub(super) struct Watcher {
    interfaces: Watch,
    counters: Counters,
    table: FlowTable,
    tallies: watch::Receiver<analyse::Tally>,
    shared: Shared,
    degraded: Vec<Degraded>,
    started: Timestamp,
    fill: u64,
    stores: Vec<(&'static str, u64)>,
    traffic: Ledger,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Watcher {
    pub(super) fn new(
        kernel: &Kernel,
        interfaces: Watch,
        tallies: watch::Receiver<analyse::Tally>,
        shared: Shared,
        degraded: Vec<Degraded>,
    ) -> anyhow::Result<(Self, status::Sources)> {
        let (snapshots, sources) = status::channel(Snapshot::default());
        let mut watcher = Self {
            interfaces,
            counters: kernel.counters()?,
            table: kernel.flows()?,
            tallies,
            shared,
            degraded,
            started: time::now(),
            fill: 0,
            stores: Vec::new(),
            traffic: Ledger::default(),
            snapshots,
        };
        watcher.tell(kernel)?;
        Ok((watcher, sources))
    }

    /// Watches until `shutdown`.
    pub(super) async fn run(mut self, kernel: &mut Kernel, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(SNAPSHOT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.interfaces.changed() => {
                    changed?;
                    self.follow(kernel)?;
                }
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    if tick.is_multiple_of(HEAL) {
                        let healed = kernel.heal()?;
                        self.remember(healed);
                    }
                    if tick % FILL == 1 {
                        self.fill = self.table.occupied();
                        self.stores = self.shared.disk.iter().map(|disk| ("state", disk.bytes())).collect();
                    }
                }
            }
            self.tell(kernel)?;
        }
    }

    fn follow(&mut self, kernel: &mut Kernel) -> anyhow::Result<()> {
        let changes = self.interfaces.changes()?;
        if changes.is_empty() {
            return Ok(());
        }
        for interface in &changes.vanished {
            info!(interface = interface.name, "no longer watched");
        }
        for interface in &changes.appeared {
            info!(interface = interface.name, "watching");
        }
        for interface in &changes.renamed {
            info!(interface = interface.name, index = interface.index, "renamed; watched as before");
        }
        // What was met until here is theirs who were watched until here.
        self.count(kernel)?;
        let degraded = kernel.follow(&changes)?;
        self.remember(degraded);
        Ok(())
    }

    /// Reads the kernel's counters, and credits them to the interfaces that are watched.
    fn count(&mut self, kernel: &Kernel) -> anyhow::Result<Totals> {
        let totals = self.counters.read()?;
        let watched = kernel.watched().map(|interface| (interface.index, interface.name.as_str()));
        self.traffic.observe(totals.traffic(), watched);
        Ok(totals)
    }

    fn remember(&mut self, degraded: Vec<Degraded>) {
        for missing in degraded {
            warn!(what = missing.what, why = missing.why, consequence = missing.consequence, "degraded");
            if !self.degraded.contains(&missing) && self.degraded.len() < DEGRADED {
                self.degraded.push(missing);
            }
        }
    }

    fn tell(&mut self, kernel: &Kernel) -> anyhow::Result<()> {
        let totals = self.count(kernel)?;
        let tally = *self.tallies.borrow();
        let host = tally.host;
        let interfaces = kernel
            .attachments()
            .map(|(interface, attached)| Interface { name: interface.name.clone(), index: interface.index, attached })
            .collect::<Vec<_>>();
        let not_ready = if interfaces.is_empty() { vec!["no interface is watched".to_owned()] } else { Vec::new() };
        let geoip = self.shared.databases.states();
        let degraded = self.degraded.iter().map(|missing| status::Degraded {
            what: missing.what.clone(),
            why: missing.why.clone(),
            consequence: missing.consequence.clone(),
        });
        let runs = kernel.runs().into_iter().map(|Runs { program, runs, time }| status::Runs {
            program,
            runs,
            time_ns: super::nanoseconds(time),
        });
        let history = self.shared.history.as_ref().map(|history| history.report());
        self.snapshots.send_replace(Arc::new(Snapshot {
            started: self.started,
            interfaces,
            traffic: self.traffic.told(),
            kernel: totals.iter().collect(),
            engine: tally.counts,
            losses: vec![
                Loss { stage: "undecoded_records", lost: tally.undecoded },
                Loss { stage: "verdict_queue", lost: tally.verdicts_lost },
                Loss { stage: "lookup_queue", lost: tally.lookups_lost },
                Loss { stage: "process_looks", lost: host.inspector.overload + host.inspector.lost },
                Loss { stage: "process_digests", lost: host.inspector.not_hashed },
                Loss { stage: "container_names", lost: host.inspector.not_named },
                Loss { stage: "stream_looks", lost: host.looks_lost },
                Loss { stage: "stream_snapshot_parts", lost: host.unread },
                Loss { stage: "history", lost: history.as_ref().map_or(0, |history| history.lost) },
            ],
            host: status::Host {
                processes: host.inspector.processes,
                bytes: host.inspector.bytes,
                looked: host.inspector.looked,
                gone: host.inspector.gone,
                denied: host.inspector.denied,
                evicted: host.inspector.evicted,
                hashed: host.inspector.hashed,
                snapshots: host.snapshots,
            },
            flow_slots: Fill { entries: self.fill, capacity: self.table.capacity() as u64 },
            degraded: degraded
                .chain(geoip.iter().filter_map(status::Degraded::of_geoip))
                .chain(history.as_ref().and_then(status::Degraded::of_history))
                .collect(),
            history,
            geoip,
            stores: self.stores.clone(),
            sinks: self.shared.sinks.iter().map(|tally| tally.state()).collect(),
            not_ready,
            programs: status::Programs {
                missing: kernel.missing(),
                reattached: kernel.reattached().clone(),
                repinned: kernel.repinned().clone(),
                runs: runs.collect(),
            },
            protected: Arc::clone(&self.shared.protected.borrow()),
            managers: Arc::clone(&self.shared.managers.borrow()),
            enforce_refused: self.shared.refused.load(Ordering::Relaxed),
        }));
        Ok(())
    }
}
