//! `/api/v1/status`, the kill switch and the mode.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use netd_common::control::Mode;
use netd_common::counter::Counter;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Context;
use super::input::{self, Fields};
use super::policies;
use super::problem::Problem;
use crate::store::status::UNPARSED;
use crate::time;
use crate::verdicts::{Status, TableFill};

#[derive(Debug, Deserialize)]
pub(super) struct KillSwitch {
    on: bool,
}

impl Fields for KillSwitch {
    const FIELDS: &'static [&'static str] = &["on"];
}

#[derive(Debug, Deserialize)]
pub(super) struct ModeBody {
    mode: ModeName,
}

impl Fields for ModeBody {
    const FIELDS: &'static [&'static str] = &["mode"];
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Observe,
    Shadow,
    Enforce,
}

pub(super) async fn get(State(context): State<Context>) -> Result<Response, Problem> {
    let status = context.verdicts.status().await?;
    let snapshot = context.sources.borrow().clone();
    let unparsed: Map<_, _> =
        UNPARSED.iter().map(|(reason, counter)| ((*reason).to_owned(), snapshot.kernel(*counter).into())).collect();
    let uptime_s = time::now().secs_since(snapshot.started).floor();
    let (findings, findings_forgotten) = context.findings.len_and_forgotten();
    let (flows_live, flows_held, flows_forgotten) = context.flows.counts();
    let ceiling = status.ceiling();
    let policies = context.policies.policies();
    let policies: Vec<_> = policies
        .iter()
        .map(|policy| json!({"name": policy.name, "mode": policies::mode(policy, &ceiling, &context.policies)}))
        .collect();
    let packets = |counter| snapshot.kernel(counter);
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": time::rfc3339(snapshot.started),
        "uptime_s": uptime_s,
        "mode": modes(&status),
        "kill_switch": status.kill_switch,
        "policies": policies,
        "policy_reload": *context.policies.last(),
        "operators": operators(&context).await,
        "hooks": status.proofs,
        "ready": snapshot.not_ready.is_empty(),
        "not_ready": snapshot.not_ready,
        "degraded": snapshot.degraded,
        "interfaces": snapshot.interfaces,
        "packets": {
            "ingress": packets(Counter::IngressPackets),
            "egress": packets(Counter::EgressPackets),
            "ingress_bytes": packets(Counter::IngressBytes),
            "egress_bytes": packets(Counter::EgressBytes),
            "accounted": packets(Counter::AccountedPackets),
            "unaccounted": packets(Counter::UnaccountedPackets),
            "forwarded_twice": packets(Counter::ForwardedTwicePackets),
            "dropped_tc": packets(Counter::TcDropped),
            "dropped_xdp": packets(Counter::XdpDropped),
            "dropped_throttle": packets(Counter::ThrottleDropped),
            "dropped_shadow": packets(Counter::ShadowDropped),
            "resets_sent": packets(Counter::ResetsSent),
            "connects_refused": packets(Counter::ConnectsRefused),
        },
        "unparsed": unparsed,
        "losses": snapshot.losses(),
        "flow_slots": snapshot.flow_slots,
        "engine": snapshot.engine,
        "host": snapshot.host,
        "tables": tables(&status.tables),
        "rules": {"entries": status.rules_used, "capacity": status.rules_capacity},
        "verdicts": status.verdicts,
        "enforced": {
            "desired": status.desired,
            "held": status.reading.enforced,
            "drift": status.reading.drift.kinds().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "rounds": status.reading.rounds,
            "round_seconds": status.reading.round.as_secs_f64(),
        },
        "programs": snapshot.programs,
        "verdicts_refused": snapshot.enforce_refused,
        "blocklists": status.lists,
        "allowlists": status.allow_lists,
        "name_addresses": status.resolved.addresses,
        "geoip": snapshot.geoip.iter().map(geoip).collect::<Vec<_>>(),
        "findings": {"held": findings, "forgotten": findings_forgotten},
        "flows": {"live": flows_live, "held": flows_held, "forgotten": flows_forgotten},
        "history": snapshot.history,
        "audit": context.audit.state(),
        "privileges": *context.privileges,
        "api_kill": {"allowed": context.killer.withheld.is_none(), "why_not": context.killer.withheld},
        "unsaved": status.unsaved,
        "out_of_step": status.out_of_step,
    });
    Ok(Json(body).into_response())
}

/// What the configuration file sets; every other key has its default.
pub(super) async fn config(State(context): State<Context>) -> Response {
    Json(json!({"set": *context.config})).into_response()
}

pub(super) async fn get_kill_switch(State(context): State<Context>) -> Result<Response, Problem> {
    Ok(Json(switch(&context.verdicts.status().await?)).into_response())
}

pub(super) async fn put_kill_switch(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let KillSwitch { on } = input::json(&headers, body).await?;
    Ok(Json(switch(&context.verdicts.set_kill_switch(on).await?)).into_response())
}

pub(super) async fn put_mode(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let ModeBody { mode } = input::json(&headers, body).await?;
    let mode = match mode {
        ModeName::Observe => Mode::Observe,
        ModeName::Shadow => Mode::Shadow,
        ModeName::Enforce => Mode::Enforce,
    };
    let status = context.verdicts.set_mode(mode).await?;
    Ok(Json(json!({"mode": modes(&status), "kill_switch": status.kill_switch})).into_response())
}

fn switch(status: &Status) -> Value {
    json!({"on": status.kill_switch, "mode": modes(status), "saved": status.unsaved.is_none()})
}

/// Returns the addresses that are not cut because an operator asks from there.
async fn operators(context: &Context) -> Vec<Value> {
    let operators = context.doorkeeper.operators().list(Instant::now()).await;
    operators.iter().map(|(address, left)| json!({"address": address, "seconds_left": left.as_secs()})).collect()
}

fn modes(status: &Status) -> Value {
    let reason = status.reason();
    json!({"requested": mode_name(status.requested), "effective": mode_name(status.effective), "reason": reason})
}

fn geoip(state: &netd_geoip::State) -> Value {
    let info = state.info.as_ref();
    json!({
        "db": state.kind.name(),
        "path": state.path.display().to_string(),
        "type": info.map(|info| &info.database_type),
        "built": info.map(|info| time::rfc3339(time::from_unix(info.build_epoch))),
        "networks": info.map(|info| info.networks),
        "load_failures": state.failures,
        "error": state.error,
    })
}

fn tables(tables: &[TableFill]) -> Vec<Value> {
    let fill =
        |fill: &TableFill| json!({"table": fill.table.name(), "entries": fill.entries, "capacity": fill.capacity});
    tables.iter().map(fill).collect()
}

/// Returns a mode's name, as the configuration writes it.
pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}
