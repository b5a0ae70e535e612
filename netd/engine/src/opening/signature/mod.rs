//! Protocols by strict signatures of their first bytes, never by port.

mod binary;
mod datagram;
mod text;

pub(super) use datagram::ntp_mode;

use super::Protocol;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Originator,
    Responder,
}

/// Returns the protocol of the beginning of one side of a connection. TLS and HTTP requests are read elsewhere.
pub(super) fn of_stream(bytes: &[u8], speaker: Speaker) -> Option<Protocol> {
    text::of(bytes, speaker).or_else(|| binary::of(bytes, speaker))
}

/// Returns the protocol of one datagram.
pub(super) fn of_datagram(bytes: &[u8]) -> Option<Protocol> {
    datagram::of(bytes)
}

#[cfg(test)]
mod tests;
