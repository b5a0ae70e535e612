//! `/api/v1/verdicts`: what is in force, an operator's own verdicts, and their release.

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use ipnet::IpNet;
use netd_common::verdict::Hits;
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use serde::{Deserialize, Serialize};

use super::Context;
use super::confirmations::ConfirmationView;
use super::entries::confirm_time;
use super::flows::protocol_number;
use super::input::{self, Fields, Name, Params};
use super::page;
use super::problem::Problem;
use crate::time;
use crate::verdicts::{Added, Entry, Page};

/// How long a manual verdict holds unless it says otherwise.
const DEFAULT_TTL: &str = "24h";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A verdict an operator asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    target: TargetBody,
    #[serde(default)]
    action: ActionName,
    /// With `throttle`.
    bytes_per_second: Option<u64>,
    burst_bytes: Option<u64>,
    /// A duration, or `never`.
    ttl: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    force: bool,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] =
        &["target", "action", "bytes_per_second", "burst_bytes", "ttl", "reason", "shadow", "force"];
}

/// A target: an address, an address with port and protocol, a prefix, or a five-tuple.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TargetBody {
    /// As it is shown; the other fields say it already.
    kind: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<String>,
    prefix: Option<IpNet>,
    source: Option<IpAddr>,
    source_port: Option<u16>,
    destination: Option<IpAddr>,
    destination_port: Option<u16>,
}

/// What to do with the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionName {
    Observe,
    Throttle,
    #[default]
    Drop,
    Reset,
}

/// A verdict as the API shows it.
#[derive(Serialize)]
pub(super) struct View {
    id: u64,
    target: TargetView,
    #[serde(flatten)]
    action: ActionView,
    shadow: bool,
    #[serde(serialize_with = "time::serialize")]
    created: Timestamp,
    #[serde(serialize_with = "time::serialize_option")]
    until: Option<Timestamp>,
    #[serde(flatten)]
    origin: Origin,
    reason: String,
    /// False while a stronger claim holds the target.
    leads: bool,
    /// Why nothing is cut, where the target has become protected since.
    shielded_by: Option<&'static str>,
    hits: HitsView,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum TargetView {
    FiveTuple { source: IpAddr, source_port: u16, destination: IpAddr, destination_port: u16, protocol: String },
    Endpoint { address: IpAddr, port: u16, protocol: String },
    Host { address: IpAddr },
    Prefix { prefix: IpNet },
}

/// An action with its numbers.
#[derive(Serialize)]
pub(super) struct ActionView {
    action: ActionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_bytes: Option<u64>,
}

/// Packets and bytes that met a rule.
#[derive(Serialize)]
pub(super) struct HitsView {
    packets: u64,
    bytes: u64,
    shadow_packets: u64,
    shadow_bytes: u64,
}

/// The answer to a verdict that was put in force.
#[derive(Serialize)]
struct AddedView {
    #[serde(flatten)]
    verdict: View,
    renewed: bool,
    destroyed_sockets: u64,
    /// Protected prefixes inside the target, which keep passing.
    spared: Vec<String>,
    saved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<ConfirmationView>,
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(query): Params<Query>,
) -> Result<HttpResponse, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::place('v', query.cursor.as_deref())?;
    let page = context.verdicts.verdicts(Page { before, limit }).await?;
    Ok(page::respond(&uri, 'v', page.entries.into_iter().map(view).collect(), page.next))
}

pub(super) async fn get(State(context): State<Context>, name: Name) -> Result<HttpResponse, Problem> {
    let entry = context.verdicts.verdict(name.id("verdict")?).await?;
    Ok(Json(view(entry)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AddQuery {
    /// Undo the change unless it is confirmed in this time.
    confirm: Option<String>,
}

pub(super) async fn add(
    State(context): State<Context>,
    Params(query): Params<AddQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let wanted: Wanted = input::json(&headers, body).await?;
    let force = wanted.force;
    let wanted = verdict(wanted, time::now())?;
    let (added, confirmation) = match confirm_time(query.confirm.as_deref())? {
        None => (context.verdicts.add(wanted, force).await?, None),
        Some(within) => {
            let (added, confirmation) = context.verdicts.add_for_now(wanted, force, within).await?;
            (added, Some(ConfirmationView::from((confirmation.id, confirmation.until))))
        }
    };
    let Added { id, renewed, destroyed_sockets, spared, saved, until: _ } = added;
    let verdict = view(context.verdicts.verdict(id).await?);
    let status = if renewed { StatusCode::OK } else { StatusCode::CREATED };
    let added = AddedView { verdict, renewed, destroyed_sockets, spared, saved, confirmation };
    let mut response = (status, Json(added)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/verdicts/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn release(State(context): State<Context>, name: Name) -> Result<HttpResponse, Problem> {
    let entry = context.verdicts.release(name.id("verdict")?).await?;
    Ok(Json(view(entry)).into_response())
}

fn verdict(wanted: Wanted, now: Timestamp) -> Result<Verdict, Problem> {
    let until = until(wanted.ttl.as_deref(), now)?;
    Ok(Verdict {
        target: target(wanted.target)?,
        response: response(wanted.action, wanted.bytes_per_second, wanted.burst_bytes)?,
        until,
        origin: Origin::Manual,
        reason: input::reason(wanted.reason)?,
        shadow: wanted.shadow,
    })
}

/// Returns when a verdict of this time to live ends; a manual one's without one.
pub(super) fn until(ttl: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let bad = |detail: String| Problem::unprocessable("bad-ttl", "Bad time to live", detail);
    match ttl.unwrap_or(DEFAULT_TTL) {
        "never" => Ok(None),
        ttl => {
            let ttl = time::duration(ttl).map_err(|error| bad(format!("ttl: {error}, or never")))?;
            Ok(Some(now.plus_secs(ttl.as_secs_f64())))
        }
    }
}

/// Returns what an action does.
pub(super) fn response(action: ActionName, rate: Option<u64>, burst: Option<u64>) -> Result<Response, Problem> {
    let bad = |detail| Problem::unprocessable("bad-throttle", "Bad throttle", detail);
    match (action, rate, burst) {
        (ActionName::Throttle, Some(bytes_per_second), burst) => {
            // A second's worth, but at least a few packets.
            let burst_bytes = burst.unwrap_or(bytes_per_second.max(15_140));
            Ok(Response::Throttle { bytes_per_second, burst_bytes })
        }
        (ActionName::Throttle, None, _) => Err(bad("throttle needs bytes_per_second")),
        (ActionName::Observe, None, None) => Ok(Response::Observe),
        (ActionName::Drop, None, None) => Ok(Response::Drop),
        (ActionName::Reset, None, None) => Ok(Response::Reset),
        (ActionName::Observe | ActionName::Drop | ActionName::Reset, ..) => {
            Err(bad("bytes_per_second and burst_bytes belong to throttle"))
        }
    }
}

fn target(body: TargetBody) -> Result<Target, Problem> {
    let number = |protocol: Option<String>| {
        let Some(text) = protocol else { return Ok(6) };
        protocol_number(&text).map_err(|problem| Problem::unprocessable("bad-target", "Bad target", problem.detail))
    };
    let TargetBody { kind, address, port, protocol, prefix, source, source_port, destination, destination_port } = body;
    let (target, is_kind) = match (address, port, prefix, source, source_port, destination, destination_port) {
        (Some(address), None, None, None, None, None, None) if protocol.is_none() => (Target::Host { address }, "host"),
        (Some(address), Some(port), None, None, None, None, None) => {
            (Target::Endpoint { address, port, proto: number(protocol)? }, "endpoint")
        }
        (None, None, Some(prefix), None, None, None, None) if protocol.is_none() => {
            (Target::Prefix { prefix }, "prefix")
        }
        (None, None, None, Some(source), Some(source_port), Some(destination), Some(destination_port)) => {
            let proto = number(protocol)?;
            (Target::FiveTuple { source, source_port, destination, destination_port, proto }, "five_tuple")
        }
        _ => return Err(bad_target("give address; or address, port, protocol; or prefix; or all of a five-tuple")),
    };
    match kind.as_deref() {
        None => Ok(target),
        Some(kind) if kind == is_kind => Ok(target),
        Some(_) => Err(bad_target("kind does not fit the other fields; it can be left out")),
    }
}

fn bad_target(detail: &str) -> Problem {
    Problem::unprocessable("bad-target", "Bad target", format!("target: {detail}"))
}

pub(super) fn view(entry: Entry) -> View {
    let Entry { id, created, verdict, leads, shielded_by, hits } = entry;
    View {
        id,
        target: target_view(&verdict.target),
        action: action_view(verdict.response),
        shadow: verdict.shadow,
        created,
        until: verdict.until,
        origin: verdict.origin,
        reason: verdict.reason,
        leads,
        shielded_by: shielded_by.map(crate::verdicts::Guard::name),
        hits: hits_view(hits),
    }
}

pub(super) fn target_view(target: &Target) -> TargetView {
    match *target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            TargetView::FiveTuple { source, source_port, destination, destination_port, protocol: protocol_name(proto) }
        }
        Target::Endpoint { address, port, proto } => {
            TargetView::Endpoint { address, port, protocol: protocol_name(proto) }
        }
        Target::Host { address } => TargetView::Host { address },
        Target::Prefix { prefix } => TargetView::Prefix { prefix },
    }
}

pub(super) fn action_view(response: Response) -> ActionView {
    let plain = |action| ActionView { action, bytes_per_second: None, burst_bytes: None };
    match response {
        Response::Observe => plain(ActionName::Observe),
        Response::Drop => plain(ActionName::Drop),
        Response::Reset => plain(ActionName::Reset),
        Response::Throttle { bytes_per_second, burst_bytes } => ActionView {
            action: ActionName::Throttle,
            bytes_per_second: Some(bytes_per_second),
            burst_bytes: Some(burst_bytes),
        },
    }
}

pub(super) const fn hits_view(hits: Hits) -> HitsView {
    let Hits { packets, bytes, shadow_packets, shadow_bytes } = hits;
    HitsView { packets, bytes, shadow_packets, shadow_bytes }
}
