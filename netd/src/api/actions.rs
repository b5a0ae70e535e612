//! `POST /api/v1/findings/{id}/actions`: what an operator does about a finding, in one word.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use ipnet::IpNet;
use netd_common::control::Mode;
use netd_engine::finding::Finding;
use netd_engine::process::Process;
use netd_engine::suppress::Matching;
use netd_engine::verdict::{Origin, Response, Target, Verdict};
use rustix::process::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Granted;
use super::input::{self, Fields, Name};
use super::problem::Problem;
use super::verdicts::{self, TargetView};
use super::{Context, findings, suppressions};
use crate::export::Sought;
use crate::host::group::{self, Member};
use crate::signals::{self, Killer};
use crate::source::job::chain;
use crate::store::audit::caller;
use crate::store::tokens::Scope;
use crate::time;
use crate::verdicts::Now;

/// Characters of a title that a verdict repeats; it holds names that strangers chose.
const LONGEST_TITLE: usize = 256;

/// What is to be done about a finding.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ActionWanted")]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What is to be done.
    action: Action,
    /// How long it holds: a duration like `24h`, which is the default of a block; of a block `never` too.
    #[schemars(example = "1h")]
    ttl: Option<String>,
    /// Why: it is written down.
    reason: Option<String>,
    /// Says what would be done, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

impl Fields for Wanted {
    const FIELDS: &'static [&'static str] = &["action", "ttl", "reason", "dry_run"];
}

/// What can be done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FindingAction")]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Cuts the far side's address; takes the scope `block`.
    Block,
    /// Kills the process, and whoever goes with it; takes the scope `block`.
    Kill,
    /// Hides this finding and others like it; takes the scope `triage`.
    Suppress,
}

/// What was done, or would be.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActionDone")]
#[serde(untagged)]
pub(super) enum Done {
    WouldBlock(Told<WouldBlock>),
    Blocked(Told<Blocked>),
    WouldKill(Told<WouldKill>),
    Killed(Told<Killed>),
    WouldSuppress(Told<WouldSuppress>),
    Suppressed(Told<Suppressed>),
}

/// What became of an action.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Action{T}")]
pub(super) struct Told<T> {
    /// What was asked for.
    action: Action,
    /// Whether nothing was done.
    dry_run: bool,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WouldBlock {
    /// What a verdict would be about.
    target: TargetView,
    /// Why it is refused; null where it is not.
    protected_by: Option<&'static str>,
    /// Verdicts in force that hold the address.
    verdicts: Vec<verdicts::View>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Blocked {
    /// The verdict that is in force.
    verdict: verdicts::View,
    /// Whether a verdict on the same target was in force already.
    renewed: bool,
    /// Sockets on this host that were closed.
    destroyed_sockets: u64,
}

/// A process that a finding is about.
#[derive(Serialize, JsonSchema)]
struct Killable {
    /// Its number.
    pid: u32,
    /// Clock ticks after boot: with the number it means one process, and no other that gets the number later.
    start_ticks: u64,
    /// What it calls itself.
    comm: String,
    /// Its program; null where that is not known.
    exe: Option<String>,
}

impl From<&Process> for Killable {
    fn from(process: &Process) -> Self {
        let Process { id, comm, exe, .. } = process;
        Self { pid: id.pid, start_ticks: id.start_ticks, comm: comm.clone(), exe: exe.clone() }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WouldKill {
    /// The process of the finding.
    process: Killable,
    /// Who would be signalled, that process among them.
    members: Vec<Member>,
    /// Why nobody is; null where somebody is.
    withheld: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Killed {
    /// The process of the finding.
    process: Killable,
    /// Processes that were signalled.
    killed: usize,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WouldSuppress {
    /// Which findings it would hide.
    #[serde(rename = "match")]
    matching: Matching,
    /// How many it would cover, of those held.
    covers: usize,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Suppressed {
    /// The suppression that is in force.
    suppression: suppressions::Added,
}

pub(super) async fn act(
    State(context): State<Context>,
    Extension(granted): Extension<Granted>,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let finding = findings::stored(&context, &name)?.finding;
    let wanted: Wanted = input::json(&headers, body).await?;
    let dry_run = wanted.dry_run;
    let done = match wanted.action {
        Action::Block => {
            granted.require(Scope::Block)?;
            block(&context, &finding, wanted).await?
        }
        Action::Kill => {
            granted.require(Scope::Block)?;
            kill(&context, &finding, wanted).await?
        }
        Action::Suppress => {
            granted.require(Scope::Triage)?;
            suppress(&context, &finding, wanted).await?
        }
    };
    let status = if dry_run { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(done)))
}

async fn block(context: &Context, finding: &Finding, wanted: Wanted) -> Result<Done, Problem> {
    let Some(address) = Sought::of(finding).address else {
        let name = finding.name.as_deref().unwrap_or_default();
        let detail = format!(
            "the finding is about the name {name}, and its address is a resolver's; POST the name to \
             /api/v1/blocklists/{{name}}/entries"
        );
        return Err(Problem::unprocessable("no-address", "No address to block", detail));
    };
    let target = Target::Host { address };
    let until = verdicts::until(wanted.ttl.as_deref(), time::now())?;
    if wanted.dry_run {
        let coverage = context.verdicts.coverage(address).await?;
        let what = WouldBlock {
            target: verdicts::target_view(&target),
            protected_by: coverage.protected_by.map(crate::verdicts::Guard::name),
            verdicts: coverage.verdicts.into_iter().map(verdicts::view).collect(),
        };
        return Ok(Done::WouldBlock(Told { action: wanted.action, dry_run: true, what }));
    }
    let reason = reason(finding, wanted.reason)?;
    let verdict = Verdict { target, response: Response::Drop, until, origin: Origin::Manual, reason, shadow: false };
    let added = context.verdicts.add(verdict, false).await?;
    let entry = context.verdicts.verdict(added.id).await?;
    let what =
        Blocked { verdict: verdicts::view(entry), renewed: added.renewed, destroyed_sockets: added.destroyed_sockets };
    Ok(Done::Blocked(Told { action: wanted.action, dry_run: false, what }))
}

/// Kills the process that a finding is about, as a policy would: not where netd itself is held back.
async fn kill(context: &Context, finding: &Finding, wanted: Wanted) -> Result<Done, Problem> {
    if wanted.ttl.is_some() {
        return Err(Problem::unprocessable("bad-ttl", "Bad time to live", "ttl: nobody is killed for a time"));
    }
    let Some(process) = &finding.process else {
        let detail = "no process of this host is known for the finding";
        return Err(Problem::unprocessable("no-process", "No process to kill", detail));
    };
    let now = Now::read();
    // Numbers and starts begin anew with every boot.
    if finding.time.0 < now.wall.0.saturating_sub(now.boot_ns) {
        let detail = "the finding is of a former boot: its process is gone";
        return Err(Problem::new(StatusCode::CONFLICT, "gone", "Process gone", detail));
    }
    let (id, process) = (process.id, Killable::from(process));
    let withheld = withheld(context).await?;
    let Killer { signaller, .. } = &context.killer;
    if wanted.dry_run {
        let members = signaller.whom(id).await.map_err(|error| not_signalled(&error))?;
        let what = WouldKill { process, members, withheld };
        return Ok(Done::WouldKill(Told { action: wanted.action, dry_run: true, what }));
    }
    if let Some(why) = withheld {
        return Err(Problem::new(StatusCode::CONFLICT, "withheld", "Nobody is killed", why));
    }
    let why = reason(finding, wanted.reason)?;
    let killed = signaller.signal(id, Signal::KILL, &caller(), &why).await;
    let what = Killed { process, killed: killed.map_err(|error| not_signalled(&error))? };
    Ok(Done::Killed(Told { action: wanted.action, dry_run: false, what }))
}

/// Returns why nobody is killed at the moment, whoever it is.
async fn withheld(context: &Context) -> Result<Option<&'static str>, Problem> {
    let status = context.verdicts.status().await?;
    Ok(match context.killer.withheld {
        Some(why) => Some(why),
        None if status.kill_switch => Some("the kill switch is on"),
        None if status.effective != Mode::Enforce => Some("netd itself does not enforce"),
        None => None,
    })
}

/// Returns what is written down: what the operator says, or which finding it is about.
fn reason(finding: &Finding, given: Option<String>) -> Result<String, Problem> {
    match given {
        Some(reason) => input::reason(reason),
        None => Ok(format!("finding {}: {}", finding.id, finding.title).chars().take(LONGEST_TITLE).collect()),
    }
}

fn not_signalled(error: &signals::Error) -> Problem {
    let detail = chain(error);
    let conflict = |slug, title| Problem::new(StatusCode::CONFLICT, slug, title, detail.clone());
    match error {
        signals::Error::Unrecorded(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unrecorded", "Nobody is killed without a record", detail)
        }
        signals::Error::Group(group::Error::Gone { .. } | group::Error::Unknown { .. }) => {
            conflict("gone", "Process gone")
        }
        signals::Error::Group(group::Error::Never { .. } | group::Error::Holds { .. }) => {
            conflict("protected", "Protected process")
        }
        signals::Error::Group(group::Error::Read { .. } | group::Error::Signal { .. }) => {
            conflict("kernel", "The kernel refused")
        }
        signals::Error::Lost => Problem::internal(),
    }
}

async fn suppress(context: &Context, finding: &Finding, wanted: Wanted) -> Result<Done, Problem> {
    let matching = Matching {
        detector: Some(finding.detector.to_owned()),
        originator: Some(IpNet::from(finding.pair.originator)),
        responder: Some(IpNet::from(finding.pair.responder)),
        ..Matching::default()
    };
    if wanted.dry_run {
        let (covered, _) = context.findings.page(None, usize::MAX, |stored| matching.holds(&stored.finding));
        let what = WouldSuppress { matching, covers: covered.len() };
        return Ok(Done::WouldSuppress(Told { action: wanted.action, dry_run: true, what }));
    }
    let action = wanted.action;
    let why = wanted.reason.unwrap_or_else(|| format!("like finding {}", finding.id));
    let wanted = suppressions::Wanted { matching, who: caller().actor.to_string(), why, ttl: wanted.ttl };
    let what = Suppressed { suppression: suppressions::put(context, wanted).await? };
    Ok(Done::Suppressed(Told { action, dry_run: false, what }))
}
