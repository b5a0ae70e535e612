//! What `/api/v1/status` tells, field by field. Counters count since the kernel's maps were made, or since the daemon
//! began.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netd_engine::Counts;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::mode::Modes;
use crate::api::policies;
use crate::privileges::Held;
use crate::store::audit::State as AuditState;
use crate::store::history::Report;
use crate::store::policies::Reload;
use crate::store::status::{self, Degraded, Fill, Host, Interface, Loss, Manager, Programs};
use crate::time;
use crate::verdicts::{Proof, Status, TableFill};

/// The daemon at this moment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(in crate::api) struct View<'a> {
    /// Version of the program, as in Semantic Versioning.
    pub(super) version: &'static str,
    /// When the daemon began.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    pub(super) started: Timestamp,
    /// Whole seconds since then.
    pub(super) uptime_s: f64,
    /// How far netd goes.
    pub(super) mode: Modes,
    /// Whether everything passes.
    pub(super) kill_switch: bool,
    /// How far each policy goes, in the order in which they are asked.
    pub(super) policies: Vec<PolicyState<'a>>,
    /// What came of reading the policies the last time.
    pub(super) policy_reload: &'a Reload,
    /// Addresses that are not cut because an operator asks from there.
    pub(super) operators: Vec<Operator>,
    /// Where those come from who are logged in over SSH, or were a moment ago. They are not cut.
    pub(super) managers: &'a [Manager],
    /// Who around this host is never cut, whatever lists and findings say.
    pub(super) protected: Protected,
    /// What each hook made of what a verdict names; empty where nothing was to be proved.
    pub(super) hooks: &'a [Proof],
    /// Whether netd does its work.
    pub(super) ready: bool,
    /// Why it does not; empty when it does.
    pub(super) not_ready: &'a [String],
    /// What the kernel or the host lacks, without which netd goes on.
    pub(super) degraded: &'a [Degraded],
    /// Interfaces that are watched.
    pub(super) interfaces: &'a [Interface],
    /// What the kernel's programs counted.
    pub(super) packets: Packets,
    /// Packets that could not be parsed, which pass, by reason.
    pub(super) unparsed: BTreeMap<&'static str, u64>,
    /// What was lost, by place.
    pub(super) losses: Vec<Loss>,
    /// How full the kernel's flow table is.
    pub(super) flow_slots: Fill,
    /// What the engine has seen, and where it could not keep something.
    pub(super) engine: Counts,
    /// What was looked up of this host's processes.
    pub(super) host: Host,
    /// How full the kernel's tables of verdicts are.
    pub(super) tables: Vec<TableState>,
    /// How full the kernel's table of rules is.
    pub(super) rules: Fill,
    /// Verdicts in force.
    pub(super) verdicts: u64,
    /// Whether the kernel holds what it should.
    pub(super) enforced: Enforced,
    /// Whether every program is where it should be.
    pub(super) programs: &'a Programs,
    /// Findings whose verdict was refused.
    pub(super) verdicts_refused: u64,
    /// Block-lists there are.
    pub(super) blocklists: u64,
    /// Allow-lists there are.
    pub(super) allowlists: u64,
    /// Addresses that are cut because DNS gave them to a listed name.
    pub(super) name_addresses: u64,
    /// Databases of countries and autonomous systems.
    pub(super) geoip: Vec<Geoip<'a>>,
    /// Findings in memory.
    pub(super) findings: FindingCounts,
    /// Conversations in memory.
    pub(super) flows: FlowCounts,
    /// How history fares; null where none is kept.
    pub(super) history: Option<&'a Report>,
    /// How the audit log is.
    pub(super) audit: AuditState,
    /// What the daemon may still do to the host.
    pub(super) privileges: &'a Held,
    /// Whether the API may have processes of findings killed.
    pub(super) api_kill: ApiKill,
    /// Why the last change is not on disk yet; null where it is.
    pub(super) unsaved: Option<&'a str>,
    /// Why the kernel may hold more than is wanted; null where it does not.
    pub(super) out_of_step: Option<&'a str>,
}

/// How far a policy goes.
#[derive(Serialize, JsonSchema)]
pub(super) struct PolicyState<'a> {
    /// The policy's name.
    pub(super) name: &'a str,
    /// How far it goes.
    pub(super) mode: policies::Modes,
}

/// Whether the API may have processes of findings killed.
#[derive(Serialize, JsonSchema)]
pub(super) struct ApiKill {
    /// Whether it may.
    pub(super) allowed: bool,
    /// Why it may not; null where it may.
    pub(super) why_not: Option<&'static str>,
}

/// An address that an operator asks from.
#[derive(Serialize, JsonSchema)]
pub(super) struct Operator {
    /// The address.
    pub(super) address: IpAddr,
    /// Seconds for which it is spared, unless a further request comes from there.
    pub(super) seconds_left: u64,
}

/// Addresses around this host that are never cut; of very many of a kind, some.
#[derive(Serialize, JsonSchema)]
pub(super) struct Protected {
    /// The host's own.
    pub(super) own: Vec<IpAddr>,
    /// Gateways of its routes.
    pub(super) gateways: Vec<IpAddr>,
    /// Servers that it asks for names.
    pub(super) resolvers: Vec<IpAddr>,
    /// How often they changed since the start.
    pub(super) changes: u64,
}

impl From<&status::Protected> for Protected {
    fn from(protected: &status::Protected) -> Self {
        /// Addresses of a kind that are named.
        const SOME: usize = 64;
        let some = |addresses: &BTreeSet<IpAddr>| addresses.iter().copied().take(SOME).collect();
        Self {
            own: some(&protected.own),
            gateways: some(&protected.gateways),
            resolvers: some(&protected.resolvers),
            changes: protected.changes,
        }
    }
}

/// What the kernel's programs counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PacketCounts")]
pub(super) struct Packets {
    /// Packets that came in, on the wire.
    pub(super) ingress: u64,
    /// Packets that went out, on the wire.
    pub(super) egress: u64,
    /// Bytes that came in.
    pub(super) ingress_bytes: u64,
    /// Bytes that went out.
    pub(super) egress_bytes: u64,
    /// Packets added to a flow.
    pub(super) accounted: u64,
    /// Packets of no flow, because the flow table was full.
    pub(super) unaccounted: u64,
    /// Forwarded packets met again on their way out; each is counted once.
    pub(super) forwarded_twice: u64,
    /// Packets that a verdict dropped at TC.
    pub(super) dropped_tc: u64,
    /// Packets that a verdict dropped at XDP.
    pub(super) dropped_xdp: u64,
    /// Packets dropped beyond a throttle's rate.
    pub(super) dropped_throttle: u64,
    /// Packets that would have been dropped.
    pub(super) dropped_shadow: u64,
    /// TCP resets that were sent.
    pub(super) resets_sent: u64,
    /// Calls of connect(2) and sends that a verdict refused.
    pub(super) connects_refused: u64,
}

/// How full a table of the kernel is.
#[derive(Serialize, JsonSchema)]
pub(super) struct TableState {
    /// The table's name.
    table: &'static str,
    /// Entries that it holds.
    entries: u64,
    /// Entries that it has room for.
    capacity: u64,
}

impl From<&TableFill> for TableState {
    fn from(fill: &TableFill) -> Self {
        Self { table: fill.table.name(), entries: fill.entries, capacity: fill.capacity }
    }
}

/// Whether the kernel holds what it should, as reading its tables back shows.
#[derive(Serialize, JsonSchema)]
pub(super) struct Enforced {
    /// Keys that the kernel is to hold, those of allow-lists not counted.
    desired: u64,
    /// Keys that were as they should be, in the last whole round.
    held: u64,
    /// What was found to differ since the start, and put right, by kind.
    drift: BTreeMap<&'static str, u64>,
    /// Whole rounds since the start.
    rounds: u64,
    /// Seconds that the last whole round took.
    round_seconds: f64,
}

impl From<&Status> for Enforced {
    fn from(status: &Status) -> Self {
        let reading = &status.reading;
        Self {
            desired: status.desired,
            held: reading.enforced,
            drift: reading.drift.kinds().into_iter().collect(),
            rounds: reading.rounds,
            round_seconds: reading.round.as_secs_f64(),
        }
    }
}

/// A database of countries or autonomous systems.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GeoipDatabase")]
pub(super) struct Geoip<'a> {
    /// What it tells.
    db: &'static str,
    /// The path of its file.
    path: String,
    /// The type that the file names; null before one was read, as of the next two.
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    /// When the file was made.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    built: Option<Timestamp>,
    /// Networks in it.
    networks: Option<u64>,
    /// Attempts to read it that failed.
    load_failures: u64,
    /// Why the last attempt failed; null where it did not.
    error: Option<&'a str>,
}

impl<'a> From<&'a netd_geoip::State> for Geoip<'a> {
    fn from(state: &'a netd_geoip::State) -> Self {
        let info = state.info.as_ref();
        Self {
            db: state.kind.name(),
            path: state.path.display().to_string(),
            kind: info.map(|info| info.database_type.as_str()),
            built: info.map(|info| time::from_unix(info.build_epoch)),
            networks: info.map(|info| info.networks),
            load_failures: state.failures,
            error: state.error.as_deref(),
        }
    }
}

/// Findings in memory.
#[derive(Serialize, JsonSchema)]
pub(super) struct FindingCounts {
    /// How many are held.
    pub(super) held: u64,
    /// How many gave way to newer ones.
    pub(super) forgotten: u64,
}

/// Conversations in memory.
#[derive(Serialize, JsonSchema)]
pub(super) struct FlowCounts {
    /// Conversations that go on.
    pub(super) live: u64,
    /// All that are held.
    pub(super) held: u64,
    /// How many gave way to newer ones.
    pub(super) forgotten: u64,
}
