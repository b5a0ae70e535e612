//! The REST API: the only room that names axum.
//!
//! It reads the store and asks the verdict service; nothing is kept here. Errors are RFC 9457 problems, lists are pages
//! with cursors, times are RFC 3339. TCP is served on loopback only, because nobody is asked who they are.

mod blocklists;
mod decisions;
mod entities;
mod evidence;
mod explain;
mod findings;
mod flows;
mod guard;
mod health;
mod input;
mod metrics;
mod openapi;
mod page;
mod patient;
mod problem;
mod serve;
mod status;
mod stream;
mod suppressions;
mod verdicts;

#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, put};
use tower_http::catch_panic::CatchPanicLayer;

use self::problem::Problem;
use crate::store::events::Events;
use crate::store::evidence::Evidence;
use crate::store::questions::Asker;
use crate::store::status::Sources;
use crate::store::suppressions::Suppressions;
use crate::store::{Findings, Flows};
use crate::verdicts::Handle;

pub use decisions::Bouncers;
pub use serve::{Error, Listen, Listener, serve};
pub use stream::Slots;

/// What the API tells of.
#[derive(Clone)]
pub struct Context {
    pub verdicts: Handle,
    pub findings: Arc<Findings>,
    pub flows: Arc<Flows>,
    /// What happens, for streams.
    pub events: Events,
    pub sources: Sources,
    pub suppressions: Arc<Suppressions>,
    pub asker: Asker,
    /// First payload of conversations.
    pub evidence: Arc<Evidence>,
    /// What bouncers were told.
    pub bouncers: decisions::Bouncers,
    /// Places for who reads a stream.
    pub streams: stream::Slots,
    /// Whether `/docs` is served.
    pub docs: bool,
    /// What the configuration file sets, without secrets.
    pub config: Arc<serde_json::Value>,
    /// Names the API may be called by, besides `localhost` and loopback addresses.
    pub hosts: Arc<[String]>,
    /// Countries and autonomous systems.
    pub databases: Arc<netd_geoip::Databases>,
}

/// Returns the API as a service.
pub fn router(context: Context) -> Router {
    let hosts = Arc::clone(&context.hosts);
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::get))
        .route("/api/v1/version", get(health::version))
        .route("/api/v1/openapi.json", get(openapi::get))
        .route("/docs", get(openapi::docs_index))
        .route("/docs/", get(openapi::docs_file))
        .route("/docs/{*path}", get(openapi::docs_file))
        .route("/api/v1/config", get(status::config))
        .route("/api/v1/status", get(status::get))
        .route("/api/v1/kill-switch", put(status::put_kill_switch).get(status::get_kill_switch))
        .route("/api/v1/mode", put(status::put_mode))
        .route("/api/v1/flows", get(flows::list))
        .route("/api/v1/findings", get(findings::list))
        .route("/api/v1/flows/stream", get(stream::flows))
        .route("/api/v1/findings/stream", get(stream::findings))
        .route("/api/v1/verdicts/stream", get(stream::verdicts))
        .route("/api/v1/findings/{id}", get(findings::get))
        .route("/api/v1/findings/{id}/evidence.pcapng", get(evidence::pcapng))
        .route("/api/v1/findings/{id}/evidence.json", get(evidence::json))
        .route("/api/v1/explain", get(explain::get))
        .route("/api/v1/hosts/{ip}", get(entities::host))
        .route("/api/v1/domains/{name}", get(entities::domain))
        .route("/api/v1/processes/{pid}", get(entities::process))
        .route("/api/v1/containers/{id}", get(entities::container))
        .route("/api/v1/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/api/v1/suppressions/{id}", delete(suppressions::remove))
        .route("/api/v1/verdicts", get(verdicts::list).post(verdicts::add))
        .route("/api/v1/verdicts/{id}", get(verdicts::get).delete(verdicts::release))
        .route("/api/v1/blocklists", get(blocklists::list))
        .route("/api/v1/blocklists/{name}", get(blocklists::get).put(blocklists::replace).delete(blocklists::remove))
        .route("/api/v1/decisions", get(decisions::list))
        // The paths of another product, where its clients look for them.
        .route("/v1/decisions", get(decisions::query))
        .route("/v1/decisions/stream", get(decisions::stream))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(context)
        .layer(from_fn(guard::limit_time))
        .layer(from_fn_with_state(hosts, guard::check))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn(guard::harden))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

/// The `Allow` header, which the router adds, says what is possible.
async fn no_such_method() -> Problem {
    let detail = "this path does not take that method; the Allow header says which it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
}

fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("without a message"), "a request met a fault");
    Problem::internal().into_response()
}
