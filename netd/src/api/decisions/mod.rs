//! Verdicts as decisions in the shape of CrowdSec's local API, so that its bouncers enforce them elsewhere.
//!
//! `/v1/decisions` and `/v1/decisions/stream` are that API's own paths; `/api/v1/decisions` is the same as a page. A
//! decision is what netd itself cuts: nothing while the mode is not enforce or the kill switch is on, nothing of
//! shadow, observing and throttling verdicts, which a bouncer has no words for.

mod callers;
mod decision;

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use netd_common::control::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::Params;
use super::problem::Problem;
use super::{Context, input, page};
use crate::store::Findings;
use crate::time;
use crate::verdicts::Page;
pub use callers::Bouncers;
use callers::Changes;
pub(super) use decision::Decision;
use decision::{Decisions, Scope};

/// What a bouncer may ask for. What it asks besides is no error: bouncers send what their own configuration says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// `true`: everything, and deltas from here on.
    startup: String,
    /// Scopes, separated by commas; `ip,range` when empty.
    scopes: String,
    scope: String,
    value: String,
    #[serde(rename = "type")]
    kind: String,
    /// Decisions that hold this address.
    ip: String,
    /// Decisions that hold this prefix.
    range: String,
    origins: String,
    scenarios_containing: String,
    scenarios_not_containing: String,
}

/// The parameters of the page.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Scopes, separated by commas: `ip`, `range`, `endpoint`; all when empty.
    scopes: String,
    /// Decisions that hold this address.
    ip: Option<IpAddr>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/decisions`: those in force; `null` when there is none, as bouncers expect.
pub(super) async fn query(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let filter = Filter::new(asked(&uri)?)?;
    let decisions = in_force(&context, &filter).await?;
    Ok(Json(none_if_empty(decisions.views(&context.findings))).into_response())
}

/// What came and went since the same caller asked last.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecisionDelta")]
pub(super) struct Delta {
    /// Decisions that came; null for none.
    new: Option<Vec<Decision>>,
    /// Decisions that went; null for none.
    deleted: Option<Vec<Decision>>,
}

/// `GET /v1/decisions/stream`: what came and went since the same caller asked last.
pub(super) async fn stream(State(context): State<Context>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let asked = asked(&uri)?;
    let is_startup = matches!(asked.startup.to_ascii_lowercase().as_str(), "true" | "1" | "t");
    let caller = callers::identity(&headers, &asked);
    let filter = Filter::new(asked)?;
    let decisions = in_force(&context, &filter).await?;
    let Changes { new, deleted } = context.bouncers.pull(caller, is_startup, decisions);
    let (new, deleted) = (new.views(&context.findings), deleted.gone(&context.findings));
    Ok(Json(Delta { new: none_if_empty(new), deleted: none_if_empty(deleted) }).into_response())
}

/// `GET /api/v1/decisions`: those in force as a page, newest first.
pub(super) async fn list(
    State(context): State<Context>,
    uri: Uri,
    Params(query): Params<PageQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(query.limit)?;
    let before = page::place('d', query.cursor.as_deref())?;
    let scopes = if query.scopes.is_empty() { "ip,range,endpoint".to_owned() } else { query.scopes };
    let ip = query.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let filter = Filter::new(Asked { scopes, ip, ..Asked::default() })?;
    let decisions = in_force(&context, &filter).await?.newest_first(before);
    let next = decisions.get(limit.saturating_sub(1)).filter(|_| decisions.len() > limit).map(|entry| entry.id);
    let now = time::now();
    let items = decisions.iter().take(limit).map(|entry| entry.view(&context.findings, now)).collect::<Vec<_>>();
    Ok(page::respond(&uri, 'd', items, next))
}

fn asked(uri: &Uri) -> Result<Asked, Problem> {
    let Query(asked) = Query::try_from_uri(uri).map_err(input::rejected)?;
    Ok(asked)
}

fn none_if_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// Which decisions are asked for.
struct Filter {
    asked: Asked,
    scopes: Vec<Scope>,
    within: Option<IpNet>,
}

impl Filter {
    fn new(asked: Asked) -> Result<Self, Problem> {
        let named = if asked.scope.is_empty() { &asked.scopes } else { &asked.scope };
        // Scopes of others (countries, users) are asked for, too: netd has none to give.
        let scopes: Vec<Scope> = match named.trim() {
            "" => vec![Scope::Ip, Scope::Range],
            named => named.split(',').filter_map(|name| Scope::named(name.trim())).collect(),
        };
        let within = match (asked.ip.as_str(), asked.range.as_str()) {
            ("", "") => None,
            ("", range) => Some(
                range
                    .parse()
                    .map_err(|_| Problem::bad_parameter("range", "it must be a prefix like 198.51.100.0/24"))?,
            ),
            (ip, _) => {
                let ip: IpAddr = ip.parse().map_err(|_| Problem::bad_parameter("ip", "it must be an IP address"))?;
                Some(ip.to_canonical().into())
            }
        };
        Ok(Self { asked, scopes, within })
    }

    fn accepts(&self, entry: &decision::Held, findings: &Findings) -> bool {
        let among = |list: &str, name: &str| {
            list.is_empty() || list.split(',').any(|one| one.trim().eq_ignore_ascii_case(name))
        };
        let contains =
            |list: &str, text: &str| list.split(',').map(str::trim).any(|part| !part.is_empty() && text.contains(part));
        let asked = &self.asked;
        let scenario = || decision::scenario(&entry.origin, findings);
        self.scopes.contains(&entry.key.scope)
            && self.within.is_none_or(|net| entry.net.contains(&net))
            && among(&asked.kind, decision::TYPE)
            && among(&asked.origins, decision::ORIGIN)
            && (asked.value.is_empty() || entry.key.value.eq_ignore_ascii_case(&asked.value))
            && (asked.scenarios_containing.is_empty() || contains(&asked.scenarios_containing, &scenario()))
            && (asked.scenarios_not_containing.is_empty() || !contains(&asked.scenarios_not_containing, &scenario()))
    }
}

async fn in_force(context: &Context, filter: &Filter) -> Result<Decisions, Problem> {
    let mut decisions = Decisions::default();
    if context.verdicts.status().await?.effective != Mode::Enforce {
        return Ok(decisions);
    }
    let mut page = Page { before: None, limit: 1_000 };
    loop {
        let verdicts = context.verdicts.verdicts(page).await?;
        for held in verdicts.entries.into_iter().filter_map(decision::Held::of) {
            if filter.accepts(&held, &context.findings) {
                decisions.add(held);
            }
        }
        match verdicts.next {
            Some(next) => page.before = Some(next),
            None => return Ok(decisions),
        }
    }
}
