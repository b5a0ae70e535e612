//! Conversations as the kernel programs would report them, without packets: records in the order of their times.
//!
//! What is told follows `netd_common::account`: a begin record at the first packet, a turn record where payload follows
//! at least 0.75 s of silence, the first data of either side (one segment of it), every DNS message, counters at the
//! first answer, after 60 s of activity or 5 s of silence, a record for each side's end.

mod dns;
mod talk;

use std::collections::BTreeMap;
use std::net::IpAddr;

use netd_common::record::{FlowRecord, PayloadRecord, TurnRecord};
use netd_engine::time::Timestamp;
use netd_engine::{Command, Engine};

use super::connection::{Connection, Log};

pub(crate) use dns::{Answer, Kind, query, reply};
pub(crate) use talk::{By, Talk};

/// Every simulation begins here: Monday, 5 January 2026, 00:00 UTC.
const EPOCH_S: u64 = 1_767_571_200;

pub(crate) fn nanoseconds(at_s: f64) -> u64 {
    EPOCH_S * 1_000_000_000 + (at_s * 1e9) as u64
}

pub(crate) fn seconds(time: Timestamp) -> f64 {
    (time.0 - EPOCH_S * 1_000_000_000) as f64 / 1e9
}

enum Record {
    Flow(Box<FlowRecord>),
    Turn(Box<TurnRecord>),
    Payload(Box<PayloadRecord>, Box<[u8]>),
}

/// Records that wait for their time, and what they have been so far.
#[derive(Default)]
pub(crate) struct Wire {
    /// By second.
    waiting: BTreeMap<u64, Vec<(u64, Record)>>,
    /// Closed connections, where somebody wants to know of them.
    pub(crate) log: Option<Log>,
    pub(crate) conversations: u64,
    pub(crate) records: u64,
}

impl Wire {
    fn put(&mut self, at_ns: u64, record: Record) {
        self.records += 1;
        self.waiting.entry(at_ns / 1_000_000_000).or_default().push((at_ns, record));
    }

    fn note(&mut self, pair: (IpAddr, IpAddr), connection: Connection) {
        if let Some(log) = &mut self.log {
            log.add(pair, connection);
        }
    }

    /// Feeds the engine what happened before the second in which `until_s` lies.
    pub(crate) fn feed(&mut self, until_s: f64, engine: &mut Engine, each: &mut impl FnMut(Command)) {
        let until = nanoseconds(until_s) / 1_000_000_000;
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() < until
        {
            let second = *entry.key();
            let mut records = entry.remove();
            records.sort_by_key(|(at_ns, _)| *at_ns);
            for (_, record) in &records {
                match record {
                    Record::Flow(record) => engine.observe_flow(record),
                    Record::Turn(record) => engine.observe_turn(record),
                    Record::Payload(record, bytes) => engine.observe_payload(record, bytes),
                }
            }
            engine.tick(Timestamp((second + 1) * 1_000_000_000));
            while let Some(command) = engine.poll_command() {
                each(command);
            }
        }
    }

    /// Feeds the engine the rest and ends every conversation.
    pub(crate) fn finish(&mut self, engine: &mut Engine, each: &mut impl FnMut(Command)) {
        let last = self.waiting.keys().next_back().copied().unwrap_or(EPOCH_S);
        self.feed((last - EPOCH_S + 1) as f64, engine, each);
        engine.finish();
        while let Some(command) = engine.poll_command() {
            each(command);
        }
    }
}
