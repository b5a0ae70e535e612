//! Who asks, and whether they may: nothing is answered that a route's need does not allow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::attempts::Attempts;
use super::problem::Problem;
use super::session;
use crate::store::audit::{Actor, Caller, as_caller};
use crate::store::sessions::{Session, Sessions};
use crate::store::tokens::{Rejected, Scope, Token, Tokens};
use crate::time;
use crate::verdicts::Operators;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process, as the kernel names it.
    Unix { uid: u32, pid: Option<i32> },
    /// Plain TCP from this host.
    Loopback { address: IpAddr },
    /// TLS.
    Remote { address: IpAddr },
}

impl Peer {
    const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Loopback { address } | Self::Remote { address } => Some(address),
            Self::Unix { .. } => None,
        }
    }
}

/// What a route asks of who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it tells nothing.
    Nothing,
    Scope(Scope),
    /// One of them; the handler asks for the one that its work takes.
    Either(Scope, Scope),
}

/// What whoever asks may do.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted {
    scopes: Arc<[Scope]>,
    /// By which it was granted, if by one.
    pub(super) session: Option<Arc<Session>>,
}

impl Granted {
    pub(super) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Refuses whoever may not do what `scope` stands for.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Problem> {
        match self.scopes.iter().any(|granted| granted.covers(scope)) {
            true => Ok(()),
            false => Err(lacking(scope, "what you present")),
        }
    }
}

/// What is granted without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whoever reaches a loopback address.
    pub loopback: Option<Scope>,
    /// Whoever may open the unix socket and is neither root nor netd's own user.
    pub group: Option<Scope>,
}

/// Decides about requests.
#[derive(Clone, Debug)]
pub struct Doorkeeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    tokens: Arc<Tokens>,
    sessions: Sessions,
    attempts: Attempts,
    operators: Operators,
    /// The daemon's own user.
    uid: u32,
}

/// A doorkeeper at one route.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) doorkeeper: Doorkeeper,
    pub(super) need: Need,
}

/// Somebody who gets in.
struct Known {
    actor: Actor,
    granted: Granted,
}

/// Why somebody does not get in.
enum Refused {
    Unknown {
        detail: String,
    },
    Locked {
        seconds: u64,
    },
    Lacks {
        scope: Scope,
        way: &'static str,
    },
    /// A write by a cookie alone.
    Forged,
}

impl Doorkeeper {
    #[must_use]
    pub fn new(access: Access, tokens: Arc<Tokens>, operators: Operators) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let (sessions, attempts) = (Sessions::default(), Attempts::new(Instant::now()));
        Self(Arc::new(Inner { access, tokens, sessions, attempts, operators, uid }))
    }

    /// Returns who administers this host over the network.
    #[must_use]
    pub fn operators(&self) -> &Operators {
        &self.0.operators
    }

    /// Returns the sessions of browsers.
    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Returns who asks, if they may. A token that is presented counts, and nothing beside it; then a session.
    fn identify(
        &self,
        need: Need,
        peer: Option<Peer>,
        (method, headers): (&Method, &HeaderMap),
    ) -> Result<Known, Refused> {
        let Inner { access, tokens, attempts, uid: own, .. } = &*self.0;
        if let Some(presented) = presented(headers) {
            // The socket's file mode keeps strangers out: nobody on it is ever locked out.
            let address = peer.and_then(Peer::address);
            let now = Instant::now();
            if let Some(wait) = address.and_then(|address| attempts.wait(address, now)) {
                return Err(Refused::Locked { seconds: wait.as_secs() + 1 });
            }
            let checked = presented.ok_or(Rejected::Malformed).and_then(|text| tokens.check(text, time::now()));
            let token = checked.map_err(|rejected| {
                if let Some(address) = address {
                    attempts.failed(address, now);
                }
                Refused::Unknown { detail: format!("the token is not accepted: {rejected}") }
            })?;
            if let Some(address) = address {
                attempts.succeeded(address, now);
            }
            let actor = Actor::Token { id: token.id.into() };
            return permit(need, &token.scopes, actor, "the token");
        }
        if let Some(secret) = session::presented(headers) {
            // A page goes on asking when its session is over: that is no guess, and locks nobody out.
            let (session, token) = self.session(secret).ok_or_else(|| {
                let detail = "the session is over: begin another with POST /api/v1/session";
                Refused::Unknown { detail: detail.to_owned() }
            })?;
            let shown = headers.get(session::CSRF).and_then(|value| value.to_str().ok());
            if !method.is_safe() && !shown.is_some_and(|shown| session.csrf.is(shown)) {
                return Err(Refused::Forged);
            }
            let actor = Actor::Token { id: Arc::clone(&session.token) };
            let Known { actor, granted } = permit(need, &token.scopes, actor, "the session's token")?;
            return Ok(Known { actor, granted: Granted { session: Some(Arc::new(session)), ..granted } });
        }
        match peer {
            Some(Peer::Unix { uid, pid }) if uid == 0 || uid == *own => {
                permit(need, &[Scope::Admin], Actor::Peer { uid, pid }, "root")
            }
            Some(Peer::Unix { uid, pid }) => {
                permit(need, access.group.as_slice(), Actor::Peer { uid, pid }, "your user (api.group_scope)")
            }
            Some(Peer::Loopback { .. }) => {
                permit(need, access.loopback.as_slice(), Actor::Loopback, "loopback (api.loopback)")
            }
            Some(Peer::Remote { .. }) | None if need == Need::Nothing => {
                Ok(Known { actor: Actor::Loopback, granted: Granted::default() })
            }
            Some(Peer::Remote { .. }) | None => {
                let detail = "a token is needed: Authorization: Bearer ntd_…; `netd token create` makes one";
                Err(Refused::Unknown { detail: detail.to_owned() })
            }
        }
    }

    /// Returns a session with its token, as long as there are both.
    fn session(&self, secret: &str) -> Option<(Session, Token)> {
        let now = time::now();
        let session = self.0.sessions.find(secret, now)?;
        let token = self.0.tokens.of_id(&session.token, now)?;
        Some((session, token))
    }
}

fn permit(need: Need, scopes: &[Scope], actor: Actor, way: &'static str) -> Result<Known, Refused> {
    let has = |needed| scopes.iter().any(|scope| scope.covers(needed));
    let (may, scope) = match need {
        Need::Nothing => (true, Scope::Read),
        Need::Scope(scope) => (has(scope), scope),
        Need::Either(scope, other) => (has(scope) || has(other), scope),
    };
    match may {
        true => Ok(Known { actor, granted: Granted { scopes: scopes.into(), session: None } }),
        false => Err(Refused::Lacks { scope, way }),
    }
}

/// Returns where an operator asks from. A token that only reads is anybody's who found it: it protects nobody.
fn operator(peer: Option<Peer>, actor: &Actor, granted: &Granted) -> Option<IpAddr> {
    let administers = |scope: &Scope| match scope {
        Scope::Block | Scope::Policy | Scope::Admin => true,
        Scope::Metrics | Scope::Read | Scope::Triage => false,
    };
    let is_token = matches!(actor, Actor::Token { .. });
    peer.and_then(Peer::address).filter(|_| is_token && granted.scopes().iter().any(administers))
}

/// Returns the token that is presented, `Some(None)` when it is not written as one. `X-Api-Key` is how bouncers do it.
fn presented(headers: &HeaderMap) -> Option<Option<&str>> {
    let of_header = headers.get(header::AUTHORIZATION).map(bearer);
    of_header.or_else(|| headers.get(API_KEY).map(|value| value.to_str().ok().map(str::trim)))
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text.trim())
}

/// Lets a request pass that may, as asked for by whoever asks; every answer names the request.
pub(super) async fn require(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    let peer = request.extensions().get::<Peer>().copied();
    let mut response = match gate.doorkeeper.identify(gate.need, peer, (request.method(), request.headers())) {
        Ok(Known { actor, granted }) => {
            // Before the request, which may be the list that holds this very address.
            if let Some(address) = operator(peer, &actor, &granted) {
                gate.doorkeeper.operators().note(address, Instant::now()).await;
            }
            request.extensions_mut().insert(granted);
            as_caller(Caller { actor, request: Some(id.as_str().into()) }, next.run(request)).await
        }
        Err(refused) => refused.into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

impl Refused {
    fn into_response(self) -> Response {
        let (problem, header) = match self {
            Self::Unknown { detail } => {
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who are you?", detail);
                (problem, Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"netd\""))))
            }
            Self::Locked { seconds } => {
                let detail = format!("too many tokens that were none; the next is looked at in {seconds} s");
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", "Too many attempts", detail);
                (problem, Some((header::RETRY_AFTER, HeaderValue::from(seconds))))
            }
            Self::Lacks { scope, way } => (lacking(scope, way), None),
            Self::Forged => {
                let detail = "what changes something needs the session's CSRF token, which GET /api/v1/session tells: \
                              X-CSRF-Token";
                (Problem::new(StatusCode::FORBIDDEN, "no-csrf-token", "No CSRF token", detail), None)
            }
        };
        let mut response = problem.into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        // A body that was not wanted is not waited for.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn lacking(scope: Scope, way: &str) -> Problem {
    let scope = scope.name();
    let detail = format!(
        "this needs the scope '{scope}', which {way} does not have; use the unix socket as root (sudo), or a token of \
         `netd token create --scope {scope}`"
    );
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
}
