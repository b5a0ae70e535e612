//! `/api/v1/blocklists/{name}/entries` and the same of allow-lists: single entries with a reason and an end.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::blocklists::{if_match, list_name, set_tag};
use super::confirmations::ConfirmationView;
use super::input::{self, Fields, Name, Params};
use super::live::{self, LiveFlows};
use super::page;
use super::problem::Problem;
use super::verdicts::{HitsView, hits_view};
use crate::time;
use crate::verdicts::blocklist::{EntryValue, List};
use crate::verdicts::{EntryChange, EntryOptions, EntryView, ListKind, NewEntry, Refusal};

/// An entry that an operator asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "EntryWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// An address, a prefix or a name.
    #[schemars(example = "198.51.100.7")]
    value: String,
    /// How long it holds: a duration like `4h`; for good without it, and with `never`.
    #[schemars(example = "4h")]
    ttl: Option<String>,
    /// Why: it is written down. 1,024 bytes at most, without control characters.
    #[serde(default)]
    #[schemars(length(max = 1_024))]
    reason: String,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["value", "ttl", "reason"];
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AddQuery {
    dry_run: bool,
    force: bool,
    /// Undo the change unless it is confirmed in this time.
    confirm: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ValueQuery {
    value: Option<String>,
}

/// A single entry of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Entry")]
pub(super) struct View {
    /// An address, a prefix or a name.
    value: String,
    /// Why it is there.
    reason: String,
    /// When it was added.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    created: Timestamp,
    /// When it ends; null: never.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    until: Option<Timestamp>,
    /// What it met; of block-lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<HitsView>,
    /// Why it keeps passing all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    shielded_by: Option<&'static str>,
}

/// What adding or removing an entry did, or would.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EntryChange")]
pub(super) struct Change {
    /// The list's name.
    list: String,
    /// The entry.
    value: String,
    /// Whether it was not there before.
    is_new: bool,
    /// Whether nothing was done.
    dry_run: bool,
    /// What of it keeps passing: protected or allow-listed.
    spared: Vec<String>,
    /// Whether it is on disk, so that it outlives a restart.
    saved: bool,
    /// That it undoes itself, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<ConfirmationView>,
    /// With `dry_run`: what is alive and would be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    live_flows: Option<LiveFlows>,
}

pub(super) async fn list_block(
    State(context): State<Context>,
    name: Name,
    uri: Uri,
    Params(query): Params<ListQuery>,
) -> Result<Response, Problem> {
    let entries = context.verdicts.entries(list_name(name)?).await?;
    paged(entries, &uri, &query)
}

pub(super) async fn list_allow(
    State(context): State<Context>,
    name: Name,
    uri: Uri,
    Params(query): Params<ListQuery>,
) -> Result<Response, Problem> {
    let (_, _, entries) = context.verdicts.allow_list(list_name(name)?).await?;
    paged(entries, &uri, &query)
}

pub(super) async fn add_block(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<AddQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    add(ListKind::Block, context, name, query, headers, body).await
}

pub(super) async fn add_allow(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<AddQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    add(ListKind::Allow, context, name, query, headers, body).await
}

/// Removes the entry that the path names; a prefix may stand there with its slash.
pub(super) async fn remove_block(
    State(context): State<Context>,
    Path((name, value)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    remove(ListKind::Block, context, Name(name), Some(value), headers).await
}

pub(super) async fn remove_allow(
    State(context): State<Context>,
    Path((name, value)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    remove(ListKind::Allow, context, Name(name), Some(value), headers).await
}

pub(super) async fn remove_block_by_query(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<ValueQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    remove(ListKind::Block, context, name, query.value, headers).await
}

pub(super) async fn remove_allow_by_query(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<ValueQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    remove(ListKind::Allow, context, name, query.value, headers).await
}

async fn add(
    kind: ListKind,
    context: Context,
    name: Name,
    query: AddQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let list = list_name(name)?;
    let options = EntryOptions {
        force: query.force,
        dry_run: query.dry_run,
        if_match: if_match(&headers)?,
        confirm: confirm_time(query.confirm.as_deref())?,
    };
    let Wanted { value, ttl, reason } = input::json(&headers, body).await?;
    let new = NewEntry {
        value: entry_value(&value)?,
        until: until(ttl.as_deref(), time::now())?,
        reason: input::reason(reason)?,
    };
    let live_flows = match (kind, options.dry_run) {
        (ListKind::Block, true) => Some(live::would_cut(&context, &only(&new.value)).await?),
        (ListKind::Block, false) | (ListKind::Allow, _) => None,
    };
    let change = context.verdicts.add_entry(kind, list.clone(), new, options).await?;
    let status = if change.is_new && !change.dry_run { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond(status, list.to_string(), change, live_flows))
}

async fn remove(
    kind: ListKind,
    context: Context,
    name: Name,
    value: Option<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let list = list_name(name)?;
    let value = value.ok_or_else(|| Problem::bad_parameter("value", "which entry is to be removed"))?;
    let value = entry_value(&value)?;
    let change = context.verdicts.remove_entry(kind, list.clone(), value, if_match(&headers)?).await?;
    Ok(respond(StatusCode::OK, list.to_string(), change, None))
}

fn respond(status: StatusCode, list: String, change: EntryChange, live_flows: Option<LiveFlows>) -> Response {
    let EntryChange { value, is_new, dry_run, tag, spared, saved, confirmation } = change;
    let confirmation = confirmation.map(ConfirmationView::from);
    let body = Change { list, value: value.to_string(), is_new, dry_run, spared, saved, confirmation, live_flows };
    let mut answer = (status, Json(body)).into_response();
    if !dry_run {
        set_tag(&mut answer, &tag);
    }
    answer
}

fn paged(entries: Vec<EntryView>, uri: &Uri, query: &ListQuery) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let from = page::place('e', query.cursor.as_deref())?.unwrap_or(0);
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let total = entries.len();
    let items: Vec<_> = entries.into_iter().skip(from).take(limit).map(view).collect();
    let next = from.saturating_add(items.len());
    Ok(page::respond(uri, 'e', items, (next < total).then_some(next as u64)))
}

fn view(entry: EntryView) -> View {
    let EntryView { value, reason, created, until, hits, shielded_by } = entry;
    View {
        value: value.to_string(),
        reason,
        created,
        until,
        hits: hits.map(hits_view),
        shielded_by: shielded_by.map(crate::verdicts::Guard::name),
    }
}

fn only(value: &EntryValue) -> List {
    match value {
        EntryValue::Item(item) => List::new(vec![*item]),
        EntryValue::Name(name, reach) => {
            let names = netd_engine::listed::NameSet::new(vec![(name.clone(), *reach)]);
            List::default().with_names(names.into())
        }
    }
}

pub(super) fn entry_value(text: &str) -> Result<EntryValue, Problem> {
    let shown: String = text.chars().take(80).collect();
    text.parse().map_err(|error| Problem::unprocessable("bad-entry", "Bad entry", format!("value: '{shown}': {error}")))
}

/// Returns the end of a time to live; none and `never` are for good.
fn until(ttl: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let Some(ttl) = ttl.filter(|ttl| *ttl != "never") else { return Ok(None) };
    let ttl = time::duration(ttl)
        .map_err(|error| Problem::unprocessable("bad-ttl", "Bad time to live", format!("ttl: {error}, or never")))?;
    if ttl.is_zero() {
        return Err(Refusal::NotInFuture.into());
    }
    Ok(Some(now.plus_secs(ttl.as_secs_f64())))
}

/// Returns the time in which a change has to be confirmed.
pub(super) fn confirm_time(text: Option<&str>) -> Result<Option<Duration>, Problem> {
    let time = text.map(time::duration).transpose();
    time.map_err(|error| Problem::bad_parameter("confirm", error.to_string()))
}
