//! `POST /api/v1/policies:simulate` and `:generate`: policies held against the server's own past.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use netd_engine::policy::{Policies, Source};
use netd_engine::time::Timestamp;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::super::input::{BODY_LIMIT, Params};
use super::super::problem::Problem;
use super::super::{Context, flows};
use super::view::Simulation as View;
use super::{refused, text};
use crate::rehearsal::{By, Notation, Proposal, Simulation};
use crate::store::history::Flow;
use crate::time;

/// At once, over all requests.
static TURNS: Semaphore = Semaphore::const_new(2);
/// How long a look may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long flows are looked at.
const LONGEST: Duration = Duration::from_secs(60);
/// Flows looked at unless more are asked for, and the most that can be.
const FLOWS: usize = 100_000;
const MOST_FLOWS: usize = 1_000_000;
/// Flows read in one go.
const PAGE: usize = 1_000;
/// Targets named one by one; the others are counted.
const TARGETS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct SimulationQuery {
    since: String,
    limit: usize,
}

impl Default for SimulationQuery {
    fn default() -> Self {
        Self { since: "24h".to_owned(), limit: FLOWS }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct GenerationQuery {
    format: Notation,
    /// Of other formats than netd's it is always the container.
    by: By,
    since: String,
    /// Flows that make a destination a rule; with fewer it is a comment.
    least: u64,
    limit: usize,
}

impl Default for GenerationQuery {
    fn default() -> Self {
        Self { format: Notation::Netd, by: By::Process, since: "7d".to_owned(), least: 3, limit: FLOWS }
    }
}

/// Holds the policies of the body, or those in force, against findings and flows.
pub(in super::super) async fn simulate(
    State(context): State<Context>,
    Params(query): Params<SimulationQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let past = Past::asked(&query.since, query.limit)?;
    let text = text(&headers, body, BODY_LIMIT).await?;
    let policies = match text.trim().is_empty() {
        true => context.policies.policies(),
        false => {
            let read = Policies::read(&[Source { file: "body", text: &text }]);
            Arc::new(read.map_err(|faults| refused(&faults, "it cannot be used as a policy"))?)
        }
    };
    let _turn = turn().await?;

    let names = policies.iter().map(|policy| policy.name.to_string()).collect();
    let (findings, _) = context.findings.page(None, usize::MAX, |stored| stored.finding.time >= past.since);
    // Many findings times many policies take their time.
    let judged = tokio::task::spawn_blocking(move || {
        let mut simulation = Simulation::new(policies);
        findings.iter().for_each(|stored| simulation.judge(&stored.finding));
        simulation
    });
    let mut simulation = judged.await.map_err(|_| Problem::internal())?;
    let reached = past.walk(&context, |flow| simulation.count(flow)).await?;

    let reached = reached.map(Reached::name);
    let view = View { since: past.since, policies: names, reached, simulated: simulation.result(TARGETS) };
    Ok(Json(view).into_response())
}

/// Proposes an egress policy from the flows that were seen.
pub(in super::super) async fn generate(
    State(context): State<Context>,
    Params(query): Params<GenerationQuery>,
) -> Result<Response, Problem> {
    let by = match query.format {
        Notation::Netd => query.by,
        Notation::Kubernetes | Notation::Cilium => By::Container,
    };
    let past = Past::asked(&query.since, query.limit)?;
    let _turn = turn().await?;

    let (mut proposal, mut seen) = (Proposal::new(by), 0_u64);
    let reached = past.walk(&context, |flow| {
        seen += 1;
        proposal.observe(flow);
    });
    let reached = reached.await?;

    let since = time::rfc3339(past.since);
    if proposal.is_empty() {
        let detail = format!("none of {seen} flows since {since} was opened by a known {}", by.name());
        return Err(Problem::unprocessable("nothing-seen", "Nothing to propose", detail));
    }
    let mut text = format!(
        "# Proposed by netd on {} from {seen} flows since {since}.\n# Read it before you use it: what was seen may be what \
         should have been stopped.\n",
        time::rfc3339(time::now())
    );
    if let Some(reached) = reached {
        text.push_str(&format!("# Older flows were not looked at: {}.\n", reached.why()));
    }
    if proposal.left_out() > 0 {
        text.push_str(&format!("# {} flows led elsewhere: a proposal ends somewhere.\n", proposal.left_out()));
    }
    text.push_str(&proposal.write(query.format, query.least));
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

/// What is looked at, and how far.
struct Past {
    since: Timestamp,
    limit: usize,
}

/// What ended a look before it was at the end of its time.
#[derive(Clone, Copy)]
enum Reached {
    Limit,
    Time,
}

impl Past {
    fn asked(since: &str, limit: usize) -> Result<Self, Problem> {
        let since = time::moment(since, time::now());
        let since = since.map_err(|error| Problem::bad_parameter("since", error.to_string()))?;
        match limit {
            1..=MOST_FLOWS => Ok(Self { since, limit }),
            _ => Err(Problem::bad_parameter("limit", format!("it must be from 1 to {MOST_FLOWS}"))),
        }
    }

    /// Hands every flow on, newest first, and returns what ended that before its time.
    async fn walk(&self, context: &Context, mut each: impl FnMut(&Flow)) -> Result<Option<Reached>, Problem> {
        let query = flows::since(self.since)?;
        let (began, mut after, mut left) = (Instant::now(), None, self.limit);
        loop {
            let (page, more) = flows::page(context, query.clone(), after, PAGE.min(left)).await?;
            page.iter().for_each(|(_, flow)| each(flow));
            left = left.saturating_sub(page.len());
            after = page.last().map(|(place, _)| *place);
            match (more && after.is_some(), left, began.elapsed() > LONGEST) {
                (false, _, _) => return Ok(None),
                (true, 0, _) => return Ok(Some(Reached::Limit)),
                (true, _, true) => return Ok(Some(Reached::Time)),
                (true, _, false) => {}
            }
        }
    }
}

impl Reached {
    const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Time => "time",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::Limit => "as many as were asked for were",
            Self::Time => "reading them took a minute",
        }
    }
}

/// Returns a turn, for as long as it is held.
async fn turn() -> Result<SemaphorePermit<'static>, Problem> {
    match timeout(PATIENCE, TURNS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => {
            let detail = "others are looking at the past already; try again in a minute";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail))
        }
    }
}
