//! `GET /api/v1/findings`: what the detectors found, newest first.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use netd_engine::finding::{Finding, Severity};
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{Name, Params};
use super::page;
use super::problem::Problem;
use super::suppressions::View as SuppressionView;
use crate::store::responses::Response as Responded;
use crate::store::view::FindingView;
use crate::store::{Rise, Stored};
use crate::time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    detector: Option<String>,
    /// This severity or a higher one.
    severity: Option<Least>,
    /// Either end.
    ip: Option<IpAddr>,
    since: Option<String>,
    /// Those that a suppression covers: hidden by default.
    suppressed: Suppressed,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Suppressed {
    #[default]
    Hide,
    Only,
    Show,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Least {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Least {
    const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }
}

/// A finding as the API shows it: the words of `netd replay -o jsonl`, and how its severity rose.
#[derive(Serialize)]
pub(super) struct View<'a> {
    #[serde(flatten)]
    finding: FindingView<'a>,
    history: Vec<RiseView>,
    /// What was done at once about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: &'a Option<Responded>,
    /// The suppression that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed_by: Option<SuppressionView>,
}

#[derive(Serialize)]
struct RiseView {
    #[serde(serialize_with = "time::serialize")]
    time: Timestamp,
    severity: Severity,
    score: f64,
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::place('i', query.cursor.as_deref())?;
    let filter = Filter::new(query)?;
    let (stored, more) = context.findings.page(before, limit, |stored| filter.accepts(&context, stored));
    let next = stored.last().filter(|_| more).map(|stored| stored.finding.id);
    Ok(page::respond(&uri, 'i', stored.iter().map(|stored| view(&context, stored)).collect(), next))
}

/// Which findings are asked for.
pub(super) struct Filter {
    query: Query,
    since: Option<Timestamp>,
}

impl Filter {
    /// Reads what a query asks for.
    pub(super) fn new(query: Query) -> Result<Self, Problem> {
        let since = query.since.as_deref().map(|text| time::moment(text, time::now())).transpose();
        let since = since.map_err(|error| Problem::bad_parameter("since", error.to_string()))?;
        Ok(Self { query, since })
    }

    pub(super) fn accepts(&self, context: &Context, stored: &Stored) -> bool {
        let (query, finding) = (&self.query, &stored.finding);
        query.detector.as_ref().is_none_or(|detector| finding.detector == detector)
            && query.severity.is_none_or(|least| finding.severity >= least.severity())
            && query.ip.is_none_or(|ip| finding.pair.originator == ip || finding.pair.responder == ip)
            && self.since.is_none_or(|since| finding.time >= since)
            && self.is_shown(context, finding)
    }

    fn is_shown(&self, context: &Context, finding: &Finding) -> bool {
        match (self.query.suppressed, context.suppressions.covering(finding, time::now())) {
            (Suppressed::Show, _) | (Suppressed::Hide, None) | (Suppressed::Only, Some(_)) => true,
            (Suppressed::Hide, Some(_)) | (Suppressed::Only, None) => false,
        }
    }
}

pub(super) async fn get(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let id = name.id("finding")?;
    let stored = context.findings.get(id).ok_or_else(|| Problem::not_found(format!("there is no finding {id}")))?;
    Ok(Json(view(&context, &stored)).into_response())
}

pub(super) fn view<'a>(context: &Context, stored: &'a Stored) -> View<'a> {
    let suppression = context.suppressions.covering(&stored.finding, time::now());
    let history = stored.rises.iter();
    View {
        finding: FindingView::from(&stored.finding),
        history: history
            .map(|Rise { time, severity, score }| RiseView { time: *time, severity: *severity, score: *score })
            .collect(),
        response: &stored.response,
        suppressed_by: suppression.as_ref().map(SuppressionView::from),
    }
}
