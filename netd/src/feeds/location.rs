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

#[cfg(test)]
/// What a server-side request forgery tries.
pub(in crate::feeds) const HOSTILE: &[&str] = &[
    "http://feeds.example/list.txt",
    "ftp://feeds.example/list.txt",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "data:text/plain,192.0.2.1",
    "javascript:alert(1)",
    "unix:/run/netd/api.sock",
    "file:/etc/passwd",
    "file:etc/passwd",
    "file://etc/passwd",
    "FILE:///etc/passwd",
    "//feeds.example/list.txt",
    "/etc/passwd",
    "",
    "https://",
    "https://user:secret@feeds.example/list.txt",
    "https://user@feeds.example/list.txt",
    "https://127.0.0.1/",
    "https://127.0.0.1:9443/api/v1/status",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://0x7f.1/",
    "https://127.000.000.001/",
    "https://%31%32%37.0.0.1/",
    "https://１２７.０.０.１/",
    "https://127。0。0。1/",
    "https://127.0.0.1./",
    "https://10.0.0.1/",
    "https://10.1/",
    "https://167772161/",
    "https://172.16.0.1/",
    "https://172.31.255.254/",
    "https://192.168.1.1/",
    "https://3232235777/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://0xa9fea9fe/latest/meta-data/",
    "https://0251.0376.0251.0376/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://[ff02::1]/",
    "https://[2001:db8::5efe:10.0.0.1]/",
    "https://[::1%25lo]/",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leads_inside_is_a_location_of_a_feed() {
        assert!(HOSTILE.len() >= 60);
        for text in HOSTILE {
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
