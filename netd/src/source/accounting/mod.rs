//! The kernel's flow accounting on the host: packets in, the very records the kernel would write out.
//!
//! One table stands for one CPU. What the daemon reads from the kernel's mapped table by and by, a sweep reports here.

#[cfg(test)]
mod tests;

use std::fmt;

use netd_common::account::{self, Elsewhere, Excerpt, Excerpts, Observation, Sink, Turn, fill_flow, fill_turn};
use netd_common::flow::{HashKeys, Set, Slot, Tick, WAYS, mark, nanoseconds, tick, ticks};
use netd_common::packet::{IPPROTO_TCP, Packet};
use netd_common::record::{FlowEvent, FlowRecord, Header, Kind, PayloadRecord, TurnRecord, state};
use netd_engine::Engine;

/// Sets of the table at first: room for 4,096 conversations in half a megabyte, so that most captures stay in a cache.
const FIRST_SETS: usize = 1 << 9;
/// Sets it grows to, before a conversation that goes on has to make room: 524,288 conversations, 71 MB.
const MOST_SETS: usize = 1 << 16;
/// Fixed, so that a capture gives the same output each time. Nobody gains from collisions in a table that reports
/// whatever it evicts.
const SEED: u64 = 0x6e65_7464;
const SECOND_NS: u64 = 1_000_000_000;
/// Counters that changed are reported after this much silence.
const SETTLED_NS: u64 = 5 * SECOND_NS;
/// The table is swept at most this often.
const SWEEP_NS: u64 = 10 * SECOND_NS;

/// Who hears the records.
pub trait Records {
    fn flow(&mut self, record: &FlowRecord);
    fn turn(&mut self, record: &TurnRecord);
    fn payload(&mut self, record: &PayloadRecord, bytes: &[u8]);
}

impl Records for Engine {
    fn flow(&mut self, record: &FlowRecord) {
        self.observe_flow(record);
    }

    fn turn(&mut self, record: &TurnRecord) {
        self.observe_turn(record);
    }

    fn payload(&mut self, record: &PayloadRecord, bytes: &[u8]) {
        self.observe_payload(record, bytes);
    }
}

/// How the accounting is set: the kernel's `Control`, as far as it concerns flows.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub turn_gap_ns: u64,
    pub active_timeout_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { turn_gap_ns: 750_000_000, active_timeout_ns: 60 * SECOND_NS }
    }
}

/// A packet and what the capture says of it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub packet: &'a Packet,
    /// The frame that the packet's offsets refer to, as far as it was captured.
    pub frame: &'a [u8],
    pub wire_len: u32,
    pub time_ns: u64,
}

/// The flow table.
pub struct Accounting {
    sets: Vec<Set>,
    keys: HashKeys,
    turn_gap: Tick,
    active_timeout: Tick,
    next_sweep_ns: u64,
    /// Conversations begun, and those that were evicted for others.
    pub begun: u64,
    pub evicted: u64,
    pub turns: u64,
}

impl fmt::Debug for Accounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounting").field("begun", &self.begun).field("evicted", &self.evicted).finish_non_exhaustive()
    }
}

impl Accounting {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            sets: vec![Set::EMPTY; FIRST_SETS],
            keys: HashKeys::from_seed(SEED),
            turn_gap: ticks(settings.turn_gap_ns),
            active_timeout: ticks(settings.active_timeout_ns),
            next_sweep_ns: 0,
            begun: 0,
            evicted: 0,
            turns: 0,
        }
    }

    /// Moves time on, before whoever hears the records does: what is about to be idle too long is reported first.
    #[inline]
    pub fn advance<R: Records>(&mut self, now_ns: u64, records: &mut R) {
        if now_ns >= self.next_sweep_ns {
            self.sweep(now_ns, records);
        }
    }

    /// Adds a packet to its conversation. Times must not go back.
    #[inline]
    pub fn account<R: Records>(&mut self, arrival: &Arrival<'_>, records: &mut R) {
        let hash = self.keys.hash(&arrival.packet.conversation);
        let observation = Observation {
            packet: arrival.packet,
            hash,
            now_ns: arrival.time_ns,
            bytes: u64::from(arrival.wire_len),
            packets: 1,
            segment: 0,
            ifindex: 0,
            translated: false,
            turn_gap: self.turn_gap,
            active_timeout: self.active_timeout,
        };
        let mut reporter = Reporter { arrival, records, begun: 0, evicted: 0, turns: 0, is_full: false };
        let mask = self.sets.len() - 1;
        let set = &mut self.sets[hash as usize & mask];
        // The reporter takes every record, so every packet finds a slot.
        let way = account::account(set, &observation, &mut reporter);
        // The daemon reads the kernel's table each second: it knows soon that somebody answers.
        if let Some(way) = way.filter(|way| is_first_answer(&set.slots[*way], arrival.packet)) {
            let record = flow_record(&set.slots[way], set.last[way], FlowEvent::Active, arrival.time_ns);
            reporter.records.flow(&record);
        }
        self.begun += reporter.begun;
        self.evicted += reporter.evicted;
        self.turns += reporter.turns;
        if reporter.is_full && self.sets.len() < MOST_SETS {
            self.grow();
        }
    }

    /// Doubles the table. A set's conversations part between two sets, so that all find room.
    #[cold]
    fn grow(&mut self) {
        let mask = 2 * self.sets.len() - 1;
        let mut sets = vec![Set::EMPTY; 2 * self.sets.len()];
        for old in &self.sets {
            for way in (0..WAYS).filter(|way| old.tags[*way] != 0) {
                let set = &mut sets[self.keys.hash(&old.slots[way].key) as usize & mask];
                set.tags[way] = old.tags[way];
                set.last[way] = old.last[way];
                set.slots[way] = old.slots[way];
            }
        }
        self.sets = sets;
    }

    /// Reports what changed and has settled, and frees what has been idle for longer than the engine waits.
    fn sweep<R: Records>(&mut self, now_ns: u64, records: &mut R) {
        const TCP_IDLE_NS: u64 = 3_600 * SECOND_NS;
        const OTHER_IDLE_NS: u64 = 180 * SECOND_NS;
        // Ticks wrap after 52 days: after a longer silence every conversation is over.
        let is_long_silence = self.next_sweep_ns != 0 && now_ns - self.next_sweep_ns > TCP_IDLE_NS;
        self.next_sweep_ns = now_ns + SWEEP_NS;
        let now = tick(now_ns);
        for set in &mut self.sets {
            for way in 0..WAYS {
                if set.tags[way] == 0 {
                    continue;
                }
                let idle_ns = nanoseconds(now.wrapping_sub(set.last[way]));
                let slot = &mut set.slots[way];
                let limit_ns = if slot.key.proto == IPPROTO_TCP { TCP_IDLE_NS } else { OTHER_IDLE_NS };
                let is_over = is_long_silence || idle_ns > limit_ns;
                if slot.marks & mark::DIRTY != 0 && (is_over || idle_ns >= SETTLED_NS) {
                    slot.marks &= !mark::DIRTY;
                    let event = if is_over { FlowEvent::Evicted } else { FlowEvent::Active };
                    records.flow(&flow_record(slot, set.last[way], event, now_ns));
                }
                if is_over {
                    set.tags[way] = 0;
                }
            }
        }
    }

    /// Reports what no record has told yet: the capture is over.
    pub fn finish<R: Records>(&mut self, now_ns: u64, records: &mut R) {
        for set in &mut self.sets {
            for way in 0..WAYS {
                let slot = &mut set.slots[way];
                if set.tags[way] != 0 && slot.marks & mark::DIRTY != 0 {
                    slot.marks &= !mark::DIRTY;
                    records.flow(&flow_record(slot, set.last[way], FlowEvent::Active, now_ns));
                }
            }
        }
    }
}

/// Whether a packet is its side's first, after the other side has spoken.
fn is_first_answer(slot: &Slot, packet: &Packet) -> bool {
    let direction = usize::from(packet.direction & 1);
    slot.packets[direction] == 1 && slot.packets[1 - direction] != 0
}

fn flow_record(slot: &Slot, last: Tick, event: FlowEvent, now_ns: u64) -> FlowRecord {
    let mut record = FlowRecord::default();
    fill_flow(&mut record, slot, last, event, 0, now_ns, now_ns);
    record
}

/// Turns what the accounting says about one packet into records.
struct Reporter<'a, R> {
    arrival: &'a Arrival<'a>,
    records: &'a mut R,
    begun: u64,
    evicted: u64,
    turns: u64,
    /// A conversation that had not ended made room for another.
    is_full: bool,
}

impl<R: Records> Sink for Reporter<'_, R> {
    fn flow(&mut self, slot: &Slot, last: Tick, event: FlowEvent, now_ns: u64) -> bool {
        self.is_full |= event == FlowEvent::Evicted && slot.state & state::ENDED == 0;
        self.records.flow(&flow_record(slot, last, event, now_ns));
        true
    }

    fn turn(&mut self, slot: &Slot, turn: &Turn, now_ns: u64) -> bool {
        let mut record = TurnRecord::default();
        fill_turn(&mut record, slot, turn, 0, now_ns, now_ns);
        self.records.turn(&record);
        self.turns += 1;
        true
    }

    fn payload(&mut self, packet: &Packet, excerpts: &mut Excerpts) {
        for excerpt in excerpts {
            self.excerpt(packet, &excerpt);
        }
    }

    fn elsewhere(&mut self, _packet: &Packet, _hash: u32, _now: Tick) -> Elsewhere {
        Elsewhere::default()
    }

    fn begun(&mut self, evicted: bool) {
        self.begun += 1;
        self.evicted += u64::from(evicted);
    }
}

impl<R: Records> Reporter<'_, R> {
    fn excerpt(&mut self, packet: &Packet, excerpt: &Excerpt) {
        let start = packet.payload_offset as usize + excerpt.offset as usize;
        let bytes = self.arrival.frame.get(start..).unwrap_or_default();
        let bytes = &bytes[..bytes.len().min(excerpt.len as usize)];
        // The capture may hold less of the packet than there was on the wire.
        if bytes.is_empty() {
            return;
        }
        let record = PayloadRecord {
            header: Header {
                kind: Kind::Payload as u16,
                cpu: 0,
                len: (size_of::<PayloadRecord>() + bytes.len()) as u32,
                time_ns: self.arrival.time_ns,
            },
            key: packet.conversation,
            wire_len: packet.payload_len,
            captured: bytes.len() as u16,
            direction: packet.direction,
            kind: excerpt.kind as u8,
            seq: excerpt.seq,
            offset: excerpt.offset,
        };
        self.records.payload(&record, bytes);
    }
}
