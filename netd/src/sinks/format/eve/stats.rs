//! How the daemon does.

use netd_engine::time::Timestamp;
use serde::Serialize;

use super::{Ends, Event, timestamp};
use crate::sinks::format::{Site, Stats};

#[derive(Serialize)]
pub(super) struct StatsBody {
    stats: StatsPart,
}

#[derive(Serialize)]
struct StatsPart {
    uptime: u64,
    capture: Capture,
    decoder: Decoder,
    flow: FlowTotals,
    detect: Detect,
}

#[derive(Serialize)]
struct Capture {
    kernel_packets: u64,
    /// Records and events that could not be kept.
    kernel_drops: u64,
}

#[derive(Serialize)]
struct Decoder {
    pkts: u64,
    bytes: u64,
    invalid: u64,
}

#[derive(Serialize)]
struct FlowTotals {
    total: u64,
    active: u64,
}

#[derive(Serialize)]
struct Detect {
    alert: u64,
}

pub(super) fn event<'a>(stats: &Stats, at: Timestamp, site: &'a Site) -> Event<'a, StatsBody> {
    let stats = StatsPart {
        uptime: stats.uptime_s,
        capture: Capture { kernel_packets: stats.packets, kernel_drops: stats.lost },
        decoder: Decoder { pkts: stats.packets, bytes: stats.bytes, invalid: stats.unparsed_packets },
        flow: FlowTotals { total: stats.flows, active: stats.flows_active },
        detect: Detect { alert: stats.findings },
    };
    Event {
        timestamp: timestamp(at),
        flow_id: None,
        in_iface: None,
        event_type: "stats",
        vlan: None,
        ends: Ends::default(),
        host: &site.host,
        body: StatsBody { stats },
    }
}
