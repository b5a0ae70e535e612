//! How a conversation begins on the wire.

use crate::traffic::dice::Dice;
use crate::traffic::payload::{Look, ntp};

use super::super::wire::By;

/// The most that the kernel captures of a segment: longer first flights need not be made up.
const MOST: usize = 1_448;

/// What is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// TLS 1.3, HTTP, or random bytes.
    Web(Look),
    /// `GET /metrics` of that host.
    Scrape(String),
    Ntp,
    /// QUIC version 1, whose first flight cannot be read.
    Quic,
    /// Clear text, what the client and what the server begin with.
    Text(&'static str, &'static str),
}

impl Speech {
    pub(crate) fn tls(name: &str) -> Self {
        Self::Web(Look::Tls { name: Some(name.to_owned()) })
    }

    pub(crate) fn nameless_tls() -> Self {
        Self::Web(Look::Tls { name: None })
    }

    pub(crate) fn http(host: &str) -> Self {
        Self::Web(Look::Http { host: host.to_owned() })
    }

    pub(crate) const fn raw() -> Self {
        Self::Web(Look::Raw)
    }

    /// Returns the first bytes of one side.
    pub(crate) fn first(&self, by: By, length: u64, dice: &mut Dice) -> Vec<u8> {
        let length = (length as usize).min(MOST);
        match (self, by) {
            (Self::Web(look), By::Client) => look.request(true, length, dice),
            (Self::Web(look), By::Server) => look.answer(true, length, dice),
            (Self::Scrape(host), By::Client) => {
                format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Prometheus/2.53.0\r\n\r\n").into_bytes()
            }
            (Self::Scrape(_), By::Server) => b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n# HELP up".to_vec(),
            (Self::Ntp, By::Client) => ntp(3, dice.bits()).to_vec(),
            (Self::Ntp, By::Server) => ntp(4, dice.bits()).to_vec(),
            (Self::Quic, By::Client | By::Server) => {
                // A long header with connection identifiers of eight bytes; what follows decrypts to nothing.
                let mut bytes = vec![0xc3, 0, 0, 0, 1, 8];
                bytes.extend(dice.bits().to_be_bytes());
                bytes.push(0);
                bytes.resize(length.max(64), 0);
                dice.fill(&mut bytes[15..]);
                bytes
            }
            (Self::Text(said, _), By::Client) => said.as_bytes().to_vec(),
            (Self::Text(_, said), By::Server) => said.as_bytes().to_vec(),
        }
    }
}
