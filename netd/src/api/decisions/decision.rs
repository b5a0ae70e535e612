//! One decision: a verdict that cuts, in CrowdSec's words.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Response, Target};
use schemars::JsonSchema;
use serde::Serialize;

use crate::store::Findings;
use crate::time;
use crate::verdicts::Entry;

/// Every decision's `type` and `origin`.
pub(super) const TYPE: &str = "ban";
pub(super) const ORIGIN: &str = "netd";

/// How long a verdict without an end is said to hold, because a decision must have one: ten years, in seconds.
const FOREVER_S: u64 = 10 * 365 * 86_400;

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "DecisionScope")]
pub(in crate::api) enum Scope {
    /// An address.
    Ip,
    /// A prefix.
    Range,
    /// An address with port and protocol, `198.51.100.7:443/tcp`: a scope of netd, which bouncers do not ask for unless
    /// told to.
    Endpoint,
}

impl Scope {
    /// Returns the scope of a name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let names = [("ip", Self::Ip), ("range", Self::Range), ("endpoint", Self::Endpoint)];
        names.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, scope)| scope)
    }
}

/// What two decisions share when a bouncer cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) scope: Scope,
    pub(super) value: String,
}

/// A verdict that can be a decision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) key: Key,
    /// The addresses it is about.
    pub(super) net: IpNet,
    pub(super) until: Option<Timestamp>,
    pub(super) origin: Origin,
}

/// A decision as CrowdSec's local API shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct Decision {
    /// The verdict's number.
    id: u64,
    /// `netd`.
    origin: &'static str,
    /// `ban`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What `value` is.
    scope: Scope,
    /// What is banned.
    value: String,
    /// What is left, as Go writes durations; negative once it is over.
    duration: String,
    /// When it ends.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    until: Timestamp,
    /// `netd/` and the detector, or `netd/manual`.
    scenario: String,
    /// False: what is only counted is no decision.
    simulated: bool,
}

impl Held {
    /// Returns what a verdict cuts, unless that is nothing, or nothing that a bouncer has words for.
    pub(super) fn of(entry: Entry) -> Option<Self> {
        let Entry { id, created: _, verdict, leads: _, shielded_by, hits: _ } = entry;
        match verdict.response {
            Response::Drop | Response::Reset => {}
            Response::Observe | Response::Throttle { .. } => return None,
        }
        if verdict.shadow || shielded_by.is_some() {
            return None;
        }
        let (key, net) = match verdict.target {
            Target::Host { address } => (Key { scope: Scope::Ip, value: address.to_string() }, address.into()),
            Target::Prefix { prefix } => (Key { scope: Scope::Range, value: prefix.to_string() }, prefix),
            Target::Endpoint { address, port, proto } => {
                let end = std::net::SocketAddr::new(address, port);
                let value = format!("{end}/{}", protocol_name(proto));
                (Key { scope: Scope::Endpoint, value }, address.into())
            }
            Target::FiveTuple { .. } => return None,
        };
        Some(Self { id, key, net, until: verdict.until, origin: verdict.origin })
    }

    pub(super) fn view(&self, findings: &Findings, now: Timestamp) -> Decision {
        let until = self.until.unwrap_or_else(|| Timestamp(now.0.saturating_add(FOREVER_S * 1_000_000_000)));
        self.decision(findings, until, go_duration(i128::from(until.0) - i128::from(now.0)))
    }

    /// Returns the decision as one that is over.
    fn gone(&self, findings: &Findings, now: Timestamp) -> Decision {
        let until = self.until.filter(|until| *until < now).unwrap_or(now);
        let over = (i128::from(until.0) - i128::from(now.0)).min(-1_000_000_000);
        self.decision(findings, until, go_duration(over))
    }

    fn decision(&self, findings: &Findings, until: Timestamp, duration: String) -> Decision {
        Decision {
            id: self.id,
            origin: ORIGIN,
            kind: TYPE,
            scope: self.key.scope,
            value: self.key.value.clone(),
            duration,
            until,
            scenario: scenario(&self.origin, findings),
            simulated: false,
        }
    }
}

/// Returns why: the detector, while its finding is known.
pub(super) fn scenario(origin: &Origin, findings: &Findings) -> String {
    match origin {
        Origin::Finding { finding, .. } => match findings.get(*finding) {
            Some(stored) => format!("netd/{}", stored.finding.detector),
            None => "netd/finding".to_owned(),
        },
        Origin::Manual => "netd/manual".to_owned(),
        Origin::List { list, name: _ } => format!("netd/list/{list}"),
    }
}

/// Decisions, one a key: of several that a bouncer cannot tell apart the one that holds longest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decisions(BTreeMap<Key, Held>);

impl Decisions {
    pub(super) fn add(&mut self, held: Held) {
        let end = |held: &Held| held.until.map_or(u64::MAX, |until| until.0);
        match self.0.get(&held.key) {
            Some(known) if end(known) >= end(&held) => {}
            Some(_) | None => {
                self.0.insert(held.key.clone(), held);
            }
        }
    }

    /// Returns the decisions that `before` lacks or has with another end.
    pub(super) fn beyond(&self, before: &Self) -> Self {
        let is_new =
            |held: &&Held| before.0.get(&held.key).is_none_or(|known| (known.id, known.until) != (held.id, held.until));
        Self(self.0.values().filter(is_new).map(|held| (held.key.clone(), held.clone())).collect())
    }

    /// Returns the decisions whose keys `after` lacks.
    pub(super) fn missing_in(&self, after: &Self) -> Self {
        let is_gone = |held: &&Held| !after.0.contains_key(&held.key);
        Self(self.0.values().filter(is_gone).map(|held| (held.key.clone(), held.clone())).collect())
    }

    pub(super) fn newest_first(self, before: Option<u64>) -> Vec<Held> {
        let mut all: Vec<Held> =
            self.0.into_values().filter(|held| before.is_none_or(|before| held.id < before)).collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.id));
        all
    }

    pub(super) fn views(&self, findings: &Findings) -> Vec<Decision> {
        let now = time::now();
        self.0.values().map(|held| held.view(findings, now)).collect()
    }

    pub(super) fn gone(&self, findings: &Findings) -> Vec<Decision> {
        let now = time::now();
        self.0.values().map(|held| held.gone(findings, now)).collect()
    }
}

/// Writes nanoseconds as Go's `time.Duration` does: `3h59m50.5s`.
fn go_duration(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let millis = nanoseconds.unsigned_abs() / 1_000_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{sign}{s}{fraction}s"),
        (0, m, s) => format!("{sign}{m}m{s}{fraction}s"),
        (h, m, s) => format!("{sign}{h}h{m}m{s}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_go_reads_it() {
        let table = [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (14_390_123_456_789, "3h59m50.123s"),
            (-3_600_000_000_000, "-1h0m0s"),
        ];
        for (nanoseconds, expected) in table {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }

    #[test]
    fn of_two_that_a_bouncer_cannot_tell_apart_the_longer_one_holds() {
        let held = |id, until: Option<u64>| Held {
            id,
            key: Key { scope: Scope::Ip, value: "198.51.100.9".into() },
            net: "198.51.100.9/32".parse().unwrap(),
            until: until.map(Timestamp),
            origin: Origin::Manual,
        };
        let (mut both, mut shorter) = (Decisions::default(), Decisions::default());
        both.add(held(1, None));
        both.add(held(2, Some(5)));
        shorter.add(held(2, Some(5)));

        assert_eq!(both.clone().newest_first(None)[0].id, 1);
        assert_eq!(both.missing_in(&shorter), Decisions::default());
        assert_eq!(shorter.beyond(&both), shorter);
    }
}
