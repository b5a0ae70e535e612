//! Every error the API answers with: RFC 9457 problem details.

use std::error::Error as _;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::verdicts::{MapsError, Refusal};

/// An answer that is not what was asked for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// Stable: what a program decides by, `urn:netd:problem:not-found`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The same for people, in a few words.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What was wrong this time, and what to do.
    pub(crate) detail: String,
    /// One by one, where several things are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Detail>,
}

/// One of several things that are wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProblemDetail")]
pub(crate) struct Detail {
    /// JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// Line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// Column of that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u64>,
    /// What is wrong with it.
    pub(crate) detail: String,
}

impl Problem {
    /// Returns a problem; `slug` is the last part of its stable type.
    pub(crate) fn new(status: StatusCode, slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:netd:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, error: Detail) -> Self {
        self.errors.push(error);
        self
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(crate) fn bad_parameter(parameter: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "Bad parameter", format!("{parameter}: {detail}"))
            .with(Detail { parameter: Some(parameter.to_owned()), detail, ..Detail::default() })
    }

    pub(crate) fn unprocessable(slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, slug, title, detail)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    pub(crate) fn internal() -> Self {
        let detail = "netd met a fault of its own; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Protected { .. } => Self::unprocessable("protected", "Protected address", detail),
            Refusal::TooWide { .. } => Self::unprocessable("too-wide", "Prefix too wide", detail),
            Refusal::CoversIpv4 { .. } | Refusal::MixedVersions => {
                Self::unprocessable("bad-target", "Bad target", detail)
            }
            Refusal::NotInFuture => Self::unprocessable("bad-ttl", "Bad time to live", detail),
            Refusal::BadThrottle => Self::unprocessable("bad-throttle", "Bad throttle", detail),
            Refusal::RulesFull { .. }
            | Refusal::ListsFull { .. }
            | Refusal::TableFull { .. }
            | Refusal::NoMemory { .. }
            | Refusal::EntriesFull { .. }
            | Refusal::ManyAddresses { .. }
            | Refusal::ManyUnconfirmed { .. }
            | Refusal::Kernel(MapsError::Full { .. } | MapsError::NoMemory { .. }) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", "Table full", detail)
            }
            Refusal::NoVerdict { .. }
            | Refusal::NoList { .. }
            | Refusal::NoAllowList { .. }
            | Refusal::NoEntry { .. }
            | Refusal::NoConfirmation { .. } => Self::not_found(detail),
            Refusal::PublicSuffix { .. } => Self::unprocessable("too-wide", "Name too wide", detail),
            Refusal::NotPublic { .. } | Refusal::Shared { .. } => {
                Self::unprocessable("bad-target", "Bad target", detail)
            }
            Refusal::BadConfirmTime { .. } => Self::bad_parameter("confirm", detail),
            Refusal::Unconfirmed { .. } => {
                Self::new(StatusCode::CONFLICT, "unconfirmed", "Waits to be confirmed", detail)
            }
            Refusal::Undo(error) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unsaved", "Not saved", format!("{detail}: {error}"))
            }
            Refusal::Changed { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed in the meantime", detail)
            }
            Refusal::Name(_) => Self::new(StatusCode::BAD_REQUEST, "bad-name", "Bad name", detail),
            Refusal::Kernel(error @ MapsError::Call { .. }) => {
                let cause = error.source().map(|cause| format!("{error}: {cause}")).unwrap_or(detail);
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "kernel", "The kernel refused", cause)
            }
            Refusal::Unrecorded(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unrecorded", "Nothing is cut without a record", detail)
            }
            Refusal::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "Shutting down", detail),
        }
    }
}
