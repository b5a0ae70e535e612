//! `netd run`: the daemon.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use ipnet::IpNet;
use netd_engine::config::{Config as EngineConfig, Flows, Histories, Networks, Reports};

use crate::{
    config::{
        self, Config, Interfaces, LogFormat, Mode, Network, Xdp,
        files::{self, Files},
        reload::Started,
    },
    kernel::{self, interfaces::Choice},
    pipeline::{self, Options},
    store::policies,
};

/// Watches the network until SIGINT or SIGTERM. Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file; without it /etc/netd/netd.toml, if there is one.
    #[arg(long, value_name = "FILE", env = "NETD_CONFIG")]
    pub config: Option<PathBuf>,
    /// How far netd goes, instead of what the configuration says.
    #[arg(long, value_enum)]
    pub mode: Option<ModeName>,
    /// Interfaces to watch, separated by commas, or auto.
    #[arg(long, value_name = "NAMES")]
    pub interfaces: Option<String>,
    /// Policy file, or a directory of them.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Leaves enforcement in place when stopped; `netd unload` removes it.
    #[arg(long)]
    pub keep: bool,
    /// Version under which maps are pinned: for tests of upgrades, which have one version of the program.
    #[arg(long, value_name = "NUMBER", hide = true, default_value_t = netd_common::names::ABI)]
    pub layout: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeName {
    /// Findings only.
    Observe,
    /// Counts what it would have dropped.
    Shadow,
    /// Drops, throttles, resets, refuses.
    Enforce,
}

/// Runs the daemon.
///
/// # Errors
/// When it cannot start, or a part of it ends early.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::read_default()?,
    };
    if let Some(mode) = args.mode {
        config.mode = match mode {
            ModeName::Observe => Mode::Observe,
            ModeName::Shadow => Mode::Shadow,
            ModeName::Enforce => Mode::Enforce,
        };
    }
    if let Some(policy) = &args.policy {
        config.policy.clone_from(policy);
    }
    let interfaces = args.interfaces.as_deref().map_or_else(|| choice(&config.interfaces), Choice::parse);
    log_to_stderr(&config.log)?;
    // Read once more: what was parsed does not tell what the file sets from what is a default.
    let path = args.config.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut options = options(config, interfaces, args.keep)?;
    options.kernel.layout = args.layout;
    options.config = config::shown::shown(&text);
    options.files.config = Started::with(path, &text);
    pipeline::run(options)
}

fn options(config: Config, interfaces: Choice, keep: bool) -> anyhow::Result<Options> {
    let Files { policies, services, weights, intel } = files::read(&config)?;
    Ok(Options {
        kernel: kernel_options(&config),
        interfaces,
        mode: config.mode.control(),
        engine: EngineConfig {
            networks: Networks { local: nets(&config.local_networks), ..Networks::default() },
            flows: Flows { limit: config.limits.conversations, ..Flows::default() },
            histories: Histories { limit: config.limits.pairs },
            reports: Some(Reports::default()),
            sketch_key: RandomState::new().hash_one(0_u64),
            policies: Arc::new(policies),
            services,
            weights,
            ..EngineConfig::default()
        },
        files: policies::Files {
            policies: config.policy,
            services: config.services,
            weights: config.weights,
            config: Started::default(),
        },
        accept_degraded: config.accept_degraded,
        intel: Arc::new(intel),
        lists: config.intel,
        feeds: config.feeds,
        state_dir: Some(config.state_dir),
        api: config.api,
        privileges: config.privileges,
        geoip: config.geoip.paths(),
        sinks: config.sink,
        local_networks: nets(&config.local_networks),
        history: config.store.limits(),
        findings: config.limits.findings,
        blocklists: config.limits.blocklists,
        config: serde_json::Value::Null,
        evidence_ring: config.capture.evidence_ring,
        protect: nets(&config.protect),
        management_ports: config.management_ports,
        heartbeat_limit: config.heartbeat_limit,
        keep,
    })
}

/// Returns how to load.
pub(super) fn kernel_options(config: &Config) -> kernel::Options {
    kernel::Options {
        bpffs: config.bpffs.clone(),
        flows_per_cpu: config.limits.flows_per_cpu,
        hosts: config.limits.listed_hosts,
        prefixes: config.limits.listed_prefixes,
        xdp: match config.xdp {
            Xdp::Auto => kernel::Xdp::Auto,
            Xdp::Native => kernel::Xdp::Native,
            Xdp::Generic => kernel::Xdp::Generic,
            Xdp::Off => kernel::Xdp::Off,
        },
        cgroup: config.cgroup,
        ..kernel::Options::default()
    }
}

/// Returns which interfaces are meant.
pub(super) fn choice(interfaces: &Interfaces) -> Choice {
    match interfaces {
        Interfaces::Auto => Choice::Auto,
        Interfaces::Named(names) => Choice::Named(names.clone()),
    }
}

pub(super) fn nets(networks: &[Network]) -> Vec<IpNet> {
    networks.iter().map(|Network(net)| *net).collect()
}

pub(super) fn log_to_stderr(log: &config::Log) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.level)
        .with_context(|| format!("log.level '{}' is neither a level nor a filter", log.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error).context("cannot start logging"))
}
