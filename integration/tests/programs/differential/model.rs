//! The host's side: the shared parser, accounting and decision over plain collections.

use std::collections::{BTreeMap, HashMap};

use netd_common::{
    account::{Elsewhere, Excerpt, Excerpts, Observation, Sink, Turn, account, fill_flow, fill_turn},
    control::Control,
    counter::Counter,
    flow::{Set, Slot, Tick, mark, tag, tick},
    key::{Address, ConversationKey, Direction, Endpoint, FlowKey},
    packet::{IPPROTO_TCP, IPPROTO_UDP, Packet, ParseError},
    record::{FlowEvent, FlowRecord, Header, Kind, PayloadRecord, TurnRecord},
    verdict::{Action, Hits, Rule, RuleId, Subject, Verdicts, decide, near},
};
use zerocopy::FromZeros as _;

use super::corpus::{PORTS, Sent, end};
use crate::kernel::{Kernel, Level, Record, directed};

/// Counters that must be the same on both sides.
pub(super) const COMPARED: [Counter; 19] = [
    Counter::IngressPackets,
    Counter::IngressBytes,
    Counter::EgressPackets,
    Counter::EgressBytes,
    Counter::AccountedPackets,
    Counter::UnparsedNotIp,
    Counter::UnparsedTruncatedLink,
    Counter::UnparsedTruncatedNetwork,
    Counter::UnparsedTruncatedTransport,
    Counter::UnparsedBadHeader,
    Counter::UnparsedTooManyExtensions,
    Counter::UnparsedTooManyTags,
    Counter::FlowsBegun,
    Counter::FlowsEvicted,
    Counter::FlowRecords,
    Counter::TurnRecords,
    Counter::PayloadRecords,
    Counter::TcDropped,
    Counter::XdpDropped,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Pass,
    Drop,
    Reset,
}

#[derive(Default)]
struct Lists {
    rules: HashMap<RuleId, Rule>,
    flows: HashMap<FlowKey, RuleId>,
    endpoints: HashMap<Endpoint, RuleId>,
    hosts: HashMap<Address, RuleId>,
    prefixes: Vec<(Address, u32, RuleId)>,
    allowed: Vec<(Address, u32)>,
}

pub(super) struct Model {
    control: Control,
    cpu: u16,
    sets: Vec<Set>,
    lists: Lists,
    /// A moment of the kernel's clock, to the tick.
    now_ns: u64,
    /// When the model was made, roughly: gives a tick its upper bits.
    started_ns: u64,
    pub(super) counters: [u64; Counter::SLOTS],
    pub(super) hits: BTreeMap<RuleId, Hits>,
    pub(super) records: Vec<Record>,
}

/// Keeps every record: the kernel's ring buffer is emptied after each packet.
struct Keep<'a> {
    frame: &'a [u8],
    cpu: u16,
    counters: &'a mut [u64; Counter::SLOTS],
    records: &'a mut Vec<Record>,
}

impl Keep<'_> {
    fn add(&mut self, counter: Counter, record: Record) -> bool {
        self.counters[counter as usize] += 1;
        self.records.push(record);
        true
    }

    fn excerpt(&mut self, packet: &Packet, excerpt: &Excerpt) {
        let start = (packet.payload_offset + excerpt.offset) as usize;
        let data = self.frame[start..start + excerpt.len as usize].to_vec();
        let len = (size_of::<PayloadRecord>() + data.len()) as u32;
        let head = PayloadRecord {
            header: Header { kind: Kind::Payload as u16, cpu: self.cpu, len, time_ns: 0 },
            key: packet.conversation,
            wire_len: packet.payload_len,
            captured: data.len() as u16,
            direction: packet.direction,
            kind: excerpt.kind as u8,
            seq: excerpt.seq,
            offset: excerpt.offset,
        };
        self.add(Counter::PayloadRecords, Record::Payload(head, data));
    }
}

impl Sink for Keep<'_> {
    fn flow(&mut self, slot: &Slot, last: Tick, event: FlowEvent, now_ns: u64) -> bool {
        let mut record = FlowRecord::new_zeroed();
        fill_flow(&mut record, slot, last, event, self.cpu, 0, now_ns);
        self.add(Counter::FlowRecords, Record::Flow(record))
    }

    fn turn(&mut self, slot: &Slot, turn: &Turn, now_ns: u64) -> bool {
        let mut record = TurnRecord::new_zeroed();
        fill_turn(&mut record, slot, turn, self.cpu, 0, now_ns);
        self.add(Counter::TurnRecords, Record::Turn(record))
    }

    fn payload(&mut self, packet: &Packet, excerpts: &mut Excerpts) {
        for excerpt in excerpts {
            self.excerpt(packet, &excerpt);
        }
    }

    fn elsewhere(&mut self, _: &Packet, _: u32, _: Tick) -> Elsewhere {
        Elsewhere::default()
    }

    fn begun(&mut self, evicted: bool) {
        self.counters[Counter::FlowsBegun as usize] += 1;
        self.counters[Counter::FlowsEvicted as usize] += u64::from(evicted);
    }
}

fn counter_of(error: ParseError) -> Counter {
    match error {
        ParseError::NotIp => Counter::UnparsedNotIp,
        ParseError::TruncatedLink => Counter::UnparsedTruncatedLink,
        ParseError::TruncatedNetwork => Counter::UnparsedTruncatedNetwork,
        ParseError::TruncatedTransport => Counter::UnparsedTruncatedTransport,
        ParseError::BadHeader => Counter::UnparsedBadHeader,
        ParseError::TooManyExtensions => Counter::UnparsedTooManyExtensions,
        ParseError::TooManyTags => Counter::UnparsedTooManyTags,
    }
}

impl Model {
    pub(super) fn new(control: Control) -> Self {
        Self {
            control,
            cpu: 0,
            sets: vec![Set::EMPTY; control.set_mask as usize + 1],
            lists: Lists::default(),
            now_ns: 0,
            started_ns: uptime_ns(),
            counters: [0; Counter::SLOTS],
            hits: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Takes the kernel's clock over.
    pub(super) fn set_clock(&mut self, now: Tick) {
        let since = now.wrapping_sub(tick(self.started_ns)) as i32;
        self.now_ns = self.started_ns.saturating_add_signed(i64::from(since) << 20);
    }

    pub(super) fn set_of(&self, key: &ConversationKey) -> &Set {
        &self.sets[(self.control.hash_keys.hash(key) & self.control.set_mask) as usize]
    }

    /// Returns whether XDP drops a packet.
    pub(super) fn xdp(&mut self, frame: &[u8]) -> bool {
        let Ok(packet) = Packet::from_ethernet(frame, frame.len() as u32) else { return false };
        let rule = self.rule_for(&packet);
        let drops = self.lists.rules.get(&rule).is_some_and(|rule| rule.action == Action::Drop as u8);
        if drops {
            self.hit(rule, 1, frame.len() as u64);
            self.counters[Counter::XdpDropped as usize] += 1;
        }
        drops
    }

    /// Returns what a classifier does with a packet.
    pub(super) fn classify(&mut self, sent: &Sent, is_egress: bool) -> Answer {
        let frame = sent.frame.as_slice();
        let parsed = Packet::from_ethernet(frame, frame.len() as u32);
        // Every segment on the wire repeats the headers.
        let packets = if parsed.is_ok() { sent.segments.max(1) } else { 1 };
        let repeated = parsed.map_or(0, |packet| (packets - 1) * packet.payload_offset);
        let bytes = frame.len() as u64 + u64::from(repeated);
        let (packets_seen, bytes_seen) = if is_egress {
            (Counter::EgressPackets, Counter::EgressBytes)
        } else {
            (Counter::IngressPackets, Counter::IngressBytes)
        };
        self.counters[packets_seen as usize] += u64::from(packets);
        self.counters[bytes_seen as usize] += bytes;
        let packet = match parsed {
            Ok(packet) => packet,
            Err(error) => {
                self.counters[counter_of(error) as usize] += 1;
                return Answer::Pass;
            }
        };
        let rule = self.account(sent, (packets, bytes), &packet, is_egress);
        let Some(action) = self.lists.rules.get(&rule).map(|rule| rule.action) else { return Answer::Pass };
        self.hit(rule, u64::from(packets), bytes);
        if action == Action::Observe as u8 {
            return Answer::Pass;
        }
        self.counters[Counter::TcDropped as usize] += 1;
        if action == Action::Reset as u8 { Answer::Reset } else { Answer::Drop }
    }

    /// Accounts a packet and returns the rule that its conversation is judged by, 0 for none.
    fn account(&mut self, sent: &Sent, weight: (u32, u64), packet: &Packet, is_egress: bool) -> RuleId {
        let (packets, bytes) = weight;
        let hash = self.control.hash_keys.hash(&packet.conversation);
        let observation = Observation {
            packet,
            hash,
            now_ns: self.now_ns,
            bytes,
            packets,
            segment: sent.segment,
            ifindex: 1,
            translated: false,
            turn_gap: self.control.turn_gap,
            active_timeout: self.control.active_timeout,
        };
        let set = &mut self.sets[(hash & self.control.set_mask) as usize];
        let (counters, records) = (&mut self.counters, &mut self.records);
        let way = account(set, &observation, &mut Keep { frame: &sent.frame, cpu: self.cpu, counters, records });
        let way = way.expect("every record is kept");
        self.counters[Counter::AccountedPackets as usize] += u64::from(packets);
        let decided = self.rule_for(packet);
        let set = &mut self.sets[(hash & self.control.set_mask) as usize];
        assert_eq!(set.find(tag(hash), &packet.conversation), Some(way));
        let slot = &mut set.slots[way];
        if is_egress {
            slot.marks |= mark::COOKIE_ASKED;
        }
        let expired = slot.rule != 0 && !self.lists.rules[&slot.rule].holds(1);
        if slot.generation != self.control.generation || expired {
            (slot.rule, slot.generation) = (decided, self.control.generation);
        }
        slot.rule
    }

    fn rule_for(&self, packet: &Packet) -> RuleId {
        let key = packet.flow();
        decide(&self.lists, Subject { key: &key, has_ports: packet.has_ports() }).unwrap_or(0)
    }

    fn hit(&mut self, rule: RuleId, packets: u64, bytes: u64) {
        let hits = self.hits.entry(rule).or_default();
        hits.packets += packets;
        hits.bytes += bytes;
    }

    /// Changes the lists on both sides: more of everything in each round, some of it expired again in the next.
    pub(super) fn change_lists(&mut self, kernel: &mut Kernel, round: u64) {
        self.cpu = kernel.cpu() as u16;
        let number = 4 + (round % 8) as u8;
        for is_v4 in [true, false] {
            let (local, far) = (end(is_v4, (round % 4) as u8), end(is_v4, number));
            let port = PORTS[round as usize % PORTS.len()];
            let proto = if round.is_multiple_of(2) { IPPROTO_TCP } else { IPPROTO_UDP };
            let bits = if is_v4 { 24 } else { 48 };
            let level = match round % 9 {
                0 => Level::Flow(directed((local, 40_000).into(), (far, port).into(), proto)),
                1 | 5 => Level::Endpoint((far, port).into(), proto),
                2 => Level::Flow(directed((end(is_v4, 1), 40_000).into(), (end(is_v4, 9), 443).into(), IPPROTO_TCP)),
                3 | 6 => Level::Host(far),
                4 => Level::Prefix(far, bits + 4),
                7 => Level::Prefix(far, bits),
                _ => {
                    kernel.allow(far, bits + 6);
                    self.lists.allowed.push((far.into(), mapped(is_v4, bits + 6)));
                    continue;
                }
            };
            let actions = [Action::Drop, Action::Observe, Action::Reset, Action::Drop];
            let rule = Rule::new(actions[(round % 4) as usize], u64::MAX);
            let id = kernel.list(level, rule);
            self.lists.rules.insert(id, rule);
            self.lists.insert(level, id);
            if round.is_multiple_of(3) && id > 6 {
                self.expire(kernel, id - 6);
            }
        }
        self.control = *kernel.control();
    }

    fn expire(&mut self, kernel: &mut Kernel, id: RuleId) {
        if let Some(rule) = self.lists.rules.get_mut(&id) {
            rule.expires_ns = 1;
            kernel.set_rule(id, *rule);
        }
    }
}

impl Lists {
    fn insert(&mut self, level: Level, id: RuleId) {
        match level {
            Level::Flow(key) => {
                self.flows.insert(key.conversation().0.flow(Direction::AToB), id);
            }
            Level::Endpoint(socket, proto) => {
                let endpoint = Endpoint::new(socket.ip().into(), socket.port().to_be_bytes(), proto);
                self.endpoints.insert(endpoint, id);
            }
            Level::Host(ip) => {
                self.hosts.insert(ip.into(), id);
            }
            Level::Prefix(ip, bits) => {
                let key = (Address::from(ip), mapped(ip.is_ipv4(), bits));
                self.prefixes.retain(|(address, bits, _)| !(covers(address, *bits, &key.0) && *bits == key.1));
                self.prefixes.push((key.0, key.1, id));
            }
        }
    }

    fn holding(&self, rule: Option<&RuleId>) -> Option<RuleId> {
        rule.copied().filter(|rule| self.rules[rule].holds(1))
    }
}

impl Verdicts for Lists {
    fn near(&self, _: &Address) -> u8 {
        near::ANYTHING
    }

    fn is_allowed(&self, address: &Address) -> bool {
        self.allowed.iter().any(|(prefix, bits)| covers(prefix, *bits, address))
    }

    fn five_tuple(&self, key: &FlowKey) -> Option<RuleId> {
        self.holding(self.flows.get(key))
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Option<RuleId> {
        self.holding(self.endpoints.get(endpoint))
    }

    fn host(&self, address: &Address) -> Option<RuleId> {
        self.holding(self.hosts.get(address))
    }

    fn prefix(&self, address: &Address) -> Option<RuleId> {
        let covering = self.prefixes.iter().filter(|(prefix, bits, _)| covers(prefix, *bits, address));
        self.holding(covering.max_by_key(|(_, bits, _)| bits).map(|(_, _, rule)| rule))
    }
}

/// Returns the bits of a prefix counted from the mapped address.
fn mapped(is_v4: bool, bits: u32) -> u32 {
    bits + if is_v4 { 96 } else { 0 }
}

fn covers(prefix: &Address, bits: u32, address: &Address) -> bool {
    let difference = u128::from_be_bytes(prefix.0) ^ u128::from_be_bytes(address.0);
    difference.leading_zeros() >= bits
}

/// Returns the monotonic clock, which on a machine that never slept is the uptime, to a tick or ten.
fn uptime_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("Linux says how long it is up");
    (text.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok()).expect("in seconds") * 1e9) as u64
}
