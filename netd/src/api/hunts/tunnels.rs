//! What may carry something inside of something else: DNS by its information, echoes by what does not come back.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use netd_engine::engine::{EchoTraffic, NameTraffic, Names};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Live, Parameters, Wanted, number, search};
use crate::api::Context;
use crate::api::explain::ask;
use crate::api::input::Params;
use crate::api::problem::Problem;
use crate::query::{Field, Table, Value};
use crate::store::view::rounded;

/// Something that may be a tunnel.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "Tunnel")]
pub(in crate::api) struct View {
    /// What carries it.
    kind: Kind,
    /// Who asks.
    originator: IpAddr,
    /// Who answers; of echoes.
    responder: Option<IpAddr>,
    /// The registered domain; of names.
    domain: Option<String>,
    /// Queries, or answered echoes.
    exchanges: u32,
    /// Echoes that were answered with another length; of echoes.
    unlike: Option<u32>,
    /// Bytes from the originator: of names an estimate of those that were not there before, within about five minutes;
    /// of echoes the payload of the conversation that was heard last.
    bytes_out: u64,
    /// The same of bytes to the originator.
    bytes_in: u64,
    /// Share of label bytes that look encoded, from 0 to 1; of names.
    #[schemars(range(min = 0, max = 1))]
    encoded_share: Option<f64>,
    /// By how much the larger of both exceeds what is worth judging: 1 is the threshold; of names.
    strength: Option<f64>,
    /// Whether a finding was raised; of names.
    is_finding: Option<bool>,
}

/// What carries it.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "TunnelKind")]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Queries for names, and their answers.
    Dns,
    /// Echo requests, and their answers.
    Icmp,
}

/// Names that carry less than this share of what is worth judging are everybody's.
const LEAST: f64 = 0.1;

pub(in crate::api) async fn get(
    State(context): State<Context>,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(parameters, Table::Tunnels)?;
    let names = search(&context, Names::default(), Names::step).await?.found();
    let (echoes, from) = ask(&context, |engine| (engine.echoes(), engine.tunnel_from())).await?;
    let looked_at = names.len() + echoes.len();
    let strong = names.iter().map(|traffic| of_names(traffic, from)).filter(|view| view.strength >= Some(LEAST));
    let mut tunnels: Vec<View> = strong.chain(echoes.iter().map(of_echoes)).collect();
    tunnels.sort_by_key(|view| std::cmp::Reverse((view.bytes_out + view.bytes_in, view.originator)));
    let chosen = wanted.chosen(tunnels, |view: &View| Live {
        fields: vec![
            (Field::Src, Value::Address(view.originator)),
            (Field::Dst, view.responder.map_or(Value::None, Value::Address)),
            (Field::Name, view.domain.as_deref().into()),
            (Field::Bytes, number(view.bytes_out + view.bytes_in)),
            (Field::BytesOut, number(view.bytes_out)),
            (Field::BytesIn, number(view.bytes_in)),
        ],
        now: wanted.now,
    });
    Ok(wanted.answer(chosen, looked_at))
}

fn of_names(traffic: &NameTraffic, [up, down]: [f64; 2]) -> View {
    let encoded = (traffic.label_bytes > 0).then(|| f64::from(traffic.encoded_bytes) / f64::from(traffic.label_bytes));
    View {
        kind: Kind::Dns,
        originator: traffic.client,
        responder: None,
        domain: Some(traffic.domain.to_string()),
        exchanges: traffic.queries,
        unlike: None,
        bytes_out: traffic.unique_up.round() as u64,
        bytes_in: traffic.unique_down.round() as u64,
        encoded_share: encoded.map(rounded),
        strength: Some(rounded((traffic.unique_up / up).max(traffic.unique_down / down))),
        is_finding: Some(traffic.is_finding),
    }
}

fn of_echoes(traffic: &EchoTraffic) -> View {
    let [bytes_out, bytes_in] = traffic.bytes;
    View {
        kind: Kind::Icmp,
        originator: traffic.originator,
        responder: Some(traffic.responder),
        domain: None,
        exchanges: traffic.answered,
        unlike: Some(traffic.unlike),
        bytes_out,
        bytes_in,
        encoded_share: None,
        strength: None,
        is_finding: None,
    }
}
