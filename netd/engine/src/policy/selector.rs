//! Conditions on findings: who speaks with whom, and whose doing it is.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netd_common::packet::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};
use schemars::JsonSchema;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::finding::Finding;
use crate::name::within;
use crate::process::Process;
use crate::region::Country;

/// A finding and what the engine knows of its ends.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub finding: &'a Finding,
    pub direction: Direction,
}

/// Which way a finding's conversations were opened, seen from the monitored networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Outbound,
    Inbound,
    /// Both ends are monitored.
    Internal,
    /// Neither end is.
    Transit,
}

impl Direction {
    /// Every direction, in order.
    pub const ALL: [Self; 4] = [Self::Outbound, Self::Inbound, Self::Internal, Self::Transit];

    /// Returns its name, as policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Internal => "internal",
            Self::Transit => "transit",
        }
    }

    /// Returns the direction between ends of which it is known whether they are monitored.
    #[must_use]
    pub const fn between(is_originator_local: bool, is_responder_local: bool) -> Self {
        match (is_originator_local, is_responder_local) {
            (true, false) => Self::Outbound,
            (false, true) => Self::Inbound,
            (true, true) => Self::Internal,
            (false, false) => Self::Transit,
        }
    }
}

/// Conditions. One of a list must hold for the list to hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// Which way the conversations were opened, seen from the monitored networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directions: Vec<Direction>,
    /// Addresses and prefixes of whoever begins.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub originators: Vec<IpNet>,
    /// Addresses and prefixes of whoever is addressed.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub destinations: Vec<IpNet>,
    /// Of whoever is addressed: a port, or a range such as `8000-8100`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Ports>,
    /// Transport protocols.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Protocol>,
    /// A name, or `*.name` for all names below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Where whoever is addressed is: ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub countries: Vec<Country>,
    /// Autonomous systems of whoever is addressed: `64500` or `AS64500`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asns: Vec<Asn>,
    /// An executable's path, or a process's name; a last `*` stands for any rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
    /// A user's name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// A container's name, image, or id, of which twelve digits suffice; a last `*` stands for any rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// A Kubernetes namespace; a last `*` stands for any rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// A Kubernetes pod's name; a last `*` stands for any rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
}

/// A condition by its key, and whether it holds.
type Condition = (&'static str, bool);

impl Selector {
    /// Returns whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether every condition that is given holds.
    #[must_use]
    pub fn holds(&self, case: &Case<'_>) -> bool {
        self.is_empty() || self.conditions(case).into_iter().flatten().all(|(_, holds)| holds)
    }

    /// Returns the key of the first condition that holds.
    pub(super) fn spares(&self, case: &Case<'_>) -> Option<&'static str> {
        if self.is_empty() {
            return None;
        }
        self.conditions(case).into_iter().flatten().find_map(|(key, holds)| holds.then_some(key))
    }

    /// Returns the key of a list that holds an empty text, which can mean nothing.
    pub(super) fn blank(&self) -> Option<&'static str> {
        let Self { names, processes, containers, namespaces, pods, .. } = self;
        let lists = [
            ("names", names),
            ("processes", processes),
            ("containers", containers),
            ("namespaces", namespaces),
            ("pods", pods),
        ];
        lists.into_iter().find_map(|(key, texts)| texts.iter().any(String::is_empty).then_some(key))
    }

    fn conditions(&self, &Case { finding, direction }: &Case<'_>) -> [Option<Condition>; 13] {
        let pair = &finding.pair;
        let process = finding.process.as_ref();
        let container = process.and_then(|process| process.container.as_deref());
        let pod = container.and_then(|container| container.pod.as_ref());
        let region = finding.responder_region.as_ref();
        let contains = |net: &IpNet, address: IpAddr| net.contains(&address);
        let is_named = |pattern: &String, name: Option<&str>| name.is_some_and(|name| is_like(pattern, name));
        [
            any("directions", &self.directions, |wanted| *wanted == direction),
            any("originators", &self.originators, |net| contains(net, pair.originator)),
            any("destinations", &self.destinations, |net| contains(net, pair.responder)),
            any("ports", &self.ports, |ports| ports.hold(pair.responder_port)),
            any("protocols", &self.protocols, |protocol| protocol.holds(pair.proto)),
            any("names", &self.names, |pattern| finding.name.as_deref().is_some_and(|name| names(pattern, name))),
            any("countries", &self.countries, |country| region.is_some_and(|region| region.country == Some(*country))),
            any("asns", &self.asns, |Asn(asn)| region.is_some_and(|region| region.asn == Some(*asn))),
            any("processes", &self.processes, |pattern| process.is_some_and(|process| runs(pattern, process))),
            any("users", &self.users, |user| process.is_some_and(|process| user.is(process))),
            any("containers", &self.containers, |pattern| {
                container.is_some_and(|container| {
                    let is_id = pattern.len() >= SHORTEST_ID && container.id.starts_with(pattern.as_str());
                    is_id
                        || is_named(pattern, container.name.as_deref())
                        || is_named(pattern, container.image.as_deref())
                })
            }),
            any("namespaces", &self.namespaces, |pattern| {
                is_named(pattern, pod.and_then(|pod| pod.namespace.as_deref()))
            }),
            any("pods", &self.pods, |pattern| is_named(pattern, pod.and_then(|pod| pod.name.as_deref()))),
        ]
    }
}

/// Every condition's key.
const KEYS: [&str; 13] = [
    "directions",
    "originators",
    "destinations",
    "ports",
    "protocols",
    "names",
    "countries",
    "asns",
    "processes",
    "users",
    "containers",
    "namespaces",
    "pods",
];

/// Returns the key of a condition that is written as `text`.
pub(super) fn key(text: &str) -> Option<&'static str> {
    KEYS.into_iter().find(|key| *key == text)
}

/// Digits of a container's id that tell it from others, as runtimes print it.
const SHORTEST_ID: usize = 12;

fn any<T>(key: &'static str, wanted: &[T], holds: impl Fn(&T) -> bool) -> Option<Condition> {
    (!wanted.is_empty()).then(|| (key, wanted.iter().any(holds)))
}

/// Whether a pattern means a host name.
fn names(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.len() > parent.len() && within(name, parent),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

fn runs(pattern: &str, process: &Process) -> bool {
    match pattern.starts_with('/') {
        true => process.exe.as_deref().is_some_and(|exe| is_like(pattern, exe)),
        false => is_like(pattern, &process.comm),
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    const fn holds(self, number: u8) -> bool {
        match self {
            Self::Tcp => number == IPPROTO_TCP,
            Self::Udp => number == IPPROTO_UDP,
            Self::Icmp => matches!(number, IPPROTO_ICMP | IPPROTO_ICMPV6),
        }
    }
}

/// A port or a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(with = "NumberOrText")]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    const fn hold(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl From<Ports> for String {
    fn from(Ports { first, last }: Ports) -> Self {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    }
}

/// The number of an autonomous system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(with = "NumberOrText")]
pub struct Asn(pub u32);

/// A user, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(with = "NumberOrText")]
pub enum User {
    Name(String),
    Number(u32),
}

impl User {
    fn is(&self, process: &Process) -> bool {
        match self {
            Self::Name(name) => process.user.as_deref() == Some(name),
            Self::Number(uid) => process.uid == *uid,
        }
    }
}

impl From<User> for String {
    fn from(user: User) -> Self {
        match user {
            User::Name(name) => name,
            User::Number(uid) => uid.to_string(),
        }
    }
}

/// What may be written as a number or as text.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// Reads a value from what may be written as a number or as text.
struct Read<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Read<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(format!("`{text}` is not {}", self.expected)))
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Self { first, last })
        };
        deserializer.deserialize_any(Read { expected: "a port from 0 to 65535, or a range such as 8000-8100", parse })
    }
}

impl<'de> Deserialize<'de> for Asn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.strip_prefix("AS").unwrap_or(text).parse().ok().map(Self);
        deserializer.deserialize_any(Read { expected: "the number of an autonomous system, such as AS64500", parse })
    }
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| match text.parse() {
            Ok(uid) => Some(Self::Number(uid)),
            Err(_) => (!text.is_empty()).then(|| Self::Name(text.to_owned())),
        };
        deserializer.deserialize_any(Read { expected: "a user's name or number", parse })
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| Self::new(text);
        deserializer.deserialize_str(Read { expected: "a country's two letters, such as NL", parse })
    }
}

/// An address or a prefix.
struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| {
            let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
            (net.trunc() == net).then_some(Self(net))
        };
        deserializer.deserialize_str(Read { expected: "an IP address, or a prefix without host bits", parse })
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Ok(Vec::<Network>::deserialize(deserializer)?.into_iter().map(|Network(net)| net).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_what_is_below_it_and_not_itself() {
        assert!(names("*.example.org", "a.Example.org"));
        assert!(names("Example.org", "example.org"));
        assert!(!names("*.example.org", "example.org"));
        assert!(!names("*.example.org", "badexample.org"));
    }
}
