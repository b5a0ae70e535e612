//! Where the day takes place: hosts, the names they ask for, the resolver, and the wire that the gateway sees.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::wire::{Answer, By, Kind, Talk, Wire, query, reply};
use crate::traffic::dice::Dice;

const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

/// A host, by its place in [`Scene`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Host(pub(crate) usize);

/// A name, by its place in [`Scene`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Site(pub(crate) usize);

struct Machine {
    address: Ipv4Addr,
    next_port: u16,
    /// What it remembers of the resolver's answers, and until when.
    known: HashMap<Site, (Ipv4Addr, f64)>,
}

/// A name and its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) ttl_s: u32,
    /// From the gateway and back.
    pub(crate) round_trip_s: f64,
}

/// Everything that actors act upon.
pub(crate) struct Scene {
    pub(crate) wire: Wire,
    pub(crate) dice: Dice,
    machines: Vec<Machine>,
    services: Vec<Service>,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        Self { wire: Wire::default(), dice: Dice::new(seed), machines: Vec::new(), services: Vec::new() }
    }

    pub(crate) fn add_host(&mut self, address: Ipv4Addr) -> Host {
        let next_port = FIRST_PORT + self.dice.whole(0, 20_000) as u16;
        self.machines.push(Machine { address, next_port, known: HashMap::new() });
        Host(self.machines.len() - 1)
    }

    /// Adds a name with `count` addresses of its own.
    pub(crate) fn add_site(&mut self, name: String, count: usize, ttl_s: u32) -> Site {
        let addresses = (0..count).map(|_| outside(&mut self.dice)).collect();
        let round_trip_s = self.dice.between(0.004, 0.12);
        self.services.push(Service { name, addresses, ttl_s, round_trip_s });
        Site(self.services.len() - 1)
    }

    /// Adds a name that shares the addresses of another, as behind a content delivery network.
    pub(crate) fn add_alias(&mut self, name: String, of: Site) -> Site {
        let shared = self.services[of.0].clone();
        self.services.push(Service { name, ..shared });
        Site(self.services.len() - 1)
    }

    pub(crate) fn address(&self, host: Host) -> Ipv4Addr {
        self.machines[host.0].address
    }

    pub(crate) fn service(&self, site: Site) -> &Service {
        &self.services[site.0]
    }

    /// Returns the host's end of its next conversation.
    pub(crate) fn socket(&mut self, host: Host) -> SocketAddr {
        let machine = &mut self.machines[host.0];
        machine.next_port = if machine.next_port >= LAST_PORT { FIRST_PORT } else { machine.next_port + 1 };
        (machine.address, machine.next_port).into()
    }

    /// Returns an address of a name, and when the host has it: at once, or after it asked the resolver.
    pub(crate) fn resolve(&mut self, host: Host, site: Site, at_s: f64) -> (IpAddr, f64) {
        let held = self.machines[host.0].known.get(&site).copied().filter(|(_, until_s)| *until_s > at_s);
        if let Some((address, _)) = held {
            return (address.into(), at_s);
        }
        let (addresses, ttl_s, name) = {
            let service = &self.services[site.0];
            (service.addresses.clone(), service.ttl_s, service.name.clone())
        };
        // Answers come in turn; clients take the first.
        let first = self.dice.whole(0, addresses.len() - 1);
        let rotated: Vec<Ipv4Addr> = addresses[first..].iter().chain(&addresses[..first]).take(4).copied().collect();
        let address = rotated[0];
        let ready_s = self.ask(host, at_s, &name, Kind::A, &Answer::Addresses(rotated), ttl_s);
        self.machines[host.0].known.insert(site, (address, ready_s + f64::from(ttl_s)));
        (address.into(), ready_s)
    }

    /// Asks the resolver; returns when the answer has come.
    pub(crate) fn ask(&mut self, host: Host, at_s: f64, name: &str, kind: Kind, answer: &Answer, ttl_s: u32) -> f64 {
        let id = self.dice.bits() as u16;
        let (asked, told) = (query(id, name, kind), reply(id, name, kind, answer, ttl_s));
        let takes_s = if self.dice.chance(0.7) { 0.001 } else { self.dice.between(0.01, 0.12) };
        let mut talk = Talk::udp(self.socket(host), (RESOLVER, 53).into());
        talk.say(&mut self.wire, at_s, By::Client, asked.len() as u64, || asked);
        talk.say(&mut self.wire, at_s + takes_s, By::Server, told.len() as u64, || told);
        talk.over(&mut self.wire);
        at_s + takes_s
    }
}

/// An address outside of the monitored networks.
pub(crate) fn outside(dice: &mut Dice) -> Ipv4Addr {
    const FIRST: [u8; 8] = [13, 23, 34, 45, 81, 93, 151, 185];
    let first = FIRST[dice.whole(0, FIRST.len() - 1)];
    Ipv4Addr::new(first, dice.whole(1, 254) as u8, dice.whole(0, 255) as u8, dice.whole(1, 254) as u8)
}

/// Something that acts now and then.
pub(crate) trait Actor {
    /// Returns when it acts first.
    fn first_s(&self, scene: &mut Scene) -> Option<f64> {
        const WITHIN_S: f64 = 900.0;
        Some(scene.dice.between(0.0, WITHIN_S))
    }

    /// Acts, and returns when it does so again.
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64>;
}
