//! Signs in the first bytes of a conversation: tools, shells, and protocols in which the responder may lead.
//!
//! Each is strict, because a sign is believed; what looks like nothing known leaves none.

mod shell;
mod tools;
mod websocket;

use netd_common::key::Direction;
use serde::Deserialize;

/// One sign. The serde names are those of `tools.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sign {
    /// The originator was heard first.
    OriginatorFirst,
    ResponderFirst,
    /// A shell's prompt or banner from the originator.
    ShellPrompt,
    /// A command line from the responder.
    CommandText,
    Ssh,
    /// IRC, MQTT, or a server that greets as FTP and mail servers do.
    LedByResponder,
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

    /// Takes some of the first bytes of one side into account.
    pub(crate) fn hear(&mut self, bytes: &[u8], from: Direction, originator: Direction) {
        if bytes.is_empty() {
            return;
        }
        let is_originator = from == originator;
        if !self.has(Sign::OriginatorFirst) && !self.has(Sign::ResponderFirst) {
            self.add(if is_originator { Sign::OriginatorFirst } else { Sign::ResponderFirst });
        }
        self.add_if(bytes.starts_with(b"SSH-2.0-") || bytes.starts_with(b"SSH-1."), Sign::Ssh);
        self.add_if(websocket::carries_ssh(bytes), Sign::SshInWebsocket);
        if is_originator {
            self.add_if(shell::is_prompt(bytes), Sign::ShellPrompt);
            tools::of_client(bytes).into_iter().for_each(|sign| self.add(sign));
        } else {
            self.add_if(shell::is_command(bytes), Sign::CommandText);
            self.add_if(tools::is_greeting(bytes), Sign::LedByResponder);
        }
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

    fn heard(bytes: &[u8], from: Direction) -> Signs {
        let mut signs = Signs::default();
        signs.hear(bytes, from, Direction::AToB);
        signs
    }

    #[test]
    fn who_spoke_first_is_remembered() {
        let mut signs = heard(b"220 hello\r\n", Direction::BToA);
        signs.hear(b"USER me\r\n", Direction::AToB, Direction::AToB);

        assert!(signs.has(Sign::ResponderFirst) && !signs.has(Sign::OriginatorFirst));
    }

    #[test]
    fn a_prompt_counts_only_from_the_side_that_connected() {
        let prompt = b"bash: no job control in this shell\nbash-5.1$ ";

        assert!(heard(prompt, Direction::AToB).has(Sign::ShellPrompt));
        assert!(!heard(prompt, Direction::BToA).has(Sign::ShellPrompt), "a bind shell's or telnet's");
    }

    #[test]
    fn a_command_counts_only_from_the_side_that_accepted() {
        assert!(heard(b"whoami\n", Direction::BToA).has(Sign::CommandText));
        assert!(!heard(b"whoami\n", Direction::AToB).has(Sign::CommandText));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..400), from in 0u8..2) {
            heard(&bytes, Direction::from_bit(from));
        }
    }
}
