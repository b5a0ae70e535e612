//! The daemon's configuration: a TOML file in which every key is optional.

mod api;
mod boot;
mod capture;
pub mod feeds;
pub mod files;
mod geoip;
mod management;
pub mod policies;
pub mod reload;
pub mod shown;
mod sinks;
mod store;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};

pub use self::api::{Api, Grant, Tls, TlsMode};
pub use self::boot::Boot;
pub use self::capture::Capture;
use self::files::IntelList;
pub use self::geoip::Geoip;
pub use self::store::Store;
use crate::host::logins::Ports;
use crate::sinks::Sink;
use crate::time;

/// The file that `netd config default` prints: every key with its default.
pub const DEFAULT: &str = include_str!("default.toml");

/// Where the file is looked for unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/netd/netd.toml";

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
    pub interfaces: Interfaces,
    pub xdp: Xdp,
    pub state_dir: PathBuf,
    pub bpffs: PathBuf,
    /// Whether to attach to the cgroup tree: who opens a socket, and refusal with an error.
    pub cgroup: bool,
    /// Policy file, or a directory of them; empty is the one netd ships.
    pub policy: PathBuf,
    /// Benign services; empty: those netd ships.
    pub services: PathBuf,
    /// Weights and thresholds; empty: those netd ships.
    pub weights: PathBuf,
    /// Whether to enforce although a hook does not prove that it denies.
    pub accept_degraded: bool,
    /// Lists of threat intelligence.
    pub intel: Vec<IntelList>,
    /// Lists that are fetched.
    #[serde(rename = "feed")]
    pub feeds: Vec<feeds::Feed>,
    /// Never cut.
    pub protect: Vec<Network>,
    /// Where whoever manages this host comes to.
    #[serde(deserialize_with = "management::deserialize")]
    pub management_ports: Ports,
    /// Whose traffic is judged; none: the private networks and this host's own addresses.
    pub local_networks: Vec<Network>,
    /// Programs pass everything when the daemon has been silent for longer; zero: never.
    #[serde(deserialize_with = "duration")]
    pub heartbeat_limit: Duration,
    /// What `netd boot` does when it cannot do its work.
    pub boot: Boot,
    pub api: Api,
    pub privileges: Privileges,
    pub limits: Limits,
    pub capture: Capture,
    pub geoip: Geoip,
    /// Where findings, flows and verdicts are written or sent.
    #[serde(deserialize_with = "sinks::deserialize")]
    pub sink: Vec<Sink>,
    pub store: Store,
    pub log: Log,
}

/// How far netd goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Observe,
    Shadow,
    Enforce,
}

impl Mode {
    /// Returns the mode as the kernel knows it.
    #[must_use]
    pub const fn control(self) -> netd_common::control::Mode {
        match self {
            Self::Observe => netd_common::control::Mode::Observe,
            Self::Shadow => netd_common::control::Mode::Shadow,
            Self::Enforce => netd_common::control::Mode::Enforce,
        }
    }
}

/// Which interfaces are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// All that are up, except loopback.
    #[default]
    Auto,
    Named(Vec<String>),
}

/// Where the early drop of listed addresses runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// In the driver, or in the stack where the driver cannot.
    #[default]
    Auto,
    Native,
    Generic,
    Off,
}

/// An address or a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// What netd keeps of root's power once its programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privileges {
    /// Everything it was started with.
    Keep,
    /// What its work takes: sockets and processes of others.
    #[default]
    Drop,
    /// Nothing: what is attached goes on, other users' processes are not looked into.
    None,
}

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Conversations in the kernel's table, each CPU.
    pub flows_per_cpu: u32,
    /// Conversations the engine holds, and the API shows.
    pub conversations: usize,
    /// Histories of pairs.
    pub pairs: usize,
    pub findings: usize,
    pub blocklists: usize,
    /// Addresses and prefixes that can be listed.
    pub listed_hosts: u32,
    pub listed_prefixes: u32,
}

/// What netd says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or a filter like `info,netd::api=debug`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            interfaces: Interfaces::default(),
            xdp: Xdp::default(),
            state_dir: PathBuf::from("/var/lib/netd"),
            bpffs: PathBuf::from("/sys/fs/bpf/netd"),
            cgroup: true,
            policy: PathBuf::new(),
            accept_degraded: false,
            services: PathBuf::new(),
            weights: PathBuf::new(),
            intel: Vec::new(),
            feeds: Vec::new(),
            protect: Vec::new(),
            management_ports: Ports::default(),
            local_networks: Vec::new(),
            heartbeat_limit: Duration::from_secs(600),
            boot: Boot::default(),
            api: Api::default(),
            privileges: Privileges::default(),
            limits: Limits::default(),
            capture: Capture::default(),
            geoip: Geoip::default(),
            sink: Vec::new(),
            store: Store::default(),
            log: Log::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows_per_cpu: 65_536,
            conversations: 262_144,
            pairs: 65_536,
            findings: 10_000,
            blocklists: 64,
            listed_hosts: 16_777_216,
            listed_prefixes: 4_194_304,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The parser's own text shows line and column.
    #[error("{}: {source}", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{}: {key} is {got}; it must be {wanted}", path.display())]
    Value { path: PathBuf, key: &'static str, got: String, wanted: &'static str },
}

impl Config {
    /// Reads a file and checks it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads the file at the usual place, or takes the defaults when there is none.
    pub fn read_default() -> Result<Self, Error> {
        match Self::read(Path::new(DEFAULT_PATH)) {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            other => other,
        }
    }

    /// Reads a text; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let config: Self =
            toml::from_str(text).map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })?;
        match config.flaw() {
            None => Ok(config),
            Some((key, got, wanted)) => Err(Error::Value { path: path.to_owned(), key, got, wanted }),
        }
    }

    /// Returns the first value that cannot be meant: its key, itself, what it must be.
    fn flaw(&self) -> Option<(&'static str, String, &'static str)> {
        let Limits { flows_per_cpu, conversations, pairs, findings, blocklists, listed_hosts, listed_prefixes } =
            self.limits;
        let within = |key, got: u64, range: std::ops::RangeInclusive<u64>, wanted| {
            (!range.contains(&got)).then(|| (key, got.to_string(), wanted))
        };
        let table = 1_u64..=1 << 26;
        let wanted = "from 1 to 67108864";
        within("limits.flows_per_cpu", flows_per_cpu.into(), 1_024..=1 << 22, "from 1024 to 4194304")
            .or_else(|| within("limits.conversations", conversations as u64, table.clone(), wanted))
            .or_else(|| within("limits.pairs", pairs as u64, table.clone(), wanted))
            .or_else(|| within("limits.findings", findings as u64, 1..=1_000_000, "from 1 to 1000000"))
            .or_else(|| {
                within("capture.evidence_ring", self.capture.evidence_ring as u64, 0..=1 << 30, "from 0 to 1073741824")
            })
            .or_else(|| within("limits.blocklists", blocklists as u64, 1..=256, "from 1 to 256"))
            .or_else(|| within("limits.listed_hosts", listed_hosts.into(), table.clone(), wanted))
            .or_else(|| within("limits.listed_prefixes", listed_prefixes.into(), table.clone(), wanted))
            .or_else(|| {
                let seconds = self.heartbeat_limit.as_secs();
                let wanted = "0s (never) or at least 5s, or a busy daemon would stop enforcing";
                (seconds > 0 && seconds < 5).then(|| ("heartbeat_limit", format!("{seconds}s"), wanted))
            })
            .or_else(|| within("store.max_size", self.store.max_size, 16 << 20..=1 << 50, "from 16MiB to 1024TiB"))
            .or_else(|| {
                let wanted = "from 1h to 3650d";
                within("store.retention", self.store.retention.as_secs(), 3_600..=3_650 * 86_400, wanted)
            })
            .or_else(|| feeds::flaw(&self.feeds))
            .or_else(|| absolute("state_dir", &self.state_dir))
            .or_else(|| absolute("bpffs", &self.bpffs))
            .or_else(|| self.api.flaw())
            .or_else(|| self.geoip.paths().country.and_then(|path| absolute("geoip.country", &path)))
            .or_else(|| self.geoip.paths().asn.and_then(|path| absolute("geoip.asn", &path)))
    }
}

fn absolute(key: &'static str, path: &Path) -> Option<(&'static str, String, &'static str)> {
    (!path.is_absolute()).then(|| (key, format!("'{}'", path.display()), "an absolute path"))
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let net = net.map_err(|_| format!("'{text}' is not an IP address or prefix"))?;
        match net.trunc() == net {
            true => Ok(Self(net)),
            false => Err(format!("'{text}' has host bits set; the prefix is {}", net.trunc())),
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: Vec<String> = one_or_many(deserializer)?;
        match names.as_slice() {
            [auto] if auto == "auto" => Ok(Self::Auto),
            [] => Err(D::Error::custom("name at least one interface, or say \"auto\"")),
            names if names.iter().any(|name| name == "auto") => {
                Err(D::Error::custom("\"auto\" already means all interfaces that are up"))
            }
            names => match names.iter().find(|name| name.is_empty() || name.len() > 15 || name.contains(['/', ' '])) {
                Some(name) => Err(D::Error::custom(format!("'{name}' cannot be the name of an interface"))),
                None => Ok(Self::Named(names.to_vec())),
            },
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    time::duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads one text or a list of them.
fn one_or_many<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<String>, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = texts.next_element()? {
                all.push(text);
            }
            Ok(all)
        }
    }
    Ok(deserializer.deserialize_any(OneOrMany)?.into_iter().map(T::from).collect())
}

#[cfg(test)]
mod tests;
