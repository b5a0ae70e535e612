//! Lines and fields: comma or tab, quotes as in RFC 4180 within a line, `#` comments and blank lines skipped.

use std::io::{self, BufRead, Read as _};

/// Longest line, bytes.
const MAX_LINE: u64 = 65_536;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("the line is longer than 65536 bytes")]
    TooLong,
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("a quote is not closed, or something follows it")]
    Quote,
}

/// The lines of a file that are neither blank nor comments, with their numbers.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
}

/// Why the next line could not be had.
pub(super) enum Error {
    Io(io::Error),
    Line(u64, Flaw),
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0 }
    }

    /// Returns the next line and its number, counted from 1.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>, Error> {
        loop {
            self.buffer.clear();
            let read = (&mut self.input).take(MAX_LINE + 1).read_until(b'\n', &mut self.buffer).map_err(Error::Io)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.buffer.len() as u64 > MAX_LINE {
                return Err(Error::Line(self.number, Flaw::TooLong));
            }
            let blank = self.buffer.iter().all(u8::is_ascii_whitespace);
            if !blank && self.buffer.first() != Some(&b'#') {
                break;
            }
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|_| Error::Line(self.number, Flaw::NotUtf8))?;
        let text = text.trim_end_matches(['\n', '\r']);
        // A byte order mark can only begin the first line.
        Ok(Some((self.number, text.strip_prefix('\u{feff}').unwrap_or(text))))
    }
}

/// Splits a line at a separator.
pub(super) fn fields(line: &str, separator: char, fields: &mut Vec<String>) -> Result<(), Flaw> {
    fields.clear();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(separator) {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(()),
            None => return Err(Flaw::Quote),
        }
    }
}

/// Returns the text up to the closing quote, and what follows it. A doubled quote stands for one.
fn unquoted(mut rest: &str) -> Result<(String, &str), Flaw> {
    let mut text = String::new();
    loop {
        let end = rest.find('"').ok_or(Flaw::Quote)?;
        text.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                text.push('"');
                rest = more;
            }
            None => return Ok((text, rest)),
        }
    }
}
