//! `/api/v1/sinks`: where what happens is written or sent to, and what became of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::sinks::{Fate, SinkState};

#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    /// Events that wait, and that may.
    queued: u64,
    capacity: u64,
    /// Attempts that failed and were repeated.
    retries: u64,
    /// Events that the sink wanted, by what became of them.
    events: BTreeMap<&'static str, u64>,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    let snapshot = context.sources.borrow().clone();
    let items: Vec<_> = snapshot.sinks.iter().map(view).collect();
    Json(json!({"items": items, "next_cursor": null})).into_response()
}

fn view(SinkState { name, queued, capacity, retries, fates }: &SinkState) -> View<'_> {
    let events = Fate::ALL.iter().zip(fates).map(|(fate, count)| (fate.name(), *count)).collect();
    View { name, queued: *queued, capacity: *capacity, retries: *retries, events }
}
