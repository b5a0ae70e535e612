//! Where a feed comes from, and where none may come from.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use crate::address;

/// Longest URL, in bytes.
const LONGEST: usize = 2_048;

/// Where a feed comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Named in the configuration only.
    File(PathBuf),
    Https(Url),
}

/// Why nothing may be fetched from somewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("not a URL ({0})")]
    NotAUrl(String),
    #[error("the scheme is {0}; a feed comes by https:// or, named in the configuration, from file:///")]
    Scheme(String),
    #[error("a name and a password do not belong into the URL of a feed")]
    Credentials,
    #[error("there is no host in it")]
    NoHost,
    #[error("a file:// URL names an absolute path, file:///etc/netd/feed.txt")]
    RelativePath,
    #[error("{host} has the address {address}, which is {what}; allow_private = true permits it")]
    Address { host: String, address: IpAddr, what: &'static str },
    #[error("{host} has no address")]
    NoAddress { host: String },
}

impl FromStr for Location {
    type Err = Forbidden;

    fn from_str(text: &str) -> Result<Self, Forbidden> {
        if let Some(path) = text.strip_prefix("file://") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::File(path)) } else { Err(Forbidden::RelativePath) };
        }
        https(text).map(Self::Https)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Https(url) => url.fmt(f),
        }
    }
}

impl Location {
    /// Returns why nothing may be fetched from here, as far as it shows without asking DNS.
    #[must_use]
    pub fn flaw(&self, allow_private: bool) -> Option<Forbidden> {
        match self {
            Self::Https(url) if !allow_private => literal(url).and_then(|address| check(url, address).err()),
            Self::Https(_) | Self::File(_) => None,
        }
    }
}

/// Reads a URL from which a feed may be fetched.
pub(super) fn https(text: &str) -> Result<Url, Forbidden> {
    if text.len() > LONGEST {
        return Err(Forbidden::NotAUrl(format!("longer than {LONGEST} bytes")));
    }
    let url = Url::parse(text).map_err(|error| Forbidden::NotAUrl(error.to_string()))?;
    checked(url)
}

/// Returns a URL that is one of a feed.
pub(super) fn checked(url: Url) -> Result<Url, Forbidden> {
    if url.scheme() != "https" {
        return Err(Forbidden::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden::Credentials);
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        Some(_) | None => Err(Forbidden::NoHost),
    }
}

/// Returns the address that stands for a URL's host. The parser reads `2130706433`, `0x7f.1` and `0177.0.0.1` as the
/// addresses that they are.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Says whether an address of a URL's host may be asked.
pub(super) fn check(url: &Url, address: IpAddr) -> Result<(), Forbidden> {
    match address::special(address) {
        None => Ok(()),
        Some(what) => Err(Forbidden::Address { host: url.host_str().unwrap_or_default().to_owned(), address, what }),
    }
}

/// What a server-side request forgery tries, a line each.
#[cfg(test)]
pub(in crate::feeds) const HOSTILE: &str = include_str!("hostile.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leads_inside_is_a_location_of_a_feed() {
        assert!(HOSTILE.lines().count() >= 60);
        for text in HOSTILE.lines() {
            let location = text.parse::<Location>();

            assert!(location.as_ref().map_or(true, |found| found.flaw(false).is_some()), "{text}: {location:?}");
        }
    }

    #[test]
    fn a_public_server_and_a_file_are_locations() {
        for text in ["https://feeds.example/list.txt", "https://8.8.8.8:8443/x?y=z", "file:///etc/netd/feed.txt"] {
            let location = text.parse::<Location>().unwrap();

            assert_eq!(location.flaw(false), None);
            assert_eq!(location.to_string(), text);
        }
        assert_eq!("https://10.0.0.1/feed".parse::<Location>().unwrap().flaw(true), None);
    }
}
