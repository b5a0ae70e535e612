//! `GET /api/v1/explain`: why there is, or is not, a finding about an address or a name.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use netd_engine::engine::Question;
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::Params;
use super::problem::Problem;
use super::verdicts::{ActionView, action_view};
use crate::store::view::ExplanationView;
use crate::time;
use crate::verdicts::ListMatch;

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
    let lists = match &question {
        Question::Address(address) => context.verdicts.lists_of_address(*address).await?,
        Question::Name(name) => context.verdicts.lists_of_name(name.to_ascii_lowercase()).await?,
    };
    let explanation = context.asker.ask(question).await.ok_or_else(ended)?;
    let explanation = ExplanationView::from(&explanation);
    Ok(Json(View { explanation, lists: lists.into_iter().map(ListView::from).collect() }).into_response())
}

#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    explanation: ExplanationView<'a>,
    /// What lists say of it.
    lists: Vec<ListView>,
}

#[derive(Serialize)]
struct ListView {
    list: String,
    kind: &'static str,
    entry: String,
    reason: String,
    #[serde(serialize_with = "time::serialize_option")]
    until: Option<Timestamp>,
    #[serde(flatten)]
    action: Option<ActionView>,
}

impl From<ListMatch> for ListView {
    fn from(found: ListMatch) -> Self {
        let ListMatch { list, is_allow, entry, reason, until, response } = found;
        let kind = if is_allow { "allow" } else { "block" };
        Self { list, kind, entry, reason, until, action: response.map(action_view) }
    }
}
