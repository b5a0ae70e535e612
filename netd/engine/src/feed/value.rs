//! What a list can accuse, as it stands there: whether netd may act on it is the reader's matter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use crate::name::clean;

/// An indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An address is a prefix of full length. IPv4-mapped addresses are IPv4.
    Net(IpNet),
    Endpoint(SocketAddr),
    /// Lower case, and which names it stands for.
    Name(Box<str>, Reach),
    /// JA3 (32 hexadecimal digits) or JA4, lower case.
    Fingerprint(Box<str>),
}

/// Which names an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// `name`: itself.
    Itself,
    /// `*.name`: all below it.
    Below,
    /// `.name`, `||name^`: itself and all below it.
    Whole,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Name(text, _) | Self::Fingerprint(text) => f.write_str(text),
        }
    }
}

/// Why a line is no indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NotAnIndicator,
    BadLength {
        longest: u8,
    },
    HostBits {
        prefix: IpNet,
    },
    /// The range ends before it begins, or mixes IPv4 and IPv6.
    BadRange,
    /// Bytes at most.
    TooLong(usize),
    NotText,
    /// The column that names the indicator is missing in this line.
    NoColumn(&'static str),
    /// Parser's words, with its place in the document.
    NotJson(String),
    UnknownObject,
    /// A STIX pattern beyond simple comparisons.
    Pattern,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnIndicator => {
                f.write_str("neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint")
            }
            Self::BadLength { longest } => write!(f, "the prefix length is not a number from 0 to {longest}"),
            Self::HostBits { prefix } => write!(f, "host bits are set; the prefix is {prefix}"),
            Self::BadRange => f.write_str("the range ends before it begins, or mixes IPv4 and IPv6"),
            Self::TooLong(most) => write!(f, "longer than {most} bytes"),
            Self::NotText => f.write_str("not UTF-8 text"),
            Self::NoColumn(name) => write!(f, "the column {name} is missing"),
            Self::NotJson(why) => write!(f, "not JSON: {why}"),
            Self::UnknownObject => f.write_str("an object of no known feed format"),
            Self::Pattern => f.write_str("a STIX pattern that is more than comparisons joined by OR"),
        }
    }
}

impl FromStr for Value {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        one(text)
    }
}

impl std::error::Error for Refused {}

/// Reads one indicator; a range gives the prefixes that make it up.
pub(super) fn read(text: &str, take: &mut impl FnMut(Value)) -> Result<(), Refused> {
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse())
    {
        return range(first, last, take);
    }
    one(text).map(take)
}

/// Reads an address or a prefix; `None` where it may be anything else.
pub(super) fn plain(bytes: &[u8]) -> Option<Value> {
    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128`.
    const LONGEST: usize = 49;
    let is_of_it = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    if bytes.len() > LONGEST || !bytes.iter().all(is_of_it) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    match text.split_once('/') {
        Some((address, length)) => prefix(address, length).ok().map(Value::Net),
        None => Some(Value::Net(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical()))),
    }
}

/// Reads one indicator that is no range.
pub(super) fn one(text: &str) -> Result<Value, Refused> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Value::Net(IpNet::from(address.to_canonical())));
    }
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return Ok(Value::Endpoint(SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port())));
    }
    if let Some((address, length)) = text.split_once('/') {
        return prefix(address, length).map(Value::Net);
    }
    if is_fingerprint(text) {
        return Ok(Value::Fingerprint(text.to_ascii_lowercase().into()));
    }
    name(text)
}

fn prefix(address: &str, length: &str) -> Result<IpNet, Refused> {
    let address: IpAddr = address.parse().map_err(|_| Refused::NotAnIndicator)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let is_number = (1..=3).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|length| is_number && *length <= longest);
    let length = length.ok_or(Refused::BadLength { longest })?;
    let net = match address {
        // The same addresses as IPv4 knows them.
        IpAddr::V6(v6) if length >= 96 && v6.to_ipv4_mapped().is_some() => {
            IpNet::new(address.to_canonical(), length - 96)
        }
        IpAddr::V4(_) | IpAddr::V6(_) => IpNet::new(address, length),
    };
    let net = net.map_err(|_| Refused::BadLength { longest })?;
    if net.trunc() != net {
        return Err(Refused::HostBits { prefix: net.trunc() });
    }
    Ok(net)
}

fn range(first: IpAddr, last: IpAddr, take: &mut impl FnMut(Value)) -> Result<(), Refused> {
    if first > last {
        return Err(Refused::BadRange);
    }
    let subnets = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => v4(first, last),
        (IpAddr::V6(first), IpAddr::V6(last)) => v6(first, last),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(Refused::BadRange),
    };
    subnets.map(Value::Net).for_each(take);
    Ok(())
}

fn v4(first: Ipv4Addr, last: Ipv4Addr) -> IpSubnets {
    IpSubnets::V4(Ipv4Subnets::new(first, last, 0))
}

fn v6(first: Ipv6Addr, last: Ipv6Addr) -> IpSubnets {
    IpSubnets::V6(Ipv6Subnets::new(first, last, 0))
}

/// Reads a name: `name`, `*.name`, or `.name`.
pub(super) fn name(text: &str) -> Result<Value, Refused> {
    let (text, reach) = match (text.strip_prefix("*."), text.strip_prefix('.')) {
        (Some(below), _) => (below, Reach::Below),
        (None, Some(whole)) => (whole, Reach::Whole),
        (None, None) => (text, Reach::Itself),
    };
    let name = clean(text.as_bytes()).filter(|name| name.contains('.')).ok_or(Refused::NotAnIndicator)?;
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || name.split('.').any(str::is_empty) {
        return Err(Refused::NotAnIndicator);
    }
    Ok(Value::Name(Box::from(&*name), reach))
}

/// Returns a name's entry as one for the name and all below it.
pub(super) fn whole(value: Value) -> Value {
    match value {
        Value::Name(name, _) => Value::Name(name, Reach::Whole),
        other @ (Value::Net(_) | Value::Endpoint(_) | Value::Fingerprint(_)) => other,
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
