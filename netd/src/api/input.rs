//! What requests bring: query parameters and bodies, read strictly and within limits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Detail, Problem};

/// Longest body of anything but a block-list, in bytes.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// Longest reason, in bytes.
const LONGEST_REASON: usize = 1_024;

/// A body has to come within this time as a whole, and some of it within each [`BODY_IDLE`].
const BODY_TIME: Duration = Duration::from_secs(120);
const BODY_IDLE: Duration = Duration::from_secs(10);
/// Bytes a second that a body brings on average, once it has had [`BODY_IDLE`] to begin.
const BODY_RATE: f64 = 1_024.0;

/// Returns the reason that somebody gives for a change, if it can be shown wherever reasons are.
pub(crate) fn reason(text: String) -> Result<String, Problem> {
    let bad = |detail: String| Problem::unprocessable("bad-reason", "Bad reason", detail);
    if text.len() > LONGEST_REASON {
        return Err(bad(format!("reason: longer than {LONGEST_REASON} bytes")));
    }
    match text.chars().any(char::is_control) {
        true => Err(bad("reason: control characters could steer a terminal".to_owned())),
        false => Ok(text),
    }
}

/// Query parameters. An unknown one is an error that says what is allowed.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(rejected(rejection)),
        }
    }
}

/// Says why query parameters were not understood.
pub(crate) fn rejected(rejection: QueryRejection) -> Problem {
    let cause = std::error::Error::source(&rejection).map(ToString::to_string);
    let detail = cause.unwrap_or_else(|| rejection.body_text());
    Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "Bad parameter", detail)
}

/// The one parameter of a path.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-path", "Bad path", rejection.body_text())
        })?;
        Ok(Self(name))
    }
}

impl Name {
    /// Returns the name as the number of a finding or a verdict.
    pub(crate) fn id(&self, what: &str) -> Result<u64, Problem> {
        self.0.parse().map_err(|_| Problem::not_found(format!("there is no {what} {}: ids are numbers", self.0)))
    }
}

/// A JSON body whose fields are known.
pub(crate) trait Fields: DeserializeOwned {
    const FIELDS: &'static [&'static str];
}

/// Reads a JSON body. Syntax errors say where, unknown fields which and what is allowed.
pub(crate) async fn json<T: Fields>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    match media_type(headers) {
        Some("application/json") => {}
        other => return Err(unsupported(other, "application/json")),
    }
    let mut bytes = Vec::new();
    read(headers, body, BODY_LIMIT, |piece| bytes.extend_from_slice(piece)).await?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let detail = Detail {
            line: Some(error.line() as u64),
            column: Some(error.column() as u64),
            detail: error.to_string(),
            ..Detail::default()
        };
        Problem::new(StatusCode::BAD_REQUEST, "bad-json", "Not JSON", error.to_string()).with(detail)
    })?;
    let Value::Object(object) = &value else {
        return Err(Problem::unprocessable("bad-body", "Bad body", "the body is not a JSON object"));
    };
    let mut unknown = object.keys().filter(|key| !T::FIELDS.contains(&key.as_str())).peekable();
    if unknown.peek().is_some() {
        let allowed = T::FIELDS.join(", ");
        let mut problem =
            Problem::new(StatusCode::BAD_REQUEST, "unknown-field", "Unknown field", format!("allowed are: {allowed}"));
        for key in unknown {
            let pointer = Some(format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            problem.detail = format!("unknown field '{key}'; {}", problem.detail);
            problem = problem.with(Detail { pointer, detail: "unknown field".to_owned(), ..Detail::default() });
        }
        return Err(problem);
    }
    T::deserialize(value).map_err(|error| Problem::unprocessable("bad-body", "Bad body", error.to_string()))
}

/// Hands a body on piece by piece. Fails when it is longer than `limit` or comes too slowly.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    mut take: impl FnMut(&Bytes),
) -> Result<(), Problem> {
    let mut pieces = Pieces::new(headers, body, limit)?;
    while let Some(piece) = pieces.next().await? {
        take(&piece);
    }
    Ok(())
}

/// A body that comes piece by piece, within a limit of length and of time.
pub(crate) struct Pieces {
    body: Body,
    limit: usize,
    began: Instant,
    length: usize,
}

impl Pieces {
    /// Returns the pieces of a body; fails when it is compressed or announces to be longer than `limit`.
    pub(crate) fn new(headers: &HeaderMap, body: Body, limit: usize) -> Result<Self, Problem> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            let detail = "the body is compressed; send it as it is";
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded", "Compressed body", detail);
            return Err(problem);
        }
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        Ok(Self { body, limit, began: Instant::now(), length: 0 })
    }

    /// Returns the next piece, `None` at the end. Fails when the body is longer than its limit or comes too slowly.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let too_slow = || {
            let detail = "the body came too slowly";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Too slow", detail)
        };
        loop {
            let frame = timeout_at(self.began + BODY_TIME, timeout(BODY_IDLE, self.body.frame()));
            let frame = match frame.await.map_err(|_| too_slow())?.map_err(|_| too_slow())? {
                None => return Ok(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let detail = format!("the body ended early: {error}");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-body", "Bad body", detail));
                }
            };
            // What is no piece are trailers.
            let Ok(piece) = frame.into_data() else { continue };
            self.length += piece.len();
            if self.length > self.limit {
                return Err(Problem::too_large(self.limit));
            }
            let since = self.began.elapsed();
            if since > BODY_IDLE && (self.length as f64) < since.as_secs_f64() * BODY_RATE {
                return Err(too_slow());
            }
            return Ok(Some(piece));
        }
    }
}

/// Returns the type of the body, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

pub(crate) fn unsupported(got: Option<&str>, wanted: &str) -> Problem {
    let got = got.unwrap_or("not given");
    let detail = format!("the content type is {got}; it has to be {wanted}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
}
