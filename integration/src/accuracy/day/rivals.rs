//! What RITA and the CV rule make of the same day's connections.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::connection::{Connection, Log};
use super::super::{cv, rita};
use super::Implant;

/// What a rival found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Seconds from its first packet, by implant.
    pub(crate) implants: Vec<Option<f64>>,
    /// Pairs of ordinary traffic it alerts on, of how many from within to outside.
    pub(crate) false_pairs: usize,
    pub(crate) pairs: usize,
    pub(crate) false_hosts: usize,
}

/// Returns when a pair's connections first alert.
type Rule = fn(&[Connection]) -> Option<f64>;

/// Returns what the two find: RITA scored each hour over a rolling day, the rule at each connection.
pub(crate) fn find(log: &mut Log, implants: &[Implant]) -> [Found; 2] {
    let rivals: [Rule; 2] = [rita::first_alert_s, cv::first_alert_s];
    let mut found = [(); 2].map(|()| Found { implants: vec![None; implants.len()], ..Found::default() });
    let mut hosts = [BTreeSet::new(), BTreeSet::new()];
    for (pair, connections) in log.pairs().filter(|(pair, _)| is_outward(pair)) {
        let implant = implants.iter().position(|implant| implant.is(pair.0, pair.1, None));
        for (rival, (found, hosts)) in rivals.iter().zip(found.iter_mut().zip(&mut hosts)) {
            found.pairs += usize::from(implant.is_none());
            let Some(at_s) = rival(connections) else { continue };
            match implant {
                Some(implant) => {
                    let after_s = at_s - implants[implant].from_s;
                    let best = &mut found.implants[implant];
                    *best = Some(best.map_or(after_s, |best| best.min(after_s)));
                }
                None => {
                    found.false_pairs += 1;
                    hosts.insert(pair.0);
                }
            }
        }
    }
    for (found, hosts) in found.iter_mut().zip(&hosts) {
        found.false_hosts = hosts.len();
    }
    found
}

/// Both look at what leaves the network.
fn is_outward((_, responder): &(IpAddr, IpAddr)) -> bool {
    match responder {
        IpAddr::V4(address) => !address.is_private() && !address.is_multicast(),
        IpAddr::V6(_) => false,
    }
}
