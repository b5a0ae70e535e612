//! The detector of fast flux: a name that moves from network to network faster than a service would.

use std::net::IpAddr;
use std::sync::Arc;

use super::asked::Asked;
use super::bounded::Worth;
use super::sketch::Few;
use crate::attack::Technique;
use crate::detect::{Context, Detector, Evidence};
use crate::score::Ledger;
use crate::weights::Term;

/// A history is begun anew after a day.
const DAY_NS: u64 = 86_400_000_000_000;

/// The addresses that short-lived answers gave one name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    first_ns: u64,
    last_ns: u64,
    addresses: Few<4>,
    networks: Few<4>,
    answers: u32,
    /// Addresses in answers, and those that no answer had given before.
    given: u32,
    new: u32,
}

impl Name {
    pub(super) fn new(text: Arc<str>, at_ns: u64) -> Self {
        Self {
            text,
            first_ns: at_ns,
            last_ns: at_ns,
            addresses: Few::new(),
            networks: Few::new(),
            answers: 0,
            given: 0,
            new: 0,
        }
    }

    /// Takes an answer into account; returns the number of networks so far.
    pub(super) fn note(&mut self, addresses: impl Iterator<Item = IpAddr>, at_ns: u64) -> u32 {
        if at_ns.saturating_sub(self.first_ns) > DAY_NS {
            *self = Self::new(self.text.clone(), at_ns);
        }
        self.last_ns = at_ns.max(self.last_ns);
        self.answers = self.answers.saturating_add(1);
        for address in addresses {
            let (whole, network) = numbers(address);
            self.given = self.given.saturating_add(1);
            self.new = self.new.saturating_add(u32::from(self.addresses.add(whole)));
            self.networks.add(network);
        }
        self.networks.count()
    }

    pub(super) fn seen(&self, asked: Asked) -> Moving {
        Moving {
            asked,
            addresses: self.addresses.count(),
            networks: self.networks.count(),
            turnover: f64::from(self.new) / f64::from(self.given.max(1)),
            answers: self.answers,
            over_s: self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9,
        }
    }
}

impl Worth for Name {
    fn worth(&self, now_ns: u64) -> f64 {
        self.networks.estimate() / (1.0 + now_ns.saturating_sub(self.last_ns) as f64 / 3.6e12)
    }
}

/// The address and its /16 (IPv4) or /32 (IPv6), as numbers.
fn numbers(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(v4) => {
            let bits = u64::from(v4.to_bits());
            (bits, bits >> 16)
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            ((bits >> 64) as u64 ^ bits as u64, (bits >> 96) as u64 | 1 << 40)
        }
    }
}

/// A name on the move.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) asked: Asked,
    pub(super) addresses: u32,
    pub(super) networks: u32,
    /// Share of addresses that were new when they were given.
    pub(super) turnover: f64,
    pub(super) answers: u32,
    pub(super) over_s: f64,
}

impl Evidence for Moving {
    fn detector(&self) -> Detector {
        Detector::FastFlux
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let folds = (f64::from(self.networks) / thresholds.ordinary_networks).ln().clamp(0.0, thresholds.most_folds);
        ledger.add_times(Term::FluxNetworks, folds, || {
            let Self { addresses, networks, answers, .. } = self;
            let minutes = self.over_s / 60.0;
            format!("{addresses} addresses in {networks} networks, in {answers} answers over {minutes:.0} min")
        });
        if self.turnover >= thresholds.turnover {
            let value = || format!("{:.0} % of the addresses were new when given", 100.0 * self.turnover);
            ledger.add(Term::FluxTurnover, value);
        }
        self.asked.weigh(context, ledger);
    }

    fn title(&self, _context: &Context<'_>) -> String {
        format!("{} moves through {} networks", self.asked.domain, self.networks)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![Technique::FastFlux]
    }

    fn is_two_way(&self) -> bool {
        true
    }

    fn may_block(&self) -> bool {
        false
    }

    fn correct<'a>(&'a self, context: &mut Context<'a>) {
        self.asked.correct(context);
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        vec![
            "content delivery: its addresses lie in few networks and come again".to_owned(),
            format!("a pool of volunteers' servers: {} is none that is known", self.asked.domain),
        ]
    }
}
