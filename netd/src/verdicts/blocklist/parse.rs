//! Reads a block-list from text, in any of the formats of [`netd_engine::feed`].

use netd_engine::feed::{Entry, Found, Reach, Reader};
use netd_engine::listed::NameSet;
use netd_engine::time::Timestamp;

use super::entry::EntryValue;
use super::list::{Builder, List};

/// Rejected lines that are kept word for word; further ones are only counted.
pub const MAX_REPORTED: usize = 10_000;

/// A line that is not an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Counted from 1; the object's number in a JSON document.
    pub line: u64,
    /// Shortened.
    pub value: String,
    pub reason: String,
}

/// What a text held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub list: List,
    pub lines: u64,
    /// Items that stood in the text before.
    pub duplicates: u64,
    /// Lines that are understood and list nothing: exceptions, what is revoked or expired, files, URLs.
    pub skipped: u64,
    /// The first [`MAX_REPORTED`] rejected lines.
    pub rejected: Vec<Rejected>,
    /// All rejected lines.
    pub rejected_total: u64,
}

/// Reads a text that comes in pieces. Memory is bounded by its items, not by its lines.
#[derive(Debug)]
pub struct Parser {
    reader: Reader,
    taken: Taken,
}

#[derive(Debug, Default)]
struct Taken {
    items: Builder,
    names: Vec<(Box<str>, Reach)>,
    rejected: Vec<Rejected>,
    rejected_total: u64,
}

impl Parser {
    /// Returns the parser of a text; what had expired by `now` is skipped.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { reader: Reader::new(now), taken: Taken::default() }
    }

    /// Takes the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut |found| self.taken.take(found));
    }

    /// Returns how many items were read so far, equal ones included.
    #[must_use]
    pub fn items(&self) -> usize {
        self.taken.items.len()
    }

    /// Returns what the text held.
    #[must_use]
    pub fn finish(self) -> Parsed {
        let Self { reader, mut taken } = self;
        let summary = reader.finish(&mut |found| taken.take(found));
        let Taken { items, names, rejected, rejected_total } = taken;
        let count = (items.len() + names.len()) as u64;
        let list = items.finish().with_names(NameSet::new(names).into());
        let duplicates = count - list.entries();
        Parsed { list, lines: summary.lines, duplicates, skipped: summary.skipped, rejected, rejected_total }
    }
}

impl Taken {
    fn take(&mut self, found: Found) {
        match found {
            Ok(Entry { line, value }) => match EntryValue::try_from(value.clone()) {
                Ok(EntryValue::Item(item)) => self.items.push(item),
                Ok(EntryValue::Name(name, reach)) => self.names.push((name, reach)),
                Err(error) => self.reject(line, value.to_string(), &error),
            },
            Err(rejected) => self.reject(rejected.line, rejected.value, &rejected.reason),
        }
    }

    fn reject(&mut self, line: u64, value: String, reason: &dyn std::error::Error) {
        self.rejected_total += 1;
        if self.rejected.len() < MAX_REPORTED {
            self.rejected.push(Rejected { line, value, reason: reason.to_string() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Parsed {
        let mut parser = Parser::new(Timestamp(0));
        parser.push(text);
        parser.finish()
    }

    fn items(text: &[u8]) -> Vec<String> {
        parse(text).list.iter().map(|item| item.to_string()).collect()
    }

    #[test]
    fn comments_blanks_and_line_ends_of_any_kind_are_no_items() {
        let table: [(&[u8], &[&str]); 9] = [
            (b"", &[]),
            (b"\n\n  \r\n\t\n", &[]),
            (b"# a\n; b\n#", &[]),
            (b"192.0.2.1\n", &["192.0.2.1"]),
            (b"192.0.2.1", &["192.0.2.1"]),
            (b"192.0.2.1\r\n192.0.2.2\r\n", &["192.0.2.1", "192.0.2.2"]),
            (b"\xef\xbb\xbf192.0.2.1\n", &["192.0.2.1"]),
            (b"  192.0.2.0/24 # ir-4411 ; more\n", &["192.0.2.0/24"]),
            (b"2001:db8::1;x", &["2001:db8::1"]),
        ];
        for (text, expected) in table {
            assert_eq!(items(text), expected, "{}", String::from_utf8_lossy(text));
            assert_eq!(parse(text).rejected_total, 0);
        }
    }

    #[test]
    fn a_rejected_line_is_reported_with_number_value_and_reason() {
        let parsed = parse(b"# head\n198.51.100.7\n300.1.1.1\n192.0.2.7/24\n\xff\xfe\n");

        let reported: Vec<_> = parsed.rejected.iter().map(|r| (r.line, r.value.as_str(), r.reason.as_str())).collect();
        assert_eq!(
            reported,
            [
                (3, "300.1.1.1", "neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint"),
                (4, "192.0.2.7/24", "host bits are set; the prefix is 192.0.2.0/24"),
                (5, "\u{fffd}\u{fffd}", "not UTF-8 text"),
            ]
        );
        assert_eq!(parsed.lines, 5);
        assert_eq!(parsed.list.len(), 1);
    }

    #[test]
    fn the_same_item_twice_is_one_item_and_one_duplicate() {
        let parsed = parse(b"192.0.2.1\n192.0.2.1/32\n::ffff:192.0.2.1\n");

        assert_eq!(parsed.list.len(), 1);
        assert_eq!(parsed.duplicates, 2);
    }

    #[test]
    fn further_rejected_lines_are_counted() {
        let parsed = parse("x\n".repeat(MAX_REPORTED + 5).as_bytes());

        assert_eq!(parsed.rejected.len(), MAX_REPORTED);
        assert_eq!(parsed.rejected_total, MAX_REPORTED as u64 + 5);
    }

    #[test]
    fn a_million_lines_are_read() {
        let mut parser = Parser::new(Timestamp(0));
        for n in 0..1_000_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            parser.push(format!("10.{a}.{b}.{c}\n").as_bytes());
        }

        assert_eq!(parser.finish().list.len(), 1_000_000);
    }
}
