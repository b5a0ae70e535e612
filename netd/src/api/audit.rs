//! `GET /api/v1/audit`: who changed what, newest first.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;

use super::Context;
use super::input::Params;
use super::page;
use super::problem::Problem;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::place('a', query.cursor.as_deref())?;
    // It reads files.
    let read = tokio::task::spawn_blocking(move || context.audit.page(before, limit)).await;
    let read = read.map_err(|_| Problem::internal())?;
    let (records, more) = read.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "Audit log not readable", error.to_string())
    })?;
    let next = records.last().filter(|_| more).map(|record| record.seq);
    Ok(page::respond(&uri, 'a', records, next))
}
