//! `/api/v1/{hosts,domains,processes,containers}/…`: one page about one thing: its conversations, peers, findings, and
//! what is enforced.

mod activity;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use netd_engine::process::{Container, Process};
use netd_engine::region::Region;
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use super::explain::{EnforcementView, enforcement, is_under};
use super::input::Name;
use super::problem::Problem;
use crate::store::{Row, Stored};
use activity::Activity;

/// Addresses of a name whose enforcement is told, at most.
const ADDRESSES: usize = 16;
/// Shortest part of a container's id that names it.
const SHORTEST_ID: usize = 12;

/// An address, and what it did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HostEntity")]
pub(super) struct HostView<'a> {
    /// The address.
    address: IpAddr,
    /// Where it is, if a database says.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
    /// What is enforced about it.
    enforcement: EnforcementView,
    #[serde(flatten)]
    activity: Activity<'a>,
}

/// A name and all below it, and what was done by them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DomainEntity")]
pub(super) struct DomainView<'a> {
    /// The name, in lower case.
    name: String,
    /// What is enforced about each address that conversations by this name, or one below it, went to; 16 at most.
    enforcement: Vec<EnforcementView>,
    #[serde(flatten)]
    activity: Activity<'a>,
}

/// A process of this host, and what it did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProcessEntity")]
pub(super) struct ProcessView<'a> {
    /// The process, as the newest conversation shows it.
    process: &'a Process,
    #[serde(flatten)]
    activity: Activity<'a>,
}

/// A container of this host, and what it did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ContainerEntity")]
pub(super) struct ContainerView<'a> {
    /// The container, as the newest conversation shows it.
    container: &'a Container,
    #[serde(flatten)]
    activity: Activity<'a>,
}

/// What the store holds about a thing: conversations and findings, newest first.
struct Material {
    rows: Vec<Arc<Row>>,
    /// Whether there are more conversations than were looked at.
    is_cut: bool,
    findings: Vec<Stored>,
}

impl Material {
    fn gather(context: &Context, of_flow: impl Fn(&Row) -> bool, of_finding: impl Fn(&Stored) -> bool) -> Self {
        let (rows, is_cut) = context.flows.page(None, activity::ROWS, of_flow);
        let (findings, _) = context.findings.page(None, activity::FINDINGS, of_finding);
        Self { rows, is_cut, findings }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.findings.is_empty()
    }

    /// Returns the processes of either side, newest conversation first.
    fn processes(&self) -> impl Iterator<Item = &Process> {
        let of_flows =
            self.rows.iter().flat_map(|row| [&row.conversation.process, &row.conversation.responder_process]);
        of_flows.chain(self.findings.iter().map(|stored| &stored.finding.process)).flatten()
    }
}

pub(super) async fn host(State(context): State<Context>, Name(name): Name) -> Result<Response, Problem> {
    let address: IpAddr = name.parse().map_err(|_| bad_path(format!("'{name}' is not an IP address")))?;
    let address = address.to_canonical();
    let material = Material::gather(
        &context,
        |row| row.conversation.originator == address || row.conversation.responder == address,
        |stored| stored.finding.pair.originator == address || stored.finding.pair.responder == address,
    );
    let view = HostView {
        address,
        region: context.databases.lookup(address),
        enforcement: enforcement(&context, address).await?,
        activity: Activity::of(&material, &context, |row| match row.conversation.originator == address {
            true => row.conversation.responder,
            false => row.conversation.originator,
        }),
    };
    Ok(Json(view).into_response())
}

pub(super) async fn domain(State(context): State<Context>, Name(name): Name) -> Result<Response, Problem> {
    let wanted = name.trim_matches('.').to_ascii_lowercase();
    if wanted.is_empty() {
        return Err(bad_path("the name is empty".to_owned()));
    }
    let is_its = |name: &Option<String>| name.as_ref().is_some_and(|name| is_under(name, &wanted));
    let material =
        Material::gather(&context, |row| is_its(&row.conversation.name), |stored| is_its(&stored.finding.name));
    if material.is_empty() {
        return Err(Problem::not_found(format!("there is no conversation and no finding by the name {wanted}")));
    }
    let addresses: BTreeSet<IpAddr> = material
        .rows
        .iter()
        .map(|row| row.conversation.responder)
        .chain(material.findings.iter().map(|stored| stored.finding.pair.responder))
        .collect();
    let mut enforced = Vec::new();
    for address in addresses.into_iter().take(ADDRESSES) {
        enforced.push(enforcement(&context, address).await?);
    }
    let activity = Activity::of(&material, &context, |row| row.conversation.originator);
    Ok(Json(DomainView { name: wanted, enforcement: enforced, activity }).into_response())
}

pub(super) async fn process(State(context): State<Context>, name: Name) -> Result<Response, Problem> {
    let pid: u32 = name.0.parse().map_err(|_| bad_path(format!("'{}' is not the number of a process", name.0)))?;
    let is_its = |process: &Option<Process>| process.as_ref().is_some_and(|process| process.id.pid == pid);
    let material = Material::gather(
        &context,
        |row| is_its(&row.conversation.process) || is_its(&row.conversation.responder_process),
        |stored| is_its(&stored.finding.process),
    );
    let Some(process) = material.processes().find(|process| process.id.pid == pid) else {
        return Err(Problem::not_found(format!("there is no conversation and no finding of a process {pid}")));
    };
    let activity = Activity::of(&material, &context, |row| match is_its(&row.conversation.process) {
        true => row.conversation.responder,
        false => row.conversation.originator,
    });
    Ok(Json(ProcessView { process, activity }).into_response())
}

pub(super) async fn container(State(context): State<Context>, Name(id): Name) -> Result<Response, Problem> {
    if id.len() < SHORTEST_ID {
        return Err(bad_path(format!(
            "'{id}' is too short: give at least {SHORTEST_ID} characters of the container's id"
        )));
    }
    let is_container = |container: &Container| container.id.starts_with(&id);
    let is_its = |process: &Option<Process>| {
        process.as_ref().and_then(|process| process.container.as_ref()).is_some_and(|container| is_container(container))
    };
    let material = Material::gather(
        &context,
        |row| is_its(&row.conversation.process) || is_its(&row.conversation.responder_process),
        |stored| is_its(&stored.finding.process),
    );
    let known = material.processes().filter_map(|process| process.container.as_deref()).find(|c| is_container(c));
    let Some(container) = known else {
        return Err(Problem::not_found(format!("there is no conversation and no finding of a container {id}")));
    };
    let activity = Activity::of(&material, &context, |row| match is_its(&row.conversation.process) {
        true => row.conversation.responder,
        false => row.conversation.originator,
    });
    Ok(Json(ContainerView { container, activity }).into_response())
}

fn bad_path(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-path", "Bad path", detail)
}
