//! `/api/v1/policies`, `POST /api/v1/policies:validate`, `POST /api/v1/config:reload`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use netd_engine::policy::{Ceiling, Difference, Fault, Mode, Policies, Policy, Source, Spec};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use super::input::{self, BODY_LIMIT, Name};
use super::problem::{Detail, Problem};
use crate::config::policies;
use crate::store::policies::{Book, Reload, Trigger};

/// A policy in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(super) struct View<'a> {
    /// The policy's name.
    name: &'a str,
    /// From 0, in the order in which policies are asked.
    order: usize,
    /// How far it goes.
    mode: Modes,
    /// Captures that it says what must be made of.
    tests: usize,
    /// As its file states it, with the defaults of what it leaves out.
    spec: &'a Spec,
}

impl<'a> View<'a> {
    fn new(order: usize, policy: &'a Policy, ceiling: &Ceiling, book: &Book) -> Self {
        Self {
            name: &policy.name,
            order,
            mode: mode(policy, ceiling, book),
            tests: policy.spec.tests.len(),
            spec: &policy.spec,
        }
    }
}

/// How far a policy goes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyModes")]
pub(super) struct Modes {
    /// The mode that the policy asks for.
    requested: Mode,
    /// The mode that acts.
    effective: Mode,
    /// Why they differ, or why some of what it asks for cannot be done; null where nothing is held back.
    reason: Option<String>,
}

/// Every policy, in the order in which they are asked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policies")]
pub(super) struct Listed<'a> {
    /// The policies.
    items: Vec<View<'a>>,
    /// What came of reading them the last time.
    reload: &'a Reload,
}

/// What a text of policies says, and what it would change.
#[derive(Serialize, JsonSchema)]
pub(super) struct Validated<'a> {
    /// Names of its policies.
    policies: Vec<&'a str>,
    /// What is allowed and may not be meant, in words.
    warnings: Vec<String>,
    /// What would change if it took the place of the policies in force.
    difference: Difference,
}

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
    let known = context.policies.policies();
    let items =
        known.iter().enumerate().map(|(order, policy)| View::new(order, policy, &ceiling, &context.policies)).collect();
    Ok(Json(Listed { items, reload: &context.policies.last() }).into_response())
}

pub(super) async fn get(State(context): State<Context>, Name(name): Name) -> Result<Response, Problem> {
    let ceiling = context.verdicts.status().await?.ceiling();
    let policies = context.policies.policies();
    let found = policies.iter().enumerate().find(|(_, policy)| *policy.name == *name);
    let (order, policy) = found.ok_or_else(|| Problem::not_found(format!("there is no policy {name}")))?;
    Ok(Json(View::new(order, policy, &ceiling, &context.policies)).into_response())
}

/// Says whether a text states policies, and what they would change.
pub(super) async fn validate(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    input::read(&headers, body, BODY_LIMIT, |piece| bytes.extend_from_slice(piece)).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad-body", "Bad body", "the body is not UTF-8 text"))?;
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

fn refused(faults: &[Fault], consequence: &str) -> Problem {
    let problem = Problem::unprocessable("bad-policy", "Bad policy", consequence);
    faults.iter().fold(problem, |problem, fault| {
        let known = |place: u64| (place > 0).then_some(place);
        let (line, column) = (known(fault.line), known(fault.column));
        problem.with(Detail { line, column, detail: fault.to_string(), ..Detail::default() })
    })
}
