//! The state of the whole daemon, as the pipeline last saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use netd_common::counter::Counter;
use netd_engine::Counts;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::history;
use crate::sinks::{Fate, SinkState};

/// Where the pipeline puts a new [`Snapshot`] each second, and where the API reads the last one.
pub type Sources = watch::Receiver<Arc<Snapshot>>;

/// Returns both ends of the way from pipeline to API.
#[must_use]
pub fn channel(first: Snapshot) -> (watch::Sender<Arc<Snapshot>>, Sources) {
    watch::channel(Arc::new(first))
}

/// The daemon at one moment. Counters count since the kernel's maps were made, or since the daemon began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub started: Timestamp,
    pub interfaces: Vec<Interface>,
    /// What each interface met; the last one stands for all that are not told by name.
    pub traffic: Vec<InterfaceTraffic>,
    /// The kernel's exact counters, by [`Counter`]; a missing one is 0.
    pub kernel: Vec<(Counter, u64)>,
    pub engine: Counts,
    /// What was looked up of this host's processes.
    pub host: Host,
    /// What user space lost, by place.
    pub losses: Vec<Loss>,
    /// How full the kernel's flow table is.
    pub flow_slots: Fill,
    /// What the kernel or the host lacks, without which netd goes on.
    pub degraded: Vec<Degraded>,
    /// The databases of countries and autonomous systems that were named.
    pub geoip: Vec<netd_geoip::State>,
    /// What became of events that outputs wanted.
    pub sinks: Vec<SinkState>,
    /// Bytes on disk, by store.
    pub stores: Vec<(&'static str, u64)>,
    /// How history fares, where it is kept.
    pub history: Option<history::Report>,
    /// Why netd does not do its work; empty when it does.
    pub not_ready: Vec<String>,
    /// Findings whose verdict was refused, since the start.
    pub enforce_refused: u64,
    pub programs: Programs,
    /// Who around this host is never cut.
    pub protected: Arc<Protected>,
    /// Who is logged in over the network, or was a moment ago: not cut, either.
    pub managers: Arc<[Manager]>,
}

/// Where somebody who is logged in comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Manager {
    /// The address.
    pub address: IpAddr,
    /// How long it stays protected if the session has ended.
    pub seconds_left: u64,
}

/// Addresses that this host must never be cut off from, as it was last seen to have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Protected {
    pub own: BTreeSet<IpAddr>,
    pub gateways: BTreeSet<IpAddr>,
    pub resolvers: BTreeSet<IpAddr>,
    /// How often they changed since the start.
    pub changes: u64,
}

/// Whether every program is where it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Programs {
    /// Hooks without their program.
    pub missing: u64,
    /// Programs attached again since the start, by kind of hook: `tcx`, `clsact`, `xdp`, `cgroup`.
    pub reattached: BTreeMap<&'static str, u64>,
    /// Pins made again since the start because somebody had removed them: `link`, `map`.
    pub repinned: BTreeMap<&'static str, u64>,
    /// Runs of programs, where the host counts them.
    pub runs: Vec<Runs>,
}

/// How often a program ran since it was loaded, and for how long in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProgramRuns")]
pub struct Runs {
    /// The program's name.
    pub program: &'static str,
    /// Times it ran.
    pub runs: u64,
    /// Nanoseconds that it ran for, in all.
    pub time_ns: u64,
}

/// A watched interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// Its index in the host's network namespace.
    pub index: u32,
    /// What holds the programs to it: `tcx ingress`, `clsact egress`, `xdp native`.
    pub attached: Vec<String>,
}

/// Packets and bytes that programs met on an interface, at ingress and at egress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceTraffic {
    pub interface: String,
    pub packets: [u64; 2],
    pub bytes: [u64; 2],
}

/// What is known of this host's processes, and how much was looked up since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "HostCounts")]
pub struct Host {
    /// Processes in the table.
    pub processes: u64,
    /// Bytes that the table takes.
    pub bytes: u64,
    /// Processes that were looked at.
    pub looked: u64,
    /// Ended before they could be looked at; they are named by the kernel's record and their executable.
    pub gone: u64,
    /// Processes that `/proc` did not let netd look at.
    pub denied: u64,
    /// Processes that gave way to others because the table was full.
    pub evicted: u64,
    /// Executables whose digest was made.
    pub hashed: u64,
    /// Snapshots of the descriptors of all processes.
    pub snapshots: u64,
}

/// One place in user space where something can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loss {
    /// Stable name of the place, snake case.
    pub stage: &'static str,
    /// How much was lost there.
    pub lost: u64,
}

/// Something netd goes on without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Degraded {
    /// What is lacking.
    pub what: String,
    /// Why it is.
    pub why: String,
    /// What follows from that.
    pub consequence: String,
}

impl Degraded {
    /// Returns what is lacking of a database, if anything is.
    #[must_use]
    pub fn of_geoip(state: &netd_geoip::State) -> Option<Self> {
        let kind = state.kind.name();
        let consequence = match state.info {
            Some(_) => "the one read before goes on answering".to_owned(),
            None => format!("{kind} is shown of no address, and no evidence"),
        };
        Some(Self { what: format!("GeoIP database of {kind}"), why: state.error.clone()?, consequence })
    }
}

impl Degraded {
    /// Returns why history is not kept, while it is not.
    #[must_use]
    pub fn of_history(report: &history::Report) -> Option<Self> {
        let consequence = format!("{} flows wait in memory; more than fit are lost and counted", report.waiting);
        Some(Self { what: "history".to_owned(), why: report.error.clone()?, consequence })
    }
}

/// How full a bounded store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fill {
    /// Entries that are held.
    pub entries: u64,
    /// Entries that there is room for.
    pub capacity: u64,
}

impl Snapshot {
    /// Returns one of the kernel's counters.
    #[must_use]
    pub fn kernel(&self, counter: Counter) -> u64 {
        self.kernel.iter().find(|(other, _)| *other == counter).map_or(0, |(_, value)| *value)
    }

    /// Returns the name of a watched interface.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&str> {
        self.interfaces.iter().find(|interface| interface.index == index).map(|interface| interface.name.as_str())
    }

    /// Returns every counter of a loss, in the kernel and in user space, by name.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        let kernel = KERNEL_LOSSES.map(|(stage, counter)| Loss { stage, lost: self.kernel(counter) });
        let engine = [
            Loss { stage: "engine_conversations_evicted", lost: self.engine.conversations_evicted },
            Loss { stage: "engine_histories_evicted", lost: self.engine.histories_evicted },
            Loss { stage: "engine_lookups", lost: self.engine.lookups_untold },
        ];
        let lost = |fate: Fate| self.sinks.iter().map(|sink| sink.fates[fate as usize]).sum::<u64>();
        let sinks = [
            Loss { stage: "sink_queues", lost: lost(Fate::Dropped) + lost(Fate::Missed) },
            Loss { stage: "sinks", lost: lost(Fate::Failed) },
        ];
        kernel.into_iter().chain(engine).chain(sinks).chain(self.losses.iter().copied()).collect()
    }
}

/// The kernel's counters that stand for something lost.
const KERNEL_LOSSES: [(&str, Counter); 12] = [
    ("kernel_unaccounted_packets", Counter::UnaccountedPackets),
    ("kernel_flow_records", Counter::FlowRecordsLost),
    ("kernel_turn_records", Counter::TurnRecordsLost),
    ("kernel_payload_records", Counter::PayloadRecordsLost),
    ("kernel_socket_records", Counter::SocketRecordsLost),
    ("kernel_socket_owners", Counter::OwnersLost),
    ("kernel_exec_records", Counter::ExecRecordsLost),
    ("kernel_exit_records", Counter::ExitRecordsLost),
    ("kernel_redirect_records", Counter::RedirectRecordsLost),
    ("kernel_redirects_unheard", Counter::RedirectsUnheard),
    ("kernel_resets", Counter::ResetsFailed),
    ("kernel_fail_open_packets", Counter::FailOpenPackets),
];

/// Reasons for which a packet could not be parsed, with their counters. Such packets pass.
pub const UNPARSED: [(&str, Counter); 7] = [
    ("not_ip", Counter::UnparsedNotIp),
    ("truncated_link", Counter::UnparsedTruncatedLink),
    ("truncated_network", Counter::UnparsedTruncatedNetwork),
    ("truncated_transport", Counter::UnparsedTruncatedTransport),
    ("bad_header", Counter::UnparsedBadHeader),
    ("too_many_extensions", Counter::UnparsedTooManyExtensions),
    ("too_many_tags", Counter::UnparsedTooManyTags),
];
