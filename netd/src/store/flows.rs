//! The conversations as they are shown: those alive, and the last ones that ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use netd_common::key::{ConversationKey, FlowKey};
use netd_engine::flow::Conversation;

use super::Backlog;
use super::ended::Ended;
use super::events::{Event, Events};

/// A conversation with its place in the order of arrival.
#[derive(Clone, Debug)]
pub struct Row {
    /// Grows with every conversation that is first heard of, over restarts too; never below its start in microseconds
    /// of Unix time. Stays when the conversation changes.
    pub sequence: u64,
    /// Its number among those that ended, from 1 on; none while it may still change.
    pub ended: Option<u64>,
    pub conversation: Conversation,
    pub written: Written,
}

/// The batch in which history wrote a row, 0 while it has not.
#[derive(Debug, Default)]
pub struct Written(AtomicU64);

impl Written {
    pub fn set(&self, batch: u64) {
        self.0.store(batch, Ordering::Release);
    }

    /// Returns whether the row is among the first `batches` that history wrote.
    #[must_use]
    pub fn is_within(&self, batches: u64) -> bool {
        (1..=batches).contains(&self.0.load(Ordering::Acquire))
    }
}

impl Clone for Written {
    fn clone(&self) -> Self {
        Self(self.0.load(Ordering::Acquire).into())
    }
}

/// A bounded number of conversations: the one that ended longest ago gives way, then the oldest.
///
/// One task writes; any number read without holding it up.
#[derive(Debug)]
pub struct Flows {
    limit: usize,
    rows: DashMap<u64, Arc<Row>>,
    events: Events,
    ended: Ended,
    order: Mutex<Order>,
}

#[derive(Debug, Default)]
struct Order {
    last: u64,
    /// By sequence: the key of a live one, `None` for an ended one.
    sequences: BTreeMap<u64, Option<ConversationKey>>,
    live: std::collections::HashMap<ConversationKey, u64>,
    /// Sequences, in the order in which they ended.
    ended: VecDeque<u64>,
    /// How many have ended: the number of the last in `ended`.
    endings: u64,
    evicted: u64,
}

/// Rows a reader looks at between two looks at the order.
const CHUNK: usize = 1_024;

impl Flows {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            rows: DashMap::new(),
            events: Events::default(),
            ended: Ended::default(),
            order: Mutex::default(),
        }
    }

    /// Numbers on from `last`, which a former run came to.
    #[must_use]
    pub fn numbered_after(self, last: u64) -> Self {
        self.order(|order| order.last = order.last.max(last));
        self
    }

    /// Tells each conversation that ends to the listeners of `events`.
    #[must_use]
    pub fn telling(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Takes a conversation's present state. One that is over on the wire keeps its place until [`Flows::end`]: late
    /// records may still add to it.
    pub fn put(&self, conversation: Conversation) {
        self.place(conversation, false);
    }

    /// Takes a conversation's last state.
    pub fn end(&self, conversation: Conversation) {
        self.place(conversation, true);
    }

    fn place(&self, conversation: Conversation, has_ended: bool) {
        let key = key(&conversation);
        let (sequence, ended, evicted) = self.order(|order| {
            let sequence = match order.live.get(&key) {
                Some(sequence) => *sequence,
                None => order.begin(key, conversation.start.0 / 1_000),
            };
            let ended = has_ended.then(|| order.end(sequence, &key));
            (sequence, ended, order.evict(self.limit))
        });
        let row = Arc::new(Row { sequence, ended, conversation, written: Written::default() });
        self.rows.insert(sequence, Arc::clone(&row));
        if has_ended {
            self.events.tell(|| Event::Flow(row));
        }
        for sequence in evicted {
            self.rows.remove(&sequence);
        }
    }

    /// Returns a conversation by its sequence.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<Arc<Row>> {
        self.rows.get(&sequence).map(|row| Arc::clone(&row))
    }

    /// Hands every conversation to `take`, newest first.
    pub fn each(&self, mut take: impl FnMut(&Arc<Row>)) {
        let mut below = u64::MAX;
        loop {
            let chunk: Vec<u64> =
                self.order(|order| order.sequences.range(..below).rev().take(CHUNK).map(|(s, _)| *s).collect());
            let Some(last) = chunk.last() else { return };
            for sequence in &chunk {
                // It may have given way since.
                if let Some(row) = self.get(*sequence) {
                    take(&row);
                }
            }
            below = *last;
        }
    }

    /// Returns up to `limit` conversations that `keep` accepts with sequences below `before`, newest first, and
    /// whether there may be more.
    #[must_use]
    pub fn page(&self, before: Option<u64>, limit: usize, keep: impl Fn(&Row) -> bool) -> (Vec<Arc<Row>>, bool) {
        let (mut page, mut below) = (Vec::new(), before.unwrap_or(u64::MAX));
        loop {
            let chunk: Vec<u64> =
                self.order(|order| order.sequences.range(..below).rev().take(CHUNK).map(|(s, _)| *s).collect());
            let Some(last) = chunk.last() else { return (page, false) };
            for sequence in &chunk {
                // It may have given way since.
                let Some(row) = self.rows.get(sequence).map(|row| Arc::clone(&row)) else { continue };
                if keep(&row) {
                    if page.len() == limit {
                        return (page, true);
                    }
                    page.push(row);
                }
            }
            below = *last;
        }
    }

    /// Returns the conversations that ended after the one with the number `ended`, in that order, the newest `limit`
    /// at most.
    #[must_use]
    pub fn ended_after(&self, ended: u64, limit: usize) -> Backlog<Arc<Row>> {
        let (sequences, wanted) = self.order(|order| {
            let wanted = order.endings.saturating_sub(ended);
            let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(limit).min(order.ended.len());
            let newest: Vec<u64> = order.ended.range(order.ended.len() - count..).copied().collect();
            (newest, wanted)
        });
        let rows = sequences.iter().filter_map(|sequence| self.rows.get(sequence).map(|row| Arc::clone(&row)));
        let events: Vec<_> = rows.filter(|row| row.ended.is_some()).collect();
        let is_whole = events.len() as u64 >= wanted;
        Backlog { events, is_whole }
    }

    /// Returns how many conversations are alive, how many are held, and how many gave way.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u64) {
        self.order(|order| (order.live.len(), order.sequences.len(), order.evicted))
    }

    /// Returns how many conversations have ended.
    #[must_use]
    pub const fn ended(&self) -> &Ended {
        &self.ended
    }

    fn order<T>(&self, change: impl FnOnce(&mut Order) -> T) -> T {
        change(&mut self.order.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Order {
    fn begin(&mut self, key: ConversationKey, start_us: u64) -> u64 {
        self.last = start_us.max(self.last + 1);
        self.sequences.insert(self.last, Some(key));
        self.live.insert(key, self.last);
        self.last
    }

    fn end(&mut self, sequence: u64, key: &ConversationKey) -> u64 {
        self.live.remove(key);
        self.sequences.insert(sequence, None);
        self.ended.push_back(sequence);
        self.endings += 1;
        self.endings
    }

    fn evict(&mut self, limit: usize) -> Vec<u64> {
        let mut evicted = Vec::new();
        while self.sequences.len() > limit {
            let Some(sequence) = self.ended.pop_front().or_else(|| self.sequences.keys().next().copied()) else {
                break;
            };
            if let Some(Some(key)) = self.sequences.remove(&sequence) {
                self.live.remove(&key);
            }
            self.evicted += 1;
            evicted.push(sequence);
        }
        evicted
    }
}

/// Returns the undirected five-tuple: two conversations alive at once never share it.
fn key(conversation: &Conversation) -> ConversationKey {
    let flow = FlowKey {
        src: conversation.originator.into(),
        dst: conversation.responder.into(),
        src_port: conversation.originator_port.to_be_bytes(),
        dst_port: conversation.responder_port.to_be_bytes(),
        proto: conversation.protocol,
        pad: [0; 3],
    };
    flow.conversation().0
}

#[cfg(test)]
pub(crate) mod tests {
    use netd_engine::flow::{EndReason, Sent};
    use netd_engine::lookup::{Carrier, Flags, Lookup, Record, Reply};
    use netd_engine::time::Timestamp;

    use super::*;

    /// A TCP conversation of 10.0.0.7 to 198.51.100.9, port 443.
    pub(crate) fn conversation(port: u16, end_reason: EndReason) -> Conversation {
        Conversation {
            encrypted_dns: None,
            start: Timestamp(1_800_000_000_000_000_000),
            end: Timestamp(1_800_000_060_000_000_000),
            duration_s: 60.0,
            originator: "10.0.0.7".parse().unwrap(),
            originator_port: port,
            responder: "198.51.100.9".parse().unwrap(),
            responder_port: 443,
            protocol: 6,
            originated: Sent { packets: 1, bytes: 60, payload: 0, flags: 2 },
            responded: Sent::default(),
            turns: 0,
            state: "S0",
            end_reason,
            community_id: Some("1:abc=".into()),
            name: Some("cdn.example.net".into()),
            name_source: Default::default(),
            service: None,
            alpn: None,
            ja4: None,
            tls: Default::default(),
            process: None,
            responder_process: None,
            vlan: 0,
            ifindex: 2,
            rule: 0,
        }
    }

    /// A question that was answered.
    pub(crate) fn lookup() -> Lookup {
        let start = Timestamp(1_800_000_000_000_000_000);
        let carrier = Carrier {
            start,
            originator: "10.0.0.7".parse().unwrap(),
            originator_port: 40_000,
            responder: "9.9.9.9".parse().unwrap(),
            responder_port: 53,
            protocol: 17,
            community_id: Some("1:abc=".into()),
            vlan: 0,
            ifindex: 2,
        };
        let record = Record { owner: "cdn.example.net".into(), rtype: 1, ttl_s: 60, data: Some("198.51.100.9".into()) };
        let at = Timestamp(start.0 + 20_000_000);
        Lookup {
            carrier,
            id: 7,
            name: Some("cdn.example.net".into()),
            qtype: 1,
            qclass: 1,
            asked: Some((start, Flags(0x0100))),
            reply: Some(Reply { at, flags: Flags(0x8180), records: vec![record], is_bare: false }),
        }
    }

    fn ports(page: &[Arc<Row>]) -> Vec<u16> {
        page.iter().map(|row| row.conversation.originator_port).collect()
    }

    #[test]
    fn a_conversation_that_goes_on_keeps_its_place() {
        let flows = Flows::new(10);
        flows.put(conversation(1, EndReason::Active));
        flows.put(conversation(2, EndReason::Active));

        flows.put(Conversation { turns: 9, ..conversation(1, EndReason::Active) });

        let (page, _) = flows.page(None, 10, |_| true);
        assert_eq!(ports(&page), [2, 1]);
        assert_eq!(page[1].conversation.turns, 9);
    }

    #[test]
    fn a_five_tuple_that_begins_anew_is_another_row() {
        let flows = Flows::new(10);
        flows.put(conversation(1, EndReason::Active));
        flows.end(conversation(1, EndReason::Reused));
        flows.put(conversation(1, EndReason::Active));

        let (page, _) = flows.page(None, 10, |_| true);

        assert_eq!(
            page.iter().map(|row| row.conversation.end_reason).collect::<Vec<_>>(),
            [EndReason::Active, EndReason::Reused]
        );
        assert_eq!(flows.counts(), (1, 2, 0));
    }

    #[test]
    fn one_that_is_over_and_waits_for_late_records_is_one_row() {
        let flows = Flows::new(10);
        flows.put(conversation(1, EndReason::Active));
        flows.put(conversation(1, EndReason::Closed));
        flows.put(conversation(1, EndReason::Closed));
        flows.end(conversation(1, EndReason::Closed));

        assert_eq!(ports(&flows.page(None, 10, |_| true).0), [1]);
        assert_eq!(flows.counts(), (0, 1, 0));
    }

    #[test]
    fn what_ended_gives_way_before_what_lives() {
        let flows = Flows::new(3);
        flows.put(conversation(1, EndReason::Active));
        flows.end(conversation(2, EndReason::Closed));
        flows.put(conversation(3, EndReason::Active));
        flows.put(conversation(4, EndReason::Active));
        assert_eq!(ports(&flows.page(None, 10, |_| true).0), [4, 3, 1]);

        flows.put(conversation(5, EndReason::Active));

        assert_eq!(ports(&flows.page(None, 10, |_| true).0), [5, 4, 3]);
        assert_eq!(flows.counts(), (3, 3, 2));
    }

    #[test]
    fn pages_join_without_a_gap_while_conversations_arrive() {
        let flows = Flows::new(10_000);
        for port in 0..3_000 {
            flows.put(conversation(port, EndReason::Active));
        }
        let is_even = |row: &Row| row.conversation.originator_port.is_multiple_of(2);

        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let (page, more) = flows.page(before, 400, is_even);
            before = page.last().map(|row| row.sequence);
            seen.extend(ports(&page));
            flows.put(conversation(5_000 + seen.len() as u16, EndReason::Active));
            if !more {
                break;
            }
        }

        assert_eq!(seen, (0..3_000).rev().filter(|port| port % 2 == 0).collect::<Vec<_>>());
    }
}
