//! Who contacts whom for the first time: a bounded number of sources, a bounded memory of each.

use netd_common::key::Address;

use super::walk::Walk;
use super::{Contact, Odds, Shape, Thresholds};
use crate::keyed::SketchKey;
use crate::pool::{Pool, Worth};

/// Sources remembered at once, about 1 KB each.
const LIMIT: usize = 16_384;
/// Words of the sketch of a source's targets: 4,096 bits.
const WORDS: usize = 64;
/// Targets after which the sketch begins anew: until then at most one first contact in three is taken for known.
const FULL: u32 = 1_600;
/// Hosts and ports whose walks are kept of one source; the least suspect gives way.
const WALKS: usize = 4;
const HOUR_NS: u64 = 3_600_000_000_000;

#[derive(Debug)]
struct Source {
    /// Bits of the targets that were contacted.
    seen: Box<[u64; WORDS]>,
    seen_count: u32,
    hosts: [Option<(Address, Walk)>; WALKS],
    ports: [Option<((u16, u8), Walk)>; WALKS],
    mixed: Walk,
    first_ns: u64,
    last_ns: u64,
    /// The walk's ratio when it was last judged.
    judged: f32,
}

impl Worth for Source {
    fn worth(&self) -> (f32, u64) {
        (self.most(), self.last_ns)
    }
}

/// A walk that has decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    pub(crate) shape: Shape,
    pub(crate) walk: Walk,
    pub(crate) first_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Scans {
    key: SketchKey,
    sources: Pool<Address, Source>,
}

impl Scans {
    pub(crate) fn new(key: SketchKey) -> Self {
        Self { key, sources: Pool::new(LIMIT) }
    }

    /// Returns whether an address is well on its way to being found.
    pub(crate) fn is_suspect(&self, source: &Address) -> bool {
        /// Four failures, one after the other, that no success made up for.
        const SUSPECT: f32 = 5.5;
        self.sources.get(source).is_some_and(|source| source.most() >= SUSPECT)
    }

    /// Takes an attempt into account; returns what it amounts to, whenever that has become clearly more.
    pub(crate) fn observe(&mut self, contact: &Contact, thresholds: &Thresholds) -> Option<Suspect> {
        if is_left_out(contact) {
            return None;
        }
        let source = if contact.has_failed {
            self.sources.get_or_insert_with(contact.originator, || Source::new(contact.at_ns))?
        } else {
            // The walk stands at 0 before the first failure, whatever succeeded.
            self.sources.get_mut(&contact.originator)?
        };
        let quiet_ns = (thresholds.quiet_s * 1e9) as u64;
        if contact.at_ns.saturating_sub(source.last_ns) > quiet_ns {
            *source = Source::new(contact.at_ns);
        }
        source.last_ns = source.last_ns.max(contact.at_ns);
        if !source.is_first(contact.target(self.key)) {
            return None;
        }
        source.step(contact, thresholds);
        source.suspect(contact, thresholds)
    }
}

impl Source {
    fn new(at_ns: u64) -> Self {
        Self {
            seen: Box::new([0; WORDS]),
            seen_count: 0,
            hosts: [None; WALKS],
            ports: [None; WALKS],
            mixed: Walk::default(),
            first_ns: at_ns,
            last_ns: at_ns,
            judged: 0.0,
        }
    }

    fn most(&self) -> f32 {
        let hosts = self.hosts.iter().flatten().map(|(_, walk)| walk.ln_ratio);
        let ports = self.ports.iter().flatten().map(|(_, walk)| walk.ln_ratio);
        hosts.chain(ports).chain([self.mixed.ln_ratio]).fold(0.0, f32::max)
    }

    fn is_first(&mut self, target: u64) -> bool {
        if self.seen_count >= FULL {
            self.seen.fill(0);
            self.seen_count = 0;
        }
        let (word, bit) = ((target >> 6) as usize % WORDS, 1_u64 << (target & 63));
        let is_first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        self.seen_count += u32::from(is_first);
        is_first
    }

    fn step(&mut self, contact: &Contact, thresholds: &Thresholds) {
        let odds: Odds = if contact.is_udp() { thresholds.udp } else { thresholds.tcp };
        walk_of(&mut self.hosts, contact.responder, contact.has_failed).into_iter().for_each(|w| w.step(contact, odds));
        // Names lead to hosts that are down; guesses lead to hosts that never were.
        if contact.has_failed && contact.is_named {
            return;
        }
        let port = (contact.port, contact.proto);
        walk_of(&mut self.ports, port, contact.has_failed).into_iter().for_each(|w| w.step(contact, odds));
        self.mixed.step(contact, odds);
    }

    fn suspect(&mut self, contact: &Contact, thresholds: &Thresholds) -> Option<Suspect> {
        let vertical = find(&self.hosts, contact.responder).filter(|walk| walk.failed >= thresholds.vertical_ports);
        let port = (contact.port, contact.proto);
        let horizontal = find(&self.ports, port).filter(|walk| walk.failed >= thresholds.horizontal_hosts);
        let is_dense = self.mixed.networks() <= thresholds.dense * f64::from(self.mixed.failed);
        let mixed = Some(self.mixed).filter(|walk| walk.failed >= thresholds.mixed_targets && is_dense);
        let shapes = [
            (Shape::Vertical(contact.responder), vertical),
            (Shape::Horizontal(contact.port), horizontal),
            (Shape::Mixed, mixed),
        ];
        let most = thresholds.most_walk as f32;
        let walks = shapes.into_iter().filter_map(|(shape, walk)| Some((shape, walk?)));
        // Of equal ones the first: what is simpler to say.
        let (shape, walk) = walks.reduce(|a, b| if b.1.ln_ratio.min(most) > a.1.ln_ratio.min(most) { b } else { a })?;
        let ratio = walk.ln_ratio.min(most);
        if f64::from(ratio) < thresholds.ln_eta1() || ratio < self.judged + 0.5 {
            return None;
        }
        self.judged = ratio;
        Some(Suspect { shape, walk, first_ns: self.first_ns })
    }
}

/// Returns the walk of `key`; a failure begins one, at the cost of the least suspect.
fn walk_of<K: Copy + Eq>(walks: &mut [Option<(K, Walk)>; WALKS], key: K, has_failed: bool) -> Option<&mut Walk> {
    let known = walks.iter().position(|walk| walk.is_some_and(|(of, _)| of == key));
    let at = match known {
        Some(at) => at,
        None if has_failed => {
            let ratio = |at: &usize| walks[*at].map_or(-1.0, |(_, walk)| walk.ln_ratio);
            let least = (0..WALKS).min_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
            walks[least] = Some((key, Walk::default()));
            least
        }
        None => return None,
    };
    walks[at].as_mut().map(|(_, walk)| walk)
}

fn find<K: Copy + Eq>(walks: &[Option<(K, Walk)>; WALKS], key: K) -> Option<Walk> {
    walks.iter().flatten().find(|(of, _)| *of == key).map(|(_, walk)| *walk)
}

/// Datagrams that are meant to find nobody (traceroute), and TCP's `ident`, which servers ask of whoever connects.
fn is_left_out(contact: &Contact) -> bool {
    const TRACEROUTE: std::ops::RangeInclusive<u16> = 33_434..=33_689;
    const IDENT: u16 = 113;
    if contact.is_udp() { TRACEROUTE.contains(&contact.port) } else { contact.port == IDENT }
}

/// How many findings about the internet's noise an hour may still bring.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    hour: u64,
    raised: u32,
}

impl Noise {
    /// Returns whether one more may be raised at `at_ns`, and counts it.
    pub(crate) fn admit(&mut self, at_ns: u64, per_hour: u32) -> bool {
        let hour = at_ns / HOUR_NS;
        if hour != self.hour {
            *self = Self { hour, raised: 0 };
        }
        self.raised += 1;
        self.raised <= per_hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    fn contact(responder: [u8; 4], port: u16, has_failed: bool) -> Contact {
        Contact {
            originator: Address::v4([10, 0, 0, 7]),
            responder: Address::v4(responder),
            port,
            proto: 6,
            has_failed,
            is_named: false,
            at_ns: 1,
        }
    }

    fn observe(contacts: impl IntoIterator<Item = Contact>) -> Option<(usize, Suspect)> {
        let thresholds = Weights::default().scan;
        let mut scans = Scans::new(SketchKey::default());
        let contacts = contacts.into_iter().enumerate();
        contacts.filter_map(|(n, contact)| Some((n + 1, scans.observe(&contact, &thresholds)?))).next()
    }

    #[test]
    fn ports_of_one_host_are_a_vertical_scan() {
        let (after, suspect) = observe((1..100).map(|port| contact([198, 51, 100, 9], port, true))).unwrap();

        assert!(after <= 10, "{after}");
        assert_eq!(suspect.shape, Shape::Vertical(Address::v4([198, 51, 100, 9])));
    }

    #[test]
    fn hosts_on_one_port_are_a_sweep() {
        let (after, suspect) = observe((1..100).map(|host| contact([10, 1, 0, host], 445, true))).unwrap();

        assert!(after <= 10, "{after}");
        assert_eq!(suspect.shape, Shape::Horizontal(445));
    }

    #[test]
    fn hosts_and_ports_in_any_order_are_a_mixed_scan() {
        let order = (0..400_u32).map(|n| n * 7_919 % 400);
        let contacts = order.map(|n| contact([10, 1, 0, (n / 20) as u8], 1_000 + (n % 20) as u16, true));

        assert_eq!(observe(contacts).unwrap().1.shape, Shape::Mixed);
    }

    #[test]
    fn a_server_that_is_down_is_one_target() {
        assert!(observe((0..1_000).map(|_| contact([198, 51, 100, 9], 443, true))).is_none());
    }

    #[test]
    fn failures_among_successes_are_no_scan() {
        let contacts = (0..2_000_u32).map(|n| contact([n as u8, 7, (n >> 8) as u8, 1], 443, n % 3 == 0));

        assert!(observe(contacts).is_none());
    }

    #[test]
    fn names_that_lead_nowhere_are_no_sweep() {
        let contacts = (0..200).map(|n| Contact { is_named: true, ..contact([n, 7, 0, 1], 25, true) });

        assert!(observe(contacts).is_none());
    }

    #[test]
    fn traceroute_is_no_scan() {
        let probes = (33_434..33_530).map(|port| Contact { proto: 17, ..contact([198, 51, 100, 9], port, true) });

        assert!(observe(probes).is_none());
    }

    #[test]
    fn a_million_sources_do_not_grow_the_memory() {
        let thresholds = Weights::default().scan;
        let mut scans = Scans::new(SketchKey::default());
        for n in 0..200_000_u32 {
            let originator = Address::v4(n.to_be_bytes());
            scans.observe(&Contact { originator, ..contact([10, 0, 0, 1], 22, true) }, &thresholds);
        }

        assert_eq!(scans.sources.len(), LIMIT);
    }

    #[test]
    fn noise_is_limited_by_the_hour() {
        let mut noise = Noise::default();

        let admitted = (0..100).filter(|n| noise.admit(*n, 10)).count();

        assert_eq!(admitted, 10);
        assert!(noise.admit(HOUR_NS, 10));
    }
}
