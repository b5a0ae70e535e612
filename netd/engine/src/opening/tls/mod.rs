//! TLS (RFC 8446, RFC 5246) and DTLS (RFC 9147, RFC 6347) as far as they are in the clear.

pub(super) mod certificate;
mod fingerprint;
pub(super) mod hello;
pub(super) mod server;

pub(super) use fingerprint::Carrier;

pub(super) const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

const HANDSHAKE: u8 = 22;
/// Longest fragment of a plaintext record (RFC 8446, 5.1), with room for TLS 1.2's expansion.
const LONGEST_RECORD: usize = (1 << 14) + 2_048;

/// Returns whether bytes begin with a TLS record of type handshake, version 3.x.
pub(super) fn is_handshake(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE, 3, 0..=4, ..])
}

/// The handshake messages at the beginning of a stream of records, joined over record boundaries.
pub(super) struct Handshake {
    pub(super) bytes: Vec<u8>,
    /// Something else follows: no further handshake message will be readable.
    pub(super) is_over: bool,
}

pub(super) fn handshake(stream: &[u8]) -> Handshake {
    let mut joined = Handshake { bytes: Vec::new(), is_over: false };
    let mut records = stream;
    while !records.is_empty() {
        let [kind, rest @ ..] = records else { break };
        joined.is_over = *kind != HANDSHAKE;
        let [3, 0..=4, high, low, body @ ..] = rest else { break };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        joined.is_over |= len == 0 || len > LONGEST_RECORD;
        if joined.is_over {
            break;
        }
        joined.bytes.extend_from_slice(&body[..body.len().min(len)]);
        let Some(next) = body.get(len..) else { break };
        records = next;
    }
    joined
}

/// One handshake message, as far as it is there.
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    pub(super) is_cut: bool,
}

/// Returns the handshake messages one after the other; only the last can be cut short.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let [kind, a, b, c, rest @ ..] = bytes else { return None };
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(len..).unwrap_or_default();
        Some(Message { kind: *kind, body: &rest[..rest.len().min(len)], is_cut: rest.len() < len })
    })
}
