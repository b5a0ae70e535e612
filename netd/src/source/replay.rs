//! Capture files through parser, accounting and engine, on the captures' own time.
//!
//! Several captures are one stream, merged by time, as `mergecap` would. Within it time does not go back: a packet
//! stamped earlier than the one before it counts as of that one's time.

use std::path::Path;

use netd_common::packet::{Packet, ParseError};
use netd_engine::engine::{Explanation, Question};
use netd_engine::time::Timestamp;
use netd_engine::{Command, Engine};

use super::accounting::{Accounting, Arrival};
use super::capture::{Capture, Error, Frame, Link, network_layer};
use super::watch::Watched;

/// The engine's clock ticks once in this much capture time.
const TICK_NS: u64 = 1_000_000_000;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub packets: u64,
    /// On the wire.
    pub bytes: u64,
    pub parsed: u64,
    /// Packets that could not be parsed, by reason, in the order of [`ParseError::ALL`].
    pub unparsed: [u64; ParseError::ALL.len()],
    /// Packets of link types that are not read.
    pub unsupported_link: u64,
    /// Time of the first and of the latest packet.
    pub first: Option<Timestamp>,
    pub last: Timestamp,
}

impl Tally {
    /// Returns each reason for which packets were not parsed, and how many there were.
    pub fn unparsed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = ParseError::ALL.iter().map(|reason| reason.name()).zip(self.unparsed);
        reasons.chain([("unsupported_link", self.unsupported_link)]).filter(|(_, count)| *count > 0)
    }
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    accounting: Accounting,
    tally: Tally,
    now_ns: u64,
    next_tick_ns: u64,
    /// Asked when the captures are at their end, before their conversations are.
    question: Option<Question>,
    explanation: Option<Explanation>,
    watched: Option<Watched>,
}

impl Replay {
    #[must_use]
    pub fn new(accounting: Accounting) -> Self {
        Self {
            accounting,
            tally: Tally::default(),
            now_ns: 0,
            next_tick_ns: 0,
            question: None,
            explanation: None,
            watched: None,
        }
    }

    /// Tells somebody how far it is, and ends where it is when it is asked to.
    #[must_use]
    pub fn watched(self, by: Watched) -> Self {
        Self { watched: Some(by), ..self }
    }

    /// Asks the engine at the end of the captures.
    pub fn ask(&mut self, question: Question) {
        self.question = Some(question);
    }

    /// Returns the answer to [`Self::ask`].
    #[must_use]
    pub const fn explanation(&self) -> Option<&Explanation> {
        self.explanation.as_ref()
    }

    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    #[must_use]
    pub const fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// Replays captures to their end; `each` hears every command. Returns the errors of captures that could not be
    /// opened or read to their end: what stands before the fault was replayed.
    pub fn run(&mut self, paths: &[impl AsRef<Path>], engine: &mut Engine, each: impl FnMut(Command)) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut captures = Vec::with_capacity(paths.len());
        for path in paths {
            match Capture::open(path.as_ref()) {
                Ok(capture) => captures.push(capture),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(self.run_open(captures, engine, each));
        errors
    }

    /// The same for captures that are open.
    pub fn run_open(
        &mut self,
        mut captures: Vec<Capture>,
        engine: &mut Engine,
        mut each: impl FnMut(Command),
    ) -> Vec<Error> {
        let mut errors = Vec::new();
        if captures.len() > 1 {
            self.merge(captures, engine, &mut each, &mut errors);
        } else if let Some(capture) = captures.pop() {
            errors.extend(self.read(capture, engine, &mut each).err());
        }
        if let Some(watched) = &self.watched {
            watched.note(self.tally.packets, self.tally.bytes);
        }
        self.accounting.finish(self.now_ns, engine);
        engine.tick(Timestamp(self.now_ns));
        self.explanation = self.question.as_ref().map(|question| engine.explain(question));
        engine.finish();
        drain(engine, &mut each);
        errors
    }

    fn read(&mut self, mut capture: Capture, engine: &mut Engine, each: &mut impl FnMut(Command)) -> Result<(), Error> {
        while self.goes_on()
            && let Some(frame) = capture.next_frame()?
        {
            self.observe(&frame, engine, each);
        }
        Ok(())
    }

    #[inline]
    fn goes_on(&self) -> bool {
        self.watched.as_ref().is_none_or(|watched| watched.goes_on(self.tally.packets, self.tally.bytes))
    }

    fn merge(
        &mut self,
        captures: Vec<Capture>,
        engine: &mut Engine,
        each: &mut impl FnMut(Command),
        errors: &mut Vec<Error>,
    ) {
        let mut heads: Vec<Head> = captures.into_iter().filter_map(|capture| Head::open(capture, errors)).collect();
        // Of equal times the capture named first comes first.
        while self.goes_on()
            && let Some(next) = (0..heads.len()).min_by_key(|at| heads[*at].time_ns)
        {
            self.observe(&heads[next].frame(), engine, each);
            if !heads[next].advance(errors) {
                heads.remove(next);
            }
        }
    }

    #[inline]
    fn observe(&mut self, frame: &Frame<'_>, engine: &mut Engine, each: &mut impl FnMut(Command)) {
        self.now_ns = self.now_ns.max(frame.time_ns);
        self.tally.packets += 1;
        self.tally.bytes += u64::from(frame.wire_len);
        self.tally.first.get_or_insert(Timestamp(frame.time_ns));
        self.tally.last = Timestamp(self.now_ns);
        self.accounting.advance(self.now_ns, engine);
        if self.now_ns >= self.next_tick_ns {
            engine.tick(Timestamp(self.now_ns));
            self.next_tick_ns = self.now_ns.saturating_add(TICK_NS);
        }
        if let Some(packet) = self.parse(frame) {
            let arrival =
                Arrival { packet: &packet, frame: frame.data, wire_len: frame.wire_len, time_ns: self.now_ns };
            self.accounting.account(&arrival, engine);
        }
        drain(engine, each);
    }

    #[inline]
    fn parse(&mut self, frame: &Frame<'_>) -> Option<Packet> {
        if matches!(frame.link, Link::Unsupported(_)) {
            self.tally.unsupported_link += 1;
            return None;
        }
        let parsed = match network_layer(frame.link, frame.data) {
            Some(layer) => Packet::from_network(frame.data, layer.ethertype, layer.offset, frame.wire_len),
            None => Err(ParseError::TruncatedLink),
        };
        match parsed {
            Ok(packet) => {
                self.tally.parsed += 1;
                Some(packet)
            }
            Err(reason) => {
                if let Some(at) = ParseError::ALL.iter().position(|known| *known == reason) {
                    self.tally.unparsed[at] += 1;
                }
                None
            }
        }
    }
}

fn drain(engine: &mut Engine, each: &mut impl FnMut(Command)) {
    while let Some(command) = engine.poll_command() {
        each(command);
    }
}

/// The next frame of one of several captures: copied, as it must outlive reading the others.
struct Head {
    capture: Capture,
    data: Vec<u8>,
    time_ns: u64,
    link: Link,
    wire_len: u32,
    index: u64,
}

impl Head {
    fn open(capture: Capture, errors: &mut Vec<Error>) -> Option<Self> {
        let mut head = Self { capture, data: Vec::new(), time_ns: 0, link: Link::RawIp, wire_len: 0, index: 0 };
        head.advance(errors).then_some(head)
    }

    fn advance(&mut self, errors: &mut Vec<Error>) -> bool {
        match self.capture.next_frame() {
            Ok(Some(frame)) => {
                self.data.clear();
                self.data.extend_from_slice(frame.data);
                (self.time_ns, self.link) = (frame.time_ns, frame.link);
                (self.wire_len, self.index) = (frame.wire_len, frame.index);
                true
            }
            Ok(None) => false,
            Err(error) => {
                errors.push(error);
                false
            }
        }
    }

    fn frame(&self) -> Frame<'_> {
        Frame { time_ns: self.time_ns, link: self.link, data: &self.data, wire_len: self.wire_len, index: self.index }
    }
}
