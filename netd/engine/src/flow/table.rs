//! The conversations that are alive, found by key, expired by idleness, bounded in number.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use netd_common::key::ConversationKey;
use zerocopy::IntoBytes;

use super::entry::Entry;
use super::queue::{Queues, Wait};
use crate::config::Flows;
use crate::slab::{Handle, Slab};

/// How long an ended conversation waits for the last records of other CPUs.
const CLOSING_NS: u64 = 20_000_000_000;
/// How long the counters of a reported conversation are remembered.
const REPORTED_NS: u64 = 600_000_000_000;

/// Hashed in one write rather than field by field.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(ConversationKey);

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(self.0.as_bytes());
    }
}

pub(crate) struct Table {
    entries: Slab<Entry>,
    /// Keys are chosen by whoever sends packets, hence the standard library's keyed hash.
    index: HashMap<Key, Handle>,
    queues: Queues,
    timeouts_ns: [u64; Wait::ALL.len()],
    limit: usize,
    /// The conversation of the last record: records come in runs of one conversation.
    recent: Option<(Key, Handle)>,
}

impl Table {
    pub(crate) fn new(config: &Flows) -> Self {
        let mut timeouts_ns = [0; Wait::ALL.len()];
        let seconds = |s: u32| u64::from(s) * 1_000_000_000;
        timeouts_ns[Wait::TcpOpen as usize] = seconds(config.tcp_idle_s);
        timeouts_ns[Wait::TcpHalfOpen as usize] = seconds(config.half_open_idle_s);
        timeouts_ns[Wait::Udp as usize] = seconds(config.udp_idle_s);
        timeouts_ns[Wait::Other as usize] = seconds(config.other_idle_s);
        timeouts_ns[Wait::Closing as usize] = CLOSING_NS;
        timeouts_ns[Wait::Reported as usize] = REPORTED_NS;
        Self {
            entries: Slab::new(),
            index: HashMap::new(),
            queues: Queues::new(),
            timeouts_ns,
            limit: config.limit.max(1),
            recent: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&mut self, key: &ConversationKey) -> Option<Handle> {
        let key = Key(*key);
        if let Some((recent, handle)) = self.recent
            && recent == key
        {
            return Some(handle);
        }
        let handle = *self.index.get(&key)?;
        self.recent = Some((key, handle));
        Some(handle)
    }

    /// Returns the conversation that must give way before another is admitted.
    pub(crate) fn victim(&self) -> Option<Handle> {
        if self.entries.len() < self.limit {
            return None;
        }
        Wait::ALL.iter().find_map(|wait| self.queues.head(*wait)).and_then(|place| self.entries.at(place))
    }

    pub(crate) fn admit(&mut self, entry: Entry) -> Handle {
        let key = Key(entry.key);
        let wait = entry.wait();
        let handle = self.entries.insert(entry);
        self.index.insert(key, handle);
        self.queues.touch(handle.index, wait);
        self.recent = Some((key, handle));
        handle
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&Entry> {
        self.entries.get(handle)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.entries.get_mut(handle)
    }

    /// Notes activity: the entry is the last of its queue to expire.
    pub(crate) fn touch(&mut self, handle: Handle) {
        if let Some(entry) = self.entries.get(handle) {
            self.queues.touch(handle.index, entry.wait());
        }
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Entry> {
        let entry = self.entries.remove(handle)?;
        self.queues.leave(handle.index);
        self.index.remove(&Key(entry.key));
        self.recent = None;
        Some(entry)
    }

    /// Returns a conversation that has been idle for too long at `now_ns`.
    pub(crate) fn expired(&self, now_ns: u64) -> Option<Handle> {
        Wait::ALL.iter().find_map(|wait| {
            let handle = self.entries.at(self.queues.head(*wait)?)?;
            let entry = self.entries.get(handle)?;
            let idle_ns = now_ns.saturating_sub(entry.last_ns);
            (idle_ns > self.timeouts_ns[*wait as usize]).then_some(handle)
        })
    }

    /// Returns the places, in order, for a walk that changes the table on its way.
    pub(crate) fn places(&self) -> u32 {
        self.entries.places()
    }

    pub(crate) fn at(&self, place: u32) -> Option<Handle> {
        self.entries.at(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}
