//! `GET /api/v1/flows/stats`: flows added up by one of their properties, and over time.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::flows::{as_asked, parameters};
use super::history::{ask, problem};
use super::input::Params;
use super::problem::Problem;
use crate::query::Query;
use crate::store::history::{Error, Group, Live, Scores, Statistics, Tally};
use crate::time;

/// Groups told unless the request says otherwise, and at most.
const TOP: usize = 20;
const MOST_TOP: usize = 1_000;

parameters! {
    Parameters {
        group_by: GroupName,
        metric: Metric,
        top: Option<usize>,
        /// A duration: then each group has a series over time.
        bucket: Option<String>,
    }
}

/// The property that conversations are grouped by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "GroupBy")]
#[serde(rename_all = "lowercase")]
enum GroupName {
    Src,
    #[default]
    Dst,
    Port,
    Proto,
    Proc,
    Country,
    Asn,
    Name,
    Service,
    Verdict,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "FlowMetric")]
#[serde(rename_all = "snake_case")]
enum Metric {
    /// Conversations.
    #[default]
    Flows,
    /// Bytes on the wire, both ways.
    Bytes,
    /// Bytes on the wire from responders.
    BytesIn,
    /// Bytes on the wire from originators.
    BytesOut,
}

/// Conversations added up.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Statistics")]
pub(super) struct View {
    group_by: GroupName,
    metric: Metric,
    /// Seconds of a bucket of the series; null without series.
    bucket_s: Option<f64>,
    /// How many groups there are in all.
    groups: usize,
    /// What all groups come to.
    total: Tally,
    /// The groups with most of the metric, largest first.
    items: Vec<Item>,
}

/// Conversations with something in common.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlowGroup")]
struct Item {
    /// What its conversations have in common; null: conversations without the property.
    key: Option<String>,
    /// What the metric comes to.
    value: u64,
    #[serde(flatten)]
    tally: Tally,
    /// The same over time, where `bucket` was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Point>,
}

/// What a bucket of time comes to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SeriesPoint")]
struct Point {
    /// When the bucket begins.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    time: Timestamp,
    /// What the metric comes to in it.
    value: u64,
}

impl GroupName {
    const fn group(self) -> Group {
        match self {
            Self::Src => Group::Src,
            Self::Dst => Group::Dst,
            Self::Port => Group::Port,
            Self::Proto => Group::Protocol,
            Self::Proc => Group::Process,
            Self::Country => Group::Country,
            Self::Asn => Group::Asn,
            Self::Name => Group::Name,
            Self::Service => Group::Service,
            Self::Verdict => Group::Verdict,
        }
    }
}

impl Metric {
    const fn of(self, tally: Tally) -> u64 {
        match self {
            Self::Flows => tally.flows,
            Self::Bytes => tally.bytes_in.saturating_add(tally.bytes_out),
            Self::BytesIn => tally.bytes_in,
            Self::BytesOut => tally.bytes_out,
        }
    }
}

pub(super) async fn get(
    State(context): State<Context>,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let top = parameters.top.unwrap_or(TOP);
    if !(1..=MOST_TOP).contains(&top) {
        return Err(Problem::bad_parameter("top", format!("it must be from 1 to {MOST_TOP}")));
    }
    let bucket_ns = parameters.bucket.as_deref().map(bucket).transpose()?.unwrap_or(0);
    let query = parameters.query()?;
    let (group, metric) = (parameters.group_by.group(), parameters.metric);
    let scores = context.findings.scores();
    let sum = match context.history.clone() {
        Some(history) => {
            let context = context.clone();
            let question = move |history: &crate::store::history::History, late: &_| {
                history.reader.statistics(&query, group, bucket_ns, &scores, late, |batches| {
                    memory(&context, &query, group, bucket_ns, &scores, batches)
                })
            };
            ask(&history, question).await?
        }
        None => memory(&context, &query, group, bucket_ns, &scores, 0).map_err(problem)?,
    };
    let (items, groups, all) = ranked(sum, metric, top);
    let bucket_s = (bucket_ns > 0).then_some(bucket_ns as f64 / 1e9);
    let view = View { group_by: parameters.group_by, metric, bucket_s, groups, total: all, items };
    Ok(Json(view).into_response())
}

/// Adds up what is in memory only: not the first `batches` that history wrote.
fn memory(
    context: &Context,
    query: &Query,
    group: Group,
    bucket_ns: u64,
    scores: &Scores,
    batches: u64,
) -> Result<Statistics, Error> {
    let (mut sum, mut failed) = (Statistics::default(), Ok(()));
    let needs_region = matches!(group, Group::Country | Group::Asn);
    context.flows.each(|row| {
        if row.written.is_within(batches) || failed.is_err() {
            return;
        }
        let live = as_asked(context, query, row, scores);
        if query.accepts(&live) {
            let region = live
                .region
                .clone()
                .or_else(|| needs_region.then(|| context.databases.lookup(row.conversation.responder)).flatten());
            failed = sum.add_live(group, bucket_ns, &Live { region, ..live });
        }
    });
    failed.map(|()| sum)
}

/// Returns the `top` groups with their series, how many groups there are, and what all come to.
fn ranked(sum: Statistics, metric: Metric, top: usize) -> (Vec<Item>, usize, Tally) {
    let mut all = Tally::default();
    let mut groups: HashMap<Option<String>, (Tally, BTreeMap<u64, u64>)> = HashMap::new();
    for ((key, start), tally) in sum.0 {
        all.flows += tally.flows;
        all.bytes_in = all.bytes_in.saturating_add(tally.bytes_in);
        all.bytes_out = all.bytes_out.saturating_add(tally.bytes_out);
        let (total, series) = groups.entry(key).or_default();
        total.flows += tally.flows;
        total.bytes_in = total.bytes_in.saturating_add(tally.bytes_in);
        total.bytes_out = total.bytes_out.saturating_add(tally.bytes_out);
        if start > 0 {
            *series.entry(start).or_default() += metric.of(tally);
        }
    }
    let count = groups.len();
    let mut items: Vec<_> = groups.into_iter().collect();
    items.sort_unstable_by(|(one, (first, _)), (other, (second, _))| {
        metric.of(*second).cmp(&metric.of(*first)).then_with(|| one.cmp(other))
    });
    let items = items.into_iter().take(top).map(|(key, (tally, series))| {
        let series = series.into_iter().map(|(start, value)| Point { time: Timestamp(start), value });
        Item { key, value: metric.of(tally), tally, series: series.collect() }
    });
    (items.collect(), count, all)
}

fn bucket(text: &str) -> Result<u64, Problem> {
    let bad = |detail: String| Problem::bad_parameter("bucket", detail);
    let length = time::duration(text).map_err(|error| bad(error.to_string()))?;
    if length.is_zero() || length.as_secs() > 366 * 86_400 {
        return Err(bad("it must be from 1s to 366d".to_owned()));
    }
    u64::try_from(length.as_nanos()).map_err(|_| bad("it is too long".to_owned()))
}
