//! Tasks, channels, shutdown: the only room whose tasks stay.
//!
//! ```text
//!  ring buffer -> analyse (engine) -> findings, flows, enforce -> verdict service -> kernel maps
//!                     |           |                                  ^
//!                     |           +-> respond -> sockets, processes -+
//!                     +-- counts --> watch (interfaces, counters) -> status -> API, metrics
//! ```
//!
//! Only the sources listen for shutdown. Each later stage ends when its input does, so nothing that was read is lost.

mod analyse;
mod boot;
mod door;
mod feeds;
mod force;
mod geoip;
mod history;
mod host;
mod intel;
mod kept;
mod management;
mod names;
mod operators;
mod policies;
mod replays;
mod respond;
mod shift;
mod sinks;
mod snapshot;
mod start;
mod succession;
mod supervision;
mod surroundings;
mod sweep;
mod traffic;
mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use ipnet::IpNet;
use netd_common::control::Mode;
use netd_engine::{config::Config as EngineConfig, intel::Intel};
use netd_geoip::Databases;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    api,
    config::{self, feeds::Feed, files::IntelList},
    feeds::board::Board,
    host::logins::Ports,
    kernel::{self, Kernel, interfaces},
    privileges,
    signals::{Killer, Signaller},
    sinks::Sink,
    store::{
        Findings, Flows,
        audit::Audit,
        events::Events,
        evidence::Evidence,
        history::{History, Limits},
        jobs::Jobs,
        policies::{Book, Files},
        questions, status,
        suppressions::Suppressions,
        tokens::Tokens,
    },
    verdicts::{self, Handle, Service},
};

pub use boot::{Before, Booted, boot};

/// Everything `netd run` is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub kernel: kernel::Options,
    pub interfaces: interfaces::Choice,
    /// How far the programs go. What a policy asks for acts only as far as this and its own mode allow.
    pub mode: Mode,
    pub engine: EngineConfig,
    /// Where policies and benign services were read from.
    pub files: Files,
    /// Whether to enforce although a hook does not prove that it denies.
    pub accept_degraded: bool,
    /// Threat intelligence, and the files it came from.
    pub intel: Arc<Intel>,
    pub lists: Vec<IntelList>,
    /// Lists that are fetched.
    pub feeds: Vec<Feed>,
    /// Where verdicts and lists survive a restart; `None` keeps them nowhere.
    pub state_dir: Option<PathBuf>,
    pub api: config::Api,
    pub privileges: config::Privileges,
    /// Databases of countries and autonomous systems.
    pub geoip: netd_geoip::Paths,
    /// Where events are written or sent besides the API.
    pub sinks: Vec<Sink>,
    /// Networks that outputs call local; none: the private ones.
    pub local_networks: Vec<IpNet>,
    /// How much history is kept in the state directory; `None` is none.
    pub history: Option<Limits>,
    /// Findings kept for the API, and block-lists there can be.
    pub findings: usize,
    pub blocklists: usize,
    /// What the configuration file sets, without secrets.
    pub config: serde_json::Value,
    /// Bytes of first payload kept for evidence, and as many again for findings.
    pub evidence_ring: usize,
    /// Prefixes that are never cut, besides those netd finds out itself.
    pub protect: Vec<IpNet>,
    /// Whoever is logged in there is never cut, either.
    pub management_ports: Ports,
    /// Programs pass everything when the daemon has been silent this long; zero never.
    pub heartbeat_limit: Duration,
    /// Leaves enforcement in place at the end.
    pub keep: bool,
}

/// A flow that goes on is reported this often; the engine's idle timeouts are longer.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// Look-ups told to sinks each second, over ten seconds, and those that may wait for them.
const LOOKUPS_PER_S: u32 = 2_000;
const LOOKUPS: usize = 4_096;
/// Verdicts that may wait for the service, and responses.
const ENFORCE_QUEUE: usize = 1_024;

/// Runs the daemon until SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot start, or a part of it ends early. Enforcement then stays in place, as after a kill.
pub fn run(options: Options) -> anyhow::Result<()> {
    // Bound before anything is attached: a second daemon fails here and has touched nothing.
    let (listeners, tls) = door::open(&options)?;
    raise_descriptors();
    let keep = options.keep;
    // Before there is a second thread: every thread holds what its maker held.
    let (kernel, parts) = start::start(options)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(kernel, parts, Doors { listeners, tls }, keep))
}

/// Lets as many files be open as the host allows: connections must not take those of the maps.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the number of open files cannot be raised");
    }
}

/// What the API is served with.
struct Doors {
    listeners: Vec<api::Listener>,
    tls: Option<Arc<api::Tls>>,
}

async fn serve(mut kernel: Kernel, parts: Parts, doors: Doors, keep: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = CancellationToken::new();
    let ended = parts.serve(&mut kernel, doors, &shutdown, async {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM"),
            _ = interrupt.recv() => info!("SIGINT"),
        }
    });
    match ended.await {
        Ok(()) => finish(kernel, keep),
        Err(error) => {
            // A fault is no wish to stop enforcing: as after a kill, everything stays until it expires or the heartbeat
            // is too old.
            kernel.keep(true);
            Err(error)
        }
    }
}

/// Everything between loading and serving.
struct Parts {
    analyst: analyse::Analyst,
    intel: intel::Renewer,
    keeper: policies::Keeper,
    policies: Arc<Book>,
    feeds: feeds::Feeds,
    board: Board,
    resolved: mpsc::Receiver<Box<netd_engine::listed::Resolved>>,
    suppressions: Arc<Suppressions>,
    asker: questions::Asker,
    watcher: watch::Watcher,
    follower: surroundings::Follower,
    managers: management::Managers,
    service: Service<kernel::VerdictMaps>,
    handle: Handle,
    commands: mpsc::Receiver<verdicts::Command>,
    enforcements: mpsc::Receiver<respond::Asked>,
    orders: mpsc::Receiver<netd_engine::respond::Order>,
    signaller: Signaller,
    killer: Killer,
    findings: Arc<Findings>,
    flows: Arc<Flows>,
    events: Events,
    evidence: Arc<Evidence>,
    docs: bool,
    config: Arc<serde_json::Value>,
    sources: status::Sources,
    hosts: Arc<[String]>,
    audit: Audit,
    tokens: Arc<Tokens>,
    doorkeeper: api::Doorkeeper,
    privileges: Arc<privileges::Held>,
    databases: Arc<Databases>,
    sinks: sinks::Ready,
    /// Automatic verdicts that the service refused.
    refused: Arc<AtomicU64>,
    history: Option<Arc<History>>,
    historian: Option<history::Keeper>,
    jobs: Jobs,
    /// None without a place to keep captures.
    replayer: Option<replays::Replayer>,
}

impl Parts {
    /// Serves until `stop` resolves or a part ends early.
    async fn serve(
        self,
        kernel: &mut Kernel,
        doors: Doors,
        shutdown: &CancellationToken,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let responder = respond::Responder {
            handle: self.handle.clone(),
            findings: Arc::clone(&self.findings),
            signaller: self.signaller.clone(),
            refused: self.refused,
            shift: self.analyst.shift,
        };
        let names = names::run(self.handle.clone(), self.resolved);
        let feeds = self.feeds.run(self.handle.clone(), shutdown.clone());
        let sinks = self.sinks.start()?;
        let replaying = self.replayer.map(replays::Replayer::start).transpose()?;
        let context = api::Context {
            verdicts: self.handle,
            findings: self.findings,
            flows: self.flows,
            events: self.events.clone(),
            sources: self.sources,
            suppressions: self.suppressions,
            policies: self.policies,
            asker: self.asker,
            docs: self.docs,
            config: self.config,
            evidence: self.evidence,
            bouncers: api::Bouncers::default(),
            streams: api::Slots::default(),
            feeds: self.board,
            hosts: self.hosts,
            databases: Arc::clone(&self.databases),
            history: self.history,
            jobs: self.jobs.clone(),
            killer: self.killer,
            audit: self.audit.clone(),
            tokens: self.tokens,
            doorkeeper: self.doorkeeper,
            privileges: self.privileges,
        };
        // History outlives the others too, as it keeps their last events.
        let closing = CancellationToken::new();
        let keeping = self.historian.map(|historian| tokio::spawn(historian.run(closing.clone())));
        let mut tasks = JoinSet::new();
        // The service outlives the others: what they still ask is answered. It ends when the last handle is gone.
        let verdicts = tokio::spawn(verdicts::run(
            self.service,
            self.commands,
            self.events,
            self.audit.clone(),
            CancellationToken::new(),
        ));
        tasks.spawn(self.analyst.run(shutdown.clone()));
        tasks.spawn(self.intel.run(shutdown.clone()));
        tasks.spawn(self.keeper.run(shutdown.clone()));
        tasks.spawn(names);
        tasks.spawn(feeds);
        tasks.spawn(responder.run(self.orders, self.enforcements));
        tasks.spawn(operators::run(context.doorkeeper.operators().clone(), shutdown.clone()));
        tasks.spawn(self.follower.run(shutdown.clone()));
        tasks.spawn(self.managers.run(shutdown.clone()));
        tasks.spawn(geoip::follow(self.databases, shutdown.clone()));
        let watchdog = sd_notify::watchdog_enabled();
        let manager = supervision::Manager::of_environment();
        tasks.spawn(supervision::tell(manager, watchdog, context.sources.clone(), shutdown.clone()));
        tasks.spawn(door::follow(doors.tls, shutdown.clone()));
        for listener in doors.listeners {
            match listener.tcp_address() {
                Some(address) => info!(%address, "API"),
                None => info!("API on a unix socket"),
            }
            let (router, shutdown) = (api::router(context.clone()), shutdown.clone());
            tasks.spawn(async move {
                api::serve(listener, router, shutdown).await;
                Ok(())
            });
        }
        drop(context);

        let mut result = tokio::select! {
            () = stop => Ok(()),
            ended = tasks.join_next() => Err(early(ended)),
            ended = self.watcher.run(kernel, shutdown.clone()) => ended.context("the watcher ended early"),
        };
        shutdown.cancel();
        self.jobs.close();
        while let Some(ended) = tasks.join_next().await {
            result = result.and(ended.context("a task panicked").flatten());
        }
        let ended = verdicts.await.context("the verdict service panicked").map(drop);
        // Everybody who tells of events has ended: what they told is kept and written before the daemon goes. History
        // first: the findings that it holds are what the sinks would wait for.
        closing.cancel();
        let kept = match keeping {
            Some(keeping) => keeping.await.context("history panicked").flatten(),
            None => Ok(()),
        };
        sinks.finish().await;
        // It ends within milliseconds of being told to; a fault of its own was logged and takes nothing else along.
        if let Some(replaying) = replaying {
            let _ = tokio::task::spawn_blocking(|| replaying.join()).await;
        }
        result.and(ended).and(kept)
    }
}

fn early(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(panic)) => anyhow::Error::new(panic).context("a task panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the daemon ended early"),
    }
}

/// Unloads, or leaves everything in place.
fn finish(mut kernel: Kernel, keep: bool) -> anyhow::Result<()> {
    if !keep {
        let unloaded = kernel.unload().context("cannot unload everything")?;
        info!(links = unloaded.links, filters = unloaded.filters, "unloaded");
        return Ok(());
    }
    // Left in place on purpose, so silence is no fault: verdicts hold until they expire.
    kernel.steering().set_heartbeat_limit(0)?;
    kernel.keep(true);
    info!("enforcement stays in place; `netd unload` removes it");
    Ok(())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
