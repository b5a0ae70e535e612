//! `/api/v1/feeds`: the lists that are fetched, and their update.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{Name, Params};
use super::page::Page;
use super::problem::Problem;
use crate::config::feeds::Action;
use crate::feeds::board::{NotAsked, State as Feed};
use crate::time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Takes a list of any size, and asks for it even if it is known.
    force: bool,
}

/// A list that is fetched.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Feed")]
pub(super) struct View {
    /// The feed's name, and that of its list.
    name: String,
    /// Where it is fetched from, without what is secret.
    url: String,
    /// What its entries are for.
    action: Action,
    /// Seconds between two attempts.
    every_s: u64,
    /// Whether its signature is checked.
    is_signed: bool,
    /// Entries of the list in use; null before the first.
    entries: Option<u64>,
    /// Serial number of a signed list in use.
    serial: Option<u64>,
    /// When the list was fetched, or known to be the newest.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    last_success: Option<Timestamp>,
    /// When it was asked for last.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    last_attempt: Option<Timestamp>,
    /// Why the last attempt brought nothing; null where it did.
    failure: Option<Failure>,
    /// Attempts that failed since the start.
    failures: u64,
    /// Entries that were not taken, because they must not be cut.
    refused: u64,
}

/// Why an attempt brought nothing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedFailure")]
struct Failure {
    /// Stable name, snake case.
    reason: &'static str,
    /// The same in words.
    detail: String,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    Json(Page::whole(context.feeds.list().into_iter().map(view))).into_response()
}

/// `POST /api/v1/feeds/{name}:update` answers when the update is over.
pub(super) async fn act(
    State(context): State<Context>,
    Name(target): Name,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let Some(name) = target.strip_suffix(":update") else {
        return Err(Problem::not_found(format!("there is nothing to do at {target}; {target}:update updates a feed")));
    };
    match context.feeds.update(name, query.force).await {
        Ok(feed) => Ok(Json(view(feed)).into_response()),
        Err(NotAsked::NoSuchFeed) => {
            Err(Problem::not_found(format!("there is no feed {name}; the configuration names them")))
        }
        Err(NotAsked::Busy) => {
            let detail = "others wait for an update of this feed already";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail))
        }
    }
}

fn view(feed: Feed) -> View {
    let Feed { name, url, action, every_s, is_signed, entries, serial, last_success, last_attempt, .. } = feed;
    View {
        name,
        url,
        action,
        every_s,
        is_signed,
        entries,
        serial,
        last_success,
        last_attempt,
        failure: feed.failure.map(|(reason, detail)| Failure { reason, detail }),
        failures: feed.failures.values().sum(),
        refused: feed.refused,
    }
}
