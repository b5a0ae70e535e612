//! `/api/v1/blocklists`: lists of addresses, prefixes and names, replaced as a whole.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::confirmations::ConfirmationView;
use super::entries::confirm_time;
use super::input::{self, Name, Params};
use super::live::{self, LiveFlows};
use super::mode::ModeName;
use super::page::Page;
use super::problem::{Detail, Problem};
use super::upload;
use super::verdicts::{ActionName, ActionView, HitsView, action_view, hits_view, response};
use crate::time;
use crate::verdicts::blocklist::{List, ListName, Parsed, Rejected};
use crate::verdicts::{EntryView, ListChange, ListOptions, ListView, Refusal, Remark};

/// Lines and entries named one by one in an answer; the rest is counted.
const NAMED: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    dry_run: bool,
    force: bool,
    shadow: bool,
    /// Merges entries that mean the same.
    aggregate: bool,
    action: ActionName,
    bytes_per_second: Option<u64>,
    burst_bytes: Option<u64>,
    /// Undo the change unless it is confirmed in this time.
    confirm: Option<String>,
}

/// A block-list, without its entries.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Blocklist")]
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
    #[serde(flatten)]
    action: ActionView,
    /// Whether it only counts what it would have met.
    shadow: bool,
    /// What it met.
    hits: HitsView,
}

/// What the replacement of a list did, or would.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListChange")]
pub(super) struct Change {
    /// The list's name.
    name: String,
    /// Entries that it has after that.
    entries: u64,
    /// Entries that came.
    added: u64,
    /// Entries that went.
    removed: u64,
    /// Entries that stay.
    unchanged: u64,
    /// Whether the content is another.
    changed: bool,
    /// Whether nothing was done.
    dry_run: bool,
    /// Lines of the text.
    lines: u64,
    /// Entries that the text has more than once.
    duplicates: u64,
    /// Entries fewer, because others of the list mean the same.
    merged: u64,
    /// Understood, and nothing that is listed: exceptions, what is revoked or expired, files, URLs.
    skipped: u64,
    /// Lines that were not understood, the first 10,000.
    rejected: Vec<Line>,
    /// How many there were in all.
    rejected_total: u64,
    /// Entries that were not taken, because they must not be cut or are too wide; the first 10,000.
    refused: Vec<Noted>,
    /// How many there were in all.
    refused_total: u64,
    /// Entries that were taken though something inside of them keeps passing; the first 10,000.
    spared: Vec<Noted>,
    /// How many there were in all.
    spared_total: u64,
    /// How far netd goes at this moment.
    mode: ModeName,
    /// Whether it is on disk, so that it outlives a restart.
    saved: bool,
    /// That it undoes itself, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<ConfirmationView>,
    /// With `dry_run`: what is alive and would be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    live_flows: Option<LiveFlows>,
}

/// A line that was not understood.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RejectedLine")]
struct Line {
    /// Its number, from 1.
    line: u64,
    /// What it says, cut where it is long.
    value: String,
    /// Why it is no entry.
    reason: String,
}

/// An entry that there is something to say of.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EntryRemark")]
struct Noted {
    /// The entry.
    value: String,
    /// What there is to say of it.
    reason: String,
}

pub(super) async fn list(State(context): State<Context>, _: Params<NoQuery>) -> Result<HttpResponse, Problem> {
    Ok(Json(Page::whole(context.verdicts.lists().await?.into_iter().map(view))).into_response())
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// The entries as plain text, as they can be uploaded again.
pub(super) async fn get(
    State(context): State<Context>,
    name: Name,
    headers: HeaderMap,
) -> Result<HttpResponse, Problem> {
    let name = list_name(name)?;
    let (view, list, singles) = context.verdicts.list(name).await?;
    content(&headers, &view.tag, list, singles).await
}

/// Answers with a list's text, unless it is known by its tag.
pub(super) async fn content(
    headers: &HeaderMap,
    tag: &str,
    list: Arc<List>,
    singles: Vec<EntryView>,
) -> Result<HttpResponse, Problem> {
    let mut answer = if is_known(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        written(list, singles).await?.into_response()
    };
    set_tag(&mut answer, tag);
    Ok(answer)
}

pub(super) async fn replace(
    State(context): State<Context>,
    name: Name,
    Params(query): Params<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let name = list_name(name)?;
    let options = ListOptions {
        response: response(query.action, query.bytes_per_second, query.burst_bytes)?,
        shadow: query.shadow,
        force: query.force,
        dry_run: query.dry_run,
        aggregate: query.aggregate,
        if_match: if_match(&headers)?,
        confirm: confirm_time(query.confirm.as_deref())?,
        keeps_entries: false,
    };
    let parsed = read_list(&headers, body).await?;

    let is_new = matches!(context.verdicts.list(name.clone()).await, Err(Refusal::NoList { .. }));
    let (list, read) = parsed;
    let change = context.verdicts.replace_list(name.clone(), list, options).await?;
    let live_flows = match &change.would_hold {
        Some(list) => Some(live::would_cut(&context, list).await?),
        None => None,
    };
    changed(&context, name, is_new, read, change, live_flows).await
}

/// What the text of an upload was, beside its entries.
pub(super) struct Read {
    lines: u64,
    duplicates: u64,
    skipped: u64,
    rejected: Vec<Rejected>,
    rejected_total: u64,
}

/// Reads an uploaded list in any of the formats of feeds.
pub(super) async fn read_list(headers: &HeaderMap, body: Body) -> Result<(List, Read), Problem> {
    match input::media_type(headers) {
        None | Some("text/plain" | "text/csv" | "application/octet-stream") => {}
        Some("application/json" | "application/x-ndjson" | "application/stix+json") => {}
        other => return Err(input::unsupported(other, "text/plain, text/csv, application/json")),
    }
    let parsed = upload::read(headers, body).await?;
    let Parsed { list, lines, duplicates, skipped, rejected, rejected_total } = parsed;
    match list.is_empty() && rejected_total > 0 {
        true => Err(nothing_in_it(rejected)),
        false => Ok((list, Read { lines, duplicates, skipped, rejected, rejected_total })),
    }
}

/// Answers with what a replacement changed.
pub(super) async fn changed(
    context: &Context,
    name: ListName,
    is_new: bool,
    read: Read,
    change: ListChange,
    live_flows: Option<LiveFlows>,
) -> Result<HttpResponse, Problem> {
    let mode = ModeName::from(context.verdicts.status().await?.effective);
    let Read { lines, duplicates, skipped, rejected, rejected_total } = read;
    let ListChange { entries, added, removed, unchanged, changed, dry_run, tag, refused, refused_total, .. } = change;
    let (spared, merged, saved) = (change.spared, change.merged, change.saved);
    let confirmation = change.confirmation.map(ConfirmationView::from);
    let spared_total = spared.len() as u64;
    let body = Change {
        name: name.to_string(),
        entries,
        added,
        removed,
        unchanged,
        changed,
        dry_run,
        lines,
        duplicates,
        merged,
        skipped,
        rejected: rejected.into_iter().map(|Rejected { line, value, reason }| Line { line, value, reason }).collect(),
        rejected_total,
        refused: noted(refused),
        refused_total,
        spared: noted(spared),
        spared_total,
        mode,
        saved,
        confirmation,
        live_flows,
    };
    let status = if is_new && !dry_run { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = (status, Json(body)).into_response();
    if !dry_run {
        set_tag(&mut answer, &tag);
    }
    Ok(answer)
}

pub(super) async fn remove(
    State(context): State<Context>,
    name: Name,
    headers: HeaderMap,
) -> Result<HttpResponse, Problem> {
    let removed = context.verdicts.remove_list(list_name(name)?, if_match(&headers)?).await?;
    Ok(Json(view(removed)).into_response())
}

/// A text without a single entry is some other file: an error page, a list in another format. It replaces nothing.
fn nothing_in_it(rejected: Vec<Rejected>) -> Problem {
    let detail = "nothing in it is an address, a prefix or a name; the list stays as it is";
    let problem = Problem::unprocessable("no-entries", "Not a list", detail);
    rejected.into_iter().take(10).fold(problem, |problem, Rejected { line, value, reason }| {
        problem.with(Detail { line: Some(line), detail: format!("{value}: {reason}"), ..Detail::default() })
    })
}

fn noted(remarks: Vec<Remark>) -> Vec<Noted> {
    remarks.into_iter().take(NAMED).map(|Remark { entry, reason }| Noted { value: entry, reason }).collect()
}

pub(super) fn list_name(name: Name) -> Result<ListName, Problem> {
    Ok(name.0.parse::<ListName>().map_err(Refusal::from)?)
}

pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-header", "Bad header", "If-Match is not an entity tag")
    })?;
    Ok(Some(text.to_owned()))
}

/// Returns whether whoever asks has the content with this tag already.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag || one.trim() == "*"))
}

pub(super) fn set_tag(answer: &mut HttpResponse, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
}

/// Writes a list as text on a thread of its own: it may have millions of lines.
async fn written(list: Arc<List>, singles: Vec<EntryView>) -> Result<String, Problem> {
    let text = tokio::task::spawn_blocking(move || text_of(&list, &singles)).await;
    text.map_err(|error| {
        tracing::error!(%error, "a list could not be written as text");
        Problem::internal()
    })
}

/// Returns a list as text that can be uploaded again; single entries come last, with what is said of them.
fn text_of(list: &List, singles: &[EntryView]) -> String {
    let mut text = list.to_text();
    for EntryView { value, reason, until, .. } in singles {
        let until = until.map_or_else(String::new, |until| format!(" until {}", time::rfc3339(until)));
        let note = format!("{until} {reason}");
        let note = if note.trim().is_empty() { String::new() } else { format!("  #{}", note.trim_end()) };
        text.push_str(&format!("{value}{note}\n"));
    }
    text
}

fn view(list: ListView) -> View {
    let ListView { name, entries_v4, entries_v6, names, singles, tag, updated, response, shadow, hits } = list;
    View {
        name,
        entries: entries_v4 + entries_v6 + names,
        entries_v4,
        entries_v6,
        names,
        single_entries: singles,
        tag,
        updated,
        action: action_view(response),
        shadow,
        hits: hits_view(hits),
    }
}
