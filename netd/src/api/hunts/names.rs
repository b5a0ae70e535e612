//! Domains by how often they are asked for.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use netd_engine::engine::{NameTraffic, Names};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Live, Parameters, Wanted, number, search};
use crate::api::Context;
use crate::api::input::Params;
use crate::api::problem::Problem;
use crate::query::{Field, Table, Value};
use crate::store::view::rounded;

/// A registered domain, over about five minutes. How many names below it were asked for is not kept; how many bytes of
/// their labels were not there before is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Domain")]
pub(in crate::api) struct View {
    /// The registered domain.
    domain: String,
    /// Queries for names at or below it.
    queries: u64,
    /// Addresses that asked.
    clients: usize,
    /// Answers that came.
    answers: u64,
    /// Share of answers that say there is no such name, from 0 to 1; null without answers.
    #[schemars(range(min = 0, max = 1))]
    no_such_name_share: Option<f64>,
    /// Queries for record types that carry data.
    carriers: u64,
    /// Bytes of labels below the domain.
    label_bytes: u64,
    /// Bytes of answers.
    answer_bytes: u64,
    /// Estimate: bytes of labels that one of the clients had not asked for before, of the client with most.
    unique_bytes: u64,
    /// Whether a finding was raised about one of the clients and this domain.
    is_finding: bool,
}

#[derive(Default)]
struct Sum {
    clients: HashSet<IpAddr>,
    queries: u64,
    answers: u64,
    no_such_name: u64,
    carriers: u64,
    label_bytes: u64,
    answer_bytes: u64,
    unique: f64,
    is_finding: bool,
}

pub(in crate::api) async fn get(
    State(context): State<Context>,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(parameters, Table::Names)?;
    let traffic = search(&context, Names::default(), Names::step).await?.found();
    let domains = summed(traffic);
    let looked_at = domains.len();
    let chosen = wanted.chosen(domains, |view: &View| Live {
        fields: vec![
            (Field::Name, Value::Text(view.domain.as_str().into())),
            (Field::Bytes, number(view.label_bytes + view.answer_bytes)),
            (Field::BytesOut, number(view.label_bytes)),
            (Field::BytesIn, number(view.answer_bytes)),
        ],
        now: wanted.now,
    });
    Ok(wanted.answer(chosen, looked_at))
}

/// Adds clients up; the domain that is asked for most comes first.
fn summed(traffic: Vec<NameTraffic>) -> Vec<View> {
    let mut sums = HashMap::<Arc<str>, Sum>::new();
    for asked in traffic {
        let sum = sums.entry(asked.domain).or_default();
        sum.clients.insert(asked.client);
        sum.queries += u64::from(asked.queries);
        sum.answers += u64::from(asked.answers);
        sum.no_such_name += u64::from(asked.no_such_name);
        sum.carriers += u64::from(asked.carriers);
        sum.label_bytes += u64::from(asked.label_bytes);
        sum.answer_bytes += u64::from(asked.answer_bytes);
        sum.unique = sum.unique.max(asked.unique_up);
        sum.is_finding |= asked.is_finding;
    }
    let view = |(domain, sum): (Arc<str>, Sum)| View {
        domain: domain.to_string(),
        queries: sum.queries,
        clients: sum.clients.len(),
        answers: sum.answers,
        no_such_name_share: (sum.answers > 0).then(|| rounded(sum.no_such_name as f64 / sum.answers as f64)),
        carriers: sum.carriers,
        label_bytes: sum.label_bytes,
        answer_bytes: sum.answer_bytes,
        unique_bytes: sum.unique.round() as u64,
        is_finding: sum.is_finding,
    };
    let mut domains: Vec<View> = sums.into_iter().map(view).collect();
    domains.sort_by(|a, b| b.queries.cmp(&a.queries).then_with(|| a.domain.cmp(&b.domain)));
    domains
}
