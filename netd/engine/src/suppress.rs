//! Suppressions: findings that an operator does not want to see again, by whom, why and until when.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::name::within;
use crate::time::Timestamp;

/// One suppression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    pub id: u64,
    pub matching: Matching,
    pub who: String,
    pub why: String,
    pub since: Timestamp,
    /// None: until it is removed.
    pub until: Option<Timestamp>,
}

/// Which findings: every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Matching {
    /// The detector's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Prefix that holds the originator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = "198.51.100.0/24")]
    pub originator: Option<IpNet>,
    /// Prefix that holds the responder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = "198.51.100.0/24")]
    pub responder: Option<IpNet>,
    /// The responder's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The name or one below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The executable's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

impl Matching {
    /// Returns whether nothing is asked for, so that every finding would match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    pub fn holds(&self, finding: &Finding) -> bool {
        let in_net = |net: &Option<IpNet>, address: IpAddr| net.is_none_or(|net| net.contains(&address));
        let exe = finding.process.as_ref().and_then(|process| process.exe.as_deref());
        let is_named = |wanted: &String| finding.name.as_deref().is_some_and(|name| within(name, wanted));
        self.detector.as_ref().is_none_or(|detector| finding.detector == detector)
            && in_net(&self.originator, finding.pair.originator)
            && in_net(&self.responder, finding.pair.responder)
            && self.port.is_none_or(|port| finding.pair.responder_port == port)
            && self.name.as_ref().is_none_or(is_named)
            && self.exe.as_ref().is_none_or(|wanted| exe == Some(wanted))
    }
}

impl Suppression {
    /// Returns whether it covers a finding at `now`.
    #[must_use]
    pub fn covers(&self, finding: &Finding, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.matching.holds(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Pair, Severity};

    fn finding() -> Finding {
        Finding {
            id: 1,
            time: Timestamp(10),
            first_seen: Timestamp(1),
            detector: "beacon",
            title: String::new(),
            severity: Severity::Low,
            score: 0.95,
            pair: Pair {
                originator: "10.0.0.7".parse().unwrap(),
                responder: "198.51.100.9".parse().unwrap(),
                responder_port: 443,
                proto: 6,
            },
            name: Some("a.example.org".into()),
            process: None,
            block: false,
            responder_region: None,
            rhythm: None,
            reasons: Vec::new(),
            considered: Vec::new(),
            attack: Vec::new(),
            techniques: Vec::new(),
            host: None,
            decision: None,
        }
    }

    #[test]
    fn every_condition_that_is_given_must_hold() {
        let holds = |yaml: &str| matching(yaml).holds(&finding());
        assert!(holds("name: example.org"));
        assert!(holds("{detector: beacon, responder: 198.51.100.0/24, port: 443}"));
        assert!(!holds("{detector: beacon, responder: 198.51.100.0/24, port: 80}"));
        assert!(!holds("exe: /usr/bin/curl"), "without a process nothing is known of its executable");
        assert!(!holds("name: ample.org"));
    }

    #[test]
    fn it_ends_when_it_said() {
        let matching = Matching { port: Some(443), ..Matching::default() };
        let suppression = Suppression {
            id: 1,
            matching,
            who: "me".into(),
            why: "backup".into(),
            since: Timestamp(0),
            until: Some(Timestamp(20)),
        };

        assert!(suppression.covers(&finding(), Timestamp(19)));
        assert!(!suppression.covers(&finding(), Timestamp(20)));
    }

    fn matching(yaml: &str) -> Matching {
        serde_saphyr::from_str(yaml).unwrap()
    }
}
