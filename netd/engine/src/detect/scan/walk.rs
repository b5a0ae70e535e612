//! The threshold random walk: what a source's first contacts say of it, one after the other.
//!
//! Jung, Paxson, Berger, Balakrishnan, "Fast Portscan Detection Using Sequential Hypothesis Testing" (IEEE Symposium on
//! Security and Privacy 2004). First contacts of an ordinary host succeed with probability theta0, those of a scanner
//! with theta1 < theta0. Each outcome multiplies the likelihood ratio by (1 - theta1) / (1 - theta0) for a failure and
//! by theta1 / theta0 for a success. The walk decides at eta1 = (1 - beta) / alpha, with alpha the false-alarm and beta
//! the miss probability.
//!
//! The paper's walk ends at eta0. This one is held at 0 there (Page's test), because a host that is taken over after
//! years of good conduct must be found as fast as a new one.

use serde::Deserialize;

use super::Contact;
use crate::keyed::SketchKey;

const UDP: u8 = 17;
/// Bits of the sketch that counts networks.
const BITS: f64 = 128.0;

/// The probabilities of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Odds {
    /// Probability that a first contact of an ordinary host, of a scanner, is answered.
    pub theta0: f64,
    pub theta1: f64,
}

impl Odds {
    fn step(self, has_failed: bool) -> f64 {
        if has_failed { ((1.0 - self.theta1) / (1.0 - self.theta0)).ln() } else { (self.theta1 / self.theta0).ln() }
    }
}

/// One walk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Walk {
    pub(crate) ln_ratio: f32,
    /// First contacts since the walk last stood at 0, and how many of them failed.
    pub(crate) tried: u32,
    pub(crate) failed: u32,
    /// Linear counting (Whang, Vander-Zanden, Taylor 1990) of the /24 or /64 networks that did not answer.
    networks: u128,
}

impl Walk {
    /// Takes the outcome of a first contact into account.
    pub(crate) fn step(&mut self, contact: &Contact, odds: Odds) {
        self.ln_ratio += odds.step(contact.has_failed) as f32;
        if self.ln_ratio <= 0.0 {
            *self = Self::default();
            return;
        }
        self.tried = self.tried.saturating_add(1);
        if contact.has_failed {
            self.failed = self.failed.saturating_add(1);
            // No secret: who has networks collide looks denser, and so the more suspect.
            self.networks |= 1 << (SketchKey::default().number(&contact.network()) % 128);
        }
    }

    /// Returns about how many networks the failures lie in; more than a hundred are not told apart.
    pub(crate) fn networks(&self) -> f64 {
        let free = f64::from(self.networks.count_zeros()).max(0.5);
        BITS * (BITS / free).ln()
    }
}

impl Contact {
    /// The responder's network: /24 of IPv4, /64 of IPv6.
    fn network(&self) -> [u8; 16] {
        let kept = if self.responder.is_v4() { 15 } else { 8 };
        let mut network = self.responder.0;
        network[kept..].fill(0);
        network
    }

    /// Returns a number of the target: who, port, protocol. Not to be foretold, or a scanner could choose targets that
    /// all look known.
    pub(super) fn target(&self, key: SketchKey) -> u64 {
        key.number(&(self.responder.0, self.port, self.proto))
    }

    pub(super) fn is_udp(&self) -> bool {
        self.proto == UDP
    }
}

#[cfg(test)]
mod tests {
    use netd_common::key::Address;

    use super::*;

    const TCP: Odds = Odds { theta0: 0.8, theta1: 0.2 };

    fn contact(last: u8, has_failed: bool) -> Contact {
        Contact {
            originator: Address::v4([10, 0, 0, 7]),
            responder: Address::v4([198, 51, 100, last]),
            port: 22,
            proto: 6,
            has_failed,
            is_named: false,
            at_ns: 0,
        }
    }

    #[test]
    fn five_failures_in_a_row_are_ln_1024() {
        let mut walk = Walk::default();
        for last in 0..5 {
            walk.step(&contact(last, true), TCP);
        }

        assert!((walk.ln_ratio - 1024_f32.ln()).abs() < 1e-3, "{}", walk.ln_ratio);
        assert_eq!((walk.failed, walk.tried), (5, 5));
    }

    #[test]
    fn good_conduct_is_no_credit() {
        let mut walk = Walk::default();
        (0..200).for_each(|last| walk.step(&contact(last, false), TCP));

        (0..5).for_each(|last| walk.step(&contact(last, true), TCP));

        assert!(walk.ln_ratio > 6.0);
    }

    #[test]
    fn one_network_is_told_from_many() {
        let (mut near, mut far) = (Walk::default(), Walk::default());
        for last in 0..40 {
            near.step(&contact(last, true), TCP);
            let responder = Address::v4([last, 7, last, 1]);
            far.step(&Contact { responder, ..contact(last, true) }, TCP);
        }

        assert!(near.networks() < 2.0, "{}", near.networks());
        assert!((30.0..52.0).contains(&far.networks()), "{}", far.networks());
    }
}
