//! What the handshake of a TLS conversation showed, besides names and JA4.

use std::sync::Arc;

use tls_parser::TlsCipherSuite;

use crate::opening::Opening;

/// What both sides said in the clear. Only logs of single flows tell it, so history does not keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// JA3 fingerprint of the client.
    pub ja3: Option<Arc<str>>,
    /// What the server chose: version, as in a ServerHello, cipher suite, and the protocol inside, which TLS 1.3 hides.
    pub version: Option<u16>,
    pub cipher: Option<u16>,
    pub next_protocol: Option<Arc<str>>,
}

impl Tls {
    pub(super) fn of(opening: &Opening) -> Self {
        let server = opening.server.as_ref();
        Self {
            ja3: opening.ja3.clone(),
            version: server.map(|server| server.version),
            cipher: server.map(|server| server.cipher),
            next_protocol: server.and_then(|server| server.alpn.clone()),
        }
    }

    /// Returns IANA's name of the cipher suite, where it has one.
    #[must_use]
    pub fn cipher_name(&self) -> Option<&'static str> {
        TlsCipherSuite::from_id(self.cipher?).map(|suite| suite.name)
    }
}
