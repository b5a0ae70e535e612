//! `POST /api/v1/replay` and `/api/v1/jobs`: captures replayed in the background, and what came of it.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Context;
use super::input::{self, Name, Params};
use super::page::Page;
use super::problem::Problem;
use crate::source::summary::Summary;
use crate::store::jobs::{self, Arriving, Error, Job};
use crate::store::view::FindingView;
use crate::time;

/// Longest capture, in bytes of its file.
const LONGEST: usize = 256 << 20;
/// Pieces that wait for the disk.
const AHEAD: usize = 16;
/// Networks of one request.
const NETWORKS: usize = 64;
/// When whoever found no room may try again, in seconds.
const RETRY_AFTER: &str = "60";
/// What a capture is sent as.
const TYPES: &str = "application/vnd.tcpdump.pcap, application/x-pcapng, application/gzip or application/octet-stream";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Monitored networks, separated by commas; without it the daemon's own, else the private ones.
    local: Option<String>,
}

/// A job without what it found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub(super) struct View<'a> {
    /// Its number.
    #[schemars(extend("format" = "uuid"))]
    id: String,
    /// What it does: `replay`.
    kind: &'static str,
    /// How it is.
    state: jobs::State,
    /// Length of the capture's file.
    size_bytes: u64,
    /// When the capture had come.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    created: Timestamp,
    /// When the replay began; null where it has not.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    started: Option<Timestamp>,
    /// When it was over; null where it is not.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    ended: Option<Timestamp>,
    /// How far it is.
    progress: Progress,
    /// What was read and what came of it; null until it is over, and where the capture could not be opened.
    summary: Option<&'a Summary>,
    /// Reports that found no room among the findings.
    findings_left_out: u64,
    /// Why it failed; of a damaged capture with packet and offset.
    error: Option<&'a str>,
}

/// How far a job is.
#[derive(Serialize, JsonSchema)]
struct Progress {
    /// Packets read.
    packets: u64,
    /// Their bytes on the wire.
    bytes: u64,
    /// Of the capture's file.
    read_bytes: u64,
}

/// A job with what it found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JobResult")]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// Findings as they were last raised.
    findings: Vec<FindingView<'a>>,
}

impl<'a> From<&'a Job> for View<'a> {
    fn from(job: &'a Job) -> Self {
        let [packets, bytes, read_bytes] = job.watch.progress();
        Self {
            id: job.id.to_string(),
            kind: "replay",
            state: job.state,
            size_bytes: job.size,
            created: job.created,
            started: job.started,
            ended: job.ended,
            progress: Progress { packets, bytes, read_bytes },
            summary: job.outcome.summary.as_ref(),
            findings_left_out: job.outcome.left_out,
            error: job.outcome.error.as_deref(),
        }
    }
}

/// Takes a capture in, and answers before it is replayed.
pub(super) async fn replay(
    State(context): State<Context>,
    Params(query): Params<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    match input::media_type(&headers) {
        None | Some("application/octet-stream" | "application/vnd.tcpdump.pcap" | "application/x-pcapng") => {}
        Some("application/gzip" | "application/x-gzip") => {}
        other => return Err(input::unsupported(other, TYPES)),
    }
    let local = query.local.as_deref().map_or_else(|| Ok(Vec::new()), networks)?;
    let pieces = input::Pieces::new(&headers, body, LONGEST)?;
    let jobs = context.jobs.clone();
    let arriving = match spawn_blocking(move || jobs.arrive()).await.map_err(|_| Problem::internal())? {
        Ok(arriving) => arriving,
        Err(error) => return Ok(refused(&error)),
    };
    let job = match kept(arriving, pieces).await? {
        Ok(arriving) => arriving.submit(local),
        Err(error) => return Ok(refused(&error)),
    };
    let place = HeaderValue::try_from(format!("/api/v1/jobs/{}", job.id)).map_err(|_| Problem::internal())?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(View::from(&job))).into_response())
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    let jobs = context.jobs.list();
    Json(Page::whole(jobs.iter().map(View::from))).into_response()
}

pub(super) async fn get(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let job = found(&name, |id| context.jobs.get(id))?;
    let findings = job.outcome.findings.iter().map(FindingView::from).collect();
    Ok(Json(Whole { view: View::from(&job), findings }).into_response())
}

/// Ends a job that is not over, and forgets it.
pub(super) async fn cancel(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let job = found(&name, |id| context.jobs.remove(id))?;
    Ok(Json(View::from(&job)).into_response())
}

fn found(Name(name): &Name, find: impl FnOnce(uuid::Uuid) -> Option<Job>) -> Result<Job, Problem> {
    let job = name.parse().ok().and_then(find);
    job.ok_or_else(|| Problem::not_found(format!("there is no job {name}; those that are over are forgotten in time")))
}

/// Writes a capture to the disk on a thread that may wait for it.
async fn kept(mut arriving: Arriving, mut pieces: input::Pieces) -> Result<Result<Arriving, Error>, Problem> {
    let (ahead, mut waiting) = mpsc::channel::<Bytes>(AHEAD);
    let thread = spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            arriving.write(&piece)?;
        }
        Ok(arriving)
    });
    let sent = async {
        while let Some(piece) = pieces.next().await? {
            if ahead.send(piece).await.is_err() {
                break;
            }
        }
        Ok::<_, Problem>(())
    };
    let sent = sent.await;
    drop(ahead);
    let written = thread.await.map_err(|_| Problem::internal())?;
    sent.map(|()| written)
}

fn networks(text: &str) -> Result<Vec<IpNet>, Problem> {
    let bad = |detail: String| Problem::bad_parameter("local", detail);
    if text.split(',').count() > NETWORKS {
        return Err(bad(format!("at most {NETWORKS} networks")));
    }
    let network = |text: &str| text.trim().parse().map_err(|_| bad(format!("'{text}' is no network like 10.0.0.0/8")));
    text.split(',').map(network).collect()
}

fn refused(error: &Error) -> Response {
    let detail = error.to_string();
    match error {
        Error::Nowhere => Problem::new(StatusCode::CONFLICT, "no-state", "Nowhere to keep it", detail).into_response(),
        Error::Busy => {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Busy", detail);
            ([(header::RETRY_AFTER, RETRY_AFTER)], problem).into_response()
        }
        Error::Full { .. } => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, "full", "Disk full", detail).into_response()
        }
        Error::Io { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unsaved", "Not saved", detail).into_response()
        }
    }
}
