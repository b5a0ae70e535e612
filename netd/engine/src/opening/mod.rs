//! What the first bytes of a conversation say: the protocol it speaks, the name it asks for, who the client is.
//!
//! The bytes are hostile, may be cut short anywhere and arrive in any order; whatever cannot be read is left out. Each
//! side is heard for a few records; [`Openings`] keeps them until they are understood, within a bound.

mod facts;
mod http;
mod interner;
mod openings;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod parsers;
mod protocol;
mod quic;
mod read;
mod shell;
mod signature;
mod stream;
mod tls;

use std::sync::Arc;

pub(crate) use facts::Facts;
pub(crate) use openings::{FirstData, Openings};
pub use protocol::Protocol;
pub(crate) use shell::ShellSign;
use tls::server::Choice;

use crate::name::NameSource;

/// What a conversation's first bytes said. Values are bounded by those who read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    pub(crate) protocol: Protocol,
    pub(crate) facts: Facts,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) source: NameSource,
    /// First protocol offered inside TLS.
    pub(crate) alpn: Option<Arc<str>>,
    pub(crate) ja3: Option<Arc<str>>,
    pub(crate) ja4: Option<Arc<str>>,
    /// What the TLS server chose.
    pub(crate) server: Option<Choice>,
    pub(crate) user_agent: Option<Arc<str>>,
    pub(crate) shell_sign: Option<ShellSign>,
    /// Of the originator's first NTP packet.
    pub(crate) ntp_mode: Option<u8>,
}

impl Opening {
    fn of(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// Returns what both sides said together.
    fn joined(originator: &Self, responder: &Self) -> Self {
        let protocol = match (originator.protocol.is_known(), responder.protocol.is_known()) {
            (true, _) => originator.protocol,
            (false, true) => responder.protocol,
            (false, false) => originator.protocol.max(responder.protocol),
        };
        // Words of a protocol are no signs of a shell, whoever says them.
        let shell_sign = originator.shell_sign.max(responder.shell_sign).filter(|_| !protocol.is_known());
        let facts = originator.facts.with(responder.facts);
        Self { protocol, facts, shell_sign, server: responder.server.clone(), ..originator.clone() }
    }
}
