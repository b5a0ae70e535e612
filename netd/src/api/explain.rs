//! `GET /api/v1/explain`: why there is, or is not, a finding about an address or a name.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use netd_engine::engine::Question;
use serde::Deserialize;

use super::Context;
use super::input::Params;
use super::problem::Problem;
use crate::store::view::ExplanationView;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Either end.
    ip: Option<IpAddr>,
    /// The name or one below it.
    name: Option<String>,
}

pub(super) async fn get(State(context): State<Context>, Params(query): Params<Query>) -> Result<Response, Problem> {
    let question = match (query.ip, query.name) {
        (Some(address), None) => Question::Address(address.to_canonical()),
        (None, Some(name)) if !name.trim_matches('.').is_empty() => Question::Name(name.trim_matches('.').to_owned()),
        (None, Some(_)) => return Err(Problem::bad_parameter("name", "the name is empty".to_owned())),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::bad_parameter("ip", "exactly one of 'ip' and 'name' is needed".to_owned()));
        }
    };
    let ended = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ending", "Ending", "the engine has ended: netd is shutting down")
    };
    let explanation = context.asker.ask(question).await.ok_or_else(ended)?;
    Ok(Json(ExplanationView::from(&explanation)).into_response())
}
