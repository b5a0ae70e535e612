//! What a walk says, and what speaks for and against it.

use super::sources::Suspect;
use super::{Shape, Thresholds};
use crate::attack::Technique;
use crate::detect::{Context, Detector, Evidence};
use crate::flow::protocol_name;
use crate::score::Ledger;
use crate::weights::Term;

/// Ports of services that worms and intruders look for wherever they are, mostly below 1,024: administration, file
/// sharing, databases, routers. Names, web and mail are not among them: clients contact those everywhere, too.
const SOUGHT: [u16; 30] = [
    21, 22, 23, 81, 111, 135, 139, 389, 445, 513, 514, 873, 1_433, 1_521, 2_222, 2_323, 2_375, 3_306, 3_389, 5_060,
    5_432, 5_555, 5_900, 5_985, 6_379, 7_547, 8_291, 9_200, 11_211, 27_017,
];

/// A source that contacts many and is answered by few.
pub(crate) struct Scan {
    pub(crate) suspect: Suspect,
    /// The source is outside and its targets are monitored.
    pub(crate) is_inbound: bool,
}

impl Evidence for Scan {
    fn detector(&self) -> Detector {
        if self.is_inbound { Detector::InboundScan } else { Detector::PortScan }
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = ledger.weights().scan;
        let walk = &self.suspect.walk;
        let nats = f64::from(walk.ln_ratio).min(thresholds.most_walk);
        let value = || {
            let (failed, tried) = (walk.failed, walk.tried);
            format!("{failed} of {tried} first contacts failed; ln likelihood ratio {:.1}", walk.ln_ratio)
        };
        ledger.add_times(Term::FirstContactsFail, nats, value);
        if let Some(port) = self.scattered(context, &thresholds) {
            let value = || format!("{:.0} networks on port {port}, as peers and clients contact them", walk.networks());
            ledger.add(Term::ScatteredTargets, value);
        }
        if context.is_internal && !self.is_inbound {
            ledger.add(Term::InternalTargets, || "the targets are monitored hosts".to_owned());
        }
    }

    fn title(&self, context: &Context<'_>) -> String {
        let (walk, source) = (&self.suspect.walk, context.pair.originator);
        let (failed, tried) = (walk.failed, walk.tried);
        let proto = protocol_name(context.pair.proto);
        match self.suspect.shape {
            Shape::Vertical(host) => {
                format!("{source} scans {}: {failed} of {tried} {proto} ports did not answer", host.ip())
            }
            Shape::Horizontal(port) => {
                format!("{source} sweeps port {port}/{proto}: {failed} of {tried} hosts did not answer")
            }
            Shape::Mixed => format!("{source} scans hosts and ports: {failed} of {tried} did not answer"),
        }
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        if self.is_inbound { vec![Technique::ActiveScanning] } else { vec![Technique::NetworkServiceDiscovery] }
    }

    /// What is not answered may be forged.
    fn is_two_way(&self) -> bool {
        false
    }

    fn considered(&self, context: &Context<'_>) -> Vec<String> {
        let walk = &self.suspect.walk;
        let mut considered = vec![
            format!("a server that is down: {} different targets failed", walk.failed),
            "names that lead nowhere: only addresses that no DNS answer gave count for a sweep".to_owned(),
        ];
        if context.pair.proto == 17 {
            considered.push("traceroute: its ports are left out".to_owned());
        }
        if self.suspect.shape == Shape::Mixed {
            considered.push(format!("peer to peer: {} failures in {:.0} networks", walk.failed, walk.networks()));
        }
        considered
    }
}

impl Scan {
    /// Returns the port of a sweep that looks like a client's or a peer's bad luck.
    fn scattered(&self, context: &Context<'_>, thresholds: &Thresholds) -> Option<u16> {
        let Shape::Horizontal(port) = self.suspect.shape else { return None };
        let walk = &self.suspect.walk;
        let is_dense = walk.networks() <= thresholds.dense * f64::from(walk.failed);
        let is_sought = SOUGHT.contains(&port) && context.pair.proto == 6;
        (!is_dense && !is_sought && !self.is_inbound).then_some(port)
    }
}
