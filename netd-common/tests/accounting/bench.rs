//! A table of one set and a sink that keeps what it is told, or does not.

use netd_common::{
    account::{Elsewhere, Excerpt, Excerpts, Observation, Sink, Turn, account},
    flow::{HashKeys, Set, Slot, Tick, ticks},
    key::{Address, FlowKey},
    packet::{IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, Packet},
    record::FlowEvent,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const GAP: Tick = ticks(2 * SECOND);
pub(crate) const ACTIVE: Tick = ticks(300 * SECOND);

/// What the accounting tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Flow(FlowEvent, Slot),
    Turn(Turn),
    Payload(Excerpt),
}

pub(crate) struct Bench {
    pub(crate) set: Set,
    pub(crate) told: Vec<Told>,
    pub(crate) begun: u64,
    pub(crate) evicted: u64,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) keeps: bool,
    /// Payload of each segment of the packets that come, 0 where nothing was offloaded.
    pub(crate) segment: u32,
    pub(crate) now_ns: u64,
}

impl Sink for Bench {
    fn flow(&mut self, slot: &Slot, _: Tick, event: FlowEvent, _: u64) -> bool {
        self.keep(Told::Flow(event, *slot))
    }

    fn turn(&mut self, _: &Slot, turn: &Turn, _: u64) -> bool {
        self.keep(Told::Turn(*turn))
    }

    fn payload(&mut self, _: &Packet, excerpts: &mut Excerpts) {
        for excerpt in excerpts {
            self.keep(Told::Payload(excerpt));
        }
    }

    fn elsewhere(&mut self, _: &Packet, _: u32, _: Tick) -> Elsewhere {
        self.elsewhere
    }

    fn begun(&mut self, evicted: bool) {
        self.begun += 1;
        self.evicted += u64::from(evicted);
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            set: Set::EMPTY,
            told: Vec::new(),
            begun: 0,
            evicted: 0,
            elsewhere: Elsewhere::default(),
            keeps: true,
            segment: 0,
            now_ns: 1_000 * SECOND,
        }
    }

    fn keep(&mut self, told: Told) -> bool {
        if self.keeps {
            self.told.push(told);
        }
        self.keeps
    }

    pub(crate) fn wait(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    /// Adds a packet of `packets` segments, and returns whether it found a slot.
    pub(crate) fn add_segments(&mut self, packet: &Packet, packets: u32) -> bool {
        let mut set = self.set;
        let observation = Observation {
            packet,
            hash: HashKeys::from_seed(1).hash(&packet.conversation),
            now_ns: self.now_ns,
            bytes: u64::from(packets) * 100,
            packets,
            segment: self.segment,
            ifindex: 3,
            translated: false,
            turn_gap: GAP,
            active_timeout: ACTIVE,
        };
        let way = account(&mut set, &observation, self);
        self.set = set;
        way.is_some()
    }

    pub(crate) fn add(&mut self, packet: &Packet) -> bool {
        self.add_segments(packet, 1)
    }

    /// Adds a packet and returns what was told of it.
    pub(crate) fn tell(&mut self, packet: &Packet) -> Vec<Told> {
        self.told.clear();
        self.add(packet);
        std::mem::take(&mut self.told)
    }

    pub(crate) fn turns(&mut self, packet: &Packet) -> Vec<Turn> {
        let turn = |told| match told {
            Told::Turn(turn) => Some(turn),
            Told::Flow(..) | Told::Payload(_) => None,
        };
        self.tell(packet).into_iter().filter_map(turn).collect()
    }

    pub(crate) fn events(&mut self, packet: &Packet) -> Vec<FlowEvent> {
        let event = |told| match told {
            Told::Flow(event, _) => Some(event),
            Told::Turn(_) | Told::Payload(_) => None,
        };
        self.tell(packet).into_iter().filter_map(event).collect()
    }

    pub(crate) fn excerpts(&mut self, packet: &Packet) -> Vec<Excerpt> {
        let excerpt = |told| match told {
            Told::Payload(excerpt) => Some(excerpt),
            Told::Flow(..) | Told::Turn(_) => None,
        };
        self.tell(packet).into_iter().filter_map(excerpt).collect()
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Slot> {
        self.set.tags.iter().zip(&self.set.slots).filter(|(tag, _)| **tag != 0).map(|(_, slot)| slot)
    }
}

fn packet(from: u8, to: u8, proto: u8) -> Packet {
    let key = FlowKey {
        src: Address::v4([10, 0, 0, from]),
        dst: Address::v4([10, 0, 0, to]),
        src_port: [9, from],
        dst_port: [9, to],
        proto,
        pad: [0; 3],
    };
    let (conversation, direction) = key.conversation();
    Packet { conversation, direction: direction as u8, ..Packet::EMPTY }
}

pub(crate) fn tcp(from: u8, to: u8, flags: u8, seq: u32, payload_len: u32) -> Packet {
    Packet { flags, seq, payload_len, ..packet(from, to, IPPROTO_TCP) }
}

pub(crate) fn udp(from: u8, to: u8, payload_len: u32) -> Packet {
    Packet { payload_len, ..packet(from, to, IPPROTO_UDP) }
}

/// An echo request.
pub(crate) fn icmp(from: u8, to: u8, payload_len: u32) -> Packet {
    let mut packet = Packet { flags: 8, payload_len, ..packet(from, to, IPPROTO_ICMP) };
    (packet.conversation.a_port, packet.conversation.b_port) = ([7; 2], [7; 2]);
    packet
}
