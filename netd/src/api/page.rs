//! Pages: a limit, an opaque cursor, a link to the next.

use axum::Json;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// A page, and the cursor of the next if there is one.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// Returns how many items a page may have.
pub(crate) fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem::bad_parameter("limit", format!("it must be from 1 to {MAX_LIMIT}"))),
    }
}

/// Returns the place a cursor stands for. Cursors are opaque: `kind` keeps one of flows from being used for findings.
pub(crate) fn place(kind: char, cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let place = cursor.strip_prefix(kind).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    place.map(Some).ok_or_else(|| Problem::bad_parameter("cursor", "it is not a next_cursor of this list"))
}

/// Answers with a page; `next` is the place after its last item, if more may follow.
pub(crate) fn respond<T: Serialize>(uri: &Uri, kind: char, items: Vec<T>, next: Option<u64>) -> Response {
    let next_cursor = next.map(|place| format!("{kind}{place:x}"));
    let link = next_cursor.as_ref().and_then(|cursor| {
        let others = uri.query().unwrap_or_default().split('&');
        let mut query: Vec<_> =
            others.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")).map(str::to_owned).collect();
        query.push(format!("cursor={cursor}"));
        HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
    });
    let mut response = Json(Page { items, next_cursor }).into_response();
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
