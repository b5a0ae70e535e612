//! Pages: a limit, an opaque cursor, a link to the next.

use axum::Json;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::Problem;
use crate::query::{Place, Sort};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// A page, and the cursor of the next if there is one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(crate) struct Page<T> {
    /// The items of this page.
    items: Vec<T>,
    /// What `cursor` of the next request has to be; null on the last page.
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Returns a list that is short enough to be one page.
    pub(crate) fn whole(items: impl IntoIterator<Item = T>) -> Self {
        Self { items: items.into_iter().collect(), next_cursor: None }
    }
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

/// Returns the place in any order that a cursor stands for.
pub(crate) fn place_in(sort: Sort, kind: char, cursor: Option<&str>) -> Result<Option<Place>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = || {
        let (name, place) = cursor.strip_prefix(kind)?.split_once('.').map_or(("", cursor.get(1..)?), |both| both);
        let (key, id) = if name.is_empty() { ("0", place) } else { place.split_once('.')? };
        if name != order_name(sort) {
            return None;
        }
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Place { key: number(key)?.cast_signed(), id: number(id)? })
    };
    read().map(Some).ok_or_else(|| Problem::bad_parameter("cursor", "it is not a next_cursor of this list and order"))
}

/// Returns the cursor of a place.
pub(crate) fn cursor(sort: Sort, kind: char, Place { key, id }: Place) -> String {
    match order_name(sort).as_str() {
        "" => format!("{kind}{id:x}"),
        name => format!("{kind}{name}.{:x}.{id:x}", key.cast_unsigned()),
    }
}

/// The usual order has no name, so that its cursors are short.
fn order_name(sort: Sort) -> String {
    if sort == Sort::default() {
        return String::new();
    }
    format!("{}{}", sort.by.name(), if sort.descending { "-" } else { "+" })
}

/// Answers with a page; `next` is the place after its last item, if more may follow.
pub(crate) fn respond<T: Serialize>(uri: &Uri, kind: char, items: Vec<T>, next: Option<u64>) -> Response {
    respond_at(uri, items, next.map(|place| format!("{kind}{place:x}")))
}

/// The same with a cursor of any order.
pub(crate) fn respond_at<T: Serialize>(uri: &Uri, items: Vec<T>, next_cursor: Option<String>) -> Response {
    let link = next_cursor.as_ref().and_then(|cursor| {
        let others = uri.query().unwrap_or_default().split('&');
        let mut query: Vec<_> =
            others.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")).map(str::to_owned).collect();
        query.push(format!("cursor={}", cursor.replace('+', "%2B")));
        HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
    });
    let mut response = Json(Page { items, next_cursor }).into_response();
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
