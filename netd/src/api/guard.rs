//! What every request passes: whose name it calls, where it comes from, what the answer forbids.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::auth::Peer;
use super::problem::Problem;

/// How long a request may take, its body included.
const REQUEST_TIME: Duration = Duration::from_secs(150);

/// Names by which the API may be called besides `localhost` and loopback addresses.
pub(crate) type Hosts = Arc<[String]>;

/// Refuses requests that a web page elsewhere makes a browser send: by another name for this address (DNS
/// rebinding), or a write from another origin.
pub(crate) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let is_remote = matches!(request.extensions().get::<Peer>(), Some(Peer::Remote { .. }));
    match admit(request.method(), request.uri(), request.headers(), Names { hosts: &hosts, is_remote }) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn admit(method: &Method, uri: &Uri, headers: &HeaderMap, names: Names<'_>) -> Result<(), Problem> {
    let named = uri.authority().map(|authority| authority.as_str());
    let named = named.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let Some(host) = named.filter(|_| headers.get_all(header::HOST).iter().count() <= 1) else {
        let detail = "the request needs one Host header";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-host", "Bad host", detail));
    };
    if !names.know(host) {
        let detail = format!("'{host}' is not a name of this API; api.hosts in the configuration adds names");
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "Unknown host", detail));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("not text"));
    let is_foreign = match (value("sec-fetch-site"), value("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host)),
    };
    if is_foreign {
        let detail = "a page of another origin may not change anything here";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross-origin", "Cross-origin write", detail));
    }
    Ok(())
}

/// What the API may be called.
#[derive(Clone, Copy)]
struct Names<'a> {
    hosts: &'a [String],
    /// Called from elsewhere: by any of this host's addresses. A page elsewhere can only rebind a name.
    is_remote: bool,
}

impl Names<'_> {
    fn know(self, host: &str) -> bool {
        let bare = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let is_own = bare.parse::<IpAddr>().is_ok_and(|address| self.is_remote || address.is_loopback());
        is_own
            || bare.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(bare))
    }
}

/// Ends a request that takes too long.
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "Too slow", detail).into_response()
        }
    }
}

/// Adds what keeps a browser from making more of an answer than data.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let policy = match request.uri().path().starts_with(super::openapi::DOCS) {
        true => super::openapi::CONTENT_SECURITY_POLICY,
        false => "default-src 'none'; frame-ancestors 'none'",
    };
    let mut response = next.run(request).await;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_host_are_known() {
        let hosts = ["netd.example".to_owned()];
        let names = Names { hosts: &hosts, is_remote: false };
        for host in
            ["localhost", "LOCALHOST:9443", "127.0.0.1:9443", "127.9.9.9", "[::1]:9443", "[::1]", "netd.example:1"]
        {
            assert!(names.know(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.1.evil.example:9443",
            "[::2]",
            "::1",
            "0.0.0.0",
        ] {
            assert!(!names.know(host), "{host}");
        }
    }
}
