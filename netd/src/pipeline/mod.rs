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
mod boot;
mod door;
mod feeds;
mod geoip;
mod history;
mod host;
mod intel;
mod names;
mod operators;
mod policies;
mod respond;
mod shift;
mod sinks;
mod snapshot;
mod succession;
mod supervision;
mod sweep;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use ipnet::IpNet;
use netd_common::{control::Mode, flow::ticks};
use netd_engine::{config::Config as EngineConfig, intel::Intel};
use netd_geoip::Databases;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch as channel},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    api,
    config::{self, feeds::Feed, files::IntelList},
    feeds::board::Board,
    host::addresses::Addresses,
    kernel::{self, Kernel, interfaces},
    privileges,
    sinks::{Sink, Site, Surroundings},
    store::{
        Findings, Flows,
        audit::Audit,
        disk::StateDir,
        events::Events,
        evidence::Evidence,
        history::{History, Limits},
        policies::{Book, Files, InForce},
        questions, status,
        suppressions::Suppressions,
        tokens::Tokens,
    },
    verdicts::{self, Guard, Handle, Now, Operators, Service, Settings},
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
    let (kernel, parts) = start(options)?;
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
    service: Service<kernel::VerdictMaps>,
    handle: Handle,
    commands: mpsc::Receiver<verdicts::Command>,
    enforcements: mpsc::Receiver<respond::Asked>,
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
}

/// Returns what is given up once everything is attached.
fn plan(options: &Options) -> privileges::Plan {
    let level = match options.privileges {
        config::Privileges::Keep => privileges::Level::Keep,
        config::Privileges::Drop => privileges::Level::Drop,
        config::Privileges::None => privileges::Level::None,
    };
    let signals = options.engine.policies.iter().any(|policy| policy.signal().is_some());
    let folders = options.api.listen.iter().filter_map(|listen| match listen {
        api::Listen::Unix(path) => path.parent().map(std::path::Path::to_owned),
        api::Listen::Tcp(_) | api::Listen::Tls(_) => None,
    });
    let outputs = options.sinks.iter().filter_map(Sink::folder);
    // At the end its directory of pins goes, which takes the right to remove from the one above.
    let pins = options.kernel.bpffs.parent().unwrap_or(&options.kernel.bpffs).to_owned();
    let writable = options.state_dir.iter().cloned().chain([pins]).chain(folders).chain(outputs);
    privileges::Plan { level, signals, writable: writable.collect() }
}

/// Loads, takes over what a former run left, attaches, and gives up the privileges for that.
fn start(options: Options) -> anyhow::Result<(Kernel, Parts)> {
    let privileges = plan(&options);
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
    if sinks::want_lookups(&options.sinks) {
        engine_config.dns.lookups_per_s = LOOKUPS_PER_S;
    }
    let databases = geoip::load(options.geoip);
    if !databases.is_empty() {
        engine_config.geography = Some(Arc::clone(&databases) as _);
    }

    let disk =
        options.state_dir.as_deref().map(StateDir::open).transpose().context("cannot open the state directory")?;
    let settings = Settings {
        mode: options.mode,
        protect: guards(&addresses, &options.protect),
        max_lists: options.blocklists,
        accept_degraded: options.accept_degraded,
        ..Settings::default()
    };
    let (disk_for_histories, disk_for_size) = (disk.clone(), disk.clone());
    let suppressions = Arc::new(Suppressions::open(disk.clone()));
    let audit = match &disk {
        Some(disk) => Audit::open(&disk.audit(), crate::time::now()).context("cannot open the audit log")?,
        None => Audit::none(),
    };
    let tokens = Arc::new(Tokens::open(disk.clone()));
    let is_saved = disk.is_some();
    let mut service = Service::start(kernel.verdict_maps()?, disk, settings, Now::read())
        .context("cannot take over the verdicts in the kernel")?;
    if kernel.succeeds() {
        succession::check_filled(&service, is_saved)?;
    }

    let interfaces = interfaces::Watch::new(options.interfaces)?;
    degraded.extend(kernel.attach(interfaces.current()).context("cannot attach the kernel programs")?);
    degraded.extend(prove(&mut service)?);
    if kernel.succeeds() {
        succession::check_proved(&service)?;
        degraded.extend(kernel.take_over().context("cannot take over from another version")?);
    }
    for missing in &degraded {
        warn!(what = missing.what, why = missing.why, consequence = missing.consequence, "going on without it");
    }
    for interface in kernel.watched() {
        info!(interface = interface.name, index = interface.index, "watching");
    }

    let held = privileges::confine(&privileges)
        .context("cannot give up privileges; privileges = \"keep\" in the configuration goes on with all of them")?;
    let names: Vec<&str> = held.capabilities.iter().map(|capability| capability.name.as_str()).collect();
    info!(level = ?held.level, capabilities = names.join(" "), seccomp = held.seccomp, landlock = held.landlock, "privileges");

    let events = Events::default();
    let past = past(options.state_dir.as_deref(), options.history, options.findings, &databases, &mut degraded);
    let (history, past) = past.map_or((None, None), |past| (Some(Arc::clone(&past.history)), Some(past)));
    let most_id = history.as_ref().map_or(0, |history| history.most_id());
    let flows = Flows::new(engine_config.flows.limit).numbered_after(most_id);
    let flows = Arc::new(flows.telling(events.clone()));
    let evidence = Arc::new(Evidence::new(options.evidence_ring));
    let findings = Findings::new(options.findings).telling(events.clone());
    let mut past = past;
    let opened = past.as_mut().map(|past| std::mem::take(&mut past.opened)).unwrap_or_default();
    let findings = Arc::new(findings.restored(opened.findings));
    let historian = past.map(|past| past.keeper(events.listen(), Arc::clone(&findings)));
    let (enforce, enforcements) = mpsc::channel(ENFORCE_QUEUE);
    let (respond, orders) = mpsc::channel(ENFORCE_QUEUE);
    let programs = Arc::new(engine_config.programs.clone());
    let (resolve, resolved) = mpsc::channel(ENFORCE_QUEUE);
    let (feeds, board, texts) = feeds::Feeds::new(options.feeds, disk_for_histories.clone());
    let (intel, renewed) = intel::Renewer::new(options.lists, options.intel, texts);
    let (tell_lookup, lookups) = mpsc::channel(LOOKUPS);
    let (asker, asked) = questions::channel();
    let (handle, commands) = verdicts::channel();
    let operators = Operators::new(handle.clone());
    let doorkeeper = api::Doorkeeper::new(options.api.access(), Arc::clone(&tokens), operators);
    let in_force = InForce {
        policies: Arc::clone(&engine_config.policies),
        services: engine_config.services.clone(),
        weights: Arc::new(engine_config.weights.clone()),
    };
    let book = Book::new(options.files.clone(), in_force);
    let book = Arc::new(if held.may_signal() { book } else { book.without_signals() });
    for policy in book.policies().iter() {
        if let Some(why) = book.withheld(policy) {
            warn!(policy = &*policy.name, why, "the policy is in force without this measure");
            let consequence = "it does everything else that it asks for".to_owned();
            degraded.push(kernel::Degraded { what: format!("policy {}", policy.name), why, consequence });
        }
    }
    let (keeper, kept) = policies::Keeper::new(Arc::clone(&book), &options.files.policies, handle.clone());
    let (tally, tallies) = channel::channel(analyse::Tally::default());
    let mut engine = snapshot::restored(engine_config, disk_for_histories.as_ref());
    engine.number_findings_after(opened.last_id);
    let analyst = analyse::Analyst {
        engine,
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
        resolve,
        lookups: tell_lookup,
        listed: service.listed(),
        tally,
        intel: renewed,
        suppressions: suppressions.subscribe(),
        policies: kept,
        asked,
    };
    let refused = Arc::new(AtomicU64::new(0));
    let sink_tallies = sinks::tallies(&options.sinks);
    let shared = watch::Shared {
        refused: Arc::clone(&refused),
        databases: Arc::clone(&databases),
        disk: disk_for_size,
        sinks: Arc::clone(&sink_tallies),
        history: history.clone(),
    };
    let (watcher, sources) = watch::Watcher::new(&kernel, interfaces, tallies, shared, degraded)?;
    let surroundings = Surroundings {
        site: Site { host: host_name(), local: options.local_networks },
        sources: sources.clone(),
        databases: Arc::clone(&databases),
    };
    let sinks =
        sinks::ready(options.sinks, &sink_tallies, sinks::Told { events: events.listen(), lookups }, &surroundings)?;
    let hosts = options.api.hosts.into();
    let parts = Parts {
        analyst,
        intel,
        keeper,
        policies: book,
        feeds,
        board,
        resolved,
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
        docs: options.api.docs,
        config: Arc::new(options.config),
        sources,
        hosts,
        audit,
        tokens,
        doorkeeper,
        privileges: Arc::new(held),
        databases,
        sinks,
        refused,
        history,
        historian,
    };
    Ok((kernel, parts))
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
            programs: self.programs,
            refused: self.refused,
            audit: self.audit.clone(),
            shift: self.analyst.shift,
        };
        let names = names::run(self.handle.clone(), self.resolved);
        let feeds = self.feeds.run(self.handle.clone(), shutdown.clone());
        let sinks = self.sinks.start()?;
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
        result.and(ended).and(kept)
    }
}

/// Opens history; without it netd goes on.
fn past(
    state_dir: Option<&Path>,
    limits: Option<Limits>,
    findings: usize,
    databases: &Arc<Databases>,
    degraded: &mut Vec<kernel::Degraded>,
) -> Option<history::Start> {
    let folder = state_dir?.join("history");
    let geography = (!databases.is_empty()).then(|| Arc::clone(databases) as _);
    match history::open(&folder, limits?, findings, geography) {
        Ok(start) => Some(start),
        Err(error) => {
            degraded.push(kernel::Degraded {
                what: "history".to_owned(),
                why: error.to_string(),
                consequence: "flows and findings are forgotten at the end".to_owned(),
            });
            None
        }
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

/// Has every hook prove that it denies; returns those that do not.
fn prove(service: &mut Service<kernel::VerdictMaps>) -> anyhow::Result<Vec<kernel::Degraded>> {
    service.prove(Now::read()).context("cannot prove that verdicts act")?;
    let status = service.status()?;
    let silent = status.proofs.iter().filter(|proof| !proof.denies);
    let consequence = status.reason().unwrap_or_else(|| "what a verdict names passes there".to_owned());
    Ok(silent
        .map(|proof| kernel::Degraded {
            what: format!("hook {}", proof.hook),
            why: proof.why.clone(),
            consequence: consequence.clone(),
        })
        .collect())
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

/// Returns this host's name as outputs tell it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
