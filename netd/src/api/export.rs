//! `/api/v1/findings/export`, `/api/v1/findings/{id}/{stix,sigma}`: findings in the formats of other tools.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::findings::Suppressed;
use super::input::{Name, Params};
use super::problem::Problem;
use super::{Context, findings};
use crate::export::Format;
use crate::store::Stored;
use crate::time;

/// Findings of one export at most, and without a limit.
const MOST: usize = 10_000;
const USUAL: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    format: Format,
    q: Option<String>,
    #[serde(default)]
    suppressed: Suppressed,
    /// The newest so many.
    limit: Option<usize>,
}

/// Answers with the newest findings that are asked for, in one document.
pub(super) async fn list(
    State(context): State<Context>,
    Params(Parameters { format, q, suppressed, limit }): Params<Parameters>,
) -> Result<Response, Problem> {
    let limit = match limit.unwrap_or(USUAL) {
        limit @ 1..=MOST => limit,
        _ => return Err(Problem::bad_parameter("limit", format!("it must be from 1 to {MOST}"))),
    };
    let filter = findings::Parameters::asking(q, suppressed).filter()?;
    let now = time::now();
    let (stored, _) = context.findings.page(None, limit, |stored| filter.accepts(&context, stored, now));
    Ok(document(format, &stored, "findings"))
}

pub(super) async fn stix(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    one(&context, &name, Format::Stix)
}

pub(super) async fn sigma(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    one(&context, &name, Format::Sigma)
}

fn one(context: &Context, name: &Name, format: Format) -> Result<Response, Problem> {
    let stored = findings::stored(context, name)?;
    let file = format!("finding-{}", stored.finding.id);
    Ok(document(format, &[stored], &file))
}

fn document(format: Format, findings: &[Stored], file: &str) -> Response {
    let mut response = format.write(findings).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    let disposition = format!("attachment; filename=\"netd-{file}.{}\"", format.ending());
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
