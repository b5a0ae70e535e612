//! One client's questions about one domain: how much they carry, what they look like, when they come.

use std::sync::Arc;

use super::bounded::Worth;
use super::look::{Look, look};
use super::sketch::{Sketch, entropy};
use super::window::Window;
use crate::detect::beacon::Timing;
use crate::dns::{Answer, Labels, Message};
use crate::keyed::SketchKey;

/// Labels remembered as asked before.
const RECENT: usize = 64;
/// Queries from which rhythm is followed: most domains are asked once or twice.
const FOLLOWED_FROM: u32 = 3;
/// More labels than any directory needs: one by one they would carry little, so that they count as one.
const MANY_LABELS: usize = 8;
/// Letters, digits, the two marks of host names, all others.
const SYMBOLS: usize = 39;
/// Longest label of a service or protocol (RFC 6335: 15 letters and the underscore).
const LONGEST_SERVICE: usize = 16;

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const HTTPS: u16 = 65;
const SVCB: u16 = 64;
const DNSSEC: [u16; 7] = [43, 46, 47, 48, 50, 51, 257];

/// A query, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) name: &'a Labels,
    /// Labels below the domain: the first so many.
    pub(super) below: usize,
    pub(super) rtype: u16,
}

/// Counts of one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) queries: u32,
    /// Queries for record types that carry data.
    pub(crate) carriers: u32,
    pub(crate) answers: u32,
    pub(crate) no_such_name: u32,
    /// Bytes of labels below the domain, and of those that look encoded.
    pub(crate) bytes: u32,
    pub(crate) encoded: u32,
    /// Queries whose labels are an address.
    pub(crate) addresses: u32,
    pub(crate) answer_bytes: u32,
    symbols: [u16; SYMBOLS],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            queries: 0,
            carriers: 0,
            answers: 0,
            no_such_name: 0,
            bytes: 0,
            encoded: 0,
            addresses: 0,
            answer_bytes: 0,
            symbols: [0; SYMBOLS],
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.queries = self.queries.saturating_add(other.queries);
        self.carriers = self.carriers.saturating_add(other.carriers);
        self.answers = self.answers.saturating_add(other.answers);
        self.no_such_name = self.no_such_name.saturating_add(other.no_such_name);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.encoded = self.encoded.saturating_add(other.encoded);
        self.addresses = self.addresses.saturating_add(other.addresses);
        self.answer_bytes = self.answer_bytes.saturating_add(other.answer_bytes);
        for (mine, theirs) in self.symbols.iter_mut().zip(other.symbols) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Returns bits per byte of the labels, case and bytes beyond letters and digits not told apart.
    pub(crate) fn entropy(&self) -> f64 {
        entropy(&self.symbols)
    }

    fn note_symbols(&mut self, label: &[u8]) {
        for byte in label {
            let at = match byte {
                b'a'..=b'z' => usize::from(byte - b'a'),
                b'0'..=b'9' => usize::from(byte - b'0') + 26,
                b'-' => 36,
                b'_' => 37,
                _ => 38,
            };
            self.symbols[at] = self.symbols[at].saturating_add(1);
        }
    }
}

#[derive(Debug)]
struct Pane {
    up: Sketch,
    /// Only domains whose answers carry data have one.
    down: Option<Box<Sketch>>,
    tally: Tally,
}

impl Default for Pane {
    fn default() -> Self {
        Self { up: Sketch::new(), down: None, tally: Tally::default() }
    }
}

/// The rhythm of questions that were not asked before.
#[derive(Debug)]
pub(super) struct Asking {
    recent: [u32; RECENT],
    next: usize,
    pub(super) asked: u32,
    pub(super) fresh: u32,
    /// Of the fresh ones: for types that carry data, with labels that look encoded.
    pub(super) carriers: u32,
    pub(super) encoded: u32,
    pub(super) timing: Timing,
}

impl Asking {
    fn new() -> Self {
        Self { recent: [0; RECENT], next: 0, asked: 0, fresh: 0, carriers: 0, encoded: 0, timing: Timing::new() }
    }

    /// Returns whether the question is a new one.
    fn ask(&mut self, hash: u64) -> bool {
        // 0 is an empty place.
        let short = (hash as u32).max(1);
        self.asked = self.asked.saturating_add(1);
        if self.recent.contains(&short) {
            return false;
        }
        self.recent[self.next] = short;
        self.next = (self.next + 1) % RECENT;
        self.fresh = self.fresh.saturating_add(1);
        true
    }
}

/// A client and a domain.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) domain: Arc<str>,
    /// Under which labels and answers are counted.
    key: SketchKey,
    window: Window<Pane>,
    queries: u32,
    pub(super) asking: Option<Box<Asking>>,
    /// When information was weighed last; record time.
    pub(super) weighed_ns: u64,
    pub(super) has_incident: bool,
    pub(super) is_tunnel: bool,
    /// The server was heard.
    pub(super) is_answered: bool,
    /// Changes of the sketches in all: a measure of information that costs nothing.
    changes: u32,
    last_ns: u64,
}

impl Zone {
    pub(super) fn new(domain: Arc<str>, key: SketchKey) -> Self {
        Self {
            domain,
            key,
            window: Window::new(),
            queries: 0,
            asking: None,
            weighed_ns: 0,
            has_incident: false,
            is_tunnel: false,
            is_answered: false,
            changes: 0,
            last_ns: 0,
        }
    }

    /// Takes a query into account; returns whether its rhythm is worth a look.
    pub(super) fn ask(&mut self, query: &Query<'_>, at_ns: u64, gap_ns: u64) -> bool {
        self.queries = self.queries.saturating_add(1);
        self.last_ns = self.last_ns.max(at_ns);
        let is_carrier = carries(query.rtype);
        let is_address = query.name.reversed_address() > 0;
        let pane = self.window.now(at_ns);
        let tally = &mut pane.tally;
        tally.queries += 1;
        tally.carriers += u32::from(is_carrier);
        tally.addresses += u32::from(is_address);
        let as_one = query.below > MANY_LABELS && !is_address;
        let mut has_encoded = false;
        for label in (0..query.below).map(|at| query.name.label(at)) {
            let looks = look(label);
            if is_service(label, looks) {
                continue;
            }
            let len = label.len() as u32;
            tally.bytes = tally.bytes.saturating_add(len);
            tally.note_symbols(label);
            if looks != Look::Plain {
                has_encoded = true;
                tally.encoded = tally.encoded.saturating_add(len);
            }
            if !as_one {
                self.changes += u32::from(pane.up.add_weighed(self.key.number(label), weight(label.len(), is_carrier)));
            }
        }
        if as_one {
            let below = query.name.first(query.below);
            self.changes += u32::from(pane.up.add_weighed(self.key.number(below), weight(below.len(), is_carrier)));
        }
        if self.queries < FOLLOWED_FROM || query.below == 0 {
            return false;
        }
        let asking = self.asking.get_or_insert_with(|| Box::new(Asking::new()));
        let is_fresh = asking.ask(self.key.number(query.name.first(query.below)));
        if is_fresh {
            asking.carriers = asking.carriers.saturating_add(u32::from(is_carrier));
            asking.encoded = asking.encoded.saturating_add(u32::from(has_encoded));
            asking.timing.observe(at_ns, gap_ns);
        }
        is_fresh
    }

    /// Takes an answer into account.
    pub(super) fn answer(&mut self, message: &Message, at_ns: u64) {
        self.is_answered = true;
        let pane = self.window.now(at_ns);
        pane.tally.answers += 1;
        pane.tally.no_such_name += u32::from(message.is_no_such_name());
        for Answer { rtype, len, digest, .. } in &message.answers {
            pane.tally.answer_bytes = pane.tally.answer_bytes.saturating_add(u32::from(*len));
            if carries(*rtype) && !DNSSEC.contains(rtype) {
                let down = pane.down.get_or_insert_with(|| Box::new(Sketch::new()));
                self.changes += u32::from(down.add_weighed(self.key.number(digest), usize::from(*len).min(1_472)));
            }
        }
    }

    /// Returns the counts of the last five minutes.
    pub(super) fn tally(&self, now_ns: u64) -> Tally {
        let mut sum = Tally::default();
        self.window.live(now_ns).for_each(|pane| sum.add(&pane.tally));
        sum
    }

    /// Returns at most how many unique bytes there can be, by counts alone.
    pub(super) fn most_information(&self, now_ns: u64) -> u32 {
        let most = |pane: &Pane| pane.tally.bytes.max(pane.tally.answer_bytes);
        self.window.live(now_ns).map(most).fold(0, u32::saturating_add)
    }

    /// Returns the unique bytes that questions and answers of the last five minutes carried.
    pub(super) fn information(&self, now_ns: u64) -> (f64, f64) {
        let (mut up, mut down) = (Sketch::new(), Sketch::new());
        for pane in self.window.live(now_ns) {
            up.join(&pane.up);
            if let Some(other) = &pane.down {
                down.join(other);
            }
        }
        (up.estimate(), down.estimate())
    }
}

impl Worth for Zone {
    fn worth(&self, now_ns: u64) -> f64 {
        // An implant may sleep for hours: its rhythm is evidence however old.
        let rhythm = self.asking.as_ref().map_or(0.0, |asking| 100.0 * asking.timing.ln_e().max(0.0));
        let incident = if self.has_incident { 1e6 } else { 0.0 };
        let hours = now_ns.saturating_sub(self.last_ns) as f64 / 3.6e12;
        incident + rhythm + (f64::from(self.changes) + f64::from(self.queries).ln_1p()) / (1.0 + hours)
    }
}

/// A, AAAA and the like are asked for everything; other types seldom, and their answers hold whatever one likes.
pub(super) const fn carries(rtype: u16) -> bool {
    !matches!(rtype, A | AAAA | PTR | NS | SOA | HTTPS | SVCB)
}

/// Bytes that a label counts: the weights of DETECTION.md 4.
const fn weight(len: usize, is_carrier: bool) -> usize {
    if is_carrier { len } else { len.div_ceil(2) }
}

fn is_service(label: &[u8], looks: Look) -> bool {
    label.first() == Some(&b'_') && label.len() <= LONGEST_SERVICE && looks == Look::Plain
}
