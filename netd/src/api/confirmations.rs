//! `/api/v1/confirmations`: changes that undo themselves unless they are confirmed; and `/api/v1/unblock`.

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::input::{self, Fields, Name};
use super::problem::Problem;
use super::verdicts;
use crate::time;
use crate::verdicts::{Confirmation, Released};

/// How a change that waits is shown where it was made.
#[derive(Serialize)]
pub(super) struct ConfirmationView {
    id: u64,
    /// When it undoes itself.
    #[serde(serialize_with = "time::serialize")]
    until: Timestamp,
}

impl From<(u64, Timestamp)> for ConfirmationView {
    fn from((id, until): (u64, Timestamp)) -> Self {
        Self { id, until }
    }
}

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    confirmation: ConfirmationView,
    what: String,
}

impl From<Confirmation> for View {
    fn from(Confirmation { id, until, what }: Confirmation) -> Self {
        Self { confirmation: ConfirmationView { id, until }, what }
    }
}

/// What is to be unblocked.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    address: Option<IpAddr>,
    #[serde(default)]
    all: bool,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["address", "all"];
}

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Problem> {
    let items: Vec<_> = context.verdicts.confirmations().await?.into_iter().map(View::from).collect();
    Ok(Json(json!({"items": items, "next_cursor": null})).into_response())
}

pub(super) async fn confirm(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let confirmed = context.verdicts.confirm(name.id("confirmation")?).await?;
    Ok(Json(View::from(confirmed)).into_response())
}

/// Undoes the change at once.
pub(super) async fn revert(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let undone = context.verdicts.revert(name.id("confirmation")?).await?;
    Ok(Json(View::from(undone)).into_response())
}

pub(super) async fn unblock(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let address = match input::json(&headers, body).await? {
        Wanted { address: Some(address), all: false } => Some(address.to_canonical()),
        Wanted { address: None, all: true } => None,
        Wanted { .. } => {
            return Err(Problem::unprocessable("bad-body", "Bad body", "exactly one of 'address' and 'all' is needed"));
        }
    };
    let Released { verdicts, entries, lists } = context.verdicts.unblock(address).await?;
    let entries: Vec<_> =
        entries.into_iter().map(|(list, value)| json!({"list": list, "value": value.to_string()})).collect();
    let verdicts: Vec<_> = verdicts.into_iter().map(verdicts::view).collect();
    Ok(Json(json!({"verdicts": verdicts, "entries": entries, "lists": lists})).into_response())
}
