//! Tasks, channels, shutdown: the only room that spawns.
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
mod geoip;
mod host;
mod intel;
mod respond;
mod shift;
mod snapshot;
mod sweep;
mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use ipnet::IpNet;
use netd_common::{control::Mode, flow::ticks};
use netd_engine::{config::Config as EngineConfig, intel::Intel};
use netd_geoip::Databases;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch as channel},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    api,
    config::files::IntelList,
    host::addresses::Addresses,
    kernel::{self, Kernel, interfaces},
    store::{
        Findings, Flows, disk::StateDir, events::Events, evidence::Evidence, questions, status,
        suppressions::Suppressions,
    },
    verdicts::{self, Guard, Handle, Now, Service, Settings},
};

/// Everything `netd run` is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub kernel: kernel::Options,
    pub interfaces: interfaces::Choice,
    /// How far the programs go. What a policy asks for acts only as far as this and its own mode allow.
    pub mode: Mode,
    pub engine: EngineConfig,
    /// Threat intelligence, and the files it came from.
    pub intel: Arc<Intel>,
    pub lists: Vec<IntelList>,
    /// Where verdicts and lists survive a restart; `None` keeps them nowhere.
    pub state_dir: Option<PathBuf>,
    pub listen: Vec<api::Listen>,
    /// Names by which the API may be called, besides `localhost`.
    pub hosts: Vec<String>,
    /// Databases of countries and autonomous systems.
    pub geoip: netd_geoip::Paths,
    /// Findings kept for the API, and block-lists there can be.
    pub findings: usize,
    pub blocklists: usize,
    /// Whether the API shows its documentation, and what the configuration file sets, without secrets.
    pub docs: bool,
    pub config: serde_json::Value,
    /// Bytes of first payload kept for evidence, and as many again for findings.
    pub evidence_ring: usize,
    /// Prefixes that are never cut, besides those netd finds out itself.
    pub protect: Vec<IpNet>,
    /// Programs pass everything when the daemon has been silent this long; zero never.
    pub heartbeat_limit: Duration,
    /// Leaves enforcement in place at the end.
    pub keep: bool,
}

/// A flow that goes on is reported this often; the engine's idle timeouts are longer.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// Verdicts that may wait for the service, and responses.
const ENFORCE_QUEUE: usize = 1_024;

/// Runs the daemon until SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot start, or a part of it ends early. Enforcement then stays in place, as after a kill.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // Bound before anything is attached: a second daemon fails here and has touched nothing.
    let mut listeners = Vec::new();
    for listen in &options.listen {
        listeners.push(api::Listener::bind(listen).await.with_context(|| format!("cannot serve the API on {listen}"))?);
    }
    let keep = options.keep;
    let (mut kernel, parts) = start(options)?;
    let shutdown = CancellationToken::new();
    let ended = parts.serve(&mut kernel, listeners, &shutdown, async {
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
    suppressions: Arc<Suppressions>,
    asker: questions::Asker,
    watcher: watch::Watcher,
    service: Service<kernel::VerdictMaps>,
    handle: Handle,
    commands: mpsc::Receiver<verdicts::Command>,
    enforcements: mpsc::Receiver<netd_engine::verdict::Verdict>,
    orders: mpsc::Receiver<netd_engine::respond::Order>,
    programs: Arc<netd_engine::process::Programs>,
    findings: Arc<Findings>,
    flows: Arc<Flows>,
    events: Events,
    evidence: Arc<Evidence>,
    docs: bool,
    config: Arc<serde_json::Value>,
    sources: status::Sources,
    hosts: Arc<[String]>,
    databases: Arc<Databases>,
    /// Automatic verdicts that the service refused.
    refused: Arc<AtomicU64>,
}

/// Loads, takes over what a former run left, attaches.
fn start(options: Options) -> anyhow::Result<(Kernel, Parts)> {
    let (mut kernel, mut degraded) = Kernel::load(&options.kernel).context("cannot load the kernel programs")?;
    // Until everything is in place a failure must leave enforcement of a former run as it was.
    kernel.keep(true);
    let steering = kernel.steering();
    steering.set_timeouts(
        ticks(u64::from(options.engine.flows.turn_gap_ms) * 1_000_000),
        ticks(nanoseconds(ACTIVE_TIMEOUT)),
    )?;
    steering.set_heartbeat_limit(nanoseconds(options.heartbeat_limit))?;

    let addresses = Addresses::current().context("cannot learn this host's addresses")?;
    let mut engine_config = options.engine;
    engine_config.networks.own.extend(addresses.own.iter().copied().map(IpNet::from));
    engine_config.networks.protected.extend(addresses.iter().map(IpNet::from));
    engine_config.networks.protected.extend(options.protect.iter().copied());
    engine_config.flows.report = true;
    let databases = geoip::load(options.geoip);
    if !databases.is_empty() {
        engine_config.geography = Some(Arc::clone(&databases) as _);
    }

    let disk =
        options.state_dir.as_deref().map(StateDir::open).transpose().context("cannot open the state directory")?;
    let settings =
        Settings { mode: options.mode, protect: guards(&addresses, &options.protect), max_lists: options.blocklists };
    let disk_for_histories = disk.clone();
    let suppressions = Arc::new(Suppressions::open(disk.clone()));
    let service = Service::start(kernel.verdict_maps()?, disk, settings, Now::read())
        .context("cannot take over the verdicts in the kernel")?;

    let interfaces = interfaces::Watch::new(options.interfaces)?;
    degraded.extend(kernel.attach(interfaces.current()).context("cannot attach the kernel programs")?);
    for missing in &degraded {
        warn!(what = missing.what, why = missing.why, consequence = missing.consequence, "going on without it");
    }
    for interface in kernel.watched() {
        info!(interface = interface.name, index = interface.index, "watching");
    }

    let events = Events::default();
    let findings = Arc::new(Findings::new(options.findings).telling(events.clone()));
    let flows = Arc::new(Flows::new(engine_config.flows.limit).telling(events.clone()));
    let evidence = Arc::new(Evidence::new(options.evidence_ring));
    let (enforce, enforcements) = mpsc::channel(ENFORCE_QUEUE);
    let (respond, orders) = mpsc::channel(ENFORCE_QUEUE);
    let programs = Arc::new(engine_config.programs.clone());
    let (intel, renewed) = intel::Renewer::new(options.lists, options.intel);
    let (asker, asked) = questions::channel();
    let (tally, tallies) = channel::channel(analyse::Tally::default());
    let analyst = analyse::Analyst {
        engine: snapshot::restored(engine_config, disk_for_histories.as_ref()),
        shift: shift::Shift::measure(),
        saver: snapshot::Saver::new(disk_for_histories),
        events: kernel.events()?,
        host: host::Host::start(kernel.processes()?).context("cannot start the threads that look at processes")?,
        sweeper: sweep::Sweeper::new(kernel.flows()?),
        steering,
        findings: Arc::clone(&findings),
        flows: Arc::clone(&flows),
        evidence: Arc::clone(&evidence),
        enforce,
        respond,
        tally,
        intel: renewed,
        suppressions: suppressions.subscribe(),
        asked,
    };
    let refused = Arc::new(AtomicU64::new(0));
    let shared = watch::Shared { refused: Arc::clone(&refused), databases: Arc::clone(&databases) };
    let (watcher, sources) = watch::Watcher::new(&kernel, interfaces, tallies, shared, degraded)?;
    let (handle, commands) = verdicts::channel();
    let hosts = options.hosts.into();
    let parts = Parts {
        analyst,
        intel,
        suppressions,
        asker,
        watcher,
        service,
        handle,
        commands,
        enforcements,
        orders,
        programs,
        findings,
        flows,
        events,
        evidence,
        docs: options.docs,
        config: Arc::new(options.config),
        sources,
        hosts,
        databases,
        refused,
    };
    Ok((kernel, parts))
}

impl Parts {
    /// Serves until `stop` resolves or a part ends early.
    async fn serve(
        self,
        kernel: &mut Kernel,
        listeners: Vec<api::Listener>,
        shutdown: &CancellationToken,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let responder = respond::Responder {
            handle: self.handle.clone(),
            findings: Arc::clone(&self.findings),
            programs: self.programs,
            refused: self.refused,
        };
        let context = api::Context {
            verdicts: self.handle,
            findings: self.findings,
            flows: self.flows,
            events: self.events.clone(),
            sources: self.sources,
            suppressions: self.suppressions,
            asker: self.asker,
            docs: self.docs,
            config: self.config,
            evidence: self.evidence,
            bouncers: api::Bouncers::default(),
            streams: api::Slots::default(),
            hosts: self.hosts,
            databases: Arc::clone(&self.databases),
        };
        let mut tasks = JoinSet::new();
        // The service outlives the others: what they still ask is answered. It ends when the last handle is gone.
        let verdicts = tokio::spawn(verdicts::run(self.service, self.commands, self.events, CancellationToken::new()));
        tasks.spawn(self.analyst.run(shutdown.clone()));
        tasks.spawn(self.intel.run(shutdown.clone()));
        tasks.spawn(responder.run(self.orders, self.enforcements));
        tasks.spawn(geoip::follow(self.databases, shutdown.clone()));
        for listener in listeners {
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
        while let Some(ended) = tasks.join_next().await {
            result = result.and(ended.context("a task panicked").flatten());
        }
        verdicts.await.context("the verdict service panicked")?;
        result
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

fn guards(addresses: &Addresses, protect: &[IpNet]) -> Vec<(Guard, Vec<IpNet>)> {
    let nets = |set: &std::collections::BTreeSet<std::net::IpAddr>| set.iter().copied().map(IpNet::from).collect();
    vec![
        (Guard::Own, nets(&addresses.own)),
        (Guard::Gateway, nets(&addresses.gateways)),
        (Guard::Resolver, nets(&addresses.resolvers)),
        (Guard::Config, protect.to_vec()),
    ]
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
