//! Rules, and the keys that name them.

use std::net::{IpAddr, SocketAddr};

use aya::maps::{
    ArrayOfMaps, HashMap, MapData,
    lpm_trie::{Key, LpmTrie},
};
use netd_common::{
    key::{Address, Direction, Endpoint, FlowKey},
    names::maps,
    verdict::{Rule, RuleId, front_bit, near},
};
use zerocopy::IntoBytes;

use super::Kernel;

/// What a verdict names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    /// Both directions of a five-tuple.
    Flow(FlowKey),
    Endpoint(SocketAddr, u8),
    Host(IpAddr),
    /// Bits as an IPv4 or IPv6 prefix counts them.
    Prefix(IpAddr, u32),
}

/// Returns the directed five-tuple between two sockets.
pub(crate) fn directed(src: SocketAddr, dst: SocketAddr, proto: u8) -> FlowKey {
    FlowKey {
        src: src.ip().into(),
        dst: dst.ip().into(),
        src_port: src.port().to_be_bytes(),
        dst_port: dst.port().to_be_bytes(),
        proto,
        pad: [0; 3],
    }
}

/// The inner maps of a generation of lists.
type Hosts = HashMap<MapData, [u8; 16], u32>;
type Prefixes = LpmTrie<MapData, [u8; 16], u32>;

/// `BPF_F_NO_PREALLOC`, without which there is no trie.
const NO_PREALLOC: u32 = 1;

fn trie_key(ip: IpAddr, bits: u32) -> Key<[u8; 16]> {
    Key::new(bits + if ip.is_ipv4() { 96 } else { 0 }, Address::from(ip).0)
}

impl Kernel {
    /// Makes the first generation of lists, with room for so many keys of a kind.
    pub(super) fn make_lists(&mut self, room: u32) {
        let (hosts, prefixes) = (Hosts::create(room, 0).unwrap(), Prefixes::create(room, NO_PREALLOC).unwrap());
        ArrayOfMaps::try_from(self.map(maps::BLOCK_HOSTS)).unwrap().set(0, &hosts, 0).unwrap();
        ArrayOfMaps::try_from(self.map(maps::BLOCK_PREFIXES)).unwrap().set(0, &prefixes, 0).unwrap();
    }

    /// Lists a key under a new rule.
    pub(crate) fn list(&mut self, level: Level, rule: Rule) -> RuleId {
        let id = self.next_rule;
        self.next_rule += 1;
        self.set_rule(id, rule);
        self.list_under(level, id);
        id
    }

    /// Writes a rule, and nothing else.
    pub(crate) fn set_rule(&mut self, id: RuleId, rule: Rule) {
        let mut bytes = [0; size_of::<Rule>()];
        bytes.copy_from_slice(rule.as_bytes());
        self.array::<{ size_of::<Rule>() }>(maps::RULES).set(id, bytes, 0).unwrap();
    }

    /// Lists a key under a rule that is there.
    pub(crate) fn list_under(&mut self, level: Level, id: RuleId) {
        match level {
            Level::Flow(key) => {
                let a_to_b = key.conversation().0.flow(Direction::AToB);
                self.insert::<{ size_of::<FlowKey>() }>(maps::BLOCK_FLOWS, a_to_b.as_bytes(), id);
                self.mark(&key.src);
                self.mark(&key.dst);
            }
            Level::Endpoint(socket, proto) => {
                let key = Endpoint::new(socket.ip().into(), socket.port().to_be_bytes(), proto);
                self.insert::<{ size_of::<Endpoint>() }>(maps::BLOCK_ENDPOINTS, key.as_bytes(), id);
                self.mark(&key.address);
            }
            Level::Host(ip) => {
                let address = Address::from(ip);
                let outer = ArrayOfMaps::<_, Hosts>::try_from(self.map(maps::BLOCK_HOSTS)).unwrap();
                outer.get(&0, 0).unwrap().insert(address.0, id, 0).unwrap();
                self.mark(&address);
            }
            Level::Prefix(ip, bits) => {
                let outer = ArrayOfMaps::<_, Prefixes>::try_from(self.map(maps::BLOCK_PREFIXES)).unwrap();
                outer.get(&0, 0).unwrap().insert(&trie_key(ip, bits), id, 0).unwrap();
                self.mark_prefix(ip, bits);
            }
        }
        self.new_generation();
    }

    /// Puts a prefix on the allow-list.
    pub(crate) fn allow(&mut self, ip: IpAddr, bits: u32) {
        let mut trie = LpmTrie::<_, [u8; 16], u32>::try_from(self.map(maps::ALLOW)).unwrap();
        trie.insert(&trie_key(ip, bits), 1, 0).unwrap();
        self.new_generation();
    }

    /// Tells egress of an interface that another one is watched.
    pub(crate) fn watch(&mut self, ifindex: u32) {
        let mut map = HashMap::<_, u32, u32>::try_from(self.map(maps::WATCHED)).unwrap();
        map.insert(ifindex, 1, 0).unwrap();
        self.steer(|control| control.forwards = 1);
    }

    fn insert<const N: usize>(&mut self, map: &str, key: &[u8], id: RuleId) {
        let mut bytes = [0; N];
        bytes.copy_from_slice(key);
        HashMap::<_, [u8; N], u32>::try_from(self.map(map)).unwrap().insert(bytes, id, 0).unwrap();
    }

    /// Marks a prefix in the front: every /24 it covers, or its /48, or all of IPv6.
    fn mark_prefix(&mut self, ip: IpAddr, bits: u32) {
        match ip {
            IpAddr::V4(v4) => {
                let covered = 1_u32 << 24_u32.saturating_sub(bits);
                assert!(covered <= 1 << 16, "a test needs no prefix this wide");
                for number in 0..covered {
                    let site = (v4.to_bits() & !(covered - 1) << 8) + (number << 8);
                    self.mark(&Address::v4(site.to_be_bytes()));
                }
            }
            IpAddr::V6(_) if bits < 48 => self.steer(|control| control.short_v6_prefixes = 1),
            IpAddr::V6(_) => self.mark(&ip.into()),
        }
    }

    fn mark(&mut self, address: &Address) {
        let bit = front_bit(address);
        let mut front = self.array::<8>(maps::FRONT);
        let word = u64::from_ne_bytes(front.get(&(bit >> 6), 0).unwrap()) | u64::from(near::ANYTHING) << (bit & 63);
        front.set(bit >> 6, word.to_ne_bytes(), 0).unwrap();
    }
}
