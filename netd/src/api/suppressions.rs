//! `/api/v1/suppressions`: findings that nobody wants to see again, with who, why and until when.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use netd_engine::suppress::{Matching, Suppression};
use netd_engine::time::Timestamp;
use netd_engine::verdict::Origin;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::{self, Fields, Name};
use super::page::Page;
use super::problem::Problem;
use crate::store::audit::{Change, Effect, caller};
use crate::store::suppressions::Error;
use crate::time;
use crate::verdicts::{self, Refusal};

/// Longest text of who and why, in characters.
const LONGEST: usize = 500;

/// A suppression that an operator asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "SuppressionWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Which findings: at least one condition.
    #[serde(rename = "match")]
    pub(super) matching: Matching,
    /// Who wants it, 500 characters at most.
    #[schemars(length(min = 1, max = 500))]
    pub(super) who: String,
    /// Why, 500 characters at most.
    #[schemars(length(min = 1, max = 500))]
    pub(super) why: String,
    /// How long it holds: a duration like `30d`; without it until it is removed.
    #[schemars(example = "30d")]
    pub(super) ttl: Option<String>,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["match", "who", "why", "ttl"];
}

/// Findings that nobody wants to see again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Suppression")]
pub(super) struct View {
    /// The suppression's number.
    id: u64,
    /// Which findings.
    #[serde(rename = "match")]
    matching: Matching,
    /// Who wanted it.
    who: String,
    /// Why.
    why: String,
    /// When it was added; it covers earlier findings too.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    since: Timestamp,
    /// When it ends; null: when it is removed.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    until: Option<Timestamp>,
}

impl From<&Suppression> for View {
    fn from(suppression: &Suppression) -> Self {
        let Suppression { id, matching, who, why, since, until } = suppression.clone();
        Self { id, matching, who, why, since, until }
    }
}

/// A suppression that was added, and what it hides.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SuppressionAdded")]
pub(super) struct Added {
    #[serde(flatten)]
    suppression: View,
    /// Findings that it covers, of those held.
    covers: usize,
    /// Numbers of the verdicts of theirs that were released.
    released: Vec<u64>,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    let now = time::now();
    let all = context.suppressions.list();
    let in_force = all.iter().filter(|known| known.until.is_none_or(|until| now < until));
    Json(Page::whole(in_force.map(View::from))).into_response()
}

/// Adds a suppression. It acts at once, and on the past: findings it covers are hidden, their verdicts released.
pub(super) async fn add(State(context): State<Context>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let wanted = input::json(&headers, body).await?;
    Ok((StatusCode::CREATED, Json(put(&context, wanted).await?)).into_response())
}

/// Puts a suppression in force.
pub(super) async fn put(context: &Context, wanted: Wanted) -> Result<Added, Problem> {
    let Wanted { matching, who, why, ttl } = wanted;
    let invalid = |detail: &str| Problem::unprocessable("bad-body", "Bad body", detail);
    if matching.is_empty() {
        return Err(invalid("'match' is empty: it would hide every finding"));
    }
    for (field, text) in [("who", &who), ("why", &why)] {
        if text.trim().is_empty() || text.chars().count() > LONGEST {
            return Err(invalid(&format!("'{field}' must have from 1 to {LONGEST} characters")));
        }
    }
    let ttl = ttl.as_deref().map(time::duration).transpose();
    let ttl = ttl.map_err(|error| invalid(&format!("'ttl': {error}")))?;
    let now = time::now();
    let until = ttl.map(|ttl| now.plus_secs(ttl.as_secs_f64()));
    let change = Change::new(Effect::Decreases, "suppression.add", who.as_str()).after(&matching).reason(why.as_str());
    context.audit.record(now, &caller(), change);
    let suppression = context.suppressions.add(matching, who, why, now, until).map_err(refused)?;
    let (covered, _) = context.findings.page(None, usize::MAX, |stored| suppression.covers(&stored.finding, now));
    let covered: Vec<u64> = covered.iter().map(|stored| stored.finding.id).collect();
    let released = release(context, &covered).await?;
    Ok(Added { suppression: View::from(&suppression), covers: covered.len(), released })
}

pub(super) async fn remove(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let id = name.id("suppression")?;
    // Findings that it hid may ask for verdicts again.
    let change = Change::new(Effect::Increases, "suppression.remove", id.to_string());
    context.audit.admit(time::now(), &caller(), change).map_err(Refusal::from)?;
    match context.suppressions.remove(id).map_err(refused)? {
        Some(suppression) => Ok(Json(View::from(&suppression)).into_response()),
        None => Err(Problem::not_found(format!("there is no suppression {id}"))),
    }
}

/// Releases the verdicts that findings asked for.
async fn release(context: &Context, findings: &[u64]) -> Result<Vec<u64>, Problem> {
    let mut released = Vec::new();
    let mut page = verdicts::Page { before: None, limit: 1_000 };
    loop {
        let verdicts = context.verdicts.verdicts(page).await?;
        for entry in &verdicts.entries {
            let is_theirs =
                matches!(&entry.verdict.origin, Origin::Finding { finding, .. } if findings.contains(finding));
            if is_theirs && context.verdicts.release(entry.id).await.is_ok() {
                released.push(entry.id);
            }
        }
        match verdicts.next {
            Some(next) => page = verdicts::Page { before: Some(next), limit: 1_000 },
            None => return Ok(released),
        }
    }
}

fn refused(error: Error) -> Problem {
    match &error {
        Error::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", "No room", error.to_string()),
        Error::Unsaved(cause) => {
            tracing::error!(%error, %cause, "a suppression was not saved");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unsaved", "Not saved", format!("{error}: {cause}"))
        }
    }
}
