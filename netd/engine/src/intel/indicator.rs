//! One line of a threat-intelligence list.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::name::clean;

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

/// Why a line is no indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotAnIndicator,
    HostBits,
    TooWide,
    /// Loopback, multicast, unspecified.
    Nobody,
    PublicSuffix,
    TooLong,
    TooMany,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnIndicator => "neither an address, a prefix, a name, nor a JA3 or JA4 fingerprint",
            Self::HostBits => "host bits are set",
            Self::TooWide => "wider than /8 (IPv6: /19)",
            Self::Nobody => "loopback, multicast or unspecified",
            Self::PublicSuffix => "a public suffix, under which anybody registers names",
            Self::TooLong => "longer than 4096 bytes",
            Self::TooMany => "more than four million indicators",
        })
    }
}

/// Reads a line: a plain indicator, a line of a hosts file (`0.0.0.0 name`) or of an advertisement list (`||name^`).
pub(super) fn read(line: &str) -> Result<Option<Indicator>, Refused> {
    let text = line.split(['#', ';']).next().unwrap_or_default().trim();
    if text.is_empty() || text.starts_with(['!', '[']) && !text.contains("]:") {
        return Ok(None);
    }
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("0.0.0.0" | "127.0.0.1" | "::" | "::1"), Some(name), None) => self::name(name).map(Some),
        (Some(one), None, None) => one_word(one).map(Some),
        _ => Err(Refused::NotAnIndicator),
    }
}

fn one_word(text: &str) -> Result<Indicator, Refused> {
    if let Some(name) = text.strip_prefix("||").and_then(|rest| rest.strip_suffix('^')) {
        return name_only(name);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return host(address).map(Indicator::Host);
    }
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return host(endpoint.ip()).map(|address| Indicator::Endpoint(address, endpoint.port()));
    }
    if let Ok(prefix) = text.parse::<IpNet>() {
        return self::prefix(prefix);
    }
    if is_fingerprint(text) {
        return Ok(Indicator::Fingerprint(text.to_ascii_lowercase().into()));
    }
    name(text)
}

fn host(address: IpAddr) -> Result<IpAddr, Refused> {
    let address = address.to_canonical();
    let is_nobody = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    if is_nobody { Err(Refused::Nobody) } else { Ok(address) }
}

fn prefix(prefix: IpNet) -> Result<Indicator, Refused> {
    if prefix.trunc() != prefix {
        return Err(Refused::HostBits);
    }
    let shortest = if prefix.addr().is_ipv4() { SHORTEST.0 } else { SHORTEST.1 };
    if prefix.prefix_len() < shortest {
        return Err(Refused::TooWide);
    }
    host(prefix.addr())?;
    Ok(if prefix.prefix_len() == prefix.max_prefix_len() {
        Indicator::Host(prefix.addr())
    } else {
        Indicator::Prefix(prefix)
    })
}

fn name(text: &str) -> Result<Indicator, Refused> {
    name_only(text.strip_prefix("*.").unwrap_or(text))
}

fn name_only(text: &str) -> Result<Indicator, Refused> {
    let name = clean(text.as_bytes()).filter(|name| name.contains('.')).ok_or(Refused::NotAnIndicator)?;
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::NotAnIndicator);
    }
    match psl::domain_str(&name) {
        Some(_) => Ok(Indicator::Name(Box::from(&*name))),
        None => Err(Refused::PublicSuffix),
    }
}

/// JA3 is an MD5 digest; JA4 is `t13d1516h2_8daaf6152771_e5627efa2ab1`: ten characters, two digests of twelve.
fn is_fingerprint(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split('_');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(ja3), None, None, None) => ja3.len() == 32 && is_hex(ja3),
        (Some(a), Some(b), Some(c), None) => {
            let is_head = a.len() == 10 && a.starts_with(['t', 'q', 'd']) && a.is_ascii();
            is_head && b.len() == 12 && c.len() == 12 && is_hex(b) && is_hex(c)
        }
        _ => false,
    }
}
