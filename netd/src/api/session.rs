//! `/api/v1/session`: a token exchanged for a cookie, so that a browser's page need not keep the token.
//!
//! A browser sends the cookie by itself, whoever makes it. So a request that changes something shows the session's CSRF
//! token too, which only this origin's page can read; and [`super::guard`] refuses writes of other origins.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::auth::{Granted, Peer};
use super::problem::Problem;
use crate::store::audit::{Actor, caller};
use crate::store::sessions::{LIFE_S, Session};
use crate::store::tokens::Scope;
use crate::time;

const COOKIE: &str = "netd_session";
/// Where the CSRF token is shown.
pub(super) const CSRF: &str = "x-csrf-token";

/// A browser's session.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(super) struct View<'a> {
    /// Id of the token that it stands for.
    token: &'a str,
    /// What that token may do.
    scopes: &'a [Scope],
    /// To be sent as X-CSRF-Token with whatever changes something.
    csrf: &'a str,
    /// When the session ends.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    until: Timestamp,
}

/// Exchanges the token that is presented for a cookie.
pub(super) async fn begin(
    State(context): State<Context>,
    Extension(granted): Extension<Granted>,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    let (Actor::Token { id }, None) = (caller().actor, &granted.session) else {
        let detail = "a session stands for a token: send Authorization: Bearer ntd_…";
        return Err(Problem::unprocessable("no-token", "No token", detail));
    };
    let (secret, session) = context.doorkeeper.sessions().begin(id, time::now()).ok_or_else(Problem::internal)?;
    let is_secure = matches!(peer, Some(Extension(Peer::Remote { .. })));
    let cookie = cookie(secret.reveal(), LIFE_S, is_secure);
    Ok(with_cookie((StatusCode::CREATED, view(&session, &granted)).into_response(), &cookie))
}

pub(super) async fn get(Extension(granted): Extension<Granted>) -> Result<Response, Problem> {
    let session = granted.session.as_deref().ok_or_else(no_session)?;
    Ok(view(session, &granted).into_response())
}

/// Ends the session; the token stays.
pub(super) async fn end(
    State(context): State<Context>,
    Extension(granted): Extension<Granted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = granted.session.as_deref().ok_or_else(no_session)?;
    context.doorkeeper.sessions().end(presented(&headers).unwrap_or_default());
    Ok(with_cookie(view(session, &granted).into_response(), &cookie("", 0, false)))
}

/// Returns the secret of a session that a request presents.
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn cookie(value: &str, seconds: u32, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn view(session: &Session, granted: &Granted) -> Json<Value> {
    let view =
        View { token: &session.token, scopes: granted.scopes(), csrf: session.csrf.reveal(), until: session.until };
    Json(serde_json::json!(view))
}

fn no_session() -> Problem {
    Problem::not_found("you came without a session's cookie".to_owned())
}
