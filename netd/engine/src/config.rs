//! What an operator may set. Every field has a default; a mistyped key is an error.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use crate::policy::Policies;
use crate::process::Programs;
use crate::region::Geography;
use crate::services::Services;
use crate::tools::Tools;
use crate::weights::Weights;

/// The engine's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub networks: Networks,
    pub flows: Flows,
    pub histories: Histories,
    pub names: Names,
    pub dns: Dns,
    /// None: every report is told, as a capture's should be.
    pub reports: Option<Reports>,
    /// The secret under which targets and names are counted; 0 for results that repeat.
    #[serde(skip)]
    pub sketch_key: u64,
    /// What evidence is worth.
    #[serde(skip)]
    pub weights: Weights,
    /// Services that every network has.
    #[serde(skip)]
    pub services: Services,
    /// Tunnel and remote-access tools.
    #[serde(skip)]
    pub tools: Tools,
    /// Programs that hold others' streams for a living.
    #[serde(skip)]
    pub programs: Programs,
    /// What findings may lead to.
    #[serde(skip)]
    pub policies: Arc<Policies>,
    /// Says where addresses are; none: nothing is said of countries and autonomous systems.
    #[serde(skip)]
    pub geography: Option<Arc<dyn Geography>>,
}

/// Which addresses are whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Networks {
    /// Monitored networks. None given: the private, unique-local and link-local ones and the host's own addresses.
    pub local: Vec<IpNet>,
    /// This host's own addresses: monitored whatever `local` says.
    pub own: Vec<IpNet>,
    /// Never blocked: gateway, resolvers, time servers, whoever administers this host.
    pub protected: Vec<IpNet>,
}

/// The conversation table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flows {
    /// Conversations held at once, about 400 bytes each, 130 more where the responder leads; the one silent
    /// longest gives way.
    pub limit: usize,
    /// Idle timeouts, seconds. Longer than the kernel's active timeout, or a busy flow would seem idle.
    pub tcp_idle_s: u32,
    pub half_open_idle_s: u32,
    pub udp_idle_s: u32,
    pub other_idle_s: u32,
    /// Idle time after which payload starts a turn, milliseconds: as the kernel programs were told.
    pub turn_gap_ms: u32,
    /// Whether ended conversations are handed out as commands.
    pub report: bool,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            limit: 262_144,
            tcp_idle_s: 3_600,
            half_open_idle_s: 60,
            udp_idle_s: 180,
            other_idle_s: 60,
            turn_gap_ms: 750,
            report: false,
        }
    }
}

/// The histories of pairs and names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Histories {
    /// Histories held at once, about 400 bytes each, 1 KB more once regular; the one with least evidence gives way.
    pub limit: usize,
}

impl Default for Histories {
    fn default() -> Self {
        Self { limit: 65_536 }
    }
}

/// What DNS answers said of addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Names {
    /// Answers remembered at once, about 150 bytes each; the oldest gives way.
    pub limit: usize,
    /// An answer is remembered for its TTL, but at least and at most this long, seconds: clients hold on to addresses.
    pub least_s: u32,
    pub most_s: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self { limit: 65_536, least_s: 3_600, most_s: 86_400 }
    }
}

/// How many reports are told: of findings, and of their rises. What is acted on is told whatever they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reports {
    /// Of one detector about one originator: at once, and in a minute after that.
    pub source_burst: u32,
    pub source_per_minute: u32,
    /// Of all together. Half of it is for findings of high severity.
    pub burst: u32,
    pub per_minute: u32,
}

impl Default for Reports {
    fn default() -> Self {
        Self { source_burst: 60, source_per_minute: 6, burst: 1_200, per_minute: 600 }
    }
}

/// What is remembered of questions to name servers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Clients times domains watched at once, about 700 bytes each while they are asked, 1 KB more once new names come on
    /// a timer; the one with least information gives way.
    pub zones: usize,
    /// Domains of which the clients are counted, about 60 bytes each; the one with fewest clients gives way.
    pub domains: usize,
    /// Clients, about 300 bytes each; servers, about 60.
    pub clients: usize,
    pub servers: usize,
    /// Names with short-lived addresses, about 250 bytes each.
    pub moving: usize,
    /// Look-ups handed out as commands, at most so many a second over ten seconds; 0: none.
    pub lookups_per_s: u32,
}

impl Default for Dns {
    fn default() -> Self {
        Self { zones: 32_768, domains: 65_536, clients: 8_192, servers: 4_096, moving: 4_096, lookups_per_s: 0 }
    }
}
