//! `PUT` and `DELETE /api/v1/policies/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use netd_engine::policy::Name as PolicyName;
use serde::Deserialize;

use super::super::Context;
use super::super::blocklists::{if_match, set_tag};
use super::super::input::{self, Name, Params};
use super::super::problem::Problem;
use super::view::Change;
use super::{refused, text};
use crate::config::policies::Faults;
use crate::store::audit::caller;
use crate::store::policies::{Author, Book, Changed, Refusal, Terms};

/// Longest text of one policy, in bytes: it is a page or two.
const LONGEST: usize = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Query {
    dry_run: bool,
}

pub(in super::super) async fn put(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = policy_name(name)?;
    match input::media_type(&headers) {
        None | Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/plain" | "application/json") => {}
        other => return Err(input::unsupported(other, "application/yaml or application/json")),
    }
    let terms = terms(&headers, &query)?;
    let text = text(&headers, body, LONGEST).await?;
    let put = move |book: &Book, name: &PolicyName, author: &Author<'_>| book.put(name, text, &terms, author);
    changed(&context, name, query.dry_run, put).await
}

pub(in super::super) async fn remove(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = policy_name(name)?;
    let terms = terms(&headers, &query)?;
    let remove = move |book: &Book, name: &PolicyName, author: &Author<'_>| book.remove(name, &terms, author);
    changed(&context, name, query.dry_run, remove).await
}

/// Makes a change on a thread that may wait for the disk, and says what it came to.
async fn changed(
    context: &Context,
    name: PolicyName,
    dry_run: bool,
    make: impl FnOnce(&Book, &PolicyName, &Author<'_>) -> Result<Changed, Refusal> + Send + 'static,
) -> Result<Response, Problem> {
    let (book, audit, caller) = (Arc::clone(&context.policies), context.audit.clone(), caller());
    let made = tokio::task::spawn_blocking(move || {
        let made = make(&book, &name, &Author { audit: &audit, caller });
        made.map(|changed| (name, changed))
    });
    let (name, changed) = made.await.map_err(|_| Problem::internal())?.map_err(problem)?;
    let tag = changed.tag.clone().filter(|_| !dry_run);
    let is_made = changed.is_new && tag.is_some();
    let status = if is_made { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = (status, Json(Change::new(name.as_str(), dry_run, changed))).into_response();
    if let Some(tag) = tag {
        set_tag(&mut answer, &tag);
    }
    Ok(answer)
}

fn policy_name(name: Name) -> Result<PolicyName, Problem> {
    name.0.parse().map_err(|error: netd_engine::policy::BadName| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-name", "Bad name", error.to_string())
    })
}

fn terms(headers: &HeaderMap, query: &Query) -> Result<Terms, Problem> {
    let if_new = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*");
    Ok(Terms { if_match: if_match(headers)?, if_new, dry_run: query.dry_run })
}

fn problem(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NowhereToKeep => Problem::new(StatusCode::CONFLICT, "no-state", "Nowhere to keep it", detail),
        Refusal::OfAFile { .. } | Refusal::Shipped { .. } => {
            Problem::new(StatusCode::CONFLICT, "name-taken", "Another's policy", detail)
        }
        Refusal::NotOne { .. } | Refusal::OtherName { .. } => {
            Problem::unprocessable("bad-policy", "Bad policy", detail)
        }
        Refusal::NoPolicy { .. } => Problem::not_found(detail),
        Refusal::Changed { .. } => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed in the meantime", detail)
        }
        Refusal::Faults(Faults(faults)) => refused(&faults, "the policies in force stay as they are"),
        Refusal::Unrecorded(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unrecorded", "No change without a record", detail)
        }
        Refusal::Unsaved(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unsaved", "Not saved", detail),
    }
}
