//! The REST API: the only room that names axum.
//!
//! It reads the store and asks the verdict service; nothing is kept here. Errors are RFC 9457 problems, lists are pages
//! with cursors, times are RFC 3339. [`auth`] decides who may ask for what stands in [`routes`].

mod actions;
mod allowlists;
mod attempts;
mod audit;
mod auth;
mod blocklists;
mod confirmations;
mod decisions;
mod entities;
mod entries;
mod evidence;
mod explain;
mod export;
mod feeds;
mod findings;
mod flows;
mod guard;
mod health;
mod history;
mod hunts;
mod input;
mod jobs;
mod live;
mod metrics;
mod mode;
mod openapi;
mod page;
mod patient;
mod policies;
mod problem;
mod routes;
mod serve;
mod session;
mod sinks;
mod slots;
mod stats;
mod status;
mod stream;
mod suppressions;
mod tls;
mod tokens;
mod upload;
mod verdicts;

#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use self::problem::Problem;
use crate::feeds::board::Board;
use crate::privileges::Held;
use crate::signals::Killer;
use crate::store::audit::Audit;
use crate::store::events::Events;
use crate::store::evidence::Evidence;
use crate::store::history::History;
use crate::store::jobs::Jobs;
use crate::store::policies::Book;
use crate::store::questions::Asker;
use crate::store::status::Sources;
use crate::store::suppressions::Suppressions;
use crate::store::tokens::Tokens;
use crate::store::{Findings, Flows};
use crate::verdicts::Handle;

pub use auth::{Access, Doorkeeper};
pub use decisions::Bouncers;
pub use serve::{Error, Listen, Listener, Means, serve};
pub use stream::Slots;
pub use tls::{Source as TlsSource, Tls, own_authority};

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
    pub policies: Arc<Book>,
    pub asker: Asker,
    /// First payload of conversations.
    pub evidence: Arc<Evidence>,
    /// What bouncers were told.
    pub bouncers: Bouncers,
    /// Places for who reads a stream.
    pub streams: Slots,
    /// Whether `/docs` is served.
    pub docs: bool,
    /// What the configuration file sets, without secrets.
    pub config: Arc<serde_json::Value>,
    /// Lists that are fetched.
    pub feeds: Board,
    /// Names the API may be called by, besides `localhost` and loopback addresses.
    pub hosts: Arc<[String]>,
    /// Countries and autonomous systems.
    pub databases: Arc<netd_geoip::Databases>,
    /// What was written down, where it is kept.
    pub history: Option<Arc<History>>,
    /// Captures that are replayed in the background.
    pub jobs: Jobs,
    pub audit: Audit,
    pub tokens: Arc<Tokens>,
    /// Decides who may ask.
    pub doorkeeper: Doorkeeper,
    pub killer: Killer,
    /// What the daemon may still do to the host.
    pub privileges: Arc<Held>,
}

/// Returns the API as a service.
pub fn router(context: Context) -> Router {
    let hosts = Arc::clone(&context.hosts);
    routes::router(&context)
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
