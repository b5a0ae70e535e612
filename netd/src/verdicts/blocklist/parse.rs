//! Reads a block-list from text: one address or prefix a line, `#` and `;` begin comments.

use super::item::Item;
use super::list::List;

/// Longest line that is read, in bytes; a longer one is rejected without being kept.
pub const MAX_LINE: usize = 4_096;

/// Rejected lines that are kept word for word; further ones are only counted.
pub const MAX_REPORTED: usize = 10_000;

/// Characters of a rejected value that are shown.
const SHOWN: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line that is not an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Counted from 1.
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
    /// The first [`MAX_REPORTED`] rejected lines.
    pub rejected: Vec<Rejected>,
    /// All rejected lines.
    pub rejected_total: u64,
}

/// Reads a text that comes in pieces. Memory is bounded by its items, not by its lines.
#[derive(Debug, Default)]
pub struct Parser {
    /// The unfinished line, at most one byte longer than [`MAX_LINE`].
    line: Vec<u8>,
    items: Vec<Item>,
    parsed: Parsed,
}

impl Parser {
    /// Takes the next piece.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.keep(line);
            self.end_line();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// Returns what the text held.
    #[must_use]
    pub fn finish(mut self) -> Parsed {
        if !self.line.is_empty() {
            self.end_line();
        }
        let Self { line: _, items, mut parsed } = self;
        let count = items.len();
        parsed.list = List::new(items);
        parsed.duplicates = (count - parsed.list.items().len()) as u64;
        parsed
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn end_line(&mut self) {
        self.parsed.lines += 1;
        let line = std::mem::take(&mut self.line);
        match value(&line, self.parsed.lines == 1) {
            Ok("") => {}
            Ok(text) => match text.parse() {
                Ok(item) => self.items.push(item),
                Err(error) => self.reject(text, error.to_string()),
            },
            Err((shown, reason)) => self.reject(&shown, reason),
        }
        // The buffer serves the next line too.
        self.line = line;
        self.line.clear();
    }

    fn reject(&mut self, value: &str, reason: String) {
        self.parsed.rejected_total += 1;
        if self.parsed.rejected.len() < MAX_REPORTED {
            self.parsed.rejected.push(Rejected { line: self.parsed.lines, value: shortened(value), reason });
        }
    }
}

/// Returns a line without comment and blanks, or what to say of it.
fn value(line: &[u8], is_first: bool) -> Result<&str, (String, String)> {
    let refused = |reason: String| (String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line)).into_owned(), reason);
    if line.len() > MAX_LINE {
        return Err(refused(format!("longer than {MAX_LINE} bytes")));
    }
    let line = if is_first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
    let text = std::str::from_utf8(line).map_err(|_| refused("not UTF-8 text".to_owned()))?;
    Ok(text.split(['#', ';']).next().unwrap_or_default().trim())
}

/// Returns the start of a value, without control characters, which could steer a terminal.
fn shortened(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Parsed {
        let mut parser = Parser::default();
        parser.push(text);
        parser.finish()
    }

    fn items(text: &[u8]) -> Vec<String> {
        parse(text).list.items().iter().map(Item::to_string).collect()
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
                (3, "300.1.1.1", "not an IP address or prefix"),
                (4, "192.0.2.7/24", "host bits are set; the prefix is 192.0.2.0/24"),
                (5, "\u{fffd}\u{fffd}", "not UTF-8 text"),
            ]
        );
        assert_eq!(parsed.lines, 5);
        assert_eq!(parsed.list.items().len(), 1);
    }

    #[test]
    fn the_same_item_twice_is_one_item_and_one_duplicate() {
        let parsed = parse(b"192.0.2.1\n192.0.2.1/32\n::ffff:192.0.2.1\n");

        assert_eq!(parsed.list.items().len(), 1);
        assert_eq!(parsed.duplicates, 2);
    }

    #[test]
    fn an_endless_line_is_rejected_and_the_next_is_read() {
        let mut parser = Parser::default();
        for _ in 0..1_000 {
            parser.push(&[b'1'; 1_000]);
            assert!(parser.line.capacity() < 4 * MAX_LINE);
        }
        parser.push(b"\n192.0.2.1\n");

        let parsed = parser.finish();
        assert_eq!(parsed.rejected[0].reason, "longer than 4096 bytes");
        assert_eq!(parsed.list.items().len(), 1);
    }

    #[test]
    fn what_steers_a_terminal_is_not_echoed() {
        let parsed = parse(b"\x1b[31mred\n");

        assert_eq!(parsed.rejected[0].value, "\u{fffd}[31mred");
    }

    #[test]
    fn further_rejected_lines_are_counted() {
        let parsed = parse("x\n".repeat(MAX_REPORTED + 5).as_bytes());

        assert_eq!(parsed.rejected.len(), MAX_REPORTED);
        assert_eq!(parsed.rejected_total, MAX_REPORTED as u64 + 5);
    }

    #[test]
    fn a_million_lines_are_read() {
        let mut parser = Parser::default();
        for n in 0..1_000_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            parser.push(format!("10.{a}.{b}.{c}\n").as_bytes());
        }

        assert_eq!(parser.finish().list.items().len(), 1_000_000);
    }

    proptest! {
        #[test]
        fn where_a_text_is_cut_changes_nothing(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'#'), Just(b'\r'), b'0'..b':', Just(b'.')],
                0..200,
            ),
            cuts in proptest::collection::vec(0_usize..200, 0..5),
        ) {
            let mut parser = Parser::default();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut from = 0;
            for cut in cuts {
                parser.push(&text[from..cut]);
                from = cut;
            }

            prop_assert_eq!(parser.finish(), parse(&text));
        }

        #[test]
        fn no_text_can_break_the_parser(text in proptest::collection::vec(any::<u8>(), 0..500)) {
            let parsed = parse(&text);

            prop_assert!(parsed.lines <= text.len() as u64 + 1);
        }
    }
}
