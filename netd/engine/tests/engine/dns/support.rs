//! Questions and answers, as tools and ordinary programs send them.

use netd_common::record::PayloadKind;
use netd_engine::config::Config;
use netd_engine::finding::Finding;

use crate::support::{Flow, UDP, World};

pub(super) const A: u16 = 1;
pub(super) const NULL: u16 = 10;
pub(super) const PTR: u16 = 12;
pub(super) const TXT: u16 = 16;
pub(super) const CLIENT: &str = "10.0.0.7";
pub(super) const RESOLVER: &str = "9.9.9.9";

/// A reproducible source of data.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn text(&mut self, alphabet: &[u8], len: usize) -> Vec<u8> {
        (0..len).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

/// A question on the wire, from labels of any bytes.
pub(super) fn question(labels: &[Vec<u8>], rtype: u16, flags: [u8; 2], answers: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, flags[0], flags[1], 0, 1, 0, answers as u8, 0, 0, 0, 0];
    for label in labels {
        bytes.push(label.len() as u8);
        bytes.extend(label);
    }
    bytes.push(0);
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

pub(super) fn labels(name: &str) -> Vec<Vec<u8>> {
    name.split('.').map(|label| label.as_bytes().to_vec()).collect()
}

/// What a server says.
#[derive(Clone)]
pub(super) enum Reply {
    Silence,
    NoSuchName,
    Data { ttl_s: u32, records: Vec<Vec<u8>> },
}

impl Reply {
    pub(super) fn address(address: [u8; 4]) -> Self {
        Self::Data { ttl_s: 300, records: vec![address.to_vec()] }
    }
}

/// A client of one server.
pub(super) struct Resolver<'a> {
    pub(super) client: &'a str,
    pub(super) server: &'a str,
}

pub(super) const USUAL: Resolver<'static> = Resolver { client: CLIENT, server: RESOLVER };

impl Resolver<'_> {
    pub(super) fn ask(&self, world: &mut World, name: &[Vec<u8>], rtype: u16, at_s: f64, reply: &Reply) {
        let flow = Flow::new(&format!("{}:40000", self.client), &format!("{}:53", self.server), UDP, at_s);
        let bytes = question(name, rtype, [1, 0], 0);
        world.engine.observe_payload(&flow.payload_record(true, PayloadKind::Dns, bytes.len(), at_s), &bytes);
        let bytes = match reply {
            Reply::Silence => return,
            Reply::NoSuchName => question(name, rtype, [0x81, 0x83], 0),
            Reply::Data { ttl_s, records } => {
                let mut bytes = question(name, rtype, [0x81, 0x80], records.len() as u16);
                for record in records {
                    bytes.extend([0xc0, 0x0c]);
                    bytes.extend(rtype.to_be_bytes());
                    bytes.extend([0, 1]);
                    bytes.extend(ttl_s.to_be_bytes());
                    bytes.extend((record.len() as u16).to_be_bytes());
                    bytes.extend(record);
                }
                bytes
            }
        };
        let at_s = at_s + 0.03;
        world.engine.observe_payload(&flow.payload_record(false, PayloadKind::Dns, bytes.len(), at_s), &bytes);
    }

    pub(super) fn ask_for(&self, world: &mut World, name: &str, at_s: f64, reply: &Reply) {
        self.ask(world, &labels(name), A, at_s, reply);
    }
}

/// A client that resolves ordinary names first, so that its resolver is known for one.
pub(super) fn world() -> World {
    let mut world = World::new(Config::default());
    for (n, name) in ["www.example.org", "example.com", "mail.example.net", "news.co.uk", "shop.de"].iter().enumerate()
    {
        USUAL.ask_for(&mut world, name, n as f64 * 3.0, &Reply::address([198, 51, 100, n as u8]));
    }
    world
}

pub(super) fn by<'a>(findings: &'a [Finding], detector: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.detector == detector).collect()
}
