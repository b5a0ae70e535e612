//! From a query's text to its terms.

use netd_engine::time::Timestamp;

use super::error::Error;
use super::field::{Field, Table};
use super::term::{Term, Test};
use super::value::{self, Written};
use super::{MAX_LENGTH, MAX_TERMS, Query, Sort};
use crate::time;

/// Words that are no fields but say when and in which order.
const SINCE: &str = "since";
const UNTIL: &str = "until";
const SORT: &str = "sort";

/// Where in the text something stands, in characters.
#[derive(Clone, Copy, Debug)]
struct Place<'t> {
    text: &'t str,
    start: usize,
}

impl Place<'_> {
    fn error(self, width: usize, expected: impl Into<String>) -> Error {
        Error::new(self.text, self.start, width, expected)
    }
}

/// A term as written: `-field:"value"`.
#[derive(Debug)]
struct Token<'t> {
    place: Place<'t>,
    negated: bool,
    field: Option<&'t str>,
    value: &'t str,
    /// Of the value.
    start: usize,
    is_quoted: bool,
}

/// Adds the terms of `text` to `query`.
pub(super) fn parse(query: &mut Query, text: &str, now: Timestamp) -> Result<(), Error> {
    if text.len() > MAX_LENGTH {
        let expected = format!("a query has at most {MAX_LENGTH} bytes, this one has {}", text.len());
        return Err(Error::new(text, 0, 1, expected));
    }
    let mut at = 0;
    while let Some(token) = next(text, &mut at)? {
        if query.terms.len() == MAX_TERMS {
            return Err(token.place.error(1, format!("a query has at most {MAX_TERMS} terms")));
        }
        take(query, &token, now)?;
    }
    Ok(())
}

/// Adds one term that a parameter stands for.
pub(super) fn parameter(query: &mut Query, field: Field, value: &str) -> Result<(), Error> {
    if value.len() > MAX_LENGTH {
        return Err(Error::new("", 0, 1, format!("at most {MAX_LENGTH} bytes")));
    }
    let place = Place { text: value, start: 0 };
    let any = tests(field, value, place, false)?;
    query.terms.push(Term { negated: false, any });
    Ok(())
}

/// Returns the token at byte `at`, and moves on behind it.
fn next<'t>(text: &'t str, at: &mut usize) -> Result<Option<Token<'t>>, Error> {
    let rest = text.get(*at..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    let begun = *at + blank;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok(None);
    }
    let column = |byte: usize| text.get(..byte).unwrap_or_default().chars().count();
    let place = Place { text, start: column(begun) };
    let (negated, body) = rest.strip_prefix('-').map_or((false, rest), |body| (true, body));
    let word = &body[..body.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(body.len())];
    let field = word.split_once(':').map(|(name, _)| name).filter(|name| is_name(name));
    let value = &body[field.map_or(0, |name| name.len() + 1)..];
    let value_at = begun + (rest.len() - value.len());
    let (value, is_quoted, length) = match value.strip_prefix('"') {
        Some(quoted) => {
            let Some(end) = quoted.find('"') else {
                return Err(Place { text, start: column(value_at) }.error(1, "a quote that begins here has no end"));
            };
            (&quoted[..end], true, end + 2)
        }
        None => {
            let end = value.find(char::is_whitespace).unwrap_or(value.len());
            (&value[..end], false, end)
        }
    };
    *at = value_at + length;
    let start = column(value_at) + usize::from(is_quoted);
    Ok(Some(Token { place, negated, field, value, start, is_quoted }))
}

/// A field's name; everything else before a colon belongs to an address or a word.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn take(query: &mut Query, token: &Token<'_>, now: Timestamp) -> Result<(), Error> {
    let place = Place { text: token.place.text, start: token.start };
    let width = token.value.chars().count();
    let any = match token.field {
        Some(name) if [SINCE, UNTIL, SORT].contains(&name) && token.negated => {
            return Err(token.place.error(1, format!("{name} cannot be turned round")));
        }
        Some(SINCE) => return set(&mut query.since, place, token.value, now, Timestamp::max),
        Some(UNTIL) => return set(&mut query.until, place, token.value, now, Timestamp::min),
        Some(SORT) => {
            query.sort = sort(query.table, token.value).map_err(|expected| place.error(width, expected))?;
            return Ok(());
        }
        Some(name) => match Field::of(query.table, name) {
            Some(field) => tests(field, token.value, place, token.is_quoted)?,
            // An IPv6 address may begin with letters and a colon.
            None => match value::address(&format!("{name}:{}", token.value)) {
                Some(net) if !token.is_quoted => vec![Test::Address { field: Field::Ip, net }],
                _ => {
                    let start = token.place.start + usize::from(token.negated);
                    let expected = format!("'{name}' is no field; known are {}", known(query.table));
                    return Err(Place { start, ..token.place }.error(name.chars().count(), expected));
                }
            },
        },
        None if token.value.is_empty() => return Err(token.place.error(1, "a field or a word after it")),
        None => vec![match value::address(token.value) {
            Some(net) if !token.is_quoted => Test::Address { field: Field::Ip, net },
            _ => Test::Word(token.value.to_ascii_lowercase()),
        }],
    };
    query.terms.push(Term { negated: token.negated, any });
    Ok(())
}

/// Returns the tests of a value: one for each of its parts between commas.
fn tests(field: Field, text: &str, place: Place<'_>, is_quoted: bool) -> Result<Vec<Test>, Error> {
    if is_quoted {
        let written = Written { text, is_quoted };
        let test = value::test(field, written);
        return Ok(vec![test.map_err(|expected| place.error(text.chars().count(), expected))?]);
    }
    let (mut any, mut start) = (Vec::new(), place.start);
    for part in text.split(',') {
        let place = Place { start, ..place };
        if any.len() == MAX_TERMS {
            return Err(place.error(1, format!("a term has at most {MAX_TERMS} values")));
        }
        let test = value::test(field, Written { text: part, is_quoted });
        any.push(test.map_err(|expected| place.error(part.chars().count(), expected))?);
        start += part.chars().count() + 1;
    }
    Ok(any)
}

fn set(
    limit: &mut Option<Timestamp>,
    place: Place<'_>,
    text: &str,
    now: Timestamp,
    both: fn(Timestamp, Timestamp) -> Timestamp,
) -> Result<(), Error> {
    let moment = time::moment(text, now).map_err(|error| place.error(text.chars().count(), error.to_string()))?;
    *limit = Some(limit.map_or(moment, |known| both(known, moment)));
    Ok(())
}

fn sort(table: Table, text: &str) -> Result<Sort, String> {
    let (name, descending) = match (text.strip_suffix("-desc"), text.strip_suffix("-asc")) {
        (Some(name), _) => (name, true),
        (None, Some(name)) => (name, false),
        (None, None) => (text, true),
    };
    let by = Field::of(table, name).filter(|field| field.is_sortable());
    by.map(|by| Sort { by, descending }).ok_or_else(|| {
        let fields: Vec<_> = Field::listed(table).filter(|field| field.is_sortable()).map(Field::name).collect();
        format!("what to sort by, like score-desc or time-asc: {}, time", fields.join(", "))
    })
}

fn known(table: Table) -> String {
    let mut names: Vec<_> = Field::listed(table).map(Field::name).collect();
    names.extend([SINCE, UNTIL, SORT]);
    names.join(", ")
}
