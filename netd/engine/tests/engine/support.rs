//! Records as the kernel would write them, and what the engine says to them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netd_common::key::{ConversationKey, Direction, FlowKey};
use netd_common::record::{FlowEvent, FlowRecord, Header, Kind, PayloadKind, PayloadRecord, TurnRecord, state};
use netd_engine::config::Config;
use netd_engine::finding::Finding;
use netd_engine::flow::Conversation;
use netd_engine::process::{Process, ProcessId};
use netd_engine::time::Timestamp;
use netd_engine::{Command, Engine};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SYN: u8 = 2;
/// Long after 1970, so that early times do not happen to be 0.
const EPOCH_S: f64 = 1_000_000.0;

pub(crate) fn ns(seconds: f64) -> u64 {
    ((EPOCH_S + seconds) * 1e9) as u64
}

pub(crate) fn at(seconds: f64) -> Timestamp {
    Timestamp(ns(seconds))
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// One CPU's view of a conversation, from its originator's side. Counters are `[originator, responder]`.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) key: ConversationKey,
    from: Direction,
    pub(crate) cpu: u16,
    pub(crate) first_s: f64,
    pub(crate) state: u8,
    pub(crate) packets: [u32; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) payload: [u64; 2],
    pub(crate) flags: [u8; 2],
}

impl Flow {
    pub(crate) fn new(originator: &str, responder: &str, proto: u8, first_s: f64) -> Self {
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        let (src, dst) = (end(originator), end(responder));
        let flow = FlowKey {
            src: src.ip().into(),
            dst: dst.ip().into(),
            src_port: src.port().to_be_bytes(),
            dst_port: dst.port().to_be_bytes(),
            proto,
            pad: [0; 3],
        };
        let (key, from) = flow.conversation();
        let certain = if proto == TCP { state::ORIGINATOR_CERTAIN } else { 0 };
        let state = if from == Direction::BToA { state::ORIGINATOR_IS_B | certain } else { certain };
        let flags = if proto == TCP { [SYN, SYN] } else { [0; 2] };
        Self { key, from, cpu: 0, first_s, state, packets: [0; 2], bytes: [0; 2], payload: [0; 2], flags }
    }

    pub(crate) fn carry(&mut self, originated: u64, responded: u64) {
        for (end, payload) in [originated, responded].into_iter().enumerate() {
            self.packets[end] += 1;
            self.bytes[end] += payload + 60;
            self.payload[end] += payload;
        }
        self.state |= state::PAYLOAD;
    }

    pub(crate) fn record(&self, event: FlowEvent, at_s: f64) -> FlowRecord {
        FlowRecord {
            header: self.header(Kind::Flow, at_s),
            key: self.key,
            bytes: self.by_end(self.bytes),
            payload: self.by_end(self.payload),
            packets: self.by_end(self.packets),
            flags: self.by_end(self.flags),
            first_ns: ns(self.first_s),
            last_ns: ns(at_s),
            state: self.state,
            event: event as u8,
            ..FlowRecord::default()
        }
    }

    /// A turn that the originator (or else the responder) starts, before its payload is counted.
    pub(crate) fn turn(&self, by_originator: bool, first_len: u32, at_s: f64) -> TurnRecord {
        let starter = if by_originator { self.from } else { self.from.opposite() };
        TurnRecord {
            header: self.header(Kind::Turn, at_s),
            key: self.key,
            payload: self.by_end(self.payload),
            first_ns: ns(self.first_s),
            first_len,
            starter: starter as u8,
            is_first: u8::from(self.payload == [0; 2]),
            state: self.state,
            ..TurnRecord::default()
        }
    }

    pub(crate) fn payload_record(
        &self,
        by_originator: bool,
        kind: PayloadKind,
        len: usize,
        at_s: f64,
    ) -> PayloadRecord {
        let direction = if by_originator { self.from } else { self.from.opposite() };
        PayloadRecord {
            header: self.header(Kind::Payload, at_s),
            key: self.key,
            wire_len: len as u32,
            captured: len as u16,
            direction: direction as u8,
            kind: kind as u8,
            ..PayloadRecord::default()
        }
    }

    fn header(&self, kind: Kind, at_s: f64) -> Header {
        Header { kind: kind as u16, cpu: self.cpu, len: 0, time_ns: ns(at_s) }
    }

    fn by_end<T: Copy>(&self, [originator, responder]: [T; 2]) -> [T; 2] {
        match self.from {
            Direction::AToB => [originator, responder],
            Direction::BToA => [responder, originator],
        }
    }
}

/// A connection in the making, exchange by exchange.
pub(crate) struct Talk {
    flow: Flow,
    pub(crate) at_s: f64,
}

/// Gaps of a person at a prompt, seconds.
const AT_A_PROMPT: [f64; 8] = [3.1, 1.4, 9.0, 22.0, 2.2, 5.5, 1.1, 41.0];

impl Talk {
    pub(crate) fn open(world: &mut World, originator: &str, responder: &str) -> Self {
        Self::open_as(world, originator, responder, 0)
    }

    /// Opens a connection of the process behind a socket cookie.
    pub(crate) fn open_as(world: &mut World, originator: &str, responder: &str, cookie: u64) -> Self {
        let flow = Flow::new(originator, responder, TCP, 0.0);
        let begin = FlowRecord { cookie, ..flow.record(FlowEvent::Begin, 0.0) };
        world.engine.observe_flow(&begin);
        Self { flow, at_s: 0.1 }
    }

    /// One side's first bytes, which start an exchange.
    pub(crate) fn say(&mut self, world: &mut World, by_originator: bool, bytes: &[u8]) {
        world.engine.observe_turn(&self.flow.turn(by_originator, bytes.len() as u32, self.at_s));
        self.hear(world, by_originator, bytes);
        self.at_s += 1.0;
    }

    /// One side's first bytes, which answer the other's.
    pub(crate) fn hear(&mut self, world: &mut World, by_originator: bool, bytes: &[u8]) {
        let record = PayloadRecord {
            seq: 1 + self.flow.payload[usize::from(!by_originator)] as u32,
            ..self.flow.payload_record(by_originator, PayloadKind::FirstData, bytes.len(), self.at_s)
        };
        world.engine.observe_payload(&record, bytes);
        self.carry(by_originator, bytes.len() as u64, 0);
    }

    /// Whole exchanges: who starts each, and what both sides send; `gap_s` says how long it takes to the next.
    pub(crate) fn exchanges(
        &mut self,
        world: &mut World,
        exchanges: &[(bool, u64, u64)],
        mut gap_s: impl FnMut(usize) -> f64,
    ) {
        for (n, (by_originator, request, answer)) in exchanges.iter().enumerate() {
            world.engine.observe_turn(&self.flow.turn(*by_originator, *request as u32, self.at_s));
            self.carry(*by_originator, *request, *answer);
            self.at_s += gap_s(n);
        }
    }

    /// Exchanges at the pace of a person who types.
    pub(crate) fn typed(&mut self, world: &mut World, exchanges: &[(bool, u64, u64)]) {
        self.exchanges(world, exchanges, |n| AT_A_PROMPT[n % AT_A_PROMPT.len()]);
    }

    /// A record of the counters as they are.
    pub(crate) fn report(&mut self, world: &mut World) {
        world.engine.observe_flow(&self.flow.record(FlowEvent::Active, self.at_s));
    }

    pub(crate) fn close(mut self, world: &mut World) {
        self.flow.state |= state::ENDED;
        world.engine.observe_flow(&self.flow.record(FlowEvent::End, self.at_s));
    }

    fn carry(&mut self, by_originator: bool, request: u64, answer: u64) {
        let (originated, responded) = if by_originator { (request, answer) } else { (answer, request) };
        self.flow.carry(originated, responded);
    }
}

/// A process of which little is known.
pub(crate) fn process(pid: u32, exe: Option<&str>) -> Arc<Process> {
    let id = ProcessId { pid, start_ticks: 0 };
    Arc::new(Process { id, exe: exe.map(str::to_owned), ..Process::default() })
}

/// An engine and what it said.
pub(crate) struct World {
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self { engine: Engine::new(config) }
    }

    pub(crate) fn with_flows() -> Self {
        let mut config = Config::default();
        config.flows.report = true;
        Self::new(config)
    }

    /// A whole connection: begin, one turn of `request` and `answer` bytes, end.
    pub(crate) fn connection(&mut self, originator: &str, responder: &str, at_s: f64, request: u64, answer: u64) {
        let mut flow = Flow::new(originator, responder, TCP, at_s);
        self.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
        self.engine.observe_turn(&flow.turn(true, request as u32, at_s + 0.05));
        flow.carry(request, answer);
        flow.state |= state::ENDED;
        self.engine.observe_flow(&flow.record(FlowEvent::End, at_s + 0.2));
    }

    pub(crate) fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.engine.poll_command()).collect()
    }

    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        let commands = self.commands().into_iter();
        commands
            .filter_map(|command| if let Command::Report(finding) = command { Some(*finding) } else { None })
            .collect()
    }

    pub(crate) fn ended(&mut self) -> Vec<Conversation> {
        let commands = self.commands().into_iter();
        commands.filter_map(|command| if let Command::FlowEnded(flow) = command { Some(*flow) } else { None }).collect()
    }
}

/// Seconds of `count` check-ins every `interval` with a reproducible jitter of up to `share` of it.
pub(crate) fn check_ins(count: u32, interval: f64, share: f64) -> impl Iterator<Item = f64> {
    let mut dice = Dice(1);
    let mut now = 0.0;
    (0..count).map(move |_| {
        now += interval * (1.0 - share * dice.roll());
        now
    })
}

/// Seconds of `count` turns of a person: gaps from `least` to 300 times that, each size as likely as any other.
pub(crate) fn people(count: u32, least: f64) -> impl Iterator<Item = f64> {
    let mut dice = Dice(2);
    let mut now = 0.0;
    (0..count).map(move |_| {
        now += least * 300.0_f64.powf(dice.roll());
        now
    })
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
