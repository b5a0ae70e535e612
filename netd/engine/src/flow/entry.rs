//! What is known of one conversation: parts per CPU added up, ends, turns.

use std::sync::Arc;

use netd_common::key::{ConversationKey, Direction};
use netd_common::record::{FlowEvent, FlowRecord, state};

use super::attempt::Attempt;
use super::community::community_id;
use super::queue::Wait;
use super::turns::OpenTurn;
use crate::detect::{Session, Signs};
use crate::history::Place;
use crate::name::NameSource;
use crate::opening::{Facts, Opening};
use crate::process::Process;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

/// The two halves of a handshake may meet different CPUs, but not later than this after each other.
const LONGEST_HANDSHAKE_NS: u64 = 30_000_000_000;

/// Per direction, indexed by [`Direction`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) payload: [u64; 2],
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        for end in 0..2 {
            self.packets[end] += other.packets[end];
            self.bytes[end] += other.bytes[end];
            self.payload[end] += other.payload[end];
        }
    }
}

/// The last cumulative counters of one slot: one CPU's share of a conversation.
#[derive(Clone, Copy, Debug)]
struct Part {
    cpu: u16,
    /// Belongs to an earlier conversation of this five-tuple.
    is_former: bool,
    first_ns: u64,
    last_ns: u64,
    bytes: [u64; 2],
    payload: [u64; 2],
    packets: [u32; 2],
}

/// A slot's birth may lie so long before its record's: the coarse clock's step and the slot's own.
const LONGEST_TICK_NS: u64 = 12_000_000;

/// How the originator is known, from weak to certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    Port,
    First,
    Handshake,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Alive,
    /// FIN from both sides or RST.
    Ended,
    /// Handed out; only its parts matter.
    Reported,
}

/// How a flow record relates to the conversation that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    /// The five-tuple began anew.
    Anew,
    /// A last record of an earlier conversation of the five-tuple.
    Former,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: ConversationKey,
    pub(crate) phase: Phase,
    /// First and last packet, record time.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) totals: Totals,
    /// Time of the record that last brought totals.
    pub(crate) totals_ns: u64,
    parts: Vec<Part>,
    originator: Direction,
    pub(super) certainty: Certainty,
    /// TCP flags seen per direction, or the first ICMP type.
    pub(crate) flags: [u8; 2],
    pub(crate) state: u8,
    pub(crate) vlan: u16,
    pub(crate) ifindex: u32,
    pub(crate) rule: u32,
    pub(crate) cookie: u64,
    pub(crate) turns: u32,
    pub(crate) open: Option<OpenTurn>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) name_source: NameSource,
    pub(crate) facts: Facts,
    /// What its first bytes said, once any were heard.
    pub(crate) opening: Option<Arc<Opening>>,
    /// The first bytes are those of a hello or request whose name is yet to come.
    pub(crate) awaits_name: bool,
    /// The originator's process and the responder's, where they are this host's.
    pub(crate) process: Option<Arc<Process>>,
    pub(crate) responder_process: Option<Arc<Process>>,
    pub(crate) place: Place,
    /// Already held against the lists of threat intelligence, with its name.
    pub(crate) is_matched: bool,
    pub(crate) attempt: Attempt,
    /// Tools and shells that its first bytes gave away.
    pub(crate) signs: Signs,
    /// Its exchanges, from the first that the responder started.
    pub(crate) session: Option<Box<Session>>,
    /// Thresholds of its age that have been looked at.
    pub(crate) age_steps: u8,
}

impl Entry {
    pub(crate) fn new(key: ConversationKey, at_ns: u64) -> Self {
        let originator = likely_originator(&key);
        Self {
            key,
            phase: Phase::Alive,
            first_ns: at_ns,
            last_ns: at_ns,
            totals: Totals::default(),
            totals_ns: 0,
            parts: Vec::new(),
            originator,
            certainty: Certainty::Port,
            flags: [0; 2],
            state: 0,
            vlan: 0,
            ifindex: 0,
            rule: 0,
            cookie: 0,
            turns: 0,
            open: None,
            name: None,
            name_source: NameSource::None,
            facts: Facts::default(),
            opening: None,
            awaits_name: false,
            process: None,
            responder_process: None,
            place: Place::Unknown,
            is_matched: false,
            attempt: Attempt::Unknown,
            signs: Signs::default(),
            session: None,
            age_steps: 0,
        }
    }

    /// Returns the process of the end that is this host's; of both the originator's.
    pub(crate) fn own_process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref().or(self.responder_process.as_ref())
    }

    pub(crate) const fn originator(&self) -> Direction {
        self.originator
    }

    pub(crate) fn community_id(&self) -> Option<String> {
        community_id(&self.key, self.originator, self.flags[self.originator as usize])
    }

    /// Returns whether something was heard of its payload and no name is about to be.
    pub(crate) fn is_heard(&self) -> bool {
        self.facts != Facts::default() && !self.awaits_name
    }

    /// Begins the next conversation of the same five-tuple.
    pub(crate) fn begin_anew(&mut self, at_ns: u64) {
        let mut parts = std::mem::take(&mut self.parts);
        for part in &mut parts {
            part.is_former = true;
        }
        *self = Self { parts, ..Self::new(self.key, at_ns) };
    }

    /// Goes on after having been reported: what was counted stays counted.
    pub(crate) fn revive(&mut self, at_ns: u64) {
        let parts = std::mem::take(&mut self.parts);
        let (originator, certainty, place) = (self.originator, self.certainty, self.place);
        let (name, name_source, facts) = (self.name.take(), self.name_source, self.facts);
        let (process, responder_process) = (self.process.take(), self.responder_process.take());
        let (opening, attempt) = (self.opening.take(), self.attempt);
        let signs = self.signs;
        *self = Self {
            attempt,
            parts,
            originator,
            certainty,
            place,
            name,
            name_source,
            facts,
            opening,
            process,
            responder_process,
            signs,
            flags: self.flags,
            state: self.state,
            cookie: self.cookie,
            ..Self::new(self.key, at_ns)
        };
    }

    /// Tells whether a slot that was born at `first_ns` belongs to the conversation that is known.
    pub(crate) fn relation(&self, record: &FlowRecord) -> Relation {
        let Some(part) = self.parts.iter().find(|part| part.cpu == record.header.cpu) else {
            return if self.is_over_before(record) { Relation::Anew } else { Relation::Same };
        };
        if record.first_ns < part.first_ns {
            return Relation::Former;
        }
        if record.first_ns == part.first_ns {
            return if part.is_former { Relation::Former } else { Relation::Same };
        }
        if part.is_former {
            return Relation::Same;
        }
        // The slot was evicted and taken again by the same conversation, unless a handshake says otherwise.
        if begins_with_handshake(record) { Relation::Anew } else { Relation::Same }
    }

    /// A handshake on a CPU that did not see the conversation so far: its other half, or the next conversation.
    fn is_over_before(&self, record: &FlowRecord) -> bool {
        let is_long_ago = record.first_ns.saturating_sub(self.first_ns) > LONGEST_HANDSHAKE_NS;
        let is_silent = record.first_ns > self.last_ns;
        begins_with_handshake(record) && is_silent && (self.phase != Phase::Alive || is_long_ago)
    }

    /// Adds what a slot counted since its last record; returns that share.
    pub(crate) fn absorb(&mut self, record: &FlowRecord) -> Totals {
        let share = self.share(record);
        self.totals.add(&share);
        self.totals_ns = self.totals_ns.max(record.header.time_ns);
        self.last_ns = self.last_ns.max(record.last_ns);
        // Slots know their birth to the tick; the record of the beginning knows it exactly.
        let is_begin = record.event == FlowEvent::Begin as u8;
        let is_known = (record.first_ns..=record.first_ns.saturating_add(LONGEST_TICK_NS)).contains(&self.first_ns);
        let begun_ns = match (is_begin, is_known) {
            (true, _) => record.header.time_ns,
            (false, true) => self.first_ns,
            (false, false) => record.first_ns,
        };
        self.learn_originator(record.state, begun_ns);
        if self.key.proto == TCP {
            self.flags[0] |= record.flags[0];
            self.flags[1] |= record.flags[1];
        } else {
            for end in 0..2 {
                if self.flags[end] == 0 {
                    self.flags[end] = record.flags[end];
                }
            }
        }
        self.state |= record.state;
        if self.phase == Phase::Alive && self.is_closed() {
            self.phase = Phase::Ended;
        }
        if record.rule != 0 {
            self.rule = record.rule;
        }
        if self.ifindex == 0 {
            (self.ifindex, self.vlan) = (record.ifindex, record.vlan);
        }
        if self.cookie == 0 {
            self.cookie = record.cookie;
        }
        share
    }

    /// Returns what a late record of an earlier conversation of this five-tuple adds.
    pub(crate) fn absorb_former(&mut self, record: &FlowRecord) -> Totals {
        let is_known = self.parts.iter().any(|part| part.cpu == record.header.cpu && part.first_ns == record.first_ns);
        if is_known { self.share(record) } else { Totals::default() }
    }

    fn share(&mut self, record: &FlowRecord) -> Totals {
        let zero = Part {
            cpu: record.header.cpu,
            is_former: false,
            first_ns: record.first_ns,
            last_ns: 0,
            bytes: [0; 2],
            payload: [0; 2],
            packets: [0; 2],
        };
        let index = match self.parts.iter().position(|part| part.cpu == record.header.cpu) {
            Some(index) => index,
            None => {
                self.parts.push(zero);
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[index];
        if part.first_ns != record.first_ns {
            *part = zero;
        }
        let mut share = Totals::default();
        for end in 0..2 {
            // Records of one CPU may overtake each other; an older one adds nothing.
            share.bytes[end] = record.bytes[end].saturating_sub(part.bytes[end]);
            share.payload[end] = record.payload[end].saturating_sub(part.payload[end]);
            if record.bytes[end] >= part.bytes[end] {
                share.packets[end] = u64::from(record.packets[end].wrapping_sub(part.packets[end]));
                part.packets[end] = record.packets[end];
            }
            part.bytes[end] = part.bytes[end].max(record.bytes[end]);
            part.payload[end] = part.payload[end].max(record.payload[end]);
        }
        part.last_ns = part.last_ns.max(record.last_ns);
        share
    }

    /// A handshake decides; else the earliest first packet of any CPU; else the ports.
    pub(crate) fn learn_originator(&mut self, state_bits: u8, first_ns: u64) {
        let said = if state_bits & state::ORIGINATOR_IS_B == 0 { Direction::AToB } else { Direction::BToA };
        let certainty =
            if state_bits & state::ORIGINATOR_CERTAIN == 0 { Certainty::First } else { Certainty::Handshake };
        let is_earlier = first_ns < self.first_ns;
        self.first_ns = self.first_ns.min(first_ns);
        let is_better = certainty > self.certainty || (certainty == self.certainty && is_earlier);
        if !is_better {
            return;
        }
        // The middle of a connection: whoever happened to speak first says less than a service's port.
        let by_port = likely_originator(&self.key);
        let is_middle = certainty == Certainty::First && self.key.proto == TCP && has_service_port(&self.key);
        let originator = if is_middle { by_port } else { said };
        if originator != self.originator {
            self.place = Place::Unknown;
        }
        (self.originator, self.certainty) = (originator, certainty);
    }

    /// Returns whether it had ended on the wire before it was reported.
    pub(crate) fn was_ended(&self) -> bool {
        self.key.proto == TCP && self.is_closed()
    }

    /// Returns whether a record holds packets that are not counted yet.
    pub(crate) fn brings_news(&self, record: &FlowRecord) -> bool {
        let known = self.parts.iter().find(|part| part.cpu == record.header.cpu && part.first_ns == record.first_ns);
        known.is_none_or(|part| (0..2).any(|end| record.bytes[end] > part.bytes[end]))
    }

    /// Both FINs may have met different CPUs.
    fn is_closed(&self) -> bool {
        const BOTH_FINS: u8 = state::FIN_A | state::FIN_B;
        self.state & state::ENDED != 0 || self.state & BOTH_FINS == BOTH_FINS
    }

    /// Returns whether one side has said that it sends no more.
    pub(crate) fn is_closing(&self) -> bool {
        self.state & (state::FIN_A | state::FIN_B | state::ENDED) != 0
    }

    /// Returns what the conversation waits for.
    pub(crate) fn wait(&self) -> Wait {
        match (self.phase, self.key.proto) {
            (Phase::Reported, _) => Wait::Reported,
            (Phase::Ended, _) => Wait::Closing,
            (Phase::Alive, TCP) => {
                let both_spoke = self.flags[0] != 0 && self.flags[1] != 0;
                let had_payload = self.state & state::PAYLOAD != 0;
                if both_spoke || had_payload { Wait::TcpOpen } else { Wait::TcpHalfOpen }
            }
            (Phase::Alive, UDP) => Wait::Udp,
            (Phase::Alive, _) => Wait::Other,
        }
    }

    /// Returns Zeek's `conn_state`, as far as flags without their order tell.
    pub(crate) fn conn_state(&self) -> &'static str {
        let (orig, resp) = (self.originator as usize, self.originator.opposite() as usize);
        let answered = self.totals.packets[resp] > 0;
        if self.key.proto != TCP {
            return match (self.totals.packets[orig] > 0, answered) {
                (true, true) => "SF",
                (true, false) => "S0",
                (false, _) => "SHR",
            };
        }
        let (from, to) = (self.flags[orig], self.flags[resp]);
        let (fin_from, fin_to) = (from & FIN != 0, to & FIN != 0);
        let (rst_from, rst_to) = (from & RST != 0, to & RST != 0);
        match (from & SYN != 0, to & SYN != 0) {
            (true, true) => match (fin_from, fin_to) {
                (true, true) => "SF",
                _ if rst_from => "RSTO",
                _ if rst_to => "RSTR",
                (true, false) => "S2",
                (false, true) => "S3",
                (false, false) => "S1",
            },
            (true, false) if rst_to => "REJ",
            (true, false) if rst_from => "RSTOS0",
            (true, false) if fin_from => "SH",
            (true, false) if answered => "OTH",
            (true, false) => "S0",
            (false, true) if rst_to => "RSTRH",
            (false, true) if fin_to => "SHR",
            (false, _) => "OTH",
        }
    }

    /// Returns whether a TCP conversation was reset rather than closed.
    pub(crate) fn was_reset(&self) -> bool {
        self.key.proto == TCP && (self.flags[0] | self.flags[1]) & RST != 0
    }
}

fn begins_with_handshake(record: &FlowRecord) -> bool {
    record.key.proto == TCP && record.state & state::ORIGINATOR_CERTAIN != 0
}

/// Whoever speaks from the port less likely to be a service's.
fn likely_originator(key: &ConversationKey) -> Direction {
    let (a, b) = (u16::from_be_bytes(key.a_port), u16::from_be_bytes(key.b_port));
    if b <= a { Direction::AToB } else { Direction::BToA }
}

/// Exactly one end has a port below the ones that systems give to clients.
fn has_service_port(key: &ConversationKey) -> bool {
    const FIRST_EPHEMERAL: u16 = 10_000;
    let (a, b) = (u16::from_be_bytes(key.a_port), u16::from_be_bytes(key.b_port));
    (a < FIRST_EPHEMERAL) != (b < FIRST_EPHEMERAL)
}
