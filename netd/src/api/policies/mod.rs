//! `/api/v1/policies`, what can be asked of policies before they act, and `POST /api/v1/config:reload`.

mod change;
mod rehearse;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use netd_engine::policy::{Ceiling, Difference, Fault, Policies, Policy, Source};

pub(super) use self::change::{put, remove};
pub(super) use self::rehearse::{generate, simulate};
use self::view::View;
pub(super) use self::view::{Change, Listed, Modes, Simulation, Validated, Whole};
use super::input::{self, BODY_LIMIT, Name};
use super::problem::{Detail, Problem};
use super::{Context, blocklists};
use crate::config::policies;
use crate::store::policies::{Book, Trigger};

/// Returns requested and effective mode of a policy, with the reason where they differ, or where some of what it asks
/// for cannot be done.
pub(super) fn mode(policy: &Policy, ceiling: &Ceiling, book: &Book) -> Modes {
    let requested = policy.spec.mode;
    let (effective, reason) = ceiling.hold(requested);
    let reason = (!reason.is_empty()).then(|| reason.to_string()).or_else(|| book.withheld(policy));
    Modes { requested, effective, reason }
}

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Problem> {
    let ceiling = context.verdicts.status().await?.ceiling();
    let known = context.policies.collection();
    let items = known.iter().map(|stated| View::new(&stated, &ceiling, &context.policies)).collect();
    Ok(Json(Listed { items, reload: &context.policies.last() }).into_response())
}

pub(super) async fn get(
    State(context): State<Context>,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ceiling = context.verdicts.status().await?.ceiling();
    let known = context.policies.collection();
    let stated = known.get(&name).ok_or_else(|| Problem::not_found(format!("there is no policy {name}")))?;
    let tag = stated.tag();
    let mut answer = match blocklists::is_known(&headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(Whole::new(&stated, &ceiling, &context.policies)).into_response(),
    };
    blocklists::set_tag(&mut answer, &tag);
    Ok(answer)
}

/// Says whether a text states policies, and what they would change.
pub(super) async fn validate(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = text(&headers, body, BODY_LIMIT).await?;
    let read = Policies::read(&[Source { file: "body", text: &text }]);
    let read = read.map_err(|faults| refused(&faults, "it cannot be used as a policy"))?;
    let warnings = policies::warnings(&read);
    let names = read.iter().map(|policy| &*policy.name).collect();
    let difference = Difference::between(&context.policies.policies(), &read);
    Ok(Json(Validated { policies: names, warnings, difference }).into_response())
}

pub(super) async fn reload(State(context): State<Context>) -> Result<Response, Problem> {
    let policies = Arc::clone(&context.policies);
    let reload = tokio::task::spawn_blocking(move || policies.reload(Trigger::Api)).await;
    let reload = reload.map_err(|_| Problem::internal())?;
    match reload.is_refused() {
        true => Err(refused(&reload.faults, "the policies in force stay as they are")),
        false => Ok(Json(&*reload).into_response()),
    }
}

/// Reads a body that states policies. JSON is YAML, too.
async fn text(headers: &HeaderMap, body: Body, limit: usize) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    input::read(headers, body, limit, |piece| bytes.extend_from_slice(piece)).await?;
    String::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad-body", "Bad body", "the body is not UTF-8 text"))
}

fn refused(faults: &[Fault], consequence: &str) -> Problem {
    let problem = Problem::unprocessable("bad-policy", "Bad policy", consequence);
    faults.iter().fold(problem, |problem, fault| {
        let known = |place: u64| (place > 0).then_some(place);
        let (line, column) = (known(fault.line), known(fault.column));
        problem.with(Detail { line, column, detail: fault.to_string(), ..Detail::default() })
    })
}
