//! Lists of indicators in the formats that feeds come in, told apart by what they hold.
//!
//! | format | told by |
//! | --- | --- |
//! | plain, netset | an address, prefix, range `a-b`, name or fingerprint a line; `#` and `;` begin comments |
//! | hosts, AdBlock, dnsmasq, RPZ | the form of each line: see `line` |
//! | CSV (CrowdSec, abuse.ch, generic) | a header, or a first field that is an indicator: see `table` |
//! | Zeek intelligence | `#fields` |
//! | JSON: CrowdSec, Spamhaus, Feodo Tracker, ThreatFox, STIX 2.1, MISP | the first byte; then the keys: see `json` |
//!
//! Text is read as it arrives, in memory bounded by its longest line; one JSON document is kept until its end.

mod json;
mod line;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

pub use value::{Reach, Refused, Value};

use crate::time::Timestamp;

/// Longest line that is read, in bytes; a longer one is refused without being kept.
pub const MAX_LINE: usize = 4_096;
/// Longest JSON document, in bytes. Objects on lines of their own have no such limit.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// Longest line of JSON, in bytes.
const MAX_OBJECT: usize = 1 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Characters of a refused text that are shown.
const SHOWN: usize = 64;

/// Something that a list accuses, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1; in a JSON document the number of the object.
    pub line: u64,
    pub value: Value,
}

/// A line or object that is no indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// As in [`Entry`].
    pub line: u64,
    /// Shortened, without what could steer a terminal.
    pub value: String,
    pub reason: Refused,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.value, self.reason)
    }
}

/// What a reader hands over.
pub type Found = Result<Entry, Rejected>;

/// What a list was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines of text, or objects of a JSON document.
    pub lines: u64,
    /// Understood, but not accused: metadata, exceptions, revoked or expired indicators, kinds that are not seen on a
    /// network (files, URLs).
    pub skipped: u64,
}

/// Reads one list that comes in pieces.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    /// The unfinished line, or the document so far; at most one byte longer than it may be.
    buffer: Vec<u8>,
    now: Timestamp,
    summary: Summary,
}

#[derive(Debug)]
enum Form {
    /// Nothing but comments so far.
    Unknown,
    /// Each line speaks for itself.
    Lines,
    /// Columns under a header.
    Table(table::Columns),
    /// A JSON object a line.
    Objects,
    /// One JSON document.
    Document,
}

/// What came of a line or an object, beside the entries it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// As many entries as were handed over, also none: a comment.
    Taken,
    Skipped,
    Refused(Refused),
}

impl Reader {
    /// Returns the reader of a list; what had expired by `now` is skipped.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self { form: Form::Unknown, buffer: Vec::new(), now, summary: Summary { lines: 0, skipped: 0 } }
    }

    /// Takes the next piece; hands what it completes to `each`.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Found)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            match self.plain(line) {
                Some(entry) => each(Ok(entry)),
                None => {
                    self.keep(line);
                    self.end_line(each);
                }
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// Reads a whole line of an address or a prefix and nothing else: what lists of millions are made of. It means what
    /// [`Reader::end_line`] makes of it.
    fn plain(&mut self, line: &[u8]) -> Option<Entry> {
        if !matches!(self.form, Form::Lines) || !self.buffer.is_empty() {
            return None;
        }
        let value = value::plain(line.strip_suffix(b"\r").unwrap_or(line))?;
        self.summary.lines += 1;
        Some(Entry { line: self.summary.lines, value })
    }

    /// Takes what is left.
    #[must_use]
    pub fn finish(mut self, each: &mut impl FnMut(Found)) -> Summary {
        if !self.buffer.is_empty() {
            self.end_line(each);
        }
        if matches!(self.form, Form::Document) {
            self.end_document(each);
        }
        self.summary
    }

    fn limit(&self) -> usize {
        match self.form {
            Form::Document => MAX_DOCUMENT,
            Form::Unknown if may_begin_document(&self.buffer) => MAX_DOCUMENT,
            Form::Objects => MAX_OBJECT,
            Form::Unknown | Form::Lines | Form::Table(_) => MAX_LINE,
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        // The first byte decides how many may follow.
        let (first, rest) = piece.split_at(piece.len().min(1));
        for piece in [first, rest] {
            let room = (self.limit() + 1).saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }

    fn end_line(&mut self, each: &mut impl FnMut(Found)) {
        if matches!(self.form, Form::Unknown) && begins_document(&self.buffer) {
            self.form = Form::Document;
        }
        if matches!(self.form, Form::Document) {
            self.end_line_of_document(each);
            return;
        }
        self.summary.lines += 1;
        let limit = self.limit();
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = if self.summary.lines == 1 { buffer.strip_prefix(BOM).unwrap_or(&buffer) } else { &buffer };
        let (outcome, text) = match std::str::from_utf8(bytes) {
            _ if bytes.len() > limit => (Outcome::Refused(Refused::TooLong(limit)), ""),
            Err(_) => (Outcome::Refused(Refused::NotText), ""),
            Ok(text) => (self.read(text.trim(), each), text.trim()),
        };
        let shown =
            if text.is_empty() { String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)) } else { text.into() };
        self.note(outcome, &shown, each);
        // The buffer serves the next line, too.
        self.buffer = buffer;
        self.buffer.clear();
    }

    /// Reads a line of text, and decides by the first that matters what the list is.
    fn read(&mut self, text: &str, each: &mut impl FnMut(Found)) -> Outcome {
        let line = self.summary.lines;
        let mut take = |value| each(Ok(Entry { line, value }));
        match &self.form {
            Form::Table(columns) => columns.read(text, &mut take),
            Form::Objects => json::line(text, self.now, &mut take),
            Form::Lines | Form::Unknown | Form::Document => {
                if let Some(columns) = table::Columns::of_header(text) {
                    self.form = Form::Table(columns);
                    return Outcome::Taken;
                }
                let outcome = line::read(text, &mut take);
                if !text.is_empty() && !text.starts_with(['#', ';', '!']) {
                    self.form = Form::Lines;
                }
                outcome
            }
        }
    }

    /// A first line that is an object by itself begins a list of objects.
    fn end_line_of_document(&mut self, each: &mut impl FnMut(Found)) {
        let is_first = !self.buffer.contains(&b'\n') && self.buffer.len() <= MAX_OBJECT;
        if is_first
            && let Some(object) = json::object(&self.buffer)
            && !json::is_container(&object)
        {
            self.form = Form::Objects;
            self.summary.lines = 1;
            let outcome = json::read(&object, self.now, &mut |value| each(Ok(Entry { line: 1, value })));
            self.note(outcome, "", each);
            self.buffer.clear();
            return;
        }
        self.keep(b"\n");
    }

    fn end_document(&mut self, each: &mut impl FnMut(Found)) {
        let document = std::mem::take(&mut self.buffer);
        if document.len() > MAX_DOCUMENT {
            self.note(Outcome::Refused(Refused::TooLong(MAX_DOCUMENT)), "", each);
            return;
        }
        let now = self.now;
        let failure = json::document(&document, &mut |object| {
            self.summary.lines += 1;
            let line = self.summary.lines;
            let outcome = json::read(object, now, &mut |value| each(Ok(Entry { line, value })));
            if outcome != Outcome::Taken {
                self.note(outcome, &object.to_string(), each);
            }
        });
        if let Some(failure) = failure {
            self.summary.lines += 1;
            self.note(Outcome::Refused(failure), "", each);
        }
    }

    fn note(&mut self, outcome: Outcome, text: &str, each: &mut impl FnMut(Found)) {
        match outcome {
            Outcome::Taken => {}
            Outcome::Skipped => self.summary.skipped += 1,
            Outcome::Refused(reason) => {
                each(Err(Rejected { line: self.summary.lines, value: shortened(text), reason }));
            }
        }
    }
}

fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii()
}

/// Returns whether a list may turn out to be a JSON document, by the start of its first line.
fn may_begin_document(start: &[u8]) -> bool {
    BOM.starts_with(start) || unmarked(start).first().is_none_or(|first| b"{[".contains(first))
}

/// Returns whether a list is a JSON document, by its first line: `[Adblock Plus]` and `[2001:db8::1]:443` are not.
fn begins_document(line: &[u8]) -> bool {
    match unmarked(line) {
        [b'{', ..] => true,
        [b'[', rest @ ..] => rest.trim_ascii_start().first().is_none_or(|next| b"{[\"".contains(next)),
        _ => false,
    }
}

/// Returns the start of a text, without control characters, which could steer a terminal.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
