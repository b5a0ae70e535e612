//! Protocols over UDP, by one datagram.

use super::binary::{is_dns_message, is_kerberos};
use crate::opening::{Protocol, quic};

const NTP_HEADER: usize = 48;

pub(super) fn of(bytes: &[u8]) -> Option<Protocol> {
    Some(match bytes {
        _ if quic::is_long_header(bytes) => Protocol::Quic,
        _ if is_dtls(bytes) => Protocol::Dtls,
        _ if is_stun(bytes) => Protocol::Stun,
        _ if is_wireguard(bytes) => Protocol::WireGuard,
        _ if is_openvpn(bytes) => Protocol::OpenVpn,
        _ if is_dhcp(bytes) => Protocol::Dhcp,
        _ if is_ike(bytes) => Protocol::Ike,
        _ if is_snmp(bytes) => Protocol::Snmp,
        _ if is_kerberos(bytes) => Protocol::Kerberos,
        _ if is_torrent(bytes) => Protocol::BitTorrent,
        _ if bytes.starts_with(b"M-SEARCH * HTTP/1.1\r\n") || bytes.starts_with(b"NOTIFY * HTTP/1.1\r\n") => {
            Protocol::Ssdp
        }
        // A DNS message's identifier and flags may pass for the header of NTP; its body parses as nothing else.
        _ if is_dns_message(bytes) => Protocol::Dns,
        _ if ntp_mode(bytes).is_some() => Protocol::Ntp,
        _ => return sip(bytes),
    })
}

/// Returns the mode of an NTP packet of a client, server or peer (RFC 5905, 7.3), with its extension fields and MAC.
pub(in crate::opening) fn ntp_mode(bytes: &[u8]) -> Option<u8> {
    let [first, stratum, poll, precision, ..] = bytes else { return None };
    let (version, mode) = ((first >> 3) & 0b111, first & 0b111);
    if matches!(version, 2..=4) && mode == 6 {
        // Control: offset and count of the data behind a header of 12 bytes (RFC 9327).
        let count = usize::from(u16::from_be_bytes([*bytes.get(10)?, *bytes.get(11)?]));
        return (bytes.len() >= 12 + count && bytes.len() <= 12 + count + 3 + 24).then_some(mode);
    }
    let rest = bytes.len().checked_sub(NTP_HEADER)?;
    // Clients that tell nothing of themselves send a precision of 0 or 32.
    let is_precision = matches!(i8::from_be_bytes([*precision]), -40..=0 | 32);
    let is_poll = matches!(i8::from_be_bytes([*poll]), -7..=24);
    let is_sane = matches!(version, 1..=4) && matches!(mode, 1..=5) && *stratum <= 16 && is_poll && is_precision;
    (is_sane && rest % 4 == 0).then_some(mode)
}

/// A record header whose length fits (RFC 6347, 4.1).
fn is_dtls(bytes: &[u8]) -> bool {
    let [20..=23, 0xfe, 0xff | 0xfd, _, _, _, _, _, _, _, _, high, low, rest @ ..] = bytes else { return false };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    len > 0 && len <= rest.len()
}

/// The magic cookie, and a length that fits (RFC 8489, 5).
fn is_stun(bytes: &[u8]) -> bool {
    let [0..=0x3f, _, high, low, 0x21, 0x12, 0xa4, 0x42, ..] = bytes else { return false };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    len.is_multiple_of(4) && len + 20 == bytes.len()
}

/// Message type, three zeros, and the length of that type (Donenfeld, WireGuard, 5.4).
fn is_wireguard(bytes: &[u8]) -> bool {
    let [kind, 0, 0, 0, ..] = bytes else { return false };
    match kind {
        1 => bytes.len() == 148,
        2 => bytes.len() == 92,
        3 => bytes.len() == 64,
        // The counter of the first transport messages is small.
        4 => bytes.len() >= 32 && bytes.len().is_multiple_of(16) && bytes[12..16] == [0; 4],
        _ => false,
    }
}

/// A hard reset with key 0, bare or with one of the usual message authentications.
pub(super) fn is_openvpn(bytes: &[u8]) -> bool {
    match bytes {
        // Session, no acknowledgements, packet 0.
        [0x38, _, _, _, _, _, _, _, _, 0, 0, 0, 0, 0] => true,
        // SHA-1, SHA-256, SHA-512; a session of zeros is nobody's.
        [0x38 | 0x50, session @ ..] if matches!(bytes.len(), 42 | 54 | 86) => {
            session[..8] != [0; 8] && session.ends_with(&[0; 5])
        }
        _ => false,
    }
}

/// BOOTP with the magic cookie of DHCP (RFC 2131, 3).
fn is_dhcp(bytes: &[u8]) -> bool {
    matches!(bytes, [1 | 2, 1, 6, ..]) && bytes.get(236..240) == Some(&[0x63, 0x82, 0x53, 0x63])
}

/// ISAKMP header, behind the non-ESP marker on port 4500 (RFC 7296, 3.1).
fn is_ike(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(&[0, 0, 0, 0]).unwrap_or(bytes);
    let Some(header) = bytes.first_chunk::<28>() else { return false };
    let len = u32::from_be_bytes([header[24], header[25], header[26], header[27]]) as usize;
    let is_version = matches!(header[17], 0x10 | 0x20) && matches!(header[18], 2 | 4 | 5 | 32 | 34..=37);
    header[..8] != [0; 8] && is_version && len == bytes.len()
}

/// Version 1, 2c or 3, and a community with a request or version 3's header (RFC 1157, RFC 3412).
fn is_snmp(bytes: &[u8]) -> bool {
    let message = match bytes {
        [0x30, len @ 0..=0x7f, message @ ..] if usize::from(*len) == message.len() => message,
        [0x30, 0x81, len, message @ ..] if usize::from(*len) == message.len() => message,
        [0x30, 0x82, high, low, message @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == message.len() => {
            message
        }
        _ => return false,
    };
    match message {
        [2, 1, 0 | 1, 4, len, rest @ ..] => {
            let len = usize::from(*len);
            let is_community =
                rest.get(..len).is_some_and(|community| community.iter().all(|byte| matches!(byte, b' '..=b'~')));
            is_community && matches!(rest.get(len), Some(0xa0..=0xa8))
        }
        [2, 1, 3, 0x30, ..] => true,
        _ => false,
    }
}

/// Distributed hash table (BEP 5), or a connect request to a tracker (BEP 15).
fn is_torrent(bytes: &[u8]) -> bool {
    const TRACKER: [u8; 12] = [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0];
    let is_dht = [&b"d1:ad2:id20:"[..], b"d1:rd2:id20:"].iter().any(|begin| bytes.starts_with(begin));
    is_dht || (bytes.len() == 16 && bytes.starts_with(&TRACKER))
}

/// A request line or status line of SIP (RFC 3261, 7).
pub(super) fn sip(bytes: &[u8]) -> Option<Protocol> {
    const METHODS: [&[u8]; 8] =
        [b"REGISTER", b"INVITE", b"OPTIONS", b"SUBSCRIBE", b"NOTIFY", b"MESSAGE", b"PUBLISH", b"BYE"];
    let is_request = METHODS.iter().any(|method| {
        bytes.strip_prefix(*method).is_some_and(|rest| rest.starts_with(b" sip:") || rest.starts_with(b" sips:"))
    });
    (is_request || bytes.starts_with(b"SIP/2.0 ")).then_some(Protocol::Sip)
}
