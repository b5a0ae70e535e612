//! Every route with what it asks of its caller, in one table: what is not in it is not there.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{self, MethodRouter};

use super::auth::{Gate, Need, require};
use super::{
    Context, actions, allowlists, audit, blocklists, confirmations, decisions, entities, entries, evidence, explain,
    export, feeds, findings, flows, health, hunts, jobs, metrics, mode, openapi, policies, session, sinks, stats,
    status, stream, suppressions, tokens, verdicts,
};
use crate::store::tokens::Scope::{self, Admin, Block, Metrics, Policy, Read, Triage};

/// One method of one path.
pub(super) struct Route {
    pub(super) path: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler has it; whoever reads the table wants to know"))]
    pub(super) method: Method,
    pub(super) need: Need,
    handler: MethodRouter<Context>,
}

/// Returns every route. Paths may stand several times, once a method.
pub(super) fn table() -> Vec<Route> {
    vec![
        open("/livez", get(health::livez)),
        open("/readyz", get(health::readyz)),
        route("/metrics", Metrics, get(metrics::get)),
        route("/api/v1/version", Read, get(health::version)),
        route("/api/v1/openapi.json", Read, get(openapi::get)),
        route("/docs", Read, get(openapi::docs_index)),
        route("/docs/", Read, get(openapi::docs_file)),
        route("/docs/{*path}", Read, get(openapi::docs_file)),
        route("/api/v1/config", Admin, get(status::config)),
        route("/api/v1/status", Read, get(status::get)),
        route("/api/v1/kill-switch", Read, get(mode::get_kill_switch)),
        route("/api/v1/kill-switch", Block, put(mode::put_kill_switch)),
        route("/api/v1/mode", Policy, put(mode::put)),
        route("/api/v1/flows", Read, get(flows::list)),
        route("/api/v1/flows/stats", Read, get(stats::get)),
        route("/api/v1/flows/stream", Read, get(stream::flows)),
        route("/api/v1/flows/{id}", Read, get(flows::get)),
        route("/api/v1/findings", Read, get(findings::list)),
        route("/api/v1/findings/stream", Read, get(stream::findings)),
        route("/api/v1/findings/export", Read, get(export::list)),
        route("/api/v1/findings/{id}", Read, get(findings::get)),
        route("/api/v1/findings/{id}", Triage, patch(findings::triage)),
        route("/api/v1/findings/{id}/evidence.pcapng", Triage, get(evidence::pcapng)),
        route("/api/v1/findings/{id}/evidence.json", Triage, get(evidence::json)),
        route("/api/v1/findings/{id}/stix", Read, get(export::stix)),
        route("/api/v1/findings/{id}/sigma", Read, get(export::sigma)),
        either("/api/v1/findings/{id}/actions", (Triage, Block), post(actions::act)),
        route("/api/v1/explain", Read, get(explain::get)),
        route("/api/v1/hosts/{ip}", Read, get(entities::host)),
        route("/api/v1/domains/{name}", Read, get(entities::domain)),
        route("/api/v1/processes/{pid}", Read, get(entities::process)),
        route("/api/v1/containers/{id}", Read, get(entities::container)),
        route("/api/v1/beacons", Read, get(hunts::beacons)),
        route("/api/v1/tunnels", Read, get(hunts::tunnels)),
        route("/api/v1/dns/top", Read, get(hunts::names)),
        route("/api/v1/listeners", Read, get(hunts::listeners)),
        route("/api/v1/policies", Read, get(policies::list)),
        route("/api/v1/policies/{name}", Read, get(policies::get)),
        route("/api/v1/policies/{name}", Policy, put(policies::put)),
        route("/api/v1/policies/{name}", Policy, delete(policies::remove)),
        route("/api/v1/policies:validate", Read, post(policies::validate)),
        route("/api/v1/policies:simulate", Read, post(policies::simulate)),
        route("/api/v1/policies:generate", Read, post(policies::generate)),
        route("/api/v1/config:reload", Policy, post(policies::reload)),
        route("/api/v1/suppressions", Read, get(suppressions::list)),
        route("/api/v1/suppressions", Triage, post(suppressions::add)),
        route("/api/v1/suppressions/{id}", Triage, delete(suppressions::remove)),
        route("/api/v1/verdicts", Read, get(verdicts::list)),
        route("/api/v1/verdicts", Block, post(verdicts::add)),
        route("/api/v1/verdicts/stream", Read, get(stream::verdicts)),
        route("/api/v1/verdicts/{id}", Read, get(verdicts::get)),
        route("/api/v1/verdicts/{id}", Block, delete(verdicts::release)),
        route("/api/v1/blocklists", Read, get(blocklists::list)),
        route("/api/v1/blocklists/{name}", Read, get(blocklists::get)),
        route("/api/v1/blocklists/{name}", Block, put(blocklists::replace)),
        route("/api/v1/blocklists/{name}", Block, delete(blocklists::remove)),
        route("/api/v1/blocklists/{name}/entries", Read, get(entries::list_block)),
        route("/api/v1/blocklists/{name}/entries", Block, post(entries::add_block)),
        route("/api/v1/blocklists/{name}/entries", Block, delete(entries::remove_block_by_query)),
        route("/api/v1/blocklists/{name}/entries/{*value}", Block, delete(entries::remove_block)),
        route("/api/v1/allowlists", Read, get(allowlists::list)),
        route("/api/v1/allowlists/{name}", Read, get(allowlists::get)),
        route("/api/v1/allowlists/{name}", Block, put(allowlists::replace)),
        route("/api/v1/allowlists/{name}", Block, delete(allowlists::remove)),
        route("/api/v1/allowlists/{name}/entries", Read, get(entries::list_allow)),
        route("/api/v1/allowlists/{name}/entries", Block, post(entries::add_allow)),
        route("/api/v1/allowlists/{name}/entries", Block, delete(entries::remove_allow_by_query)),
        route("/api/v1/allowlists/{name}/entries/{*value}", Block, delete(entries::remove_allow)),
        route("/api/v1/confirmations", Read, get(confirmations::list)),
        route("/api/v1/confirmations/{id}", Block, post(confirmations::confirm)),
        route("/api/v1/confirmations/{id}", Block, delete(confirmations::revert)),
        route("/api/v1/unblock", Block, post(confirmations::unblock)),
        route("/api/v1/feeds", Read, get(feeds::list)),
        route("/api/v1/feeds/{target}", Policy, post(feeds::act)),
        route("/api/v1/sinks", Read, get(sinks::list)),
        // A capture is somebody's traffic, and so is what is found in it.
        route("/api/v1/replay", Triage, post(jobs::replay)),
        route("/api/v1/jobs", Triage, get(jobs::list)),
        route("/api/v1/jobs/{id}", Triage, get(jobs::get)),
        route("/api/v1/jobs/{id}", Triage, delete(jobs::cancel)),
        route("/api/v1/decisions", Read, get(decisions::list)),
        // The paths of another product, where its clients look for them.
        route("/v1/decisions", Read, get(decisions::query)),
        route("/v1/decisions/stream", Read, get(decisions::stream)),
        route("/api/v1/audit", Admin, get(audit::list)),
        route("/api/v1/session", Read, get(session::get)),
        route("/api/v1/session", Read, post(session::begin)),
        route("/api/v1/session", Read, delete(session::end)),
        route("/api/v1/tokens", Admin, get(tokens::list)),
        route("/api/v1/tokens", Admin, post(tokens::create)),
        route("/api/v1/tokens/{id}", Admin, delete(tokens::revoke)),
    ]
}

/// Returns the table as a router; each method asks for what its route needs before anything else.
pub(super) fn router(context: &Context) -> Router<Context> {
    table().into_iter().fold(Router::new(), |router, Route { path, method: _, need, handler }| {
        let gate = Gate { doorkeeper: context.doorkeeper.clone(), need };
        router.route(path, handler.route_layer(from_fn_with_state(gate, require)))
    })
}

fn route(path: &'static str, scope: Scope, verb: Verb) -> Route {
    Route { path, method: verb.method, need: Need::Scope(scope), handler: verb.handler }
}

/// A route whose handler asks for one of two scopes, by what is to be done.
fn either(path: &'static str, (scope, other): (Scope, Scope), verb: Verb) -> Route {
    Route { path, method: verb.method, need: Need::Either(scope, other), handler: verb.handler }
}

/// A route for everybody.
fn open(path: &'static str, verb: Verb) -> Route {
    Route { path, method: verb.method, need: Need::Nothing, handler: verb.handler }
}

/// A method and what answers it.
struct Verb {
    method: Method,
    handler: MethodRouter<Context>,
}

fn get<T: 'static>(handler: impl Handler<T, Context>) -> Verb {
    Verb { method: Method::GET, handler: routing::get(handler) }
}

fn put<T: 'static>(handler: impl Handler<T, Context>) -> Verb {
    Verb { method: Method::PUT, handler: routing::put(handler) }
}

fn post<T: 'static>(handler: impl Handler<T, Context>) -> Verb {
    Verb { method: Method::POST, handler: routing::post(handler) }
}

fn patch<T: 'static>(handler: impl Handler<T, Context>) -> Verb {
    Verb { method: Method::PATCH, handler: routing::patch(handler) }
}

fn delete<T: 'static>(handler: impl Handler<T, Context>) -> Verb {
    Verb { method: Method::DELETE, handler: routing::delete(handler) }
}
