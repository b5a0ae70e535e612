//! First bytes of tunnel and remote-access tools, and of protocols in which the responder may lead.

use super::Sign;

/// Returns what the first bytes of a client show.
pub(super) fn of_client(bytes: &[u8]) -> Option<Sign> {
    match bytes {
        // frp before 0.50, and later where it is asked for: one byte before the TLS record (frp, pkg/util/net/tls.go).
        [0x17, 0x16, 3, 1..=3, ..] => Some(Sign::Frp),
        // Magic of TeamViewer's own protocol; nDPI, src/lib/protocols/teamviewer.c.
        [0x17, 0x24, ..] | [0x11, 0x30, ..] if bytes.len() > 8 => Some(Sign::Teamviewer),
        _ if bytes.starts_with(b"{\"Hello\":") && bytes.ends_with(b"}\0") => Some(Sign::Bore),
        _ if is_socks(bytes) => Some(Sign::Socks),
        _ if is_openvpn(bytes) => Some(Sign::Openvpn),
        _ if is_wireguard(bytes) => Some(Sign::Wireguard),
        _ if is_mqtt(bytes) || is_irc(bytes) => Some(Sign::LedByResponder),
        _ => upgrade(bytes),
    }
}

/// SOCKS 5 (RFC 1928, 3) and 4, alone in the segment.
fn is_socks(bytes: &[u8]) -> bool {
    match bytes {
        [5, count @ 1..=6, methods @ ..] => {
            methods.len() == usize::from(*count) && methods.iter().all(|method| matches!(method, 0..=9 | 0x80..=0x8f))
        }
        [4, 1 | 2, port_high, port_low, _, _, _, _, user @ .., 0] => {
            (*port_high, *port_low) != (0, 0) && user.iter().all(|byte| matches!(byte, b' '..=b'~'))
        }
        _ => false,
    }
}

/// P_CONTROL_HARD_RESET_CLIENT of version 2 or 3, key 0; over TCP after its length.
fn is_openvpn(bytes: &[u8]) -> bool {
    const SHORTEST: usize = 14;
    let is_reset = |message: &[u8]| matches!(message, [0x38 | 0x50, ..]) && message.len() >= SHORTEST;
    match bytes {
        [high, low, message @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == message.len() => {
            is_reset(message)
        }
        // After opcode and session identifier, no acknowledgements and packet number 0: without tls-auth.
        [0x38, _, _, _, _, _, _, _, _, 0, 0, 0, 0, 0] => true,
        _ => false,
    }
}

/// A handshake initiation: type 1, three zeros, 148 bytes (WireGuard white paper, 5.4.2).
fn is_wireguard(bytes: &[u8]) -> bool {
    bytes.len() == 148 && bytes.starts_with(&[1, 0, 0, 0])
}

/// CONNECT of MQTT 3.1 to 5.
fn is_mqtt(bytes: &[u8]) -> bool {
    let [0x10, rest @ ..] = bytes else { return false };
    let Some(end) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else { return false };
    let header = &rest[end + 1..];
    header.starts_with(b"\0\x04MQTT") || header.starts_with(b"\0\x06MQIsdp")
}

fn is_irc(bytes: &[u8]) -> bool {
    [&b"NICK "[..], b"CAP LS", b"USER "].iter().any(|word| bytes.starts_with(word))
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

/// Greetings of servers that speak first and then follow: FTP, SMTP, POP3, IMAP, NNTP, IRC, VNC.
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    const GREETINGS: [&[u8]; 10] =
        [b"220 ", b"220-", b"+OK", b"* OK", b"* PREAUTH", b"200 ", b"201 ", b"NOTICE AUTH", b"RFB 003.", b":"];
    GREETINGS.iter().any(|greeting| bytes.starts_with(greeting))
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
        assert_eq!(of_client(b"\x05\x02\x00\x02"), Some(Sign::Socks));
        assert_eq!(of_client(b"\x04\x01\x00\x50\x01\x02\x03\x04me\0"), Some(Sign::Socks));
        assert_eq!(of_client(&[&[0x38][..], &[7; 8], &[0; 5]].concat()), Some(Sign::Openvpn));
        assert_eq!(of_client(&[&[1, 0, 0, 0][..], &[7; 144]].concat()), Some(Sign::Wireguard));
        assert_eq!(of_client(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"), Some(Sign::LedByResponder));
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
