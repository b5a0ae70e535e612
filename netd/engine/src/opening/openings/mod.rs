//! The openings that are being heard, within a bound of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use netd_common::key::Direction;

use crate::opening::interner::Interner;
use crate::opening::read::{self, Path, Said};
use crate::opening::stream::Stream;
use crate::opening::tls::server::Choice;
use crate::opening::{Opening, Protocol};
use crate::slab::Handle;

/// Payload kept of all openings together, bytes.
const MOST_BYTES: usize = 8 << 20;
/// What an opening costs beside its payload, bytes.
const OVERHEAD: usize = 512;
/// How long an opening is waited for, record time.
const LONGEST_NS: u64 = 30_000_000_000;
/// Marks of openings that are over, kept until it is worth throwing them out.
const MOST_MARKS: usize = 1_024;
/// Different openings, and different strings in them, kept once.
const MOST_SHARED: usize = 16_384;

/// One record of first data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstData<'a> {
    pub(crate) direction: Direction,
    pub(crate) originator: Direction,
    pub(crate) ip_protocol: u8,
    pub(crate) responder_port: u16,
    /// TCP sequence number of the first byte, where it is known.
    pub(crate) seq: Option<u32>,
    pub(crate) bytes: &'a [u8],
    pub(crate) at_ns: u64,
}

/// What an opening came to with its latest record.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) opening: Arc<Opening>,
    /// Further bytes are likely to tell the name.
    pub(crate) awaits_name: bool,
}

/// One side of an opening: heard out, or still being heard.
#[derive(Debug, Default)]
struct Half {
    stream: Stream,
    said: Said,
    is_over: bool,
}

impl Half {
    /// Only the answers to TLS, and to what nobody knows, tell more.
    fn decides(&self) -> bool {
        let protocol = self.said.opening.protocol;
        self.is_over && protocol.is_known() && protocol != Protocol::Tls
    }
}

#[derive(Debug, Default)]
struct Pending {
    begun_ns: u64,
    halves: [Half; 2],
}

impl Pending {
    fn size(&self) -> usize {
        OVERHEAD + self.halves.iter().map(|half| half.stream.size()).sum::<usize>()
    }

    fn hear(&mut self, data: &FirstData<'_>) {
        let half = &mut self.halves[data.direction as usize];
        if half.is_over {
            return;
        }
        half.stream.push(data.seq, data.bytes);
        let path = Path { ip_protocol: data.ip_protocol, responder_port: data.responder_port };
        half.said = if data.direction == data.originator {
            read::originator(&half.stream, path)
        } else {
            read::responder(&half.stream, path)
        };
        half.is_over = half.said.is_settled || half.stream.is_full();
        if half.is_over {
            half.said.awaits_name = false;
            half.stream = Stream::default();
        }
    }
}

/// All openings that are being heard.
#[derive(Debug)]
pub(crate) struct Openings {
    pending: HashMap<Handle, Pending>,
    /// When each began; those that are over are skipped.
    order: VecDeque<(u64, Handle)>,
    bytes: usize,
    most_bytes: usize,
    strings: Interner<str>,
    shared: Interner<Opening>,
    /// Openings given up because others needed their room.
    pub(crate) cut: u64,
}

impl Openings {
    pub(crate) fn new() -> Self {
        Self::with_room(MOST_BYTES)
    }

    fn with_room(most_bytes: usize) -> Self {
        Self {
            pending: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            most_bytes,
            strings: Interner::new(MOST_SHARED),
            shared: Interner::new(MOST_SHARED),
            cut: 0,
        }
    }

    /// Takes in first data of a conversation. `is_known` where an opening was heard of it before: then, once it is
    /// over, `None` says that nothing changes.
    pub(crate) fn hear(&mut self, handle: Handle, is_known: bool, data: &FirstData<'_>) -> Option<Heard> {
        self.make_room(data.at_ns);
        if data.bytes.is_empty() || (is_known && !self.pending.contains_key(&handle)) {
            return None;
        }
        let pending = self.pending.entry(handle).or_insert_with(|| {
            self.order.push_back((data.at_ns, handle));
            self.bytes += OVERHEAD;
            Pending { begun_ns: data.at_ns, ..Pending::default() }
        });
        let before = pending.size();
        pending.hear(data);
        self.bytes = (self.bytes + pending.size()).saturating_sub(before);
        let [originator, responder] =
            [data.originator, data.originator.opposite()].map(|direction| &pending.halves[direction as usize]);
        let opening = Opening::joined(&originator.said.opening, &responder.said.opening);
        let awaits_name = originator.said.awaits_name;
        if originator.is_over && responder.is_over || originator.decides() || responder.decides() {
            self.forget(handle);
        }
        Some(Heard { opening: self.share(opening), awaits_name })
    }

    /// Stops hearing a conversation.
    pub(crate) fn forget(&mut self, handle: Handle) {
        if let Some(pending) = self.pending.remove(&handle) {
            self.bytes = self.bytes.saturating_sub(pending.size());
        }
    }

    /// Gives up what has been waited for too long, and the oldest where room is short.
    fn make_room(&mut self, now_ns: u64) {
        while let Some((begun_ns, handle)) = self.order.front().copied() {
            let is_heard = self.is_heard(begun_ns, handle);
            let is_late = now_ns.saturating_sub(begun_ns) > LONGEST_NS;
            let is_full = self.bytes > self.most_bytes;
            if is_heard && !is_late && !is_full {
                break;
            }
            self.order.pop_front();
            if is_heard {
                self.cut += u64::from(!is_late);
                self.forget(handle);
            }
        }
        // Marks of openings that are over must not pile up behind one that is not.
        if self.order.len() > 2 * self.pending.len() + MOST_MARKS {
            let order = std::mem::take(&mut self.order);
            self.order = order.into_iter().filter(|(begun_ns, handle)| self.is_heard(*begun_ns, *handle)).collect();
        }
    }

    fn is_heard(&self, begun_ns: u64, handle: Handle) -> bool {
        self.pending.get(&handle).is_some_and(|pending| pending.begun_ns == begun_ns)
    }

    fn share(&mut self, opening: Opening) -> Arc<Opening> {
        let mut once = |text: Option<Arc<str>>| text.map(|text| self.strings.share(text));
        let opening = Opening {
            name: once(opening.name),
            alpn: once(opening.alpn),
            ja3: once(opening.ja3),
            ja4: once(opening.ja4),
            user_agent: once(opening.user_agent),
            server: opening.server.map(|server| Choice { alpn: once(server.alpn), ..server }),
            ..opening
        };
        self.shared.share(Arc::new(opening))
    }
}

#[cfg(test)]
mod tests;
