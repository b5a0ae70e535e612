//! `GET /api/v1/explain`: why there is, or is not, a finding about an address, a name, a process or a flow, and what is
//! enforced about the addresses concerned.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use netd_engine::Engine;
use netd_engine::engine::{Explanation, Question};
use netd_engine::finding::{Finding, Pair, Severity};
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::Params;
use super::mode::ModeName;
use super::problem::Problem;
use super::verdicts::{ActionView, action_view};
use super::{Context, flows, verdicts};
use crate::store::history;
use crate::store::view::{ExplanationView, rounded};
use crate::time;
use crate::verdicts::{Coverage, ListMatch};

/// Pairs of a process that are asked about, addresses that are looked up, findings that are told, at most.
const MOST: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Either end.
    ip: Option<IpAddr>,
    /// The name or one below it.
    #[serde(alias = "domain")]
    name: Option<String>,
    /// A process of this host, by its flows.
    pid: Option<u32>,
    /// A flow by its id.
    flow: Option<u64>,
}

/// Why there is, or is not, a finding, and what is enforced.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
pub(super) struct View<'a> {
    #[serde(flatten)]
    explanation: ExplanationView<'a>,
    /// Findings about it, newest first, 50 at most.
    findings: Vec<FindingView>,
    /// Entries of lists that hold the address or the name.
    lists: Vec<ListView>,
    /// How far netd goes, as an operator asked for.
    mode: ModeName,
    /// Whether everything passes.
    kill_switch: bool,
    /// What is enforced about the addresses concerned, 50 at most.
    enforcement: Vec<EnforcementView>,
}

/// An entry of a list that holds what is asked about.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListMatch")]
struct ListView {
    /// The list's name.
    list: String,
    /// What the list is for.
    #[schemars(extend("enum" = ["allow", "block"]))]
    kind: &'static str,
    /// The entry.
    entry: String,
    /// Why it is there.
    reason: String,
    /// When the entry ends; null: never.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    until: Option<Timestamp>,
    #[serde(flatten)]
    action: Option<ActionView>,
}

impl From<ListMatch> for ListView {
    fn from(found: ListMatch) -> Self {
        let ListMatch { list, is_allow, entry, reason, until, response } = found;
        let kind = if is_allow { "allow" } else { "block" };
        Self { list, kind, entry, reason, until, action: response.map(action_view) }
    }
}

/// A finding in a line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FindingLine")]
pub(super) struct FindingView {
    /// The finding's number.
    id: u64,
    /// Who found it.
    detector: &'static str,
    /// What was found, in one line.
    title: String,
    /// How urgent it is.
    severity: Severity,
    /// Posterior probability, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    score: f64,
}

/// What is enforced about an address.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Enforcement")]
pub(super) struct EnforcementView {
    /// The address.
    address: IpAddr,
    /// Verdicts on it, one of its ports, or a prefix around it; newest first.
    verdicts: Vec<verdicts::View>,
    /// Names of the block-lists that hold it.
    blocklists: Vec<String>,
    /// Why it is never cut; null where it may be.
    protected_by: Option<&'static str>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id,
            detector: finding.detector,
            title: finding.title.clone(),
            severity: finding.severity,
            score: rounded(finding.score),
        }
    }
}

pub(super) async fn get(State(context): State<Context>, Params(query): Params<Query>) -> Result<Response, Problem> {
    let question = question(&context, query).await?;
    let asked = question.clone();
    let explanation = ask(&context, move |engine| engine.explain(&asked)).await?;
    let (found, _) = context.findings.page(None, MOST, |stored| concerns(&question, &stored.finding));
    let addresses = addresses(&question, &explanation, found.iter().map(|stored| &stored.finding.pair));
    let lists = match &question {
        Question::Address(address) => context.verdicts.lists_of_address(*address).await?,
        Question::Name(name) => context.verdicts.lists_of_name(name.to_ascii_lowercase()).await?,
        Question::Pairs(_) => Vec::new(),
    };
    let status = context.verdicts.status().await?;
    let mut enforced = Vec::new();
    for address in addresses.into_iter().take(MOST) {
        enforced.push(enforcement(&context, address).await?);
    }
    let view = View {
        explanation: ExplanationView::from(&explanation),
        findings: found.iter().map(|stored| FindingView::from(&stored.finding)).collect(),
        lists: lists.into_iter().map(ListView::from).collect(),
        mode: ModeName::from(status.requested),
        kill_switch: status.kill_switch,
        enforcement: enforced,
    };
    Ok(Json(view).into_response())
}

/// Asks the engine.
pub(super) async fn ask<T: Send + 'static>(
    context: &Context,
    question: impl FnOnce(&Engine) -> T + Send + 'static,
) -> Result<T, Problem> {
    context.asker.ask(question).await.ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ending", "Ending", "the engine has ended: netd is shutting down")
    })
}

/// Returns what is enforced about an address.
pub(super) async fn enforcement(context: &Context, address: IpAddr) -> Result<EnforcementView, Problem> {
    let Coverage { verdicts, lists, protected_by } = context.verdicts.coverage(address).await?;
    Ok(EnforcementView {
        address,
        verdicts: verdicts.into_iter().map(verdicts::view).collect(),
        blocklists: lists,
        protected_by: protected_by.map(crate::verdicts::Guard::name),
    })
}

async fn question(context: &Context, query: Query) -> Result<Question, Problem> {
    match query {
        Query { ip: Some(address), name: None, pid: None, flow: None } => Ok(Question::Address(address.to_canonical())),
        Query { ip: None, name: Some(name), pid: None, flow: None } => match name.trim_matches('.') {
            "" => Err(Problem::bad_parameter("name", "the name is empty")),
            name => Ok(Question::Name(name.to_owned())),
        },
        Query { ip: None, name: None, pid: Some(pid), flow: None } => match pairs(context, pid) {
            pairs if pairs.is_empty() => {
                Err(Problem::not_found(format!("there is no flow and no finding of a process {pid}")))
            }
            pairs => Ok(Question::Pairs(pairs)),
        },
        Query { ip: None, name: None, pid: None, flow: Some(id) } => match flows::pair_of(context, id).await? {
            Some(pair) => Ok(Question::Pairs(vec![pair])),
            None => Err(Problem::not_found(format!("there is no flow {id}"))),
        },
        Query { .. } => Err(Problem::bad_parameter("ip", "exactly one of 'ip', 'name', 'pid' and 'flow' is needed")),
    }
}

/// Returns the pairs of a process: of its flows, then of its findings.
fn pairs(context: &Context, pid: u32) -> Vec<Pair> {
    let is_its =
        |process: &Option<netd_engine::process::Process>| process.as_ref().is_some_and(|process| process.id.pid == pid);
    let (rows, _) = context
        .flows
        .page(None, 1_000, |row| is_its(&row.conversation.process) || is_its(&row.conversation.responder_process));
    let (findings, _) = context.findings.page(None, MOST, |stored| is_its(&stored.finding.process));
    let of_flows = rows.iter().map(|row| history::pair(&row.conversation));
    let pairs: BTreeSet<Pair> = of_flows.chain(findings.iter().map(|stored| stored.finding.pair)).collect();
    pairs.into_iter().take(MOST).collect()
}

/// Returns whether a finding is about what is asked.
pub(super) fn concerns(question: &Question, finding: &Finding) -> bool {
    match question {
        Question::Address(address) => finding.pair.originator == *address || finding.pair.responder == *address,
        Question::Name(wanted) => finding.name.as_ref().is_some_and(|name| is_under(name, wanted)),
        Question::Pairs(pairs) => pairs.contains(&finding.pair),
    }
}

/// Returns whose enforcement is told: the address that was asked about, or the far ends.
fn addresses<'a>(
    question: &Question,
    explanation: &'a Explanation,
    found: impl Iterator<Item = &'a Pair>,
) -> BTreeSet<IpAddr> {
    let followed = explanation.followed.iter().map(|followed| &followed.pair);
    let silenced = explanation.silenced.iter().map(|silenced| &silenced.pair);
    match question {
        Question::Address(address) => BTreeSet::from([*address]),
        Question::Name(_) => followed.chain(silenced).chain(found).map(|pair| pair.responder).collect(),
        Question::Pairs(pairs) => pairs.iter().map(|pair| pair.responder).collect(),
    }
}

/// Returns whether `name` is `domain` or lies under it.
pub(super) fn is_under(name: &str, domain: &str) -> bool {
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain))
        && (at == 0 || name.as_bytes().get(at - 1) == Some(&b'.'))
}
