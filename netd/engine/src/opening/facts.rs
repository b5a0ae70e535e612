//! Facts about openings: several may hold of one, and those of all conversations of a pair add up.

use serde::{Deserialize, Serialize};

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Facts(u32);

impl Facts {
    /// TLS, in QUIC too.
    pub(crate) const TLS: Self = Self(1);
    pub(crate) const TLS_WITHOUT_NAME: Self = Self(1 << 1);
    pub(crate) const HTTP: Self = Self(1 << 2);
    /// `Host` is missing or an address.
    pub(crate) const HTTP_WITHOUT_NAME: Self = Self(1 << 3);
    /// A connection whose originator sends what is printable, but not HTTP.
    pub(crate) const TEXT: Self = Self(1 << 4);
    /// A connection whose originator sends what is neither TLS nor printable.
    pub(crate) const BINARY: Self = Self(1 << 5);
    /// `GET /metrics`.
    pub(crate) const SCRAPE: Self = Self(1 << 6);
    /// A Kubernetes probe, by its user agent.
    pub(crate) const PROBE: Self = Self(1 << 7);
    /// What was sent to port 53 is DNS.
    pub(crate) const DNS: Self = Self(1 << 8);
    /// What was sent to port 53 is not DNS.
    pub(crate) const NOT_DNS: Self = Self(1 << 9);
    /// TLS whose ClientHello was cut short before a name was found.
    pub(crate) const TLS_CUT: Self = Self(1 << 10);
    /// The server's certificate names itself as its issuer.
    pub(crate) const SELF_SIGNED: Self = Self(1 << 11);
    /// The true server name is encrypted (ECH or its predecessor ESNI), or a client pretends so (GREASE).
    pub(crate) const ENCRYPTED_HELLO: Self = Self(1 << 12);
    /// HTTP that changes something at the server: PUT, DELETE, PATCH.
    pub(crate) const HTTP_UPLOAD: Self = Self(1 << 13);
    /// HTTP with a method of WebDAV (RFC 4918).
    pub(crate) const WEBDAV: Self = Self(1 << 14);
    /// HTTP `CONNECT`: a tunnel through a proxy.
    pub(crate) const CONNECT: Self = Self(1 << 15);
    /// `Upgrade: websocket`.
    pub(crate) const WEBSOCKET: Self = Self(1 << 16);
    /// What was sent to UDP port 123 is not NTP.
    pub(crate) const NOT_NTP: Self = Self(1 << 17);

    pub(crate) const fn has(self, fact: Self) -> bool {
        self.0 & fact.0 != 0
    }

    pub(crate) const fn with(self, fact: Self) -> Self {
        Self(self.0 | fact.0)
    }

    /// Returns these facts, and `fact` if it holds.
    pub(crate) const fn with_if(self, holds: bool, fact: Self) -> Self {
        if holds { self.with(fact) } else { self }
    }

    pub(crate) const fn without(self, fact: Self) -> Self {
        Self(self.0 & !fact.0)
    }
}
