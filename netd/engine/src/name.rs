//! What the first bytes of a conversation say: the name it asks for, and the protocol it speaks.
//!
//! The bytes are hostile and may be cut short anywhere; whatever cannot be read is left out.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use tls_parser::{TlsExtension, TlsMessageHandshake};

use crate::certificate;

/// Longest name taken over: that of DNS.
pub(crate) const LONGEST_NAME: usize = 253;
/// Request headers looked at for `Host`.
const MOST_HEADERS: usize = 64;
/// Bytes that must be printable for a payload to count as text.
const TEXT_SAMPLE: usize = 64;

/// Where a conversation's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    #[default]
    None,
    /// The answer by which this client learned the address.
    Dns,
    /// TLS server name indication.
    Sni,
    /// HTTP `Host`.
    Host,
}

impl NameSource {
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Protocol facts, as bits: several may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(u16);

impl Facts {
    pub(crate) const TLS: Self = Self(1);
    pub(crate) const TLS_WITHOUT_NAME: Self = Self(1 << 1);
    pub(crate) const HTTP: Self = Self(1 << 2);
    /// `Host` is missing or an address.
    pub(crate) const HTTP_WITHOUT_NAME: Self = Self(1 << 3);
    /// Printable, but not HTTP.
    pub(crate) const TEXT: Self = Self(1 << 4);
    /// Neither TLS nor printable.
    pub(crate) const BINARY: Self = Self(1 << 5);
    /// `GET /metrics`.
    pub(crate) const SCRAPE: Self = Self(1 << 6);
    /// A Kubernetes probe, by its user agent.
    pub(crate) const PROBE: Self = Self(1 << 7);
    /// What was sent to port 53 is DNS.
    pub(crate) const DNS: Self = Self(1 << 8);
    /// What was sent to port 53 is not DNS.
    pub(crate) const NOT_DNS: Self = Self(1 << 9);
    /// TLS whose ClientHello was cut short before a name was found.
    pub(crate) const TLS_CUT: Self = Self(1 << 10);

    /// What was sent to port 123 is not NTP.
    pub(crate) const NOT_NTP: Self = Self(1 << 12);
    /// The server's certificate names itself as its issuer.
    pub(crate) const SELF_SIGNED: Self = Self(1 << 11);

    pub(crate) const fn has(self, fact: Self) -> bool {
        self.0 & fact.0 != 0
    }

    pub(crate) const fn with(self, fact: Self) -> Self {
        Self(self.0 | fact.0)
    }
}

/// What first data said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) facts: Facts,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) source: NameSource,
}

/// Reads the first data of a connection's responder.
pub(crate) fn first_answer(bytes: &[u8]) -> Facts {
    match certificate::is_self_signed(bytes) {
        Some(true) => Facts::SELF_SIGNED,
        Some(false) | None => Facts::default(),
    }
}

/// Reads the first data of a connection's originator.
pub(crate) fn first_data(bytes: &[u8]) -> Heard {
    if bytes.is_empty() {
        return Heard::default();
    }
    if is_tls_handshake(bytes) {
        return client_hello(bytes);
    }
    http(bytes).unwrap_or_else(|| {
        let facts = if is_text(bytes) { Facts::TEXT } else { Facts::BINARY };
        Heard { facts, ..Heard::default() }
    })
}

/// A TLS record of type handshake, version 3.x.
fn is_tls_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, 0..=4, ..])
}

fn client_hello(bytes: &[u8]) -> Heard {
    const RECORD_HEADER: usize = 5;
    const HANDSHAKE_HEADER: usize = 4;
    const CLIENT_HELLO: u8 = 1;
    let heard = Heard { facts: Facts::TLS, ..Heard::default() };
    let Some(handshake) = bytes.get(RECORD_HEADER..) else { return heard };
    if handshake.first() != Some(&CLIENT_HELLO) {
        return heard;
    }
    let Some(body) = handshake.get(HANDSHAKE_HEADER..) else { return heard };
    // A hello cut short still has its first extensions, where the name usually stands.
    let (extensions, is_cut) = match tls_parser::parse_tls_message_handshake(handshake) {
        Ok((_, tls_parser::TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)))) => {
            (hello.ext.unwrap_or_default(), false)
        }
        Ok(_) => return heard,
        Err(_) => (extensions_of_cut_hello(body).unwrap_or_default(), true),
    };
    match server_name(extensions) {
        Some(name) => Heard { facts: Facts::TLS, name: Some(name), source: NameSource::Sni },
        None if is_cut => Heard { facts: Facts::TLS.with(Facts::TLS_CUT), ..heard },
        None => Heard { facts: Facts::TLS.with(Facts::TLS_WITHOUT_NAME), ..heard },
    }
}

/// Skips version, random, session, cipher suites, compression methods and the length of the extensions.
fn extensions_of_cut_hello(body: &[u8]) -> Option<&[u8]> {
    let after_random = body.get(2 + 32..)?;
    let after_session = after_random.get(1 + usize::from(*after_random.first()?)..)?;
    let ciphers = usize::from(u16::from_be_bytes(*after_session.first_chunk()?));
    let after_ciphers = after_session.get(2 + ciphers..)?;
    let after_compression = after_ciphers.get(1 + usize::from(*after_ciphers.first()?)..)?;
    after_compression.get(2..)
}

fn server_name(mut extensions: &[u8]) -> Option<Arc<str>> {
    // One extension at a time: the list may be cut short, and only one of them matters.
    while let Ok((rest, extension)) = tls_parser::parse_tls_client_hello_extension(extensions) {
        if let TlsExtension::SNI(names) = extension {
            let (_, name) = names.first()?;
            return clean(name).filter(|name| name.parse::<IpAddr>().is_err());
        }
        if rest.len() >= extensions.len() {
            return None;
        }
        extensions = rest;
    }
    None
}

fn http(bytes: &[u8]) -> Option<Heard> {
    if !bytes[0].is_ascii_uppercase() {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {}
        Err(_) => return None,
    }
    let method = request.method?;
    let is_long_enough_to_be_sure = request.path.is_some();
    if !is_long_enough_to_be_sure {
        return None;
    }
    let mut facts = Facts::HTTP;
    let path = request.path.unwrap_or_default();
    if method == "GET" && (path == "/metrics" || path.starts_with("/metrics?")) {
        facts = facts.with(Facts::SCRAPE);
    }
    let header = |name: &str| {
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    if header("user-agent").is_some_and(|agent| agent.starts_with(b"kube-probe/")) {
        facts = facts.with(Facts::PROBE);
    }
    let name = header("host").and_then(without_port).and_then(clean).filter(|name| name.parse::<IpAddr>().is_err());
    Some(match name {
        Some(name) => Heard { facts, name: Some(name), source: NameSource::Host },
        None => Heard { facts: facts.with(Facts::HTTP_WITHOUT_NAME), ..Heard::default() },
    })
}

fn without_port(host: &[u8]) -> Option<&[u8]> {
    // An IPv6 address in brackets is no name, whatever follows.
    if host.first() == Some(&b'[') {
        return None;
    }
    host.split(|byte| *byte == b':').next()
}

/// Returns a name in lower case without a final dot, if it looks like one.
pub(crate) fn clean(name: &[u8]) -> Option<Arc<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_name = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !is_name {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    std::str::from_utf8(&lower).ok().map(Arc::from)
}

/// Returns whether a name is another one or below it.
pub(crate) fn within(name: &str, parent: &str) -> bool {
    let Some(rest) = name.len().checked_sub(parent.len()) else { return false };
    let (labels, end) = name.as_bytes().split_at(rest);
    end.eq_ignore_ascii_case(parent.as_bytes()) && labels.last().is_none_or(|last| *last == b'.')
}

fn is_text(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(TEXT_SAMPLE)];
    sample.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello with GREASE first and the server name second.
    fn hello(name: Option<&str>) -> Vec<u8> {
        let mut extensions = vec![0x0a, 0x0a, 0, 0];
        if let Some(name) = name {
            let len = name.len() as u16;
            extensions.extend([0, 0]);
            extensions.extend((len + 5).to_be_bytes());
            extensions.extend((len + 3).to_be_bytes());
            extensions.push(0);
            extensions.extend(len.to_be_bytes());
            extensions.extend(name.as_bytes());
        }
        extensions.extend([0, 23, 0, 0]);
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 2, 0x13, 0x01, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut record = vec![22, 3, 1];
        record.extend((body.len() as u16 + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn a_client_hello_names_its_server() {
        let heard = first_data(&hello(Some("WWW.Example.org")));

        assert_eq!(heard.name.as_deref(), Some("www.example.org"));
        assert_eq!(heard.source, NameSource::Sni);
    }

    #[test]
    fn a_client_hello_without_a_name_says_so() {
        assert!(first_data(&hello(None)).facts.has(Facts::TLS_WITHOUT_NAME));
    }

    #[test]
    fn a_hello_cut_after_its_name_still_names_its_server() {
        let whole = hello(Some("example.org"));

        let heard = first_data(&whole[..whole.len() - 3]);

        assert_eq!(heard.name.as_deref(), Some("example.org"));
    }

    #[test]
    fn a_hello_cut_before_its_name_does_not_claim_to_have_none() {
        let whole = hello(Some("example.org"));

        let heard = first_data(&whole[..whole.len() - 12]);

        assert_eq!(heard.name, None);
        assert!(!heard.facts.has(Facts::TLS_WITHOUT_NAME));
    }

    #[test]
    fn a_request_names_its_host_without_port() {
        let heard = first_data(b"GET /a HTTP/1.1\r\nAccept: */*\r\nHost: example.org:8080\r\n\r\n");

        assert_eq!(heard.name.as_deref(), Some("example.org"));
        assert!(heard.facts.has(Facts::HTTP));
    }

    #[test]
    fn a_request_to_an_address_has_no_name() {
        for host in ["192.0.2.7", "192.0.2.7:8080", "[2001:db8::7]:80"] {
            let heard = first_data(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());

            assert_eq!(heard.name, None, "{host}");
            assert!(heard.facts.has(Facts::HTTP_WITHOUT_NAME), "{host}");
        }
    }

    #[test]
    fn a_scrape_and_a_probe_are_known_for_what_they_are() {
        assert!(first_data(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").facts.has(Facts::SCRAPE));
        let probe = b"GET /live HTTP/1.1\r\nHost: 10.1.2.3:80\r\nUser-Agent: kube-probe/1.30\r\n\r\n";
        assert!(first_data(probe).facts.has(Facts::PROBE));
    }

    #[test]
    fn text_and_binary_are_told_apart() {
        assert!(first_data(b"hello, who are you?").facts.has(Facts::TEXT));
        assert!(first_data(&[0x17, 0x80, 0x01, 0xff]).facts.has(Facts::BINARY));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            first_data(&bytes);
        }

        #[test]
        fn no_damage_to_a_hello_is_a_danger(at in 0usize..120, value: u8, cut in 0usize..140) {
            let mut bytes = hello(Some("www.example.org"));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            first_data(&bytes);
        }
    }
}
