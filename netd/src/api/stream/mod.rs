//! `/api/v1/{findings,flows,verdicts}/stream`: what happens, told as it happens, as server-sent events or NDJSON.
//!
//! An event has a number. Who comes back with the last one it got (`Last-Event-ID`) gets from the store what came
//! since, and a `gap` where the store has forgotten some of it.

mod feed;
mod line;
mod params;
mod topic;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Context;
use super::problem::Problem;
use super::serve::Served;
use super::{findings, flows};
use crate::query::{Query, Sort};
use feed::Feed;
use line::Encoding;
pub(super) use line::{Gap, Line};
use params::{Last, Params};
use topic::Topic;
pub(super) use topic::VerdictView;

/// Streams served at once, on all listeners together: less than connections, so that requests get through.
const STREAMS: usize = 64;

/// Places for streams.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

impl Slots {
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        STREAMS - self.0.available_permits()
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| {
            let detail = format!("{STREAMS} streams are being read already; try again when one has ended");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams", detail)
        };
        Arc::clone(&self.0).try_acquire_owned().map_err(full)
    }
}

pub(super) async fn findings(
    State(context): State<Context>,
    served: Served,
    headers: HeaderMap,
    Params { last, list }: Params<findings::Parameters>,
) -> Result<Response, Problem> {
    let filter = list.filter()?;
    unordered(&filter.query)?;
    let topic = Topic::Findings(filter);
    respond(context, served, &headers, last, topic)
}

pub(super) async fn flows(
    State(context): State<Context>,
    served: Served,
    headers: HeaderMap,
    Params { last, list }: Params<flows::Parameters>,
) -> Result<Response, Problem> {
    let query = list.query()?;
    unordered(&query)?;
    let topic = Topic::flows(query, list.chosen()?);
    respond(context, served, &headers, last, topic)
}

pub(super) async fn verdicts(
    State(context): State<Context>,
    served: Served,
    headers: HeaderMap,
    Params { last, list: Nothing {} }: Params<Nothing>,
) -> Result<Response, Problem> {
    respond(context, served, &headers, last, Topic::Verdicts)
}

/// A stream has one order: that in which things happen.
fn unordered(query: &Query) -> Result<(), Problem> {
    match query.sort == Sort::default() {
        true => Ok(()),
        false => Err(Problem::bad_parameter("q", "a stream tells things as they happen: leave out 'sort'")),
    }
}

/// Verdicts are not filtered.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

fn respond(
    context: Context,
    served: Served,
    headers: &HeaderMap,
    last: Last,
    topic: Topic,
) -> Result<Response, Problem> {
    let slot = context.streams.take()?;
    let encoding = Encoding::accepted(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let resume = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    served.lasts();
    let feed = Feed::new(context, topic, encoding, resume, last, served.shutdown(), slot);
    let mut response = Body::from_stream(feed.pieces()).into_response();
    let values = [
        (header::CONTENT_TYPE, encoding.media_type()),
        (header::CACHE_CONTROL, "no-store"),
        // For reverse proxies that would collect an answer before they pass it on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in values {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
