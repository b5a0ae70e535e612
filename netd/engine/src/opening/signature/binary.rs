//! Protocols over connections whose first bytes are no words.

use super::Speaker;
use crate::dns;
use crate::opening::Protocol;

pub(super) fn of(bytes: &[u8], speaker: Speaker) -> Option<Protocol> {
    either(bytes).or_else(|| match speaker {
        Speaker::Originator => originator(bytes),
        Speaker::Responder => is_mysql_greeting(bytes).then_some(Protocol::MySql),
    })
}

fn either(bytes: &[u8]) -> Option<Protocol> {
    Some(match bytes {
        // NetBIOS session message, then "SMB" of version 1, or 2 and 3.
        [0, _, _, _, 0xff | 0xfe, b'S', b'M', b'B', ..] => Protocol::Smb,
        [19, b'B', b'i', b't', b'T', b'o', b'r', b'r', b'e', b'n', b't', ..] => Protocol::BitTorrent,
        // IAC, then WILL, WON'T, DO, DON'T and an option (RFC 854, RFC 855).
        [0xff, 0xfb..=0xfe, 0..=49, 0xff | b' '..=b'~' | b'\r' | b'\n', ..] | [0xff, 0xfb..=0xfe, 0..=49] => {
            Protocol::Telnet
        }
        // CNXN, and the same with all bits flipped at the end of the header.
        [b'C', b'N', b'X', b'N', ..] if bytes.get(20..24) == Some(&[0xbc, 0xb1, 0xa7, 0xb1]) => Protocol::Adb,
        [0..=0x0f, ..] if is_dns(bytes) => Protocol::Dns,
        _ => return None,
    })
}

fn originator(bytes: &[u8]) -> Option<Protocol> {
    Some(match bytes {
        [b'A', b'M', b'Q', b'P', 0, 0, 9, 1] | [b'A', b'M', b'Q', b'P', 0 | 2 | 3, 1, 0, 0] => Protocol::Amqp,
        // Byte order, then version 11.0 (X Window System Protocol, 8).
        [b'l', 0, 11, 0, 0, 0, _, 0, ..] | [b'B', 0, 0, 11, 0, 0, 0, _, ..] => Protocol::X11,
        _ if is_rdp(bytes) => Protocol::Rdp,
        _ if is_socks(bytes) => Protocol::Socks,
        _ if is_mqtt(bytes) => Protocol::Mqtt,
        _ if is_postgres(bytes) => Protocol::Postgres,
        _ if is_ldap(bytes) => Protocol::Ldap,
        _ if is_mssql(bytes) => Protocol::Mssql,
        _ if is_openvpn(bytes) => Protocol::OpenVpn,
        [a, b, c, d, message @ ..]
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() && is_kerberos(message) =>
        {
            Protocol::Kerberos
        }
        _ => return None,
    })
}

/// X.224 connection request in TPKT with a cookie or a negotiation request (MS-RDPBCGR, 2.2.1.1).
fn is_rdp(bytes: &[u8]) -> bool {
    let [3, 0, high, low, rest @ ..] = bytes else { return false };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let [indicator, 0xe0, 0, 0, _, _, _, variable @ ..] = rest else { return false };
    let is_request = matches!(variable, [1, 0..=0x0b, 8, 0, ..]) || variable.starts_with(b"Cookie: ");
    len >= 11 && usize::from(*indicator) + 5 == len && is_request
}

/// The first message of SOCKS 4 and 5 clients (RFC 1928, 3), alone in its segment.
fn is_socks(bytes: &[u8]) -> bool {
    match bytes {
        [5, count @ 1..=6, methods @ ..] => {
            methods.len() == usize::from(*count) && methods.iter().all(|method| matches!(method, 0..=9 | 0x80..=0x8f))
        }
        [4, 1 | 2, port_high, port_low, _, _, _, _, user @ .., 0] => {
            (*port_high, *port_low) != (0, 0) && user.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'))
        }
        _ => false,
    }
}

/// CONNECT of MQTT 3.1 to 5.
fn is_mqtt(bytes: &[u8]) -> bool {
    let [0x10, rest @ ..] = bytes else { return false };
    let Some(len_end) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else { return false };
    let header = &rest[len_end + 1..];
    header.starts_with(b"\0\x04MQTT\x04")
        || header.starts_with(b"\0\x04MQTT\x05")
        || header.starts_with(b"\0\x06MQIsdp\x03")
}

/// Startup message of protocol 3, or the request for TLS or GSSAPI before it.
fn is_postgres(bytes: &[u8]) -> bool {
    match bytes {
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f | 0x30] => true,
        [0, 0, high, low, 0, 3, 0, 0, rest @ ..] => {
            usize::from(u16::from_be_bytes([*high, *low])) == bytes.len() && rest.starts_with(b"user\0")
        }
        _ => false,
    }
}

/// A bind, search or extended request with its message ID (RFC 4511, 4.1.1).
fn is_ldap(bytes: &[u8]) -> bool {
    let message = match bytes {
        [0x30, len @ 0..=0x7f, message @ ..] if message.len() >= usize::from(*len) => message,
        [0x30, 0x84, 0, 0, _, _, message @ ..] | [0x30, 0x81, _, message @ ..] | [0x30, 0x82, _, _, message @ ..] => {
            message
        }
        _ => return false,
    };
    let operation = match message {
        [2, 1, _, operation @ ..] | [2, 2, _, _, operation @ ..] => operation,
        _ => return false,
    };
    // Version 2 or 3, the base object, the request's name.
    matches!(
        operation,
        [0x60, 0..=0x7f, 2, 1, 2 | 3, ..]
            | [0x60, 0x84, _, _, _, _, 2, 1, 2 | 3, ..]
            | [0x63, 0..=0x7f, 4, ..]
            | [0x63, 0x81, _, 4, ..]
            | [0x63, 0x84, _, _, _, _, 4, ..]
            | [0x77, 0..=0x7f, 0x80, ..]
            | [0x77, 0x84, _, _, _, _, 0x80, ..]
    )
}

/// AS-REQ or TGS-REQ, version 5 (RFC 4120, 5.4.1).
pub(super) fn is_kerberos(message: &[u8]) -> bool {
    const VERSION_5: [u8; 5] = [0xa1, 3, 2, 1, 5];
    let is_request = matches!(message, [0x6a | 0x6c, ..]);
    is_request && message.iter().take(16).len() == 16 && message[..16].windows(5).any(|part| part == VERSION_5)
}

/// PRELOGIN (MS-TDS, 2.2.6.5): one packet, then the option VERSION.
fn is_mssql(bytes: &[u8]) -> bool {
    let [0x12, 1, high, low, 0, 0, _, 0, 0, 0, _, 0, 6, ..] = bytes else { return false };
    usize::from(u16::from_be_bytes([*high, *low])) == bytes.len()
}

/// A hard reset of the client (versions 2 and 3), its length before it.
fn is_openvpn(bytes: &[u8]) -> bool {
    let [high, low, packet @ ..] = bytes else { return false };
    usize::from(u16::from_be_bytes([*high, *low])) == packet.len() && super::datagram::is_openvpn(packet)
}

/// Handshake of protocol 10: a packet with number 0, then a printable version that ends in NUL.
fn is_mysql_greeting(bytes: &[u8]) -> bool {
    let [a, b, c, 0, 10, version @ ..] = bytes else { return false };
    let len = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    let Some(end) = version.iter().take(64).position(|byte| *byte == 0) else { return false };
    len + 4 == bytes.len() && end >= 3 && version[0].is_ascii_digit() && version[..end].iter().all(u8::is_ascii_graphic)
}

/// A message of DNS over TCP, whole and alone.
fn is_dns(bytes: &[u8]) -> bool {
    let [high, low, message @ ..] = bytes else { return false };
    usize::from(u16::from_be_bytes([*high, *low])) == message.len() && is_dns_message(message)
}

/// One question, an operation that exists, and a body that parses.
pub(super) fn is_dns_message(message: &[u8]) -> bool {
    let [_, _, flags, more_flags, 0, 1, ..] = message else { return false };
    let operation = (flags >> 3) & 0x0f;
    operation <= 2 && more_flags & 0x40 == 0 && dns::read(message).is_some()
}
