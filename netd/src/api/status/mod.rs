//! `/api/v1/status`, and `/api/v1/config`: the daemon at this moment, and what it was told to do.

mod view;

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use netd_common::counter::Counter;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Context;
use super::mode::Modes;
use super::policies;
use super::problem::Problem;
use crate::store::status::{Fill, Snapshot, UNPARSED};
use crate::time;
pub(super) use view::View;
use view::{
    ApiKill, Enforced, FindingCounts, FlowCounts, Geoip, Operator, Packets, PolicyState, Protected, TableState,
};

/// What the configuration file sets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Config")]
pub(super) struct ConfigView<'a> {
    /// Its keys, with values as they are written; `[hidden]` stands for what is secret. Every other key has its
    /// default.
    #[schemars(with = "Map<String, Value>")]
    set: &'a Value,
}

pub(super) async fn get(State(context): State<Context>) -> Result<Response, Problem> {
    let status = context.verdicts.status().await?;
    let snapshot = context.sources.borrow().clone();
    let (held, forgotten) = context.findings.len_and_forgotten();
    let findings = FindingCounts { held: held as u64, forgotten };
    let (live, held, forgotten) = context.flows.counts();
    let flows = FlowCounts { live: live as u64, held: held as u64, forgotten };
    let ceiling = status.ceiling();
    let policies = context.policies.policies();
    let policies = policies
        .iter()
        .map(|policy| PolicyState { name: &policy.name, mode: policies::mode(policy, &ceiling, &context.policies) });
    let reload = context.policies.last();
    let view = View {
        version: env!("CARGO_PKG_VERSION"),
        started: snapshot.started,
        uptime_s: time::now().secs_since(snapshot.started).floor(),
        mode: Modes::from(&status),
        kill_switch: status.kill_switch,
        policies: policies.collect(),
        policy_reload: &reload,
        operators: operators(&context).await,
        managers: &snapshot.managers,
        protected: Protected::from(&*snapshot.protected),
        hooks: &status.proofs,
        ready: snapshot.not_ready.is_empty(),
        not_ready: &snapshot.not_ready,
        degraded: &snapshot.degraded,
        interfaces: &snapshot.interfaces,
        packets: packets(&snapshot),
        unparsed: UNPARSED.iter().map(|(reason, counter)| (*reason, snapshot.kernel(*counter))).collect(),
        losses: snapshot.losses(),
        flow_slots: snapshot.flow_slots,
        engine: snapshot.engine,
        host: snapshot.host,
        tables: status.tables.iter().map(TableState::from).collect(),
        rules: Fill { entries: status.rules_used, capacity: status.rules_capacity },
        verdicts: status.verdicts,
        enforced: Enforced::from(&status),
        programs: &snapshot.programs,
        verdicts_refused: snapshot.enforce_refused,
        blocklists: status.lists,
        allowlists: status.allow_lists,
        name_addresses: status.resolved.addresses,
        geoip: snapshot.geoip.iter().map(Geoip::from).collect(),
        findings,
        flows,
        history: snapshot.history.as_ref(),
        audit: context.audit.state(),
        privileges: &context.privileges,
        api_kill: ApiKill { allowed: context.killer.withheld.is_none(), why_not: context.killer.withheld },
        unsaved: status.unsaved.as_deref(),
        out_of_step: status.out_of_step.as_deref(),
    };
    Ok(Json(view).into_response())
}

/// What the configuration file sets; every other key has its default.
pub(super) async fn config(State(context): State<Context>) -> Response {
    Json(ConfigView { set: &context.config }).into_response()
}

/// Returns the addresses that are not cut because an operator asks from there.
async fn operators(context: &Context) -> Vec<Operator> {
    let operators = context.doorkeeper.operators().list(Instant::now()).await;
    operators.into_iter().map(|(address, left)| Operator { address, seconds_left: left.as_secs() }).collect()
}

fn packets(snapshot: &Snapshot) -> Packets {
    let packets = |counter| snapshot.kernel(counter);
    Packets {
        ingress: packets(Counter::IngressPackets),
        egress: packets(Counter::EgressPackets),
        ingress_bytes: packets(Counter::IngressBytes),
        egress_bytes: packets(Counter::EgressBytes),
        accounted: packets(Counter::AccountedPackets),
        unaccounted: packets(Counter::UnaccountedPackets),
        forwarded_twice: packets(Counter::ForwardedTwicePackets),
        dropped_tc: packets(Counter::TcDropped),
        dropped_xdp: packets(Counter::XdpDropped),
        dropped_throttle: packets(Counter::ThrottleDropped),
        dropped_shadow: packets(Counter::ShadowDropped),
        resets_sent: packets(Counter::ResetsSent),
        connects_refused: packets(Counter::ConnectsRefused),
    }
}
