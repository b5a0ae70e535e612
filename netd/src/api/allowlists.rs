//! `/api/v1/allowlists`: what passes whatever is listed or decided, replaced as a whole.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::blocklists::{changed, content, if_match, list_name, read_list};
use super::entries::confirm_time;
use super::input::{Name, Params};
use super::page::Page;
use super::problem::Problem;
use crate::time;
use crate::verdicts::{AllowListView, ListOptions, Refusal};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    dry_run: bool,
    force: bool,
    confirm: Option<String>,
}

/// An allow-list, without its entries.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Allowlist")]
pub(super) struct View {
    /// The list's name.
    name: String,
    /// Entries of its content.
    entries: u64,
    /// IPv4 addresses and prefixes among them.
    entries_v4: u64,
    /// IPv6 addresses and prefixes among them.
    entries_v6: u64,
    /// Names among them.
    names: u64,
    /// Entries that were added one by one, besides the content.
    single_entries: u64,
    /// The content's ETag.
    tag: String,
    /// When the list was replaced last.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    updated: Timestamp,
}

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Problem> {
    Ok(Json(Page::whole(context.verdicts.allow_lists().await?.into_iter().map(view))).into_response())
}

/// The entries as plain text, as they can be uploaded again.
pub(super) async fn get(State(context): State<Context>, name: Name, headers: HeaderMap) -> Result<Response, Problem> {
    let (view, list, singles) = context.verdicts.allow_list(list_name(name)?).await?;
    content(&headers, &view.tag, Arc::new(list), singles).await
}

pub(super) async fn replace(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = list_name(name)?;
    let options = ListOptions {
        force: query.force,
        dry_run: query.dry_run,
        if_match: if_match(&headers)?,
        confirm: confirm_time(query.confirm.as_deref())?,
        ..ListOptions::default()
    };
    let (list, read) = read_list(&headers, body).await?;
    let is_new = matches!(context.verdicts.allow_list(name.clone()).await, Err(Refusal::NoAllowList { .. }));
    let change = context.verdicts.replace_allow_list(name.clone(), list, options).await?;
    changed(&context, name, is_new, read, change, None).await
}

pub(super) async fn remove(
    State(context): State<Context>,
    name: Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let removed = context.verdicts.remove_allow_list(list_name(name)?, if_match(&headers)?).await?;
    Ok(Json(view(removed)).into_response())
}

fn view(list: AllowListView) -> View {
    let AllowListView { name, entries_v4, entries_v6, names, singles, tag, updated } = list;
    let entries = entries_v4 + entries_v6 + names;
    View { name, entries, entries_v4, entries_v6, names, single_entries: singles, tag, updated }
}
