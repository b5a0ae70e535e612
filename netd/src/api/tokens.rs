//! `/api/v1/tokens`: who may ask from elsewhere. A token's secret is in the answer that makes it and nowhere else.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::input::{self, Fields, Name};
use super::problem::Problem;
use crate::store::audit::{Change, Effect, caller};
use crate::store::tokens::{Error, Scope, Token};
use crate::time;

/// How long a token is accepted unless its maker says otherwise.
const DEFAULT_TTL: &str = "90d";
/// Longest name, in characters.
const LONGEST: usize = 100;

/// A token that somebody wants.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    name: String,
    scopes: Vec<Scope>,
    /// A duration, or `never`.
    ttl: Option<String>,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["name", "scopes", "ttl"];
}

#[derive(Serialize)]
struct View {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    #[serde(serialize_with = "time::serialize")]
    created: Timestamp,
    #[serde(serialize_with = "time::serialize_option")]
    expires: Option<Timestamp>,
    #[serde(serialize_with = "time::serialize_option")]
    last_used: Option<Timestamp>,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    view: View,
    token: String,
}

impl From<Token> for View {
    fn from(token: Token) -> Self {
        let Token { id, name, scopes, created, expires, last_used } = token;
        Self { id, name, scopes, created, expires, last_used }
    }
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    let items: Vec<View> = context.tokens.list().into_iter().map(View::from).collect();
    Json(json!({"items": items, "next_cursor": null})).into_response()
}

pub(super) async fn create(
    State(context): State<Context>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Wanted { name, scopes, ttl } = input::json(&headers, body).await?;
    let invalid = |detail: String| Problem::unprocessable("bad-body", "Bad body", detail);
    if name.trim().is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
        return Err(invalid(format!("'name' must have from 1 to {LONGEST} characters, and none that controls")));
    }
    if scopes.is_empty() {
        let all = Scope::ALL.map(Scope::name).join(", ");
        return Err(invalid(format!("'scopes' is empty: name at least one of {all}")));
    }
    let now = time::now();
    let expires = match ttl.as_deref().unwrap_or(DEFAULT_TTL) {
        "never" => None,
        ttl => {
            let ttl = time::duration(ttl).map_err(|error| invalid(format!("'ttl': {error}, or never")))?;
            Some(now.plus_secs(ttl.as_secs_f64()))
        }
    };
    let change = Change::new(Effect::Increases, "token.create", &name).after(&(&name, &scopes, expires));
    let reason = scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ");
    context.audit.admit(now, &caller(), change.reason(reason)).map_err(unrecorded)?;
    let (token, secret) = context.tokens.create(name, scopes, now, expires).map_err(refused)?;
    let made = Made { view: View::from(token), token: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

pub(super) async fn revoke(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let change = Change::new(Effect::Decreases, "token.revoke", &name.0);
    context.audit.record(time::now(), &caller(), change);
    match context.tokens.revoke(&name.0).map_err(refused)? {
        Some(token) => Ok(Json(View::from(token)).into_response()),
        None => Err(Problem::not_found(format!("there is no token {}", name.0))),
    }
}

fn unrecorded(error: crate::store::audit::Unrecorded) -> Problem {
    crate::verdicts::Refusal::from(error).into()
}

fn refused(error: Error) -> Problem {
    match &error {
        Error::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", "No room", error.to_string()),
        Error::Random => Problem::internal(),
        Error::Unsaved(cause) => {
            tracing::error!(%error, %cause, "the tokens were not saved");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unsaved", "Not saved", format!("{error}: {cause}"))
        }
    }
}
