//! From nothing to everything that is ready to serve. One thread does it, and gives up its privileges on the way: what
//! needs tokio is made ready here and runs later.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::Context as _;
use ipnet::IpNet;
use tokio::sync::{mpsc, watch as channel};
use tracing::{info, warn};

use super::{
    ENFORCE_QUEUE, LOOKUPS, LOOKUPS_PER_S, Options, Parts, analyse, feeds, force, geoip, host, intel, kept, management,
    policies, replays, shift, sinks, snapshot, succession, surroundings, sweep, watch,
};
use crate::{
    api, config,
    host::addresses::{self, Addresses},
    kernel::{self, Kernel, interfaces},
    privileges,
    signals::{Killer, Signaller},
    sinks::{Sink, Site, Surroundings},
    store::{
        Findings, Flows,
        audit::Audit,
        disk::StateDir,
        events::Events,
        evidence::Evidence,
        policies::{Book, InForce},
        questions,
        suppressions::Suppressions,
        tokens::Tokens,
    },
    verdicts::{self, Guard, Now, Operators, Service, Settings},
};

/// Returns what is given up once everything is attached.
fn plan(options: &Options) -> privileges::Plan {
    let level = match options.privileges {
        config::Privileges::Keep => privileges::Level::Keep,
        config::Privileges::Drop => privileges::Level::Drop,
        config::Privileges::None => privileges::Level::None,
    };
    let folders = options.api.listen.iter().filter_map(|listen| match listen {
        api::Listen::Unix(path) => path.parent().map(std::path::Path::to_owned),
        api::Listen::Tcp(_) | api::Listen::Tls(_) => None,
    });
    let outputs = options.sinks.iter().filter_map(Sink::folder);
    // At the end its directory of pins goes, which takes the right to remove from the one above.
    let pins = options.kernel.bpffs.parent().unwrap_or(&options.kernel.bpffs).to_owned();
    let writable = options.state_dir.iter().cloned().chain([pins]).chain(folders).chain(outputs);
    privileges::Plan { level, writable: writable.collect(), ..privileges::Plan::default() }
}

/// Loads, takes over what a former run left, attaches, and gives up the privileges for that.
pub(super) fn start(options: Options) -> anyhow::Result<(Kernel, Parts)> {
    let mut privileges = plan(&options);
    let (mut kernel, mut degraded) = Kernel::load(&options.kernel).context("cannot load the kernel programs")?;
    // Until everything is in place a failure must leave enforcement of a former run as it was.
    kernel.keep(true);
    let steering = force::steer(&kernel, options.engine.flows.turn_gap_ms, options.heartbeat_limit)?;

    // First the subscription, then the look: nothing can happen in between unheard.
    let changes = addresses::Watch::new()?;
    let addresses = Addresses::current().context("cannot learn this host's addresses")?;
    let mut engine_config = options.engine;
    engine_config.networks.protected.extend(options.protect.iter().copied());
    let configured = engine_config.networks.clone();
    let present = management::present(&options.management_ports);
    engine_config.networks = force::networks(&configured, &addresses, present.iter().copied());
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
    let (written, collection) = kept::policies(&options.files.policies, disk.clone(), &mut degraded)?;
    engine_config.policies = collection.policies();
    let signals = engine_config.policies.iter().any(|policy| policy.signal().is_some());
    privileges.signals = signals || options.api.kill;
    let mut protect = force::guards(&addresses, &options.protect);
    protect.push((Guard::Management, present.iter().copied().map(IpNet::from).collect()));
    let settings = Settings {
        mode: options.mode,
        protect,
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
    degraded.extend(force::attach(&mut kernel, &mut service, interfaces.current())?);
    force::warn_of(&degraded);
    for interface in kernel.watched() {
        info!(interface = interface.name, index = interface.index, "watching");
    }

    let held = privileges::confine(&privileges)
        .context("cannot give up privileges; privileges = \"keep\" in the configuration goes on with all of them")?;
    let names: Vec<&str> = held.capabilities.iter().map(|capability| capability.name.as_str()).collect();
    info!(level = ?held.level, capabilities = names.join(" "), seccomp = held.seccomp, landlock = held.landlock, "privileges");

    let events = Events::default();
    let past = kept::past(options.state_dir.as_deref(), options.history, options.findings, &databases, &mut degraded);
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
    let signaller = Signaller { audit: audit.clone(), programs: Arc::new(engine_config.programs.clone()) };
    let (resolve, resolved) = mpsc::channel(ENFORCE_QUEUE);
    let (feeds, board, texts) = feeds::Feeds::new(options.feeds, disk_for_histories.clone());
    let (intel, renewed) = intel::Renewer::new(options.lists, options.intel, texts);
    let (tell_lookup, lookups) = mpsc::channel(LOOKUPS);
    let (jobs, queue) = kept::jobs(options.state_dir.as_deref(), &mut degraded);
    let (asker, asked) = questions::channel();
    let (handle, commands) = verdicts::channel();
    let operators = Operators::new(handle.clone());
    let (managers, logged_in) = management::Managers::new(handle.clone(), options.management_ports, present);
    let (follower, followed) =
        surroundings::Follower::new(changes, addresses, configured, logged_in.clone(), handle.clone());
    let doorkeeper = api::Doorkeeper::new(options.api.access(), Arc::clone(&tokens), operators);
    let in_force = InForce {
        policies: collection,
        services: engine_config.services.clone(),
        weights: Arc::new(engine_config.weights.clone()),
    };
    let book = Book::new(options.files.clone(), in_force).keeping(written);
    let book = Arc::new(if held.may_signal() { book } else { book.without_signals() });
    for policy in book.policies().iter() {
        if let Some(why) = book.withheld(policy) {
            warn!(policy = &*policy.name, why, "the policy is in force without this measure");
            let consequence = "it does everything else that it asks for".to_owned();
            degraded.push(kernel::Degraded { what: format!("policy {}", policy.name), why, consequence });
        }
    }
    let replayer = queue.map(|queue| replays::Replayer {
        queue,
        read: book.subscribe(),
        intel: renewed.clone(),
        databases: Arc::clone(&databases),
        local: options.local_networks.clone(),
    });
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
        networks: followed.networks,
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
        protected: followed.protected,
        managers: logged_in,
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
        follower,
        managers,
        service,
        handle,
        commands,
        enforcements,
        orders,
        killer: killer(options.api.kill, &held, &signaller),
        signaller,
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
        jobs,
        replayer,
    };
    Ok((kernel, parts))
}

/// Returns who kills processes for the API.
fn killer(is_wanted: bool, held: &privileges::Held, signaller: &Signaller) -> Killer {
    let withheld = match (is_wanted, held.may_signal()) {
        (true, true) => None,
        (true, false) => {
            Some("netd does not hold CAP_KILL: its unit has to grant it, and privileges = \"none\" gives it up")
        }
        (false, _) => {
            Some("restart needed: [api] kill = true in the configuration keeps CAP_KILL and lets the API use it")
        }
    };
    Killer { signaller: signaller.clone(), withheld }
}

/// Returns this host's name as outputs tell it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
