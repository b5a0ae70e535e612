//! The head of an HTTP/1 request (RFC 9112).

use std::net::IpAddr;
use std::sync::Arc;

use super::{Facts, Opening, Protocol};
use crate::name::{NameSource, clean};

/// Request headers looked at.
const MOST_HEADERS: usize = 64;
/// Bytes kept of a user agent.
const LONGEST_AGENT: usize = 256;

const PLAIN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
/// RFC 4918, RFC 3253, RFC 5323.
const WEBDAV: [&str; 9] = ["PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"];

/// A request as far as it was heard.
pub(super) struct Request {
    pub(super) opening: Opening,
    pub(super) is_whole: bool,
}

/// Reads a request, or returns `None` when the bytes are none.
pub(super) fn read(bytes: &[u8]) -> Option<Request> {
    if !bytes.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let is_whole = match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => true,
        Ok(httparse::Status::Partial) => false,
        Err(_) => return None,
    };
    let (method, path) = (request.method?, request.path?);
    let is_webdav = WEBDAV.contains(&method);
    let is_connect = method == "CONNECT";
    // "HELP me " is the beginning of a request, too; only known methods are believed before the version.
    if !is_whole && request.version.is_none() && !PLAIN.contains(&method) && !is_webdav && !is_connect {
        return None;
    }
    let header = |name: &str| {
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let host = if is_connect { Some(path.as_bytes()) } else { header("host") };
    let name = host.and_then(without_port).and_then(clean).filter(|name| name.parse::<IpAddr>().is_err());
    let agent = header("user-agent");
    let is_probe = agent.is_some_and(|agent| agent.starts_with(b"kube-probe/"));
    let is_scrape = method == "GET" && (path == "/metrics" || path.starts_with("/metrics?"));
    let upgrade = header("upgrade").unwrap_or_default();
    let facts = Facts::HTTP
        .with_if(name.is_none() && (is_whole || host.is_some()), Facts::HTTP_WITHOUT_NAME)
        .with_if(is_scrape, Facts::SCRAPE)
        .with_if(is_probe, Facts::PROBE)
        .with_if(matches!(method, "PUT" | "DELETE" | "PATCH"), Facts::HTTP_UPLOAD)
        .with_if(is_webdav, Facts::WEBDAV)
        .with_if(is_connect, Facts::CONNECT)
        .with_if(upgrade.eq_ignore_ascii_case(b"websocket"), Facts::WEBSOCKET);
    let source = if name.is_some() { NameSource::Host } else { NameSource::None };
    let user_agent = agent.map(printable).filter(|agent| !agent.is_empty());
    let opening = Opening { protocol: Protocol::Http, facts, name, source, user_agent, ..Opening::default() };
    Some(Request { opening, is_whole })
}

fn without_port(host: &[u8]) -> Option<&[u8]> {
    // An IPv6 address in brackets is no name, whatever follows.
    if host.first() == Some(&b'[') {
        return None;
    }
    host.split(|byte| *byte == b':').next()
}

fn printable(agent: &[u8]) -> Arc<str> {
    let agent = agent.trim_ascii();
    let kept = &agent[..agent.len().min(LONGEST_AGENT)];
    kept.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opening(request: &str) -> Opening {
        read(request.as_bytes()).unwrap().opening
    }

    #[test]
    fn a_request_names_its_host_without_port() {
        let opening = opening("GET /a HTTP/1.1\r\nAccept: */*\r\nHost: example.org:8080\r\n\r\n");

        assert_eq!(opening.name.as_deref(), Some("example.org"));
        assert!(opening.facts.has(Facts::HTTP));
    }

    #[test]
    fn a_request_to_an_address_has_no_name() {
        for host in ["192.0.2.7", "192.0.2.7:8080", "[2001:db8::7]:80"] {
            let opening = opening(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));

            assert_eq!(opening.name, None, "{host}");
            assert!(opening.facts.has(Facts::HTTP_WITHOUT_NAME), "{host}");
        }
    }

    #[test]
    fn a_head_cut_before_its_host_does_not_claim_to_have_none() {
        let request = read(b"GET / HTTP/1.1\r\nAccept: */*\r\n").unwrap();

        assert!(!request.is_whole);
        assert!(!request.opening.facts.has(Facts::HTTP_WITHOUT_NAME));
    }

    #[test]
    fn a_scrape_and_a_probe_are_known_for_what_they_are() {
        assert!(opening("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").facts.has(Facts::SCRAPE));
        let probe = opening("GET /live HTTP/1.1\r\nHost: 10.1.2.3:80\r\nUser-Agent: kube-probe/1.30\r\n\r\n");
        assert!(probe.facts.has(Facts::PROBE));
    }

    #[test]
    fn the_method_tells_uploads_webdav_and_proxies() {
        assert!(opening("PUT /loot.zip HTTP/1.1\r\nHost: a\r\n\r\n").facts.has(Facts::HTTP_UPLOAD));
        assert!(opening("MKCOL /dir HTTP/1.1\r\nHost: a\r\n\r\n").facts.has(Facts::WEBDAV));
        let connect = opening("CONNECT example.org:443 HTTP/1.1\r\nHost: proxy.local\r\n\r\n");
        assert!(connect.facts.has(Facts::CONNECT));
        assert_eq!(connect.name.as_deref(), Some("example.org"));
    }

    #[test]
    fn an_upgrade_to_websocket_is_noted() {
        let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";

        assert!(opening(upgrade).facts.has(Facts::WEBSOCKET));
    }

    #[test]
    fn a_user_agent_is_kept_printable_and_bounded() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {}\u{1f41d}\r\n\r\n", "x".repeat(1_000));

        assert_eq!(opening(&long).user_agent.unwrap().len(), LONGEST_AGENT);
        let curl = opening("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5.0\r\n\r\n");
        assert_eq!(curl.user_agent.as_deref(), Some("curl/8.5.0"));
    }

    #[test]
    fn other_protocols_that_begin_with_a_word_are_no_request() {
        for bytes in ["HELP me ", "EHLO mail.example.org\r\n", "NICK bee\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "A B C\r\n"] {
            assert!(read(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_to_a_request_is_a_danger(at in 0usize..90, value: u8, cut in 0usize..90) {
            let mut bytes = b"GET /a HTTP/1.1\r\nAccept: */*\r\nHost: example.org:8080\r\nUser-Agent: x\r\n\r\n".to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            if let Some(request) = read(&bytes) {
                prop_assert!(request.opening.facts.has(Facts::HTTP));
            }
        }
    }
}
