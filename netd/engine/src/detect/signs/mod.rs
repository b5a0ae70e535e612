//! Signs of tools in the first bytes of a conversation, and who was heard first.
//!
//! Each is strict, because a sign is believed; what looks like nothing known leaves none.

mod tools;
mod websocket;

use serde::Deserialize;

use crate::opening::Protocol;

/// One sign. The serde names are those of `tools.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sign {
    /// The originator was heard first.
    OriginatorFirst,
    ResponderFirst,
    Socks,
    Openvpn,
    Wireguard,
    /// The WebSocket subprotocol of chisel.
    Chisel,
    /// The upgrade request of wstunnel.
    Wstunnel,
    /// An SSH banner inside WebSocket frames.
    SshInWebsocket,
    /// The first byte that frp puts before TLS.
    Frp,
    Bore,
    Teamviewer,
    /// A name that Tor makes up for its TLS handshake.
    TorName,
}

/// A set of signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs(u32);

impl Signs {
    pub(crate) const fn has(self, sign: Sign) -> bool {
        self.0 & (1 << sign as u32) != 0
    }

    pub(crate) fn add(&mut self, sign: Sign) {
        self.0 |= 1 << sign as u32;
    }

    fn add_if(&mut self, holds: bool, sign: Sign) {
        if holds {
            self.add(sign);
        }
    }

    /// Takes one record of a side's first bytes into account; returns whether it told anything new.
    pub(crate) fn hear(&mut self, bytes: &[u8], is_originator: bool) -> bool {
        let before = *self;
        if bytes.is_empty() {
            return false;
        }
        if !self.has(Sign::OriginatorFirst) && !self.has(Sign::ResponderFirst) {
            self.add(if is_originator { Sign::OriginatorFirst } else { Sign::ResponderFirst });
        }
        self.add_if(websocket::carries_ssh(bytes), Sign::SshInWebsocket);
        if is_originator && let Some(sign) = tools::of_client(bytes) {
            self.add(sign);
        }
        *self != before
    }

    /// Takes the protocol that the first bytes speak into account.
    pub(crate) fn speak(&mut self, protocol: Protocol) {
        self.add_if(protocol == Protocol::Socks, Sign::Socks);
        self.add_if(protocol == Protocol::OpenVpn, Sign::Openvpn);
        self.add_if(protocol == Protocol::WireGuard, Sign::Wireguard);
    }

    /// Takes the server name that a client asked for into account.
    pub(crate) fn hear_name(&mut self, name: &str) {
        self.add_if(tools::is_made_up(name), Sign::TorName);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_spoke_first_is_remembered() {
        let mut signs = Signs::default();
        signs.hear(b"220 hello\r\n", false);
        signs.hear(b"USER me\r\n", true);

        assert!(signs.has(Sign::ResponderFirst) && !signs.has(Sign::OriginatorFirst));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut signs = Signs::default();

        assert!(signs.hear(b"hello", true));
        assert!(!signs.hear(b"again", true));
        assert!(signs.hear(b"\x82\x15SSH-2.0-OpenSSH_9.6\r\n", false));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..400), is_originator: bool) {
            Signs::default().hear(&bytes, is_originator);
        }
    }
}
