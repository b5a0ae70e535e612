//! What a list of threat intelligence may accuse.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::feed::Value;

/// Shortest prefixes taken: a wider one would accuse a part of the world.
const SHORTEST: (u8, u8) = (8, 19);

/// What a list accuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indicator {
    Host(IpAddr),
    Endpoint(IpAddr, u16),
    Prefix(IpNet),
    /// The name and all below it.
    Name(Box<str>),
    /// JA3 (32 hexadecimal digits) or JA4, lower case.
    Fingerprint(Box<str>),
}

/// Why netd does not accuse what a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It names nothing.
    Unread(crate::feed::Refused),
    TooWide,
    /// Loopback, multicast, unspecified.
    Nobody,
    PublicSuffix,
    TooMany,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread(refused) => return refused.fmt(f),
            Self::TooWide => "wider than /8 (IPv6: /19)",
            Self::Nobody => "loopback, multicast or unspecified",
            Self::PublicSuffix => "a public suffix, under which anybody registers names",
            Self::TooMany => "more than four million indicators",
        })
    }
}

/// Returns the indicator of a list's value.
pub(super) fn screen(value: Value) -> Result<Indicator, Refused> {
    match value {
        Value::Net(net) => prefix(net),
        Value::Endpoint(endpoint) => host(endpoint.ip()).map(|address| Indicator::Endpoint(address, endpoint.port())),
        Value::Name(name, _) if psl::domain_str(&name).is_none() => Err(Refused::PublicSuffix),
        // All below a name is accused with it, however it is written.
        Value::Name(name, _) => Ok(Indicator::Name(name)),
        Value::Fingerprint(fingerprint) => Ok(Indicator::Fingerprint(fingerprint)),
    }
}

fn host(address: IpAddr) -> Result<IpAddr, Refused> {
    let is_nobody = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    if is_nobody { Err(Refused::Nobody) } else { Ok(address) }
}

fn prefix(prefix: IpNet) -> Result<Indicator, Refused> {
    let shortest = if prefix.addr().is_ipv4() { SHORTEST.0 } else { SHORTEST.1 };
    if prefix.prefix_len() < shortest {
        return Err(Refused::TooWide);
    }
    let address = host(prefix.addr())?;
    let is_host = prefix.prefix_len() == prefix.max_prefix_len();
    Ok(if is_host { Indicator::Host(address) } else { Indicator::Prefix(prefix) })
}
