//! `GET /metrics`: OpenMetrics text, or the older text where that is asked for. Labels are bounded: never an address, a
//! name, a process.

mod negotiate;
mod process;
mod programs;

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use netd_common::control::Mode;
use netd_common::counter::Counter;
use netd_engine::detect::Detector;
use netd_engine::finding::Severity;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as Count;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::negotiate::Exposition;
use super::Context;
use super::mode::ModeName;
use super::problem::Problem;
use crate::sinks::{Fate, SinkState};
use crate::store::status::{InterfaceTraffic, Protected, Snapshot, UNPARSED};
use crate::verdicts::{ListView, Status};

/// The commit that netd was built from, where the build was told.
const REVISION: &str = match option_env!("NETD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

type Labels = Vec<(&'static str, String)>;

pub(super) async fn get(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Problem> {
    let status = context.verdicts.status().await?;
    let lists = context.verdicts.lists().await?;
    let snapshot = context.sources.borrow().clone();
    let mut registry = Registry::default();
    process::register(registry.sub_registry_with_prefix("process"));
    let mut metrics = Metrics(registry.sub_registry_with_prefix("netd"));
    metrics.packets(&snapshot);
    metrics.flows(&snapshot, &context);
    metrics.host(&snapshot);
    metrics.losses(&snapshot);
    metrics.findings(&context);
    metrics.verdicts(&snapshot, &status, &lists);
    metrics.policies(&context, &status);
    metrics.geoip(&snapshot);
    metrics.sinks(&snapshot);
    metrics.feeds(&context);
    metrics.state(&snapshot, &status);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Problem::internal())?;
    let exposition = Exposition::accepted(&headers);
    let mut response = exposition.write(text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(exposition.content_type()));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// A registry for one answer: every value is read where it is kept, so none is kept here.
struct Metrics<'r>(&'r mut Registry);

impl Metrics<'_> {
    fn packets(&mut self, snapshot: &Snapshot) {
        let by_interface = |count: fn(&InterfaceTraffic) -> [u64; 2]| {
            let each = snapshot.traffic.iter().flat_map(move |met| {
                let labels =
                    |direction: &str| vec![("interface", met.interface.clone()), ("direction", direction.to_owned())];
                let [ingress, egress] = count(met);
                [(labels("ingress"), ingress), (labels("egress"), egress)]
            });
            each.collect::<Vec<_>>()
        };
        let help = "Packets met on the watched interfaces; what XDP dropped was not met";
        self.count("packets", help, by_interface(|met| met.packets));
        self.count("bytes", "Bytes met on the watched interfaces", by_interface(|met| met.bytes));
        let unparsed = UNPARSED.map(|(reason, counter)| (label("reason", reason), snapshot.kernel(counter)));
        self.count("unparsed_packets", "Packets that could not be parsed and passed", unparsed);
        let dropped = [
            ("tc", Counter::TcDropped),
            ("xdp", Counter::XdpDropped),
            ("throttle", Counter::ThrottleDropped),
            ("shadow", Counter::ShadowDropped),
        ];
        let dropped = dropped.map(|(by, counter)| (label("by", by), snapshot.kernel(counter)));
        self.count("dropped_packets", "Packets a verdict dropped; by shadow: would have been dropped", dropped);
        let total = |counter| [(Vec::new(), snapshot.kernel(counter))];
        self.count("resets", "TCP resets sent", total(Counter::ResetsSent));
        self.count("connects_refused", "Connects and sends refused to processes", total(Counter::ConnectsRefused));
        self.count("fail_open_packets", "Packets that passed for want of a heartbeat", total(Counter::FailOpenPackets));
    }

    fn flows(&mut self, snapshot: &Snapshot, context: &Context) {
        let engine = &snapshot.engine;
        self.gauge("flows_active", "Conversations alive", [(Vec::new(), engine.conversations)]);
        self.count("flows_begun", "Conversations begun", [(Vec::new(), engine.conversations_begun)]);
        let ended = context.flows.ended().counts().map(|ended| {
            let verdict = if ended.is_met { "met" } else { "none" };
            let labels = [("proto", ended.proto), ("direction", ended.direction.name()), ("verdict", verdict)];
            (labels.map(|(name, value)| (name, value.to_owned())).to_vec(), ended.count)
        });
        let help = "Conversations that ended: which way they were opened, and whether a verdict met their packets";
        self.count("flows", help, ended);
        self.gauge(
            "flow_table_entries",
            "Conversations in the kernel's table",
            [(Vec::new(), snapshot.flow_slots.entries)],
        );
        self.gauge(
            "flow_table_capacity",
            "Conversations the kernel's table can hold",
            [(Vec::new(), snapshot.flow_slots.capacity)],
        );
        self.count(
            "flow_evictions",
            "Flows that gave way to others",
            [
                (label("table", "kernel"), snapshot.kernel(Counter::FlowsEvicted)),
                (label("table", "engine"), engine.conversations_evicted),
            ],
        );
        self.count("turns", "Turns begun", [(Vec::new(), engine.turns)]);
        self.gauge("histories", "Histories of pairs and names", [(Vec::new(), engine.histories)]);
    }

    fn host(&mut self, snapshot: &Snapshot) {
        let host = &snapshot.host;
        self.gauge("processes", "Processes of this host in the table", [(Vec::new(), host.processes)]);
        let results =
            [("found", host.looked - host.gone.min(host.looked)), ("gone", host.gone), ("denied", host.denied)];
        let results = results.map(|(result, count)| (label("result", result), count));
        self.count("process_looks", "Looks at a process in /proc, by result", results);
        self.count("stream_snapshots", "Snapshots of who holds which descriptor", [(Vec::new(), host.snapshots)]);
        let execs = snapshot.kernel(Counter::ExecRecords);
        self.count("execs", "Programs that processes were seen to start", [(Vec::new(), execs)]);
    }

    fn losses(&mut self, snapshot: &Snapshot) {
        let losses: Vec<_> =
            snapshot.losses().into_iter().map(|loss| (label("stage", loss.stage), loss.lost)).collect();
        self.count("events_lost", "What could not be kept, by place", losses);
    }

    fn findings(&mut self, context: &Context) {
        // Each possible series is there from the start: a rate over the first finding would miss it otherwise.
        let labels = |detector: &str, severity: Severity| {
            vec![("detector", detector.to_owned()), ("severity", severity.name().to_owned())]
        };
        let counts = context.findings.counts();
        let every = Detector::ALL.iter().flat_map(|detector| Severity::ALL.map(|severity| (detector.name(), severity)));
        let reports = every.map(|key| (labels(key.0, key.1), counts.get(&key).copied().unwrap_or(0)));
        self.count("findings", "Findings that reached a severity", reports);
        let withheld = context.findings.withheld();
        let withheld = Detector::ALL.iter().map(|detector| {
            let name = detector.name();
            (label("detector", name), withheld.get(name).copied().unwrap_or(0))
        });
        self.count("findings_withheld", "Reports of findings withheld because there were too many", withheld);
        let open = context.findings.open();
        let open = Severity::ALL
            .map(|severity| (label("severity", severity.name()), open.get(&severity).copied().unwrap_or(0)));
        self.gauge("findings_open", "Findings held, by their severity", open);
        let timings = context.findings.timings();
        let help = "From what led to a finding to its report";
        self.0.register_with_unit("detection_latency", help, Unit::Seconds, timings.detection.clone());
        let help = "Age of the oldest record of a batch when it was analysed";
        self.0.register_with_unit("analysis_delay", help, Unit::Seconds, timings.analysis.clone());
        let help = "How long the detectors took for a batch of records";
        self.0.register_with_unit("detector_duration", help, Unit::Seconds, timings.detectors.clone());
        let help = "From a finding to its verdict in the kernel";
        self.0.register_with_unit("enforcement_latency", help, Unit::Seconds, timings.enforcement.clone());
        let help = "From what led to a finding to the response";
        self.0.register_with_unit("response_latency", help, Unit::Seconds, timings.response.clone());
        self.0.register("responses", "Responses to findings, by what was done", timings.responses.clone());
    }

    fn verdicts(&mut self, snapshot: &Snapshot, status: &Status, lists: &[ListView]) {
        self.gauge("verdicts", "Verdicts in force", [(Vec::new(), status.verdicts)]);
        let one = |value| [(Vec::new(), value)];
        self.gauge("verdicts_desired", "Keys the kernel is to hold", one(status.desired));
        let reading = &status.reading;
        self.gauge("verdicts_enforced", "Keys read back as they should be, in the last round", one(reading.enforced));
        let drift = reading.drift.kinds().map(|(kind, count)| (label("kind", kind), count));
        self.count("verdicts_drift", "Keys found to differ from what the kernel should hold, and put right", drift);
        let round = Gauge::<f64, AtomicU64>::default();
        round.set(reading.round.as_secs_f64());
        let help = "Time of the last round of reading all keys back";
        self.0.register_with_unit("verdicts_round", help, Unit::Seconds, round);
        let blocked: Vec<_> = lists.iter().map(|list| (label("list", &list.name), list.hits.packets)).collect();
        self.count("blocked_packets", "Packets a block-list's rule acted on", blocked);
        let families = |list: &ListView| [("ipv4", list.entries_v4), ("ipv6", list.entries_v6), ("name", list.names)];
        let entries: Vec<_> = lists
            .iter()
            .flat_map(|list| {
                families(list).map(|(family, entries)| {
                    (vec![("list", list.name.clone()), ("family", family.to_owned())], entries)
                })
            })
            .collect();
        self.gauge("blocklist_entries", "Entries of a block-list", entries);
        let resolved = status.resolved;
        let help = "Addresses that are cut for a listed name that has them";
        self.gauge("name_addresses", help, [(Vec::new(), resolved.addresses)]);
        let results = [
            ("acted", resolved.acted),
            ("shared", resolved.shared),
            ("protected", resolved.protected),
            ("refused", resolved.refused),
        ];
        let results = results.map(|(result, count)| (label("result", result), count));
        self.count("name_answers", "Addresses that DNS gave to listed names, by what was done", results);
        let mut fills: Vec<(&str, u64, u64)> =
            status.tables.iter().map(|fill| (fill.table.name(), fill.entries, fill.capacity)).collect();
        fills.push(("rules", status.rules_used, status.rules_capacity));
        fills.push(("flows", snapshot.flow_slots.entries, snapshot.flow_slots.capacity));
        let held = fills.iter().map(|(map, entries, _)| (label("map", map), *entries));
        self.gauge("bpf_map_entries", "Entries of a kernel table", held);
        let capacity = fills.iter().map(|(map, _, capacity)| (label("map", map), *capacity));
        self.gauge("bpf_map_capacity", "Entries a kernel table can hold", capacity);
    }

    fn policies(&mut self, context: &Context, status: &Status) {
        let reload = context.policies.last();
        let success = u64::from(!reload.is_refused());
        self.gauge("policy_reload_success", "1 when the policies last read are in force", [(Vec::new(), success)]);
        let time = reload.time.0 / 1_000_000_000;
        let help = "When the policies were last read, Unix time";
        self.gauge("policy_reload_timestamp_seconds", help, [(Vec::new(), time)]);
        let proofs = status.proofs.iter().map(|proof| (label("hook", proof.hook), u64::from(proof.denies)));
        self.gauge("hook_denies", "1 for a hook that has proved to deny what a verdict names", proofs);
    }

    fn geoip(&mut self, snapshot: &Snapshot) {
        let label = |state: &netd_geoip::State| label("db", state.kind.name());
        let built = snapshot.geoip.iter().filter_map(|state| Some((label(state), state.info.as_ref()?.build_epoch)));
        let help = "When the GeoIP database that answers was built, Unix time";
        self.gauge_in("geoip_build_timestamp", Unit::Seconds, help, built);
        let failures = snapshot.geoip.iter().map(|state| (label(state), state.failures));
        self.count("geoip_load_failures", "Times a GeoIP file could not be used", failures);
    }

    fn sinks(&mut self, snapshot: &Snapshot) {
        let sinks = &snapshot.sinks;
        let fates = sinks.iter().flat_map(|sink| {
            Fate::ALL.iter().zip(sink.fates).map(move |(fate, count)| {
                (vec![("sink", sink.name.clone()), ("result", fate.name().to_owned())], count)
            })
        });
        self.count("sink_events", "Events that a sink wanted, by what became of them", fates);
        let label = |sink: &SinkState| label("sink", &sink.name);
        let retries = sinks.iter().map(|sink| (label(sink), sink.retries));
        self.count("sink_retries", "Attempts of a sink that failed and were repeated", retries);
        let queued = sinks.iter().map(|sink| (label(sink), sink.queued));
        self.gauge("sink_queue_events", "Events that wait for a sink", queued);
        let capacity = sinks.iter().map(|sink| (label(sink), sink.capacity));
        self.gauge("sink_queue_capacity", "Events that may wait for a sink", capacity);
    }

    fn feeds(&mut self, context: &Context) {
        let feeds = context.feeds.list();
        let successes =
            feeds.iter().filter_map(|feed| Some((label("feed", &feed.name), feed.last_success?.0 / 1_000_000_000)));
        let help = "When the copy in force of a feed was last found to be the present one, Unix time";
        self.gauge("feed_last_success_timestamp_seconds", help, successes);
        let entries = feeds.iter().filter_map(|feed| Some((label("feed", &feed.name), feed.entries?)));
        self.gauge("feed_entries", "Entries of the copy in force of a feed", entries);
        let failures = feeds.iter().flat_map(|feed| {
            feed.failures
                .iter()
                .map(|(reason, count)| (vec![("feed", feed.name.clone()), ("reason", (*reason).to_owned())], *count))
        });
        self.count("feed_failures", "Updates of a feed that brought nothing, by reason", failures);
    }

    fn state(&mut self, snapshot: &Snapshot, status: &Status) {
        let version = vec![("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
        self.0.register("build", "netd itself", Info::new(version));
        let modes = [Mode::Observe, Mode::Shadow, Mode::Enforce];
        let modes = modes.map(|mode| (label("mode", ModeName::from(mode).name()), u64::from(mode == status.effective)));
        self.gauge("mode", "1 for the mode the programs are in", modes);
        self.gauge(
            "kill_switch",
            "1 when every program passes everything",
            [(Vec::new(), u64::from(status.kill_switch))],
        );
        self.programs(&snapshot.programs);
        self.protected(snapshot);
        self.gauge("ready", "1 when netd does its work", [(Vec::new(), u64::from(snapshot.not_ready.is_empty()))]);
        self.gauge("degraded", "Things netd goes on without", [(Vec::new(), snapshot.degraded.len() as u64)]);
        let stores = snapshot.stores.iter().map(|(store, bytes)| (label("store", store), *bytes));
        self.gauge_in("store", Unit::Bytes, "Bytes on disk, by store", stores);
    }

    fn protected(&mut self, snapshot: &Snapshot) {
        let Protected { own, gateways, resolvers, changes } = &*snapshot.protected;
        let guards = [
            ("own", own.len()),
            ("gateway", gateways.len()),
            ("resolver", resolvers.len()),
            ("management", snapshot.managers.len()),
        ];
        let guards = guards.map(|(guard, addresses)| (label("guard", guard), addresses as u64));
        self.gauge("protected_addresses", "Addresses that are never cut, by what they are to this host", guards);
        let help = "Times that its own addresses, its gateways or its resolvers changed";
        self.count("protected_address_changes", help, [(Vec::new(), *changes)]);
    }

    /// Adds a counter; its name gets `_total`.
    fn count(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Count>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn gauge(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        self.0.register(name, help, gauges(values));
    }

    /// Adds a gauge whose name ends in its unit.
    fn gauge_in(&mut self, name: &str, unit: Unit, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        self.0.register_with_unit(name, help, unit, gauges(values));
    }
}

fn gauges(values: impl IntoIterator<Item = (Labels, u64)>) -> Family<Labels, Gauge<u64, AtomicU64>> {
    let family = Family::<Labels, Gauge<u64, AtomicU64>>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    family
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}
