//! First bytes and made-up names of tunnel and remote-access tools.

use super::Sign;

/// Returns what the first bytes of a client show.
pub(super) fn of_client(bytes: &[u8]) -> Option<Sign> {
    match bytes {
        // frp before 0.50, and later where it is asked for: one byte before the TLS record (frp, pkg/util/net/tls.go).
        [0x17, 0x16, 3, 1..=3, ..] => Some(Sign::Frp),
        // Magic of TeamViewer's own protocol; nDPI, src/lib/protocols/teamviewer.c.
        [0x17, 0x24, 0x0a | 0x0b | 0x10 | 0x1a, ..] if bytes.len() > 8 => Some(Sign::Teamviewer),
        _ if bytes.starts_with(b"{\"Hello\":") && bytes.ends_with(b"}\0") => Some(Sign::Bore),
        _ => upgrade(bytes),
    }
}

/// Upgrade requests to WebSocket that name their tool.
fn upgrade(bytes: &[u8]) -> Option<Sign> {
    if !bytes.starts_with(b"GET ") {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    // What is cut short is read as far as it goes.
    let _ = request.parse(bytes);
    let header = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let subprotocol = header("sec-websocket-protocol")?.value;
    if subprotocol.starts_with(b"chisel-v") {
        return Some(Sign::Chisel);
    }
    let path = request.path.unwrap_or_default();
    let is_wstunnel = subprotocol.starts_with(b"v1, authorization.bearer.") && path.ends_with("/events");
    is_wstunnel.then_some(Sign::Wstunnel)
}

/// Tor's handshake asks for `www.`, 8 to 20 random letters of base 32, and `.com` or `.net`
/// (tor, crypto_random_hostname). Digits between letters, in at least two places, tell them from words.
pub(super) fn is_made_up(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("www.") else { return false };
    let Some(label) = rest.strip_suffix(".com").or_else(|| rest.strip_suffix(".net")) else { return false };
    let bytes = label.as_bytes();
    let is_base32 = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    if !(8..=25).contains(&bytes.len()) || !is_base32 {
        return false;
    }
    let changes = bytes.windows(2).filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit()).count();
    let longest = bytes.split(|byte| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')).map(<[u8]>::len).max();
    changes >= 3 || (changes >= 1 && longest.is_some_and(|run| run >= 5)) || longest.is_some_and(|run| run >= 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_first_bytes() {
        assert_eq!(of_client(b"\x17\x16\x03\x01\x01\x00"), Some(Sign::Frp));
        assert_eq!(of_client(b"{\"Hello\":0}\0"), Some(Sign::Bore));
    }

    #[test]
    fn upgrades_name_their_tool() {
        let request = |path: &str, protocol: &str| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
            )
        };

        assert_eq!(of_client(request("/", "chisel-v3").as_bytes()), Some(Sign::Chisel));
        let wstunnel = request("/v1/events", "v1, authorization.bearer.eyJ0");
        assert_eq!(of_client(wstunnel.as_bytes()), Some(Sign::Wstunnel));
        assert_eq!(of_client(request("/chat", "graphql-ws").as_bytes()), None);
    }

    #[test]
    fn ordinary_clients_are_no_tools() {
        for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"EHLO a\r\n", b"\x05hello", b"\x01\0\0\0", b"{\"Hello\":1}"] {
            assert_eq!(of_client(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn names_made_up_by_tor_are_told_from_words() {
        for name in ["www.kb5xg2zqf3a.com", "www.4lxrt7mpqzw2k.net", "www.w4r3nfbqzx.com"] {
            assert!(is_made_up(name), "{name}");
        }
        for name in [
            "www.wikipedia.org",
            "www.microsoft.com",
            "www.office365.com",
            "www.forever21.com",
            "www.bankofamerica.com",
            "www.stackoverflow.com",
            "www.24sevenoffice.com",
            "www.worldstrength.net",
            "mail.kb5xg2zqf3a.com",
        ] {
            assert!(!is_made_up(name), "{name}");
        }
    }
}
