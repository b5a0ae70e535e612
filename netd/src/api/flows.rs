//! `GET /api/v1/flows`: conversations alive and lately ended, newest first.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use ipnet::IpNet;
use netd_engine::finding::Pair;
use netd_engine::flow::{Conversation, EndReason, Sent, protocol_name};
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use netd_geoip::Databases;
use serde::{Deserialize, Serialize};

use super::Context;
use super::input::Params;
use super::page;
use super::problem::Problem;
use crate::store::Row;
use crate::time;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Either end.
    ip: Option<IpAddr>,
    /// Originator.
    src: Option<IpAddr>,
    /// Responder.
    dst: Option<IpAddr>,
    /// A prefix that holds either end.
    cidr: Option<IpNet>,
    /// Either port.
    port: Option<u16>,
    /// A name or a number.
    proto: Option<String>,
    pid: Option<u32>,
    comm: Option<String>,
    /// The name asked for, or the end of it: `example.net` finds `cdn.example.net`.
    name: Option<String>,
    /// Of a finding on the flow's pair.
    min_score: Option<f64>,
    community_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A conversation as the API shows it.
#[derive(Serialize)]
pub(super) struct View<'a> {
    id: u64,
    #[serde(serialize_with = "time::serialize")]
    start: Timestamp,
    #[serde(serialize_with = "time::serialize")]
    end: Timestamp,
    duration_s: f64,
    originator: IpAddr,
    originator_port: u16,
    responder: IpAddr,
    responder_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder_region: Option<Region>,
    protocol: String,
    originated: Sent,
    responded: Sent,
    turns: u32,
    state: &'static str,
    end_reason: EndReason,
    community_id: &'a Option<String>,
    name: &'a Option<String>,
    process: &'a Option<netd_engine::process::Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder_process: &'a Option<netd_engine::process::Process>,
    vlan: Option<u16>,
    ifindex: u32,
    /// The kernel rule that decided its packets.
    rule: Option<u32>,
    /// The finding on its pair.
    finding: Option<u64>,
    score: Option<f64>,
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::place('f', query.cursor.as_deref())?;
    let scores = context.findings.scores();
    let filter = Filter::new(query)?;

    let (rows, more) = context.flows.page(before, limit, |row| filter.accepts(&row.conversation, &scores));
    let next = rows.last().filter(|_| more).map(|row| row.sequence);
    let views: Vec<_> = rows.iter().map(|row| view(row, &scores, &context.databases)).collect();
    Ok(page::respond(&uri, 'f', views, next))
}

pub(super) type Scores = HashMap<Pair, (u64, f64)>;

pub(super) struct Filter {
    query: Query,
    proto: Option<u8>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Filter {
    /// Reads what a query asks for.
    pub(super) fn new(query: Query) -> Result<Self, Problem> {
        let now = time::now();
        let moment = |parameter: &str, text: &Option<String>| {
            let moment = text.as_deref().map(|text| time::moment(text, now)).transpose();
            moment.map_err(|error| Problem::bad_parameter(parameter, error.to_string()))
        };
        let proto = query.proto.as_deref().map(protocol_number).transpose()?;
        if query.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err(Problem::bad_parameter("min_score", "it must be from 0 to 1"));
        }
        let (since, until) = (moment("since", &query.since)?, moment("until", &query.until)?);
        Ok(Self { query, proto, since, until })
    }

    pub(super) fn accepts(&self, c: &Conversation, scores: &Scores) -> bool {
        let q = &self.query;
        let either = |wanted: &dyn Fn(&IpAddr) -> bool| wanted(&c.originator) || wanted(&c.responder);
        let process = c.process.as_ref();
        q.ip.is_none_or(|ip| either(&|end| *end == ip))
            && q.src.is_none_or(|ip| c.originator == ip)
            && q.dst.is_none_or(|ip| c.responder == ip)
            && q.cidr.is_none_or(|net| either(&|end| net.contains(end)))
            && q.port.is_none_or(|port| c.originator_port == port || c.responder_port == port)
            && self.proto.is_none_or(|proto| c.protocol == proto)
            && q.pid.is_none_or(|pid| process.is_some_and(|process| process.id.pid == pid))
            && q.comm.as_ref().is_none_or(|comm| process.is_some_and(|process| process.comm == *comm))
            && q.name.as_ref().is_none_or(|name| c.name.as_ref().is_some_and(|n| is_under(n, name)))
            && q.community_id.as_ref().is_none_or(|id| c.community_id.as_ref() == Some(id))
            && self.since.is_none_or(|since| c.end >= since)
            && self.until.is_none_or(|until| c.start <= until)
            && q.min_score.is_none_or(|least| scores.get(&pair(c)).is_some_and(|(_, score)| *score >= least))
    }
}

pub(super) fn view<'a>(row: &'a Row, scores: &Scores, databases: &Databases) -> View<'a> {
    let c = &row.conversation;
    let finding = scores.get(&pair(c));
    View {
        id: row.sequence,
        start: c.start,
        end: c.end,
        duration_s: c.duration_s,
        originator: c.originator,
        originator_port: c.originator_port,
        responder: c.responder,
        responder_port: c.responder_port,
        // Looked up when asked for: a database that was replaced meanwhile answers, too.
        responder_region: databases.lookup(c.responder),
        protocol: protocol_name(c.protocol),
        originated: c.originated,
        responded: c.responded,
        turns: c.turns,
        state: c.state,
        end_reason: c.end_reason,
        community_id: &c.community_id,
        name: &c.name,
        process: &c.process,
        responder_process: &c.responder_process,
        vlan: (c.vlan != 0).then_some(c.vlan),
        ifindex: c.ifindex,
        rule: (c.rule != 0).then_some(c.rule),
        finding: finding.map(|(id, _)| *id),
        score: finding.map(|(_, score)| *score),
    }
}

/// Returns the pair that a conversation belongs to.
pub(super) fn pair(c: &Conversation) -> Pair {
    Pair { originator: c.originator, responder: c.responder, responder_port: c.responder_port, proto: c.protocol }
}

/// Returns whether `name` is `domain` or lies under it.
pub(super) fn is_under(name: &str, domain: &str) -> bool {
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain))
        && (at == 0 || name.as_bytes().get(at - 1) == Some(&b'.'))
}

/// Returns the number of a protocol by name or number.
pub(super) fn protocol_number(text: &str) -> Result<u8, Problem> {
    let known = [1, 6, 17, 58, 132].into_iter().find(|number| protocol_name(*number).eq_ignore_ascii_case(text));
    known.or_else(|| text.parse().ok()).ok_or_else(|| {
        Problem::bad_parameter("proto", "it must be tcp, udp, icmp, icmpv6, sctp or a number from 0 to 255")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_itself_and_what_lies_under_it() {
        assert!(is_under("cdn.example.net", "example.net"));
        assert!(is_under("example.net", "Example.NET"));
        assert!(!is_under("badexample.net", "example.net"));
        assert!(!is_under("net", "example.net"));
    }
}
