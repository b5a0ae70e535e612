//! Whether netd lives, whether it does its work, and which version it is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use super::problem::{Detail, Problem};

/// That netd answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Liveness {
    /// True.
    live: bool,
}

/// That netd does its work.
#[derive(Serialize, JsonSchema)]
pub(super) struct Readiness {
    /// True; a problem says why netd is not ready.
    ready: bool,
}

/// Which netd answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct Version {
    /// `netd`.
    name: &'static str,
    /// Of the program, as in Semantic Versioning.
    version: &'static str,
    /// Of the API, as in its paths.
    api: &'static str,
    /// Layout of the kernel's maps: programs of another are replaced.
    map_layout: u32,
}

pub(super) async fn livez() -> Response {
    Json(Liveness { live: true }).into_response()
}

/// 503 with every reason when netd runs but does not do its work.
pub(super) async fn readyz(State(context): State<Context>) -> Result<Response, Problem> {
    let mut reasons = context.sources.borrow().not_ready.clone();
    if context.sources.has_changed().is_err() {
        reasons.push("the pipeline has ended".to_owned());
    }
    if let Err(refusal) = context.verdicts.status().await {
        reasons.push(refusal.to_string());
    }
    if reasons.is_empty() {
        return Ok(Json(Readiness { ready: true }).into_response());
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", reasons.join("; "));
    Err(reasons.into_iter().fold(problem, |problem, detail| problem.with(Detail { detail, ..Detail::default() })))
}

pub(super) async fn version() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Json(Version { name: "netd", version, api: "v1", map_layout: netd_common::names::ABI }).into_response()
}
