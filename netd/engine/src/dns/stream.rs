//! DNS over TCP: messages behind their length (RFC 1035, 4.2.2), spread over segments as they come.

use std::collections::{HashMap, VecDeque};

use netd_common::key::{ConversationKey, Direction};

use super::message::HEADER;

const PREFIX: usize = 2;
/// Bytes kept of a message that is not complete; the rest of a longer one is skipped.
const KEPT: usize = 4_096;
/// Directions with an incomplete message at once: 4 MB at most. The oldest gives way.
const LIMIT: usize = 1_024;
/// What follows a silence this long begins a message.
const SILENCE_NS: u64 = 60_000_000_000;

type Key = (ConversationKey, Direction);

/// What is left of the messages of one direction.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Bytes to come that belong to a message already read.
    skipped: usize,
    at_ns: u64,
    serial: u64,
}

/// A segment of one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) key: ConversationKey,
    pub(crate) direction: Direction,
    pub(crate) bytes: &'a [u8],
    /// Bytes of the segment that were not captured.
    pub(crate) missing: usize,
    pub(crate) at_ns: u64,
}

/// The connections in the middle of a message.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    partial: HashMap<Key, Partial>,
    order: VecDeque<(Key, u64)>,
    serial: u64,
}

impl Streams {
    /// Returns the messages that a segment completes, and those that are cut short for good.
    pub(crate) fn push(&mut self, segment: &Segment<'_>) -> Vec<Vec<u8>> {
        let key = (segment.key, segment.direction);
        let mut partial = self.partial.remove(&key).unwrap_or_default();
        if segment.at_ns.saturating_sub(partial.at_ns) > SILENCE_NS {
            partial = Partial::default();
        }
        let skipped = partial.skipped.min(segment.bytes.len());
        partial.skipped -= skipped;
        partial.bytes.extend_from_slice(segment.bytes.get(skipped..).unwrap_or_default());
        let mut missing = segment.missing;
        let passed = partial.skipped.min(missing);
        partial.skipped -= passed;
        missing -= passed;

        let mut messages = Vec::new();
        let mut rest = partial.bytes.as_slice();
        let mut skipped = partial.skipped;
        while let Some((prefix, body)) = rest.split_first_chunk::<PREFIX>() {
            let len = usize::from(u16::from_be_bytes(*prefix));
            if len < HEADER {
                // No message is as short: this is no DNS, or its framing is lost.
                messages.push(rest.to_vec());
                rest = &[];
            } else if body.len() >= len {
                messages.push(body[..len].to_vec());
                rest = &body[len..];
            } else if missing > 0 || body.len() > KEPT {
                messages.push(body.to_vec());
                // More was missed than the message had: the next segment is taken for a beginning.
                skipped = (len - body.len()).saturating_sub(missing);
                missing = 0;
                rest = &[];
            } else {
                break;
            }
        }
        // What is missing after the last prefix leaves no way to know where a message begins.
        let bytes = if missing > 0 { Vec::new() } else { rest.to_vec() };
        if !bytes.is_empty() || skipped > 0 {
            self.keep(key, Partial { bytes, skipped, at_ns: segment.at_ns, serial: 0 });
        }
        messages
    }

    /// Forgets a connection that ended.
    pub(crate) fn end(&mut self, key: &ConversationKey) {
        self.partial.remove(&(*key, Direction::AToB));
        self.partial.remove(&(*key, Direction::BToA));
    }

    fn keep(&mut self, key: Key, partial: Partial) {
        while self.partial.len() >= LIMIT || self.order.len() >= 4 * LIMIT {
            let Some((oldest, serial)) = self.order.pop_front() else { break };
            if self.partial.get(&oldest).is_some_and(|partial| partial.serial == serial) {
                self.partial.remove(&oldest);
            }
        }
        self.serial += 1;
        self.order.push_back((key, self.serial));
        self.partial.insert(key, Partial { serial: self.serial, ..partial });
    }
}
