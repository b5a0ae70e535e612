//! `/api/v1/confirmations`: changes that undo themselves unless they are confirmed; and `/api/v1/unblock`.

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{self, Fields, Name};
use super::page::Page;
use super::problem::Problem;
use super::verdicts;
use crate::time;
use crate::verdicts::blocklist::EntryValue;
use crate::verdicts::{Confirmation, Released};

/// A change that undoes itself unless it is confirmed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pending")]
pub(super) struct ConfirmationView {
    /// Number to confirm it by.
    id: u64,
    /// When it undoes itself.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    until: Timestamp,
}

impl From<(u64, Timestamp)> for ConfirmationView {
    fn from((id, until): (u64, Timestamp)) -> Self {
        Self { id, until }
    }
}

/// A change that undoes itself unless it is confirmed, and what it is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Confirmation")]
pub(super) struct View {
    #[serde(flatten)]
    confirmation: ConfirmationView,
    /// The change, in words.
    what: String,
}

impl From<Confirmation> for View {
    fn from(Confirmation { id, until, what }: Confirmation) -> Self {
        Self { confirmation: ConfirmationView { id, until }, what }
    }
}

/// What is to be unblocked: exactly one of both.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "UnblockWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What hits this address is undone.
    address: Option<IpAddr>,
    /// Everything is undone.
    #[serde(default)]
    all: bool,
}

/// What was undone.
#[derive(Serialize, JsonSchema)]
pub(super) struct Unblocked {
    /// Verdicts that were released.
    verdicts: Vec<verdicts::View>,
    /// Single entries that were removed from block-lists.
    entries: Vec<Removed>,
    /// Block-lists that were removed as a whole.
    lists: Vec<String>,
}

/// An entry that was removed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RemovedEntry")]
struct Removed {
    /// The list's name.
    list: String,
    /// An address, a prefix or a name.
    value: String,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["address", "all"];
}

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Problem> {
    let waiting = context.verdicts.confirmations().await?;
    Ok(Json(Page::whole(waiting.into_iter().map(View::from))).into_response())
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
    let removed = |(list, value): (String, EntryValue)| Removed { list, value: value.to_string() };
    let verdicts = verdicts.into_iter().map(verdicts::view).collect();
    Ok(Json(Unblocked { verdicts, entries: entries.into_iter().map(removed).collect(), lists }).into_response())
}
