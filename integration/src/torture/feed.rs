//! The real engine, driven as the daemon's pipeline drives it: records of the kernel, their times moved by one offset,
//! and a tick of the same time between them.

use std::net::{IpAddr, SocketAddr};

use netd_common::key::{ConversationKey, Direction, FlowKey};
use netd_common::packet::IPPROTO_TCP;
use netd_common::record::{FlowEvent, FlowRecord, Header, Kind, TurnRecord, state};
use netd_engine::config::Config;
use netd_engine::engine::{Followed, Question};
use netd_engine::finding::Finding;
use netd_engine::time::Timestamp;
use netd_engine::{Command, Engine};

pub const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const SYN: u8 = 2;

/// An engine, and what it found.
pub struct Feed {
    pub engine: Engine,
    pub findings: Vec<Finding>,
    /// Unix time minus the kernel's, as measured at the start, nanoseconds.
    offset_ns: u64,
}

impl Feed {
    #[must_use]
    pub fn new(config: Config, offset_ns: u64) -> Self {
        Self { engine: Engine::new(config), findings: Vec::new(), offset_ns }
    }

    /// A whole TCP connection: begin, one turn of 300 bytes and its answer of 200, end. Times are the kernel's.
    pub fn connection(&mut self, from: SocketAddr, to: SocketAddr, at_ns: u64) {
        let flow = FlowKey {
            src: from.ip().into(),
            dst: to.ip().into(),
            src_port: from.port().to_be_bytes(),
            dst_port: to.port().to_be_bytes(),
            proto: IPPROTO_TCP,
            pad: [0; 3],
        };
        let (key, originator) = flow.conversation();
        let first_ns = self.offset_ns + at_ns;
        let record = |event, time_ns, counters: [u64; 2], ended| {
            flow_record((key, originator), event, [first_ns, time_ns], counters, ended)
        };

        self.engine.observe_flow(&record(FlowEvent::Begin, first_ns, [0; 2], false));
        let turn_ns = first_ns + 50 * MILLISECOND;
        self.engine.observe_turn(&TurnRecord {
            header: Header { kind: Kind::Turn as u16, cpu: 0, len: 0, time_ns: turn_ns },
            key,
            first_ns,
            first_len: 300,
            starter: originator as u8,
            is_first: 1,
            state: started(originator),
            ..TurnRecord::default()
        });
        self.engine.observe_flow(&record(FlowEvent::End, first_ns + 200 * MILLISECOND, [300, 200], true));
    }

    /// The first packet of a connection, and no more.
    pub fn begin(&mut self, key: ConversationKey, at_ns: u64) {
        let at_ns = self.offset_ns + at_ns;
        self.engine.observe_flow(&flow_record((key, Direction::AToB), FlowEvent::Begin, [at_ns; 2], [0; 2], false));
    }

    /// Lets time pass, and takes what the engine has to say.
    pub fn tick(&mut self, at_ns: u64) {
        self.engine.tick(Timestamp(self.offset_ns + at_ns));
        while let Some(command) = self.engine.poll_command() {
            if let Command::Report(finding) = command {
                self.findings.push(*finding);
            }
        }
    }

    /// Returns what is followed of an address, strongest first.
    #[must_use]
    pub fn followed(&self, address: IpAddr) -> Vec<Followed> {
        self.engine.explain(&Question::Address(address)).followed
    }
}

const fn started(originator: Direction) -> u8 {
    match originator {
        Direction::AToB => state::ORIGINATOR_CERTAIN,
        Direction::BToA => state::ORIGINATOR_CERTAIN | state::ORIGINATOR_IS_B,
    }
}

fn flow_record(
    (key, originator): (ConversationKey, Direction),
    event: FlowEvent,
    [first_ns, last_ns]: [u64; 2],
    [originated, responded]: [u64; 2],
    ended: bool,
) -> FlowRecord {
    let by_end = |pair: [u64; 2]| if originator == Direction::AToB { pair } else { [pair[1], pair[0]] };
    let packets = by_end([originated, responded].map(|payload| u64::from(payload > 0)));
    let end = if ended { state::ENDED | state::PAYLOAD } else { 0 };
    FlowRecord {
        header: Header { kind: Kind::Flow as u16, cpu: 0, len: 0, time_ns: last_ns },
        key,
        bytes: by_end([originated + 60, responded + 60]),
        payload: by_end([originated, responded]),
        packets: packets.map(|packets| packets as u32),
        flags: [SYN; 2],
        first_ns,
        last_ns,
        state: started(originator) | end,
        event: event as u8,
        ..FlowRecord::default()
    }
}
