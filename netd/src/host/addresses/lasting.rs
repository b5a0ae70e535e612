//! Addresses that are there, or were until a moment ago: a lease that is renewed, a route that is replaced and a file that
//! is rewritten leave no gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::Addresses;

/// How long an address counts after it was last seen.
const GRACE: Duration = Duration::from_secs(3);

/// When each address was seen last.
#[derive(Debug, Default)]
pub struct Lasting {
    own: BTreeMap<IpAddr, Instant>,
    gateways: BTreeMap<IpAddr, Instant>,
    resolvers: BTreeMap<IpAddr, Instant>,
}

impl Lasting {
    /// Takes a look into account; returns what counts at `now`.
    pub fn observe(&mut self, seen: &Addresses, now: Instant) -> Addresses {
        Addresses {
            own: last(&mut self.own, &seen.own, now),
            gateways: last(&mut self.gateways, &seen.gateways, now),
            resolvers: last(&mut self.resolvers, &seen.resolvers, now),
        }
    }
}

fn last(known: &mut BTreeMap<IpAddr, Instant>, seen: &BTreeSet<IpAddr>, now: Instant) -> BTreeSet<IpAddr> {
    known.extend(seen.iter().map(|address| (*address, now)));
    known.retain(|_, at| now.saturating_duration_since(*at) < GRACE);
    known.keys().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(text: &str) -> Addresses {
        Addresses { gateways: BTreeSet::from([text.parse().unwrap()]), ..Addresses::default() }
    }

    #[test]
    fn a_new_gateway_counts_at_once_and_the_old_one_until_it_is_surely_gone() {
        let start = Instant::now();
        let mut lasting = Lasting::default();
        lasting.observe(&gateway("192.0.2.1"), start);

        let both = lasting.observe(&gateway("192.0.2.9"), start + GRACE / 2);
        let new = lasting.observe(&gateway("192.0.2.9"), start + GRACE);

        assert_eq!(both.gateways.len(), 2);
        assert_eq!(new, gateway("192.0.2.9"));
    }

    #[test]
    fn what_is_gone_for_a_moment_never_stopped_counting() {
        let start = Instant::now();
        let mut lasting = Lasting::default();
        for (look, seen) in [gateway("192.0.2.1"), Addresses::default(), gateway("192.0.2.1")].iter().enumerate() {
            let counts = lasting.observe(seen, start + GRACE / 2 * look as u32);

            assert_eq!(counts, gateway("192.0.2.1"), "look {look}");
        }
    }
}
