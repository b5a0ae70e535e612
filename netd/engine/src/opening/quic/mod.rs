//! QUIC's Initial packets (RFC 9000, RFC 9001; version 2: RFC 9369). Their keys follow from what is in the clear, so
//! that any observer reads the ClientHello in them.

mod frames;
mod keys;

pub(super) use frames::Crypto;
use keys::ClientKeys;

use super::tls::{CLIENT_HELLO, Carrier, hello, messages};
use super::{Facts, Opening};

/// Packets looked at in one datagram.
const MOST_PACKETS: usize = 4;
const LONGEST_CONNECTION_ID: usize = 20;

/// Versions whose Initial packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            _ => None,
        }
    }

    /// The two bits of an Initial packet's type.
    const fn initial(self) -> u8 {
        match self {
            Self::V1 => 0b00,
            Self::V2 => 0b01,
        }
    }
}

/// A long header packet, split where protection begins.
struct LongPacket<'a> {
    version: Version,
    is_initial: bool,
    destination: &'a [u8],
    /// The packet up to the end of its payload, and how much of it is not protected.
    bytes: &'a [u8],
    header_len: usize,
    after: &'a [u8],
}

/// Returns whether a datagram begins with a long header of a version that is or was in use.
pub(super) fn is_long_header(datagram: &[u8]) -> bool {
    let [first, a, b, c, d, destination_len, rest @ ..] = datagram else { return false };
    let number = u32::from_be_bytes([*a, *b, *c, *d]);
    // Drafts have the form 0xff0000xx; version negotiation is version 0.
    let is_version = Version::of(number).is_some() || number >> 8 == 0x00ff_0000 || number == 0;
    let destination_len = usize::from(*destination_len);
    let source_len = rest.get(destination_len).map_or(usize::MAX, |len| usize::from(*len));
    let is_fixed = first & 0x40 != 0 || number == 0;
    first & 0x80 != 0
        && is_fixed
        && is_version
        && destination_len <= LONGEST_CONNECTION_ID
        && source_len <= LONGEST_CONNECTION_ID
        && rest.len() > destination_len + 1 + source_len
}

fn long_packet(bytes: &[u8]) -> Option<LongPacket<'_>> {
    let [first, a, b, c, d, rest @ ..] = bytes else { return None };
    if first & 0xc0 != 0xc0 {
        return None;
    }
    let version = Version::of(u32::from_be_bytes([*a, *b, *c, *d]))?;
    let (destination, rest) = connection_id(rest)?;
    let (_, mut rest) = connection_id(rest)?;
    let is_initial = (first >> 4) & 0b11 == version.initial();
    if is_initial {
        let (token_len, after) = varint(rest)?;
        rest = after.get(usize::try_from(token_len).ok()?..)?;
    }
    let (len, payload) = varint(rest)?;
    let header_len = bytes.len() - payload.len();
    let end = header_len.checked_add(usize::try_from(len).ok()?)?;
    Some(LongPacket { version, is_initial, destination, bytes: bytes.get(..end)?, header_len, after: &bytes[end..] })
}

fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let len = usize::from(*len);
    if len > LONGEST_CONNECTION_ID { None } else { rest.split_at_checked(len) }
}

/// Reads a variable-length integer (RFC 9000, 16).
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = number[1..].iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, rest))
}

/// A ClientHello in Initial packets, as far as it was heard.
pub(super) struct Hello {
    pub(super) opening: Opening,
    pub(super) is_whole: bool,
}

/// Reads the datagrams that a client sent first.
pub(super) fn client_hello<'a>(datagrams: impl Iterator<Item = &'a [u8]>) -> Hello {
    let mut keys: Vec<ClientKeys> = Vec::new();
    let mut crypto = Crypto::default();
    for datagram in datagrams {
        let mut rest = datagram;
        for nth in 0..MOST_PACKETS {
            let Some(packet) = long_packet(rest) else { break };
            rest = packet.after;
            if packet.is_initial
                && let Some(payload) = open(&packet, &mut keys, nth == 0)
            {
                crypto.read(&payload);
            }
        }
    }
    from_crypto(&crypto)
}

/// The first destination connection ID makes the keys, and keeps making them when later packets carry the server's
/// choice; only a Retry makes new ones (RFC 9001, 5.2). All packets of a datagram have one connection ID (RFC 9000,
/// 12.2), so that no more than one derivation is tried for each.
fn open(packet: &LongPacket<'_>, keys: &mut Vec<ClientKeys>, may_derive: bool) -> Option<Vec<u8>> {
    if let Some(payload) = keys.iter().find_map(|keys| keys.open(packet.bytes, packet.header_len)) {
        return Some(payload);
    }
    if !may_derive {
        return None;
    }
    let own = ClientKeys::new(packet.version, packet.destination)?;
    let payload = own.open(packet.bytes, packet.header_len)?;
    keys.push(own);
    Some(payload)
}

/// Returns what reassembled CRYPTO frames say.
pub(super) fn from_crypto(crypto: &Crypto) -> Hello {
    match messages(crypto.prefix()).next() {
        Some(message) if message.kind == CLIENT_HELLO => {
            Hello { opening: hello::read(message.body, message.is_cut, Carrier::Quic), is_whole: !message.is_cut }
        }
        Some(_) => Hello { opening: hello::unread(Carrier::Quic, Facts::default()), is_whole: true },
        None => Hello { opening: hello::unread(Carrier::Quic, Facts::TLS_CUT), is_whole: false },
    }
}

#[cfg(test)]
pub(in crate::opening) mod tests;
