//! `/api/v1/blocklists`: lists of addresses and prefixes, replaced as a whole.

use std::fmt::Write as _;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::input::{self, Name, Params};
use super::problem::{Detail, Problem};
use super::verdicts::{ActionName, ActionView, HitsView, action_view, hits_view, response};
use crate::host::memory;
use crate::time;
use crate::verdicts::blocklist::{ListName, Parsed, Parser, Rejected};
use crate::verdicts::{ListChange, ListOptions, ListView, Refusal, Remark};

/// Longest list, in bytes of text: ten million IPv6 addresses, written out.
const LIST_LIMIT: usize = 512 << 20;

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
}

/// A list as it is shown, without its entries.
#[derive(Serialize)]
struct View {
    name: String,
    entries: u64,
    entries_v4: u64,
    entries_v6: u64,
    tag: String,
    #[serde(serialize_with = "time::serialize")]
    updated: Timestamp,
    #[serde(flatten)]
    action: ActionView,
    shadow: bool,
    hits: HitsView,
}

/// What a replacement did.
#[derive(Serialize)]
struct Change {
    name: String,
    entries: u64,
    added: u64,
    removed: u64,
    unchanged: u64,
    changed: bool,
    dry_run: bool,
    lines: u64,
    duplicates: u64,
    /// Entries fewer, because others of the list mean the same.
    merged: u64,
    /// Understood, and nothing that is listed: exceptions, what is revoked or expired, files, URLs.
    skipped: u64,
    rejected: Vec<Line>,
    rejected_total: u64,
    /// Entries that were not taken, because they must not be cut or are too wide.
    refused: Vec<Noted>,
    refused_total: u64,
    /// Entries that were taken though something inside of them keeps passing.
    spared: Vec<Noted>,
    spared_total: u64,
    mode: &'static str,
    saved: bool,
}

#[derive(Serialize)]
struct Line {
    line: u64,
    value: String,
    reason: String,
}

#[derive(Serialize)]
struct Noted {
    value: String,
    reason: String,
}

pub(super) async fn list(State(context): State<Context>, _: Params<NoQuery>) -> Result<HttpResponse, Problem> {
    let lists: Vec<_> = context.verdicts.lists().await?.into_iter().map(view).collect();
    Ok(Json(json!({"items": lists, "next_cursor": null})).into_response())
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
    let (view, list) = context.verdicts.list(list_name(name)?).await?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == view.tag || tag.trim() == "*"));
    let mut answer = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut text = String::with_capacity(list.len() * 16);
        for item in list.iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{item}");
        }
        text.into_response()
    };
    set_tag(&mut answer, &view.tag);
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
    match input::media_type(&headers) {
        None | Some("text/plain" | "text/csv" | "application/octet-stream") => {}
        Some("application/json" | "application/x-ndjson" | "application/stix+json") => {}
        other => return Err(input::unsupported(other, "text/plain, text/csv, application/json")),
    }
    let options = ListOptions {
        response: response(query.action, query.bytes_per_second, query.burst_bytes)?,
        shadow: query.shadow,
        force: query.force,
        dry_run: query.dry_run,
        aggregate: query.aggregate,
        if_match: if_match(&headers)?,
    };
    let (mut parser, mut memory) = (Parser::new(time::now()), MemoryGuard::default());
    input::read(&headers, body, LIST_LIMIT, |piece| {
        if memory.allows(parser.items()) {
            parser.push(piece);
        } else {
            parser = Parser::new(time::now());
        }
    })
    .await?;
    memory.check()?;
    let Parsed { list, lines, duplicates, skipped, rejected, rejected_total } = parser.finish();
    if list.is_empty() && rejected_total > 0 {
        return Err(nothing_in_it(rejected));
    }

    let is_new = matches!(context.verdicts.list(name.clone()).await, Err(Refusal::NoList { .. }));
    let change = context.verdicts.replace_list(name.clone(), list, options).await?;
    let mode = super::status::mode_name(context.verdicts.status().await?.effective);
    let ListChange { entries, added, removed, unchanged, changed, dry_run, tag, refused, refused_total, .. } = change;
    let (spared, merged, saved) = (change.spared, change.merged, change.saved);
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

/// Stops the reading of a list that there is no memory for: before the machine kills somebody.
#[derive(Debug, Default)]
struct MemoryGuard {
    looked_at: usize,
    /// Entries, bytes that they need and bytes there are.
    short: Option<(usize, u64, u64)>,
}

impl MemoryGuard {
    /// Entries between two looks.
    const STRIDE: usize = 1 << 18;
    /// What an entry takes while its list grows: the packed one, twice, and once more while it is copied.
    const ENTRY: u64 = 3 * 17;
    /// What the daemon needs besides.
    const RESERVE: u64 = 32 << 20;

    /// Returns whether there is memory for more than the entries read so far.
    fn allows(&mut self, entries: usize) -> bool {
        if self.short.is_none() && entries >= self.looked_at + Self::STRIDE {
            self.looked_at = entries;
            // What was read is taken already: as much again may be.
            let needed = entries as u64 * Self::ENTRY + Self::RESERVE;
            self.short = memory::available().filter(|left| *left < needed).map(|left| (entries, needed, left));
        }
        self.short.is_none()
    }

    fn check(self) -> Result<(), Problem> {
        let Some((entries, needed, available)) = self.short else { return Ok(()) };
        let detail = format!(
            "after {entries} entries {} MiB of memory were needed and {} MiB available; the list stays as it is",
            needed >> 20,
            available >> 20
        );
        Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", "Table full", detail))
    }
}

/// A text without a single entry is some other file: an error page, a list in another format. It replaces nothing.
fn nothing_in_it(rejected: Vec<Rejected>) -> Problem {
    let detail = "nothing in it is an address or a prefix; the list stays as it is";
    let problem = Problem::unprocessable("no-entries", "Not a block-list", detail);
    rejected.into_iter().take(10).fold(problem, |problem, Rejected { line, value, reason }| {
        problem.with(Detail { line: Some(line), detail: format!("{value}: {reason}"), ..Detail::default() })
    })
}

fn noted(remarks: Vec<Remark>) -> Vec<Noted> {
    remarks.into_iter().take(NAMED).map(|Remark { entry, reason }| Noted { value: entry, reason }).collect()
}

fn list_name(name: Name) -> Result<ListName, Problem> {
    Ok(name.0.parse::<ListName>().map_err(Refusal::from)?)
}

fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-header", "Bad header", "If-Match is not an entity tag")
    })?;
    Ok(Some(text.to_owned()))
}

fn set_tag(answer: &mut HttpResponse, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
}

fn view(list: ListView) -> View {
    let ListView { name, entries_v4, entries_v6, tag, updated, response, shadow, hits } = list;
    View {
        name,
        entries: entries_v4 + entries_v6,
        entries_v4,
        entries_v6,
        tag,
        updated,
        action: action_view(response),
        shadow,
        hits: hits_view(hits),
    }
}
