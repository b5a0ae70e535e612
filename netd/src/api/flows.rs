//! `GET /api/v1/flows`: conversations alive and ended, in memory and on disk, newest first.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use netd_engine::finding::Pair;
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::history::{ask, bad_query};
use super::input::{Name, Params};
use super::page;
use super::problem::Problem;
use crate::query::{Field, Place, Query, Sort, Table};
use crate::store::Row;
use crate::store::history::{self, Flow, Live, Scores};
use crate::time;

/// Declares the parameters of a request about flows: the query language, what stands for one of its terms each, and the
/// request's own. They are one struct, so that an unknown one is refused with the names of all.
macro_rules! parameters {
    ($name:ident { $($(#[$doc:meta])* $own:ident: $type:ty,)* }) => {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            q: Option<String>,
            ip: Option<String>,
            src: Option<String>,
            dst: Option<String>,
            cidr: Option<String>,
            port: Option<String>,
            proto: Option<String>,
            pid: Option<String>,
            exe: Option<String>,
            comm: Option<String>,
            user: Option<String>,
            container: Option<String>,
            ns: Option<String>,
            pod: Option<String>,
            country: Option<String>,
            asn: Option<String>,
            name: Option<String>,
            service: Option<String>,
            verdict: Option<String>,
            community_id: Option<String>,
            min_score: Option<String>,
            since: Option<String>,
            until: Option<String>,
            $($(#[$doc])* $own: $type,)*
        }

        impl $name {
            /// Returns the query that they amount to.
            pub(super) fn query(&self) -> Result<crate::query::Query, Problem> {
                use crate::query::Field;
                let least = self.min_score.as_ref().map(|score| format!(">={score}"));
                let terms = [
                    ("ip", Field::Ip, &self.ip),
                    ("src", Field::Src, &self.src),
                    ("dst", Field::Dst, &self.dst),
                    ("cidr", Field::Ip, &self.cidr),
                    ("port", Field::Port, &self.port),
                    ("proto", Field::Protocol, &self.proto),
                    ("pid", Field::Pid, &self.pid),
                    ("exe", Field::Exe, &self.exe),
                    ("comm", Field::Process, &self.comm),
                    ("user", Field::User, &self.user),
                    ("container", Field::Container, &self.container),
                    ("ns", Field::Namespace, &self.ns),
                    ("pod", Field::Pod, &self.pod),
                    ("country", Field::Country, &self.country),
                    ("asn", Field::Asn, &self.asn),
                    ("name", Field::Name, &self.name),
                    ("service", Field::Service, &self.service),
                    ("verdict", Field::Verdict, &self.verdict),
                    ("community_id", Field::CommunityId, &self.community_id),
                    ("min_score", Field::Score, &least),
                ];
                let times = [self.since.as_deref(), self.until.as_deref()];
                crate::api::flows::query(self.q.as_deref(), &terms, times)
            }
        }
    };
}
pub(super) use parameters;

parameters! {
    Parameters {
        /// Names of fields, separated by commas; without it all are told.
        fields: Option<String>,
        limit: Option<usize>,
        cursor: Option<String>,
    }
}

impl Parameters {
    /// Returns the fields that are told; without it all.
    pub(super) fn chosen(&self) -> Result<Option<Vec<&'static str>>, Problem> {
        self.fields.as_deref().map(fields).transpose()
    }
}

/// Joins what a query's text and parameters say about flows.
pub(super) fn query(
    text: Option<&str>,
    terms: &[(&str, Field, &Option<String>)],
    [since, until]: [Option<&str>; 2],
) -> Result<Query, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::parse(Table::Flows, text, time::now()).map_err(|error| bad_query("q", &error))?;
    add(&mut query, terms)?;
    between(&mut query, since, until)?;
    Ok(query)
}

/// Adds the terms that parameters stand for.
pub(super) fn add(query: &mut Query, terms: &[(&str, Field, &Option<String>)]) -> Result<(), Problem> {
    for (parameter, field, value) in terms {
        if let Some(value) = value {
            if *parameter == "cidr" && !value.contains('/') {
                return Err(Problem::bad_parameter(parameter, "it must be a prefix like 198.51.100.0/24"));
            }
            query.with(*field, value).map_err(|error| bad_query(parameter, &error))?;
        }
    }
    Ok(())
}

/// Narrows the time; what the query's text says holds too.
pub(super) fn between(query: &mut Query, since: Option<&str>, until: Option<&str>) -> Result<(), Problem> {
    let now = time::now();
    let moment = |parameter, text: Option<&str>| {
        let moment = text.map(|text| time::moment(text, now)).transpose();
        moment.map_err(|error| Problem::bad_parameter(parameter, error.to_string()))
    };
    query.since = query.since.max(moment("since", since)?);
    let until = moment("until", until)?;
    query.until = match (query.until, until) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Ok(())
}

pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Problem> {
    let limit = page::limit(parameters.limit)?;
    let query = parameters.query()?;
    let after = page::place_in(query.sort, 'f', parameters.cursor.as_deref())?;
    let fields = parameters.chosen()?;

    let (flows, more) = page(&context, query.clone(), after, limit).await?;
    let next = flows.last().filter(|_| more).map(|(place, _)| page::cursor(query.sort, 'f', *place));
    let items = flows.into_iter().map(|(_, flow)| chosen(&flow, fields.as_deref()));
    Ok(page::respond_at(&uri, items.collect::<Result<Vec<_>, _>>()?, next))
}

pub(super) async fn get(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let id = name.id("flow")?;
    let scores = context.findings.scores();
    if let Some(row) = context.flows.get(id) {
        let flow = shown(&context, &row, &scores);
        return Ok(Json(flow).into_response());
    }
    let kept = match &context.history {
        Some(history) => ask(history, move |history, late| history.reader.flow(id, &scores, late)).await?,
        None => None,
    };
    kept.map(|flow| Json(flow).into_response()).ok_or_else(|| Problem::not_found(format!("there is no flow {id}")))
}

/// Returns the pair of a flow in memory or on disk.
pub(super) async fn pair_of(context: &Context, id: u64) -> Result<Option<Pair>, Problem> {
    if let Some(row) = context.flows.get(id) {
        return Ok(Some(history::pair(&row.conversation)));
    }
    let Some(kept) = &context.history else { return Ok(None) };
    let kept = ask(kept, move |history, late| history.reader.flow(id, &Scores::default(), late)).await?;
    let pair = |flow: Flow| {
        let proto = protocol_number(&flow.protocol)?;
        let Flow { originator, responder, responder_port, .. } = flow;
        Ok(Pair { originator, responder, responder_port, proto })
    };
    kept.map(pair).transpose()
}

/// Returns a query of everything since.
pub(super) fn since(since: Timestamp) -> Result<Query, Problem> {
    let mut query = Query::parse(Table::Flows, "", time::now()).map_err(|error| bad_query("q", &error))?;
    query.since = Some(since);
    Ok(query)
}

/// Returns a page of memory and files together.
///
/// A flow goes from memory to disk, never back: memory is read first, and what is in both is taken from there.
pub(super) async fn page(
    context: &Context,
    query: Query,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<(Place, Flow)>, bool), Problem> {
    let scores = Arc::new(context.findings.scores());
    let sort = query.sort;
    let (rows, mut more) = live(context, &query, after, limit, &scores);
    let known: HashSet<u64> = rows.iter().map(|(place, _)| place.id).collect();
    let mut flows: Vec<_> = rows.iter().map(|(place, row)| (*place, shown(context, row, &scores))).collect();
    if let Some(history) = &context.history {
        let kept = ask(history, move |history, late| history.reader.page(&query, after, limit, &scores, late)).await?;
        more |= kept.more;
        flows.extend(kept.flows.into_iter().filter(|(place, _)| !known.contains(&place.id)));
        sort.order(&mut flows);
        more |= flows.len() > limit;
        flows.truncate(limit);
    }
    Ok((flows, more))
}

/// Returns a page of memory.
fn live(
    context: &Context,
    query: &Query,
    after: Option<Place>,
    limit: usize,
    scores: &Scores,
) -> (Vec<(Place, Arc<Row>)>, bool) {
    let sort = query.sort;
    let seen = |row: &Row| query.accepts(&as_asked(context, query, row, scores));
    if sort == Sort::default() {
        let (rows, more) = context.flows.page(after.map(|after| after.id), limit, seen);
        return (rows.into_iter().map(|row| (Place { key: 0, id: row.sequence }, row)).collect(), more);
    }
    let mut rows = Vec::new();
    context.flows.each(|row| {
        let live = as_asked(context, query, row, scores);
        let place = sort.place(row.sequence, &live);
        if after.is_none_or(|after| sort.is_after(place, after)) && query.accepts(&live) {
            rows.push((place, Arc::clone(row)));
        }
    });
    sort.order(&mut rows);
    let more = rows.len() > limit;
    rows.truncate(limit);
    (rows, more)
}

/// Joins a row with what the query looks at beside it.
pub(super) fn as_asked<'r>(context: &Context, query: &Query, row: &'r Row, scores: &Scores) -> Live<'r> {
    let is_about_places = query.names(Field::Country) || query.names(Field::Asn);
    let region = is_about_places.then(|| context.databases.lookup(row.conversation.responder)).flatten();
    Live::new(row, scores, region)
}

/// A region is looked up when it is asked for: a database that was replaced meanwhile answers, too.
pub(super) fn shown(context: &Context, row: &Row, scores: &Scores) -> Flow {
    Flow::of(row, context.databases.lookup(row.conversation.responder), scores)
}

/// Names of what the API tells of a flow.
const FIELDS: [&str; 30] = [
    "id",
    "start",
    "end",
    "duration_s",
    "originator",
    "originator_port",
    "responder",
    "responder_port",
    "responder_region",
    "protocol",
    "originated",
    "responded",
    "turns",
    "state",
    "end_reason",
    "community_id",
    "name",
    "name_source",
    "service",
    "alpn",
    "ja4",
    "encrypted_dns",
    "process",
    "responder_process",
    "vlan",
    "ifindex",
    "rule",
    "verdict",
    "finding",
    "score",
];

fn fields(text: &str) -> Result<Vec<&'static str>, Problem> {
    let known = |name: &str| FIELDS.into_iter().find(|field| *field == name.trim());
    let read = |name| {
        known(name).ok_or_else(|| {
            Problem::bad_parameter("fields", format!("'{name}' is no field of a flow; known are {}", FIELDS.join(", ")))
        })
    };
    text.split(',').take(FIELDS.len()).map(read).collect()
}

/// A flow with the fields that were asked for.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Chosen(Value);

impl JsonSchema for Chosen {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("ChosenFlow")
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Flow::json_schema(generator);
        // Its members are left out by choice, and null like those of any flow.
        schema.insert("required".to_owned(), Value::Array(Vec::new()));
        schema.insert("description".to_owned(), "A conversation: with `fields` what they name, else all of it.".into());
        schema
    }
}

pub(super) fn chosen(flow: &Flow, fields: Option<&[&str]>) -> Result<Chosen, Problem> {
    let mut value = serde_json::to_value(flow).map_err(|_| Problem::internal())?;
    if let (Some(fields), Value::Object(object)) = (fields, &mut value) {
        object.retain(|name, _| fields.contains(&name.as_str()));
    }
    Ok(Chosen(value))
}

/// Returns the number of a protocol by name or number.
pub(super) fn protocol_number(text: &str) -> Result<u8, Problem> {
    let known = [1, 6, 17, 58, 132].into_iter().find(|number| protocol_name(*number).eq_ignore_ascii_case(text));
    known.or_else(|| text.parse().ok()).ok_or_else(|| {
        Problem::bad_parameter("proto", "it must be tcp, udp, icmp, icmpv6, sctp or a number from 0 to 255")
    })
}
