//! `/api/v1/findings/{id}/evidence.{pcapng,json}`: what a finding can be handed on with.
//!
//! netd keeps no packets. What it has of a conversation is the first payload of each side; the capture holds that
//! payload below headers that are rebuilt from the flow, and says so in its comments.

mod capture;
mod frame;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use netd_engine::finding::Finding;
use schemars::JsonSchema;
use serde::Serialize;

use super::explain::{EnforcementView, enforcement};
use super::input::Name;
use super::problem::Problem;
use super::{Context, findings, flows};
use crate::store::Stored;
use crate::store::history::{self, Flow};

/// Flows told with a finding at most, the newest.
const FLOWS: usize = 100;

/// A finding with everything that is held about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Evidence")]
pub(super) struct View<'a> {
    /// The finding.
    finding: findings::View<'a>,
    /// Conversations of its pair, newest first, a hundred at most.
    flows: Vec<Flow>,
    /// What is enforced about its responder.
    enforcement: EnforcementView,
    /// What `evidence.pcapng` would hold.
    packets: Packets,
}

/// What `evidence.pcapng` would hold.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EvidencePackets")]
struct Packets {
    /// Packets that it would have.
    count: usize,
    /// Bytes of payload in them.
    payload_bytes: usize,
    /// Where it is.
    capture: String,
    /// How it came about: the headers are rebuilt.
    note: &'static str,
}

pub(super) async fn pcapng(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let Stored { finding, .. } = findings::stored(&context, &name)?;
    let held = context.evidence.of(finding.id, &finding.pair);
    let file = capture::write(&finding, &held.pieces).map_err(|error| {
        tracing::error!(%error, finding = finding.id, "a capture could not be written");
        Problem::internal()
    })?;
    let mut response = file.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-pcapng"));
    let disposition = format!("attachment; filename=\"netd-finding-{}.pcapng\"", finding.id);
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

pub(super) async fn json(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let stored = findings::stored(&context, &name)?;
    let Finding { id, pair, .. } = stored.finding;
    let held = context.evidence.of(id, &pair);
    let scores = context.findings.scores();
    let (rows, _) = context.flows.page(None, FLOWS, |row| history::pair(&row.conversation) == pair);
    let enforcement = enforcement(&context, pair.responder).await?;
    let view = View {
        finding: findings::view(&context, &stored),
        flows: rows.iter().map(|row| flows::shown(&context, row, &scores)).collect(),
        enforcement,
        packets: Packets {
            count: held.pieces.len(),
            payload_bytes: held.pieces.iter().map(|piece| piece.bytes.len()).sum(),
            capture: format!("/api/v1/findings/{id}/evidence.pcapng"),
            note: capture::NOTE,
        },
    };
    Ok(Json(view).into_response())
}
