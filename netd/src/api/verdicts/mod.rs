//! `/api/v1/verdicts`: what is in force, an operator's own verdicts, and their release.

mod view;

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use ipnet::IpNet;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::confirmations::ConfirmationView;
use super::entries::confirm_time;
use super::flows::protocol_number;
use super::input::{self, Fields, Name, Params};
use super::page;
use super::problem::Problem;
use crate::time;
use crate::verdicts::{Added, Page};
pub(super) use view::{ActionView, AddedView, HitsView, TargetView, View, action_view, hits_view, target_view, view};

/// How long a manual verdict holds unless it says otherwise.
const DEFAULT_TTL: &str = "24h";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A verdict an operator asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "VerdictWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What it is about.
    target: TargetBody,
    /// What to do with the packets.
    #[serde(default)]
    action: ActionName,
    /// The rate that `throttle` lets pass; needed with it, and refused without.
    bytes_per_second: Option<u64>,
    /// Bytes that pass at once before `throttle` acts; a second's worth unless it is given.
    burst_bytes: Option<u64>,
    /// How long it holds: a duration like `24h`, which is the default, or `never`.
    #[schemars(example = "24h")]
    ttl: Option<String>,
    /// Why: it is written down. 1,024 bytes at most, without control characters.
    #[serde(default)]
    #[schemars(length(max = 1_024))]
    reason: String,
    /// Counts what would be met, and lets it pass.
    #[serde(default)]
    shadow: bool,
    /// Accepts prefixes wider than /8 (IPv4) or /19 (IPv6).
    #[serde(default)]
    force: bool,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] =
        &["target", "action", "bytes_per_second", "burst_bytes", "ttl", "reason", "shadow", "force"];
}

/// A target: an address, an address with port and protocol, a prefix, or a five-tuple.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "TargetWanted")]
#[serde(default, deny_unknown_fields)]
struct TargetBody {
    /// As it is shown; the other fields say it already.
    #[schemars(example = &"host")]
    kind: Option<String>,
    /// An address; with `port` one port of it.
    address: Option<IpAddr>,
    /// A port of `address`.
    port: Option<u16>,
    /// Of a port or a five-tuple: a name or an IANA number; TCP unless it is given.
    protocol: Option<String>,
    /// All addresses of a prefix.
    #[schemars(with = "Option<String>", example = "198.51.100.0/24")]
    prefix: Option<IpNet>,
    /// Source address of a five-tuple.
    source: Option<IpAddr>,
    /// Source port of a five-tuple.
    source_port: Option<u16>,
    /// Destination address of a five-tuple.
    destination: Option<IpAddr>,
    /// Destination port of a five-tuple.
    destination_port: Option<u16>,
}

/// What to do with the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "VerdictAction")]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionName {
    /// Counts them.
    Observe,
    /// Drops what is beyond a rate.
    Throttle,
    /// Drops them.
    #[default]
    Drop,
    /// Drops them, and resets the TCP connection of whoever sends.
    Reset,
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
