//! `/api/v1/findings`: what the detectors found, newest first, and what people made of it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use netd_engine::finding::Severity;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::Context;
use super::flows::{add, between};
use super::history::{ask, bad_query};
use super::input::{self, Fields, Name, Params};
use super::page;
use super::problem::Problem;
use super::suppressions::View as SuppressionView;
use crate::query::{Field, Place, Query, Sort, Table};
use crate::store::responses::Response as Responded;
use crate::store::triage::{Triage, TriageStatus};
use crate::store::view::FindingView;
use crate::store::{NotTriaged, Rise, Stored};
use crate::time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parameters {
    q: Option<String>,
    detector: Option<String>,
    /// This severity or a higher one.
    severity: Option<String>,
    status: Option<String>,
    /// Either end.
    ip: Option<String>,
    min_score: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Those that a suppression covers, or that are below a policy's `alert_from`: hidden by default.
    suppressed: Suppressed,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Suppressed {
    #[default]
    Hide,
    Only,
    Show,
}

impl Parameters {
    /// Returns a query of the language, and nothing beside it.
    pub(super) fn asking(q: Option<String>, suppressed: Suppressed) -> Self {
        Self { q, suppressed, ..Self::default() }
    }

    /// Reads what is asked for.
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        Ok(Filter { query: self.query()?, suppressed: self.suppressed })
    }

    fn query(&self) -> Result<Query, Problem> {
        let text = self.q.as_deref().unwrap_or_default();
        let mut query = Query::parse(Table::Findings, text, time::now()).map_err(|error| bad_query("q", &error))?;
        let least = |text: &Option<String>| text.as_ref().map(|text| format!(">={text}"));
        let terms = [
            ("detector", Field::Detector, &self.detector),
            ("severity", Field::Severity, &least(&self.severity)),
            ("status", Field::Status, &self.status),
            ("ip", Field::Ip, &self.ip),
            ("min_score", Field::Score, &least(&self.min_score)),
        ];
        add(&mut query, &terms)?;
        between(&mut query, self.since.as_deref(), self.until.as_deref())?;
        Ok(query)
    }
}

/// Which findings are asked for.
pub(super) struct Filter {
    pub(super) query: Query,
    suppressed: Suppressed,
}

impl Filter {
    pub(super) fn accepts(&self, context: &Context, stored: &Stored, now: Timestamp) -> bool {
        let finding = &stored.finding;
        let is_suppressed = || finding.is_suppressed() || context.suppressions.covering(finding, now).is_some();
        self.query.accepts(stored)
            && match self.suppressed {
                Suppressed::Show => true,
                Suppressed::Hide => !is_suppressed(),
                Suppressed::Only => is_suppressed(),
            }
    }
}

/// What people make of a finding: a member that is not there stays, `null` empties.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "TriageWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// How far people are with it.
    status: Option<TriageStatus>,
    /// Why it was closed or escalated, 512 bytes at most: `false-positive`, `ir-4411`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    reason: Option<Option<String>>,
    /// Who sees to it, 128 bytes at most.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    assignee: Option<Option<String>>,
    /// Whatever else there is to say, 8,192 bytes at most.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    notes: Option<Option<String>>,
}

impl Fields for Change {
    const FIELDS: &'static [&'static str] = &["status", "reason", "assignee", "notes"];
}

/// Longest texts, in bytes.
const LONGEST: [(&str, usize); 3] = [("reason", 512), ("assignee", 128), ("notes", 8_192)];

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A finding, with how its severity rose and what was done about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub(super) struct View<'a> {
    #[serde(flatten)]
    finding: FindingView<'a>,
    /// How its severity changed, oldest first.
    history: Vec<RiseView>,
    /// What people made of it.
    triage: TriageView<'a>,
    /// What was done at once about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    response: &'a Option<Responded>,
    /// The suppression that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed_by: Option<SuppressionView>,
}

/// What people made of a finding.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Triage")]
struct TriageView<'a> {
    /// How far people are with it.
    status: TriageStatus,
    /// Why it was closed or escalated: `false-positive`, `ir-4411`.
    reason: &'a Option<String>,
    /// Who sees to it.
    assignee: &'a Option<String>,
    /// Whatever else there was to say.
    notes: &'a Option<String>,
    /// Grows with each change; the ETag is made from it.
    revision: u64,
    /// When it changed last.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    changed: Option<Timestamp>,
}

/// One step of a finding's severity.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rise")]
struct RiseView {
    /// When it was told.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    time: Timestamp,
    /// How urgent it was then.
    severity: Severity,
    /// Posterior probability then, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    score: f64,
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let limit = page::limit(parameters.limit)?;
    let filter = parameters.filter()?;
    let sort = filter.query.sort;
    let after = page::place_in(sort, 'i', parameters.cursor.as_deref())?;
    let now = time::now();
    let keep = |stored: &Stored| filter.accepts(&context, stored, now);
    let place = |stored: &Stored| sort.place(stored.finding.id, stored);
    let (stored, more): (Vec<(Place, Stored)>, bool) = match sort == Sort::default() {
        true => {
            let (stored, more) = context.findings.page(after.map(|after| after.id), limit, keep);
            (stored.into_iter().map(|stored| (place(&stored), stored)).collect(), more)
        }
        false => {
            let is_next = |stored: &Stored| after.is_none_or(|after| sort.is_after(place(stored), after));
            let all = context.findings.all(|stored| is_next(stored) && keep(stored));
            let mut all: Vec<_> = all.into_iter().map(|stored| (place(&stored), stored)).collect();
            sort.order(&mut all);
            let more = all.len() > limit;
            all.truncate(limit);
            (all, more)
        }
    };
    let next = stored.last().filter(|_| more).map(|(place, _)| page::cursor(sort, 'i', *place));
    let views = stored.iter().map(|(_, stored)| view(&context, stored)).collect();
    Ok(page::respond_at(&uri, views, next))
}

pub(super) async fn get(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    Ok(tagged(&context, &stored(&context, &name)?))
}

/// Returns the finding that a path names.
pub(super) fn stored(context: &Context, name: &Name) -> Result<Stored, Problem> {
    let id = name.id("finding")?;
    context.findings.get(id).ok_or_else(|| no_finding(id))
}

/// `PATCH /api/v1/findings/{id}`: only for whoever has seen its present state.
pub(super) async fn triage(
    State(context): State<Context>,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = name.id("finding")?;
    let Change { status, reason, assignee, notes } = input::json(&headers, body).await?;
    for ((name, longest), text) in LONGEST.into_iter().zip([&reason, &assignee, &notes]) {
        if text.iter().flatten().any(|text| text.len() > longest) {
            let detail = format!("{name} has more than {longest} bytes");
            return Err(Problem::unprocessable("bad-body", "Bad body", detail));
        }
    }
    let Some(tag) = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()) else {
        let detail = "If-Match has to hold the finding's ETag, so that nobody's change is overwritten unseen";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "no-if-match", "If-Match is missing", detail));
    };
    let now = context.findings.get(id).ok_or_else(|| no_finding(id))?;
    let revision = now.triage.revision;
    if tag != "*" && tag != etag(revision) {
        return Err(changed(revision));
    }
    let change = |triage: &mut Triage| {
        triage.status = status.unwrap_or(triage.status);
        for (field, text) in
            [(&mut triage.reason, reason), (&mut triage.assignee, assignee), (&mut triage.notes, notes)]
        {
            if let Some(text) = text {
                *field = text;
            }
        }
    };
    let stored = context.findings.triage(id, revision, time::now(), change).map_err(|error| match error {
        NotTriaged::Unknown => no_finding(id),
        NotTriaged::Changed(revision) => changed(revision),
    })?;
    if let Some(history) = &context.history {
        let stored = stored.clone();
        // What the disk does not take is kept for later by whoever writes history; status says so meanwhile.
        let kept = ask(history, move |history, _| history.control.write(&[stored], &[], None)).await;
        if let Err(problem) = kept {
            tracing::warn!(finding = id, detail = problem.detail, "a finding's triage is not yet on disk");
        }
    }
    Ok(tagged(&context, &stored))
}

fn no_finding(id: u64) -> Problem {
    Problem::not_found(format!("there is no finding {id}"))
}

fn changed(revision: u64) -> Problem {
    let detail = format!("somebody changed the finding since; its ETag is {}", etag(revision));
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed in the meantime", detail)
}

fn etag(revision: u64) -> String {
    format!("\"t{revision}\"")
}

/// Answers with a finding and the tag that a change of its triage has to name.
fn tagged(context: &Context, stored: &Stored) -> Response {
    let mut response = Json(view(context, stored)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&etag(stored.triage.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

pub(super) fn view<'a>(context: &Context, stored: &'a Stored) -> View<'a> {
    let suppression = context.suppressions.covering(&stored.finding, time::now());
    let history = stored.rises.iter();
    View {
        finding: FindingView::from(&stored.finding),
        history: history
            .map(|Rise { time, severity, score }| RiseView { time: *time, severity: *severity, score: *score })
            .collect(),
        triage: TriageView {
            status: stored.triage.status,
            reason: &stored.triage.reason,
            assignee: &stored.triage.assignee,
            notes: &stored.triage.notes,
            revision: stored.triage.revision,
            changed: stored.triage.changed,
        },
        response: &stored.response,
        suppressed_by: suppression.as_ref().map(SuppressionView::from),
    }
}
