//! `/api/v1/tokens`: who may ask from elsewhere. A token's secret is in the answer that makes it and nowhere else.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{self, Fields, Name};
use super::page::Page;
use super::problem::Problem;
use crate::store::audit::{Change, Effect, caller};
use crate::store::tokens::{Error, Scope, Token};
use crate::time;

/// How long a token is accepted unless its maker says otherwise.
const DEFAULT_TTL: &str = "90d";
/// Longest name, in characters.
const LONGEST: usize = 100;

/// A token that somebody wants.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "TokenWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What it is for, 100 characters at most, without control characters.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What it may do.
    #[schemars(length(min = 1))]
    scopes: Vec<Scope>,
    /// How long it is accepted: a duration like `90d`, which is the default, or `never`.
    #[schemars(example = "90d")]
    ttl: Option<String>,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["name", "scopes", "ttl"];
}

/// A token, without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct View {
    /// What it is called by; not its secret.
    id: String,
    /// What it is for.
    name: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    created: Timestamp,
    /// When it ends; null: never.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    expires: Option<Timestamp>,
    /// When it was presented last; null: never.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    last_used: Option<Timestamp>,
}

/// A token that was made, with its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenMade")]
pub(super) struct Made {
    #[serde(flatten)]
    view: View,
    /// The secret: it is in this answer and nowhere else.
    token: String,
}

impl From<Token> for View {
    fn from(token: Token) -> Self {
        let Token { id, name, scopes, created, expires, last_used } = token;
        Self { id, name, scopes, created, expires, last_used }
    }
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    Json(Page::whole(context.tokens.list().into_iter().map(View::from))).into_response()
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
