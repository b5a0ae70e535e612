//! The first payload of conversations, as the kernel exported it, for those who want to see it.
//!
//! A ring of bounded size holds what came last; what belongs to a finding is put aside when the finding is reported,
//! within the same bound again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netd_common::key::{ConversationKey, Direction, FlowKey};
use netd_common::record::PayloadRecord;
use netd_engine::finding::Pair;
use netd_engine::time::Timestamp;

/// What a piece costs besides its payload, in bytes.
const OVERHEAD: usize = 160;
/// Pieces put aside for one finding at most, the newest.
const PUT_ASIDE: usize = 64;

/// Payload of one packet, as far as it was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub time: Timestamp,
    /// Directed as the packet.
    pub flow: FlowKey,
    /// TCP sequence number of the first byte, 0 otherwise.
    pub sequence: u32,
    /// Where in the packet's payload the first byte stands.
    pub offset: u32,
    /// Length of the packet's payload on the wire.
    pub wire_len: u32,
    pub bytes: Box<[u8]>,
}

/// Payload records, the newest up to a bound. One task writes; any number read.
#[derive(Debug)]
pub struct Evidence {
    /// Bytes of the ring, and of what is put aside; 0 keeps nothing.
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ring: VecDeque<Arc<Piece>>,
    ring_bytes: usize,
    /// By finding; the oldest finding gives way.
    aside: BTreeMap<u64, Vec<Arc<Piece>>>,
    aside_bytes: usize,
}

/// What is held of a finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// By time.
    pub pieces: Vec<Arc<Piece>>,
}

impl Evidence {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Takes a payload record; its time is Unix time.
    pub fn take(&self, record: &PayloadRecord, bytes: &[u8]) {
        let cost = bytes.len() + OVERHEAD;
        if cost > self.limit {
            return;
        }
        let piece = Arc::new(Piece {
            time: Timestamp(record.header.time_ns),
            flow: record.key.flow(Direction::from_bit(record.direction)),
            sequence: record.seq,
            offset: record.offset,
            wire_len: record.wire_len,
            bytes: bytes.into(),
        });
        let mut inner = self.inner();
        inner.ring.push_back(piece);
        inner.ring_bytes += cost;
        while inner.ring_bytes > self.limit {
            let Some(oldest) = inner.ring.pop_front() else { break };
            inner.ring_bytes -= cost_of(&oldest);
        }
    }

    /// Puts aside what is held of a finding's pair.
    pub fn put_aside(&self, finding: u64, pair: &Pair) {
        if self.limit == 0 {
            return;
        }
        let mut inner = self.inner();
        let pieces = inner.of(finding, pair);
        let newest = pieces[pieces.len().saturating_sub(PUT_ASIDE)..].to_vec();
        inner.aside_bytes += newest.iter().map(|piece| cost_of(piece)).sum::<usize>();
        let before = inner.aside.insert(finding, newest).unwrap_or_default();
        inner.aside_bytes -= before.iter().map(|piece| cost_of(piece)).sum::<usize>();
        while inner.aside_bytes > self.limit {
            let Some((_, oldest)) = inner.aside.pop_first() else { break };
            inner.aside_bytes -= oldest.iter().map(|piece| cost_of(piece)).sum::<usize>();
        }
    }

    /// Returns what is held of a finding: what was put aside, and what came since.
    #[must_use]
    pub fn of(&self, finding: u64, pair: &Pair) -> Held {
        Held { pieces: self.inner().of(finding, pair) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn of(&self, finding: u64, pair: &Pair) -> Vec<Arc<Piece>> {
        let aside = self.aside.get(&finding).into_iter().flatten();
        let ring = self.ring.iter().filter(|piece| is_of(piece, pair));
        let mut pieces: Vec<_> = aside.chain(ring).cloned().collect();
        pieces.sort_by_key(|piece| (piece.time, piece.offset));
        pieces.dedup_by(|a, b| a == b);
        pieces
    }
}

/// Returns whether a piece is of a conversation of the pair.
fn is_of(piece: &Piece, pair: &Pair) -> bool {
    let is = |flow: FlowKey| {
        flow.proto == pair.proto
            && flow.dst_port() == pair.responder_port
            && flow.src.ip() == pair.originator
            && flow.dst.ip() == pair.responder
    };
    is(piece.flow) || is(piece.flow.reversed())
}

fn cost_of(piece: &Piece) -> usize {
    piece.bytes.len() + OVERHEAD
}

impl Piece {
    /// Returns the conversation, whichever way the packet went.
    #[must_use]
    pub fn conversation(&self) -> ConversationKey {
        self.flow.conversation().0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use netd_common::record::{Header, Kind};

    use super::*;

    pub(crate) fn pair() -> Pair {
        Pair {
            originator: "10.0.0.7".parse().unwrap(),
            responder: "198.51.100.9".parse().unwrap(),
            responder_port: 443,
            proto: 6,
        }
    }

    /// A flow of the pair.
    pub(crate) fn flow(port: u16) -> FlowKey {
        FlowKey {
            src: pair().originator.into(),
            dst: pair().responder.into(),
            src_port: port.to_be_bytes(),
            dst_port: 443_u16.to_be_bytes(),
            proto: 6,
            pad: [0; 3],
        }
    }

    /// Payload that `flow` carried at a second.
    pub(crate) fn record(flow: FlowKey, second: u64, seq: u32, len: usize) -> PayloadRecord {
        let (key, direction) = flow.conversation();
        let time_ns = 1_800_000_000_000_000_000 + second * 1_000_000_000;
        PayloadRecord {
            header: Header { kind: Kind::Payload as u16, cpu: 0, len: 0, time_ns },
            key,
            wire_len: u32::try_from(len).unwrap(),
            captured: u16::try_from(len).unwrap(),
            direction: direction as u8,
            seq,
            ..PayloadRecord::default()
        }
    }

    #[test]
    fn a_pair_has_the_payload_of_both_directions_and_of_no_other_pair() {
        let evidence = Evidence::new(1 << 20);
        let other = FlowKey { dst: "198.51.100.8".parse::<std::net::IpAddr>().unwrap().into(), ..flow(1) };
        evidence.take(&record(flow(1).reversed(), 2, 9, 3), b"two");
        evidence.take(&record(flow(1), 1, 1, 3), b"one");
        evidence.take(&record(other, 3, 1, 5), b"three");

        let held = evidence.of(1, &pair());

        assert_eq!(held.pieces.iter().map(|piece| &*piece.bytes).collect::<Vec<_>>(), [b"one", b"two"]);
    }

    #[test]
    fn the_oldest_gives_way_unless_a_finding_is_about_it() {
        let evidence = Evidence::new(10 * (100 + OVERHEAD));
        evidence.take(&record(flow(1), 1, 1, 100), &[1; 100]);
        evidence.put_aside(7, &pair());

        for second in 0..50 {
            let other = FlowKey { src: "10.0.0.8".parse::<std::net::IpAddr>().unwrap().into(), ..flow(2) };
            evidence.take(&record(other, second, 1, 100), &[2; 100]);
        }

        assert_eq!(evidence.inner().ring.len(), 10);
        assert_eq!(evidence.of(7, &pair()).pieces.len(), 1);
        assert!(evidence.of(8, &pair()).pieces.is_empty());
    }

    #[test]
    fn what_is_put_aside_is_bounded_too() {
        let evidence = Evidence::new(10 * (100 + OVERHEAD));
        evidence.take(&record(flow(1), 1, 1, 100), &[1; 100]);

        for finding in 0..50 {
            evidence.put_aside(finding, &pair());
            evidence.put_aside(finding, &pair());
        }

        let inner = evidence.inner();
        assert_eq!((inner.aside.len(), inner.aside_bytes), (10, 10 * (100 + OVERHEAD)));
    }

    #[test]
    fn nothing_is_held_where_nothing_may_be() {
        let evidence = Evidence::new(0);

        evidence.take(&record(flow(1), 1, 1, 3), b"one");
        evidence.put_aside(7, &pair());

        assert_eq!(evidence.of(7, &pair()), Held::default());
    }
}
