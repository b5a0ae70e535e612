//! What traffic a service is recognised by.

use std::collections::HashMap;

use ipnet::IpNet;
use serde::Deserialize;

use super::is_likely_broadcast;
use crate::finding::Pair;
use crate::flow::protocol_name;
use crate::opening::Facts;

/// What a pattern looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) pair: &'a Pair,
    pub(crate) facts: Facts,
    /// The responder is monitored, too.
    pub(crate) is_internal: bool,
}

/// Conditions, all of which must hold. The ones left out hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pattern {
    pub(super) protocol: Option<Protocol>,
    pub(super) ports: Vec<u16>,
    /// A name; `*.name` for all names below it; or with one `*` as any single label: `ocsp.*`, `a.*.b`.
    pub(super) names: Vec<String>,
    pub(super) networks: Vec<IpNet>,
    /// The responder is monitored, too.
    pub(super) inside: Option<bool>,
    /// The responder is the last address of a private /24.
    pub(super) broadcast: Option<bool>,
    pub(super) speaks: Option<Speech>,
    pub(super) unless: Option<Speech>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// What the first bytes said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Speech {
    MetricsScrape,
    HealthProbe,
    NotDns,
    NotNtp,
}

impl Protocol {
    const fn holds(self, number: u8) -> bool {
        match self {
            Self::Tcp => number == 6,
            Self::Udp => number == 17,
            Self::Icmp => matches!(number, 1 | 58),
        }
    }
}

impl Speech {
    const fn fact(self) -> Facts {
        match self {
            Self::MetricsScrape => Facts::SCRAPE,
            Self::HealthProbe => Facts::PROBE,
            Self::NotDns => Facts::NOT_DNS,
            Self::NotNtp => Facts::NOT_NTP,
        }
    }
}

impl Pattern {
    /// Returns whether every condition but the names holds.
    pub(super) fn holds(&self, candidate: &Candidate<'_>) -> bool {
        self.unmet(candidate).is_none()
    }

    pub(super) const fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns why the pattern does not hold, or `None` if it does.
    pub(super) fn objection(&self, candidate: &Candidate<'_>) -> Option<String> {
        let Candidate { pair, facts, .. } = candidate;
        Some(match self.unmet(candidate)? {
            Condition::Protocol => format!("{} is not its protocol", protocol_name(pair.proto)),
            Condition::Port => format!("port {} is none of its ports", pair.responder_port),
            Condition::Network => format!("{} is none of its addresses", pair.responder),
            Condition::Inside if self.inside == Some(true) => format!("{} is outside", pair.responder),
            Condition::Inside => format!("{} is inside", pair.responder),
            Condition::Broadcast => format!("{} is no broadcast address", pair.responder),
            Condition::Speaks if facts.has(Facts::HTTP) => "no such request was seen".to_owned(),
            Condition::Speaks => "no clear HTTP request was seen".to_owned(),
            Condition::Unless => format!("the payload on port {} is another protocol's", pair.responder_port),
        })
    }

    fn unmet(&self, candidate: &Candidate<'_>) -> Option<Condition> {
        let Candidate { pair, facts, is_internal } = *candidate;
        let conditions = [
            (self.protocol.is_none_or(|protocol| protocol.holds(pair.proto)), Condition::Protocol),
            (self.ports.is_empty() || self.ports.contains(&pair.responder_port), Condition::Port),
            (self.inside.is_none_or(|inside| inside == is_internal), Condition::Inside),
            (
                self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&pair.responder)),
                Condition::Network,
            ),
            (self.broadcast.is_none_or(|is| is == is_likely_broadcast(pair.responder)), Condition::Broadcast),
            (self.speaks.is_none_or(|speech| facts.has(speech.fact())), Condition::Speaks),
            (self.unless.is_none_or(|speech| !facts.has(speech.fact())), Condition::Unless),
        ];
        conditions.into_iter().find_map(|(holds, condition)| (!holds).then_some(condition))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Protocol,
    Port,
    Inside,
    Network,
    Broadcast,
    Speaks,
    Unless,
}

/// The names of all services, found by a walk along the labels: as many look-ups as a name has labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    exact: HashMap<String, usize>,
    /// What stands after `*.`.
    below: HashMap<String, usize>,
    /// With a `*` elsewhere: few, compared one by one.
    wild: Vec<(String, usize)>,
}

impl Names {
    pub(super) fn insert(&mut self, name: &str, service: usize) {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.").filter(|parent| !parent.contains('*')) {
            Some(parent) => _ = self.below.insert(parent.to_owned(), service),
            None if name.contains('*') => self.wild.push((name, service)),
            None => _ = self.exact.insert(name, service),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        if let Some(service) = self.exact.get(name) {
            return Some(*service);
        }
        let parents = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        let below = parents.into_iter().find_map(|parent| self.below.get(parent));
        below.copied().or_else(|| self.wild.iter().find(|(pattern, _)| matches(pattern, name)).map(|(_, at)| *at))
    }
}

/// Compares label by label from the right; `*` is any one label, a last `*` any rest: `ocsp.*` is every `ocsp` server.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(first) = pattern.strip_suffix(".*") {
        return name.strip_prefix(first).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
    }
    let (mut wanted, mut labels) = (pattern.split('.'), name.split('.'));
    loop {
        match (wanted.next(), labels.next()) {
            (None, None) => return true,
            (Some(wanted), Some(label)) if wanted == "*" || wanted == label => {}
            (Some(_) | None, _) => return false,
        }
    }
}
