//! Threat intelligence that the operator loads: addresses, prefixes, names, TLS fingerprints.

mod indicator;
mod prefixes;

use std::collections::HashMap;
use std::net::IpAddr;

pub use indicator::{Indicator, Refused};
use prefixes::Prefixes;

use crate::feed::{Found, Reader};
use crate::time::Timestamp;

/// Indicators held at once, about 60 bytes each.
const MOST: usize = 4_000_000;
/// Refused lines that are kept word for word; further ones are only counted.
const SHOWN: usize = 100;

/// All lists.
#[derive(Debug, Default)]
pub struct Intel {
    lists: Vec<String>,
    hosts: HashMap<IpAddr, u16>,
    endpoints: HashMap<(IpAddr, u16), u16>,
    prefixes: Prefixes,
    names: HashMap<Box<str>, u16>,
    fingerprints: HashMap<Box<str>, u16>,
}

/// What came of reading a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub indicators: u64,
    /// Line numbers, counted from 1, and why each was refused; the first hundred.
    pub refused: Vec<(u64, Refused)>,
    pub refused_total: u64,
    /// Understood, and nothing that is accused: see [`crate::feed::Summary`].
    pub skipped: u64,
}

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed<'a> {
    /// Name of the list.
    pub(crate) list: &'a str,
    pub(crate) indicator: String,
    /// The indicator is a TLS fingerprint, not a destination.
    pub(crate) is_fingerprint: bool,
}

impl Intel {
    /// Reads a list in any of the formats of [`crate::feed`]; what has expired by `now` is left out.
    pub fn add(&mut self, list: &str, text: &[u8], now: Timestamp) -> Loaded {
        let mut loaded = Loaded::default();
        let Ok(number) = u16::try_from(self.lists.len()) else { return loaded };
        self.lists.push(list.to_owned());
        let mut take = |found: Found| {
            let (line, refused) = match found {
                Ok(entry) if self.len() >= MOST => (entry.line, Refused::TooMany),
                Ok(entry) => match indicator::screen(entry.value) {
                    Ok(indicator) => {
                        self.insert(indicator, number);
                        loaded.indicators += 1;
                        return;
                    }
                    Err(refused) => (entry.line, refused),
                },
                Err(rejected) => (rejected.line, Refused::Unread(rejected.reason)),
            };
            loaded.refused_total += 1;
            if loaded.refused.len() < SHOWN {
                loaded.refused.push((line, refused));
            }
        };
        let mut reader = Reader::new(now);
        reader.push(text, &mut take);
        let summary = reader.finish(&mut take);
        loaded.skipped = summary.skipped;
        self.prefixes.settle();
        loaded
    }

    fn insert(&mut self, indicator: Indicator, list: u16) {
        match indicator {
            Indicator::Host(address) => _ = self.hosts.entry(address).or_insert(list),
            Indicator::Endpoint(address, port) => _ = self.endpoints.entry((address, port)).or_insert(list),
            Indicator::Prefix(prefix) => self.prefixes.insert(prefix, list),
            Indicator::Name(name) => _ = self.names.entry(name).or_insert(list),
            Indicator::Fingerprint(fingerprint) => _ = self.fingerprints.entry(fingerprint).or_insert(list),
        }
    }

    /// Returns how many indicators there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len() + self.endpoints.len() + self.prefixes.len() + self.names.len() + self.fingerprints.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn address(&self, address: IpAddr, port: u16) -> Option<Listed<'_>> {
        if let Some(list) = self.hosts.get(&address) {
            return Some(self.listed(*list, address.to_string()));
        }
        if let Some(list) = self.endpoints.get(&(address, port)) {
            return Some(self.listed(*list, std::net::SocketAddr::new(address, port).to_string()));
        }
        let (prefix, list) = self.prefixes.find(address)?;
        Some(self.listed(list, prefix.to_string()))
    }

    /// Looks for the name and for every name above it.
    pub(crate) fn name(&self, name: &str) -> Option<Listed<'_>> {
        if self.names.is_empty() {
            return None;
        }
        let parents = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        let mut candidates = std::iter::once(name).chain(parents);
        let (indicator, list) = candidates.find_map(|name| self.names.get_key_value(name))?;
        Some(self.listed(*list, indicator.to_string()))
    }

    pub(crate) fn fingerprint(&self, fingerprint: &str) -> Option<Listed<'_>> {
        let list = self.fingerprints.get(fingerprint)?;
        Some(Listed { is_fingerprint: true, ..self.listed(*list, fingerprint.to_owned()) })
    }

    fn listed(&self, list: u16, indicator: String) -> Listed<'_> {
        let list = self.lists.get(usize::from(list)).map_or("", String::as_str);
        Listed { list, indicator, is_fingerprint: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intel(text: &str) -> (Intel, Loaded) {
        let mut intel = Intel::default();
        let loaded = intel.add("test", text.as_bytes(), Timestamp(0));
        (intel, loaded)
    }

    #[test]
    fn each_kind_of_indicator_is_found() {
        let ja3 = "6734f37431670b3ab4292b8f60f29984";
        let ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1";
        let text =
            format!("198.51.100.9 # why\n203.0.113.0/24\n192.0.2.7:4444\nbad.example\n{ja3}\n{ja4}\n2001:db8::/32\n");
        let (intel, loaded) = intel(&text);
        let address = |text: &str, port| intel.address(text.parse().unwrap(), port).map(|listed| listed.indicator);

        assert_eq!((loaded.indicators, loaded.refused_total), (7, 0));
        assert_eq!(address("198.51.100.9", 1).as_deref(), Some("198.51.100.9"));
        assert_eq!(address("203.0.113.77", 1).as_deref(), Some("203.0.113.0/24"));
        assert_eq!(address("2001:db8::5", 1).as_deref(), Some("2001:db8::/32"));
        assert_eq!(address("192.0.2.7", 4444).as_deref(), Some("192.0.2.7:4444"));
        assert_eq!(address("192.0.2.7", 443), None);
        assert_eq!(intel.name("a.b.bad.example").map(|listed| listed.indicator).as_deref(), Some("bad.example"));
        assert_eq!(intel.name("notbad.example"), None);
        assert!(intel.fingerprint(ja3).is_some_and(|listed| listed.is_fingerprint) && intel.fingerprint(ja4).is_some());
    }

    #[test]
    fn what_would_accuse_everybody_is_refused_by_line() {
        let (intel, loaded) = intel("0.0.0.0/0\n\n127.0.0.1\nco.uk\n10.0.0.1/8\nnot an indicator\n::/0\n");

        assert!(intel.is_empty());
        assert_eq!(loaded.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7]);
        assert_eq!(loaded.refused_total, 6);
    }

    #[test]
    fn hosts_files_and_advertisement_lists_are_read() {
        let (intel, loaded) = intel("0.0.0.0 bad.example\n||worse.example^\n; nothing\n[Adblock Plus]\n! comment\n");

        assert_eq!((loaded.indicators, loaded.refused_total), (2, 0));
        assert!(intel.name("bad.example").is_some() && intel.name("worse.example").is_some());
    }
}
