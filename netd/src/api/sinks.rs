//! `/api/v1/sinks`: where what happens is written or sent to, and what became of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use super::page::Page;
use crate::sinks::{Fate, SinkState};

/// Where what happens is written or sent to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Sink")]
pub(super) struct View<'a> {
    /// The sink's name.
    name: &'a str,
    /// Events that wait.
    queued: u64,
    /// Events that may wait.
    capacity: u64,
    /// Attempts that failed and were repeated.
    retries: u64,
    /// Events that the sink wanted, by what became of them: `sent`, `failed`, `dropped`, `missed`, `duplicate`, `held`.
    events: BTreeMap<&'static str, u64>,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    let snapshot = context.sources.borrow().clone();
    Json(Page::whole(snapshot.sinks.iter().map(view))).into_response()
}

fn view(SinkState { name, queued, capacity, retries, fates }: &SinkState) -> View<'_> {
    let events = Fate::ALL.iter().zip(fates).map(|(fate, count)| (fate.name(), *count)).collect();
    View { name, queued: *queued, capacity: *capacity, retries: *retries, events }
}
