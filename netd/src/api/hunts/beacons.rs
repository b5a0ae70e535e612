//! Pairs by how much their rhythm speaks for a timer.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use netd_engine::engine::{Followed, Rhythms};
use netd_engine::finding::{Finding, Severity};
use netd_engine::flow::protocol_name;
use netd_engine::process::Process;
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Live, Parameters, Wanted, search};
use crate::api::Context;
use crate::api::input::Params;
use crate::api::problem::Problem;
use crate::query::{Field, Record as _, Table};
use crate::store::Stored;
use crate::store::triage::Triage;
use crate::store::view::rounded;
use crate::time;

/// A pair whose turns come in some rhythm.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Beacon")]
pub(in crate::api) struct View {
    /// Who began.
    originator: IpAddr,
    /// Who was addressed.
    responder: IpAddr,
    /// The responder's port.
    responder_port: u16,
    /// The transport protocol's name, or its IANA number.
    protocol: String,
    /// Name of the responder.
    name: Option<String>,
    /// Whose doing it is, where that is known.
    process: Option<Process>,
    /// Where the responder is, if a database says.
    responder_region: Option<Region>,
    /// What the pair amounts to, all evidence together: posterior probability, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    score: f64,
    /// How urgent it would be.
    severity: Severity,
    /// Whether that suffices for a finding.
    is_finding: bool,
    /// The number of the finding that was raised; null where none was.
    finding: Option<u64>,
    /// Median interval between turns, in seconds.
    interval_s: Option<f64>,
    /// MAD of the interval over its median.
    jitter: Option<f64>,
    /// Turns that the rhythm was read from.
    check_ins: Option<u32>,
    /// Turns of originator and responder in its history.
    turns: [u32; 2],
    /// Evidence of the rhythm alone, in nats.
    ln_e: f64,
    /// When its history began.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    first_seen: Timestamp,
}

/// A pair as queries see it: as the finding that it would be.
struct Rhythm {
    stored: Stored,
    ln_e: f64,
    turns: [u32; 2],
    is_finding: bool,
    raised: Option<u64>,
}

pub(in crate::api) async fn get(
    State(context): State<Context>,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(parameters, Table::Findings)?;
    let (followed, histories) = search(&context, Rhythms::default(), Rhythms::step).await?.found();
    let rhythms = followed.into_iter().filter_map(rhythm).collect();
    let (chosen, is_cut) = wanted.chosen(rhythms, |rhythm: &Rhythm| Live {
        fields: Field::listed(Table::Findings).map(|field| (field, rhythm.stored.value(field))).collect(),
        now: wanted.now,
    });
    let views: Vec<View> = chosen.into_iter().map(view).collect();
    Ok(wanted.answer((views, is_cut), usize::try_from(histories).unwrap_or(usize::MAX)))
}

fn rhythm(followed: Followed) -> Option<Rhythm> {
    let Followed { would_be, ln_e, turns, is_finding, raised, .. } = followed;
    let stored =
        Stored { sequence: 0, finding: would_be?, rises: Vec::new(), response: None, triage: Triage::default() };
    Some(Rhythm { stored, ln_e, turns, is_finding, raised })
}

fn view(Rhythm { stored, ln_e, turns, is_finding, raised }: Rhythm) -> View {
    let Finding { pair, name, process, responder_region, score, severity, rhythm, first_seen, .. } = stored.finding;
    View {
        originator: pair.originator,
        responder: pair.responder,
        responder_port: pair.responder_port,
        protocol: protocol_name(pair.proto),
        name,
        process,
        responder_region,
        score: rounded(score),
        severity,
        is_finding,
        finding: raised,
        interval_s: rhythm.map(|beats| rounded(beats.interval_s)),
        jitter: rhythm.map(|beats| rounded(beats.jitter)),
        check_ins: rhythm.map(|beats| beats.turns),
        turns,
        ln_e: rounded(ln_e),
        first_seen,
    }
}
