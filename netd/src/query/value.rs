//! One value of a term, as its field reads it. Errors say what was expected.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_engine::finding::Severity;
use netd_engine::flow::protocol_name;

use super::field::{Case, Field, Kind, Unit};
use super::term::{Below, Pattern, Span, Test};
use crate::time;

/// Bytes of a process's name that the kernel keeps.
const COMM: usize = 15;

/// A value as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'t> {
    pub(super) text: &'t str,
    /// Taken as it is: no wildcards.
    pub(super) is_quoted: bool,
}

/// Returns what a value asks of a field.
pub(super) fn test(field: Field, written: Written<'_>) -> Result<Test, String> {
    let text = written.text;
    if text.is_empty() {
        return Err(format!("a value for {}", field.name()));
    }
    Ok(match field.kind() {
        Kind::Address => {
            let net = address(text).ok_or("an address like 198.51.100.9 or a prefix like 198.51.100.0/24")?;
            Test::Address { field, net }
        }
        Kind::Number(unit, most) => {
            let (low, high) = range(text, unit, most)?;
            Test::Number { field, low, high }
        }
        Kind::Share => Test::Share { field, span: span(text)? },
        Kind::Text(case) => Test::Text { field, pattern: pattern(written, case) },
        Kind::Exact => Test::Text { field, pattern: Pattern::Exact(text.to_owned()) },
        Kind::Process if text.contains('/') => Test::Text { field: Field::Exe, pattern: pattern(written, Case::AsIs) },
        Kind::Process => {
            let pattern = match pattern(written, Case::AsIs) {
                Pattern::Exact(mut name) => {
                    name.truncate(name.floor_char_boundary(COMM));
                    Pattern::Exact(name)
                }
                glob @ Pattern::Glob(_) => glob,
            };
            Test::Text { field, pattern }
        }
        Kind::Name => name(field, written),
        Kind::Word(words) => {
            let word = text.to_ascii_lowercase();
            if !words.contains(&word.as_str()) {
                return Err(format!("one of {}", words.join(", ")));
            }
            Test::Text { field, pattern: Pattern::Exact(word) }
        }
    })
}

/// Reads an address or a prefix; bits after a prefix are ignored.
pub(super) fn address(text: &str) -> Option<IpNet> {
    let canonical = |address: IpAddr| address.to_canonical();
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(canonical(address))),
        Err(_) => text.parse::<IpNet>().ok().map(|net| net.trunc()),
    }
}

fn name(field: Field, Written { text, is_quoted }: Written<'_>) -> Test {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    if is_quoted {
        return Test::Name { field, name: lower, below: Below::Without };
    }
    match lower.strip_prefix("*.") {
        Some(name) if !name.contains('*') => Test::Name { field, name: name.to_owned(), below: Below::Only },
        None if !lower.contains('*') => Test::Name { field, name: lower, below: Below::With },
        Some(_) | None => Test::Text { field, pattern: pattern(Written { text: &lower, is_quoted }, Case::AsIs) },
    }
}

fn pattern(Written { text, is_quoted }: Written<'_>, case: Case) -> Pattern {
    let text = match case {
        Case::AsIs => text.to_owned(),
        Case::Lower => text.to_ascii_lowercase(),
        Case::Upper => text.to_ascii_uppercase(),
    };
    match text.contains('*') && !is_quoted {
        true => Pattern::Glob(text.split('*').map(str::to_owned).collect()),
        false => Pattern::Exact(text),
    }
}

/// How a number compares.
enum Comparison {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

fn comparison(text: &str) -> (Comparison, &str) {
    let signs = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        ("<", Comparison::Less),
        ("=", Comparison::Equal),
    ];
    let found = signs.into_iter().find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)));
    found.unwrap_or((Comparison::Equal, text))
}

/// Reads `443`, `>=1024`, `1024-2048`; both ends included.
fn range(text: &str, unit: Unit, most: i64) -> Result<(i64, i64), String> {
    let one = |text: &str| {
        let number = number(text, unit).filter(|number| (0..=most).contains(number));
        number.ok_or_else(|| expected(unit, most))
    };
    let (sign, rest) = comparison(text);
    if let (Comparison::Equal, Some((low, high))) = (&sign, rest.split_once('-')) {
        let (low, high) = (one(low)?, one(high)?);
        return if low <= high { Ok((low, high)) } else { Err("a range from the lower number to the higher".into()) };
    }
    let number = one(rest)?;
    // A span that holds nothing has its ends the wrong way round, which no number satisfies.
    Ok(match sign {
        Comparison::Equal => (number, number),
        Comparison::Less => (0, number - 1),
        Comparison::AtMost => (0, number),
        Comparison::More => (number.saturating_add(1), most),
        Comparison::AtLeast => (number, most),
    })
}

fn number(text: &str, unit: Unit) -> Option<i64> {
    let digits = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match unit {
        Unit::None => digits(text),
        Unit::Amount => amount(text),
        Unit::Duration => {
            let seconds = time::duration(text).ok()?;
            i64::try_from(seconds.as_nanos()).ok()
        }
        Unit::Asn => digits(text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text)),
        Unit::Protocol => {
            let named = [1_u8, 6, 17, 58, 132].into_iter().find(|n| protocol_name(*n).eq_ignore_ascii_case(text));
            named.map(i64::from).or_else(|| digits(text))
        }
        Unit::Severity => severity(text).map(severity_rank),
    }
}

/// Reads `1500`, `10K`, `1.5M` (thousands) and `2GiB` (of 1,024).
fn amount(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (figures, unit) = text.split_at(end);
    let (letter, base) = match unit.as_bytes() {
        [] | [b'B'] => (b' ', 1_000_f64),
        [letter] | [letter, b'B'] => (*letter, 1_000.0),
        [letter, b'i', b'B'] => (*letter, 1_024.0),
        _ => return None,
    };
    let power = match letter.to_ascii_uppercase() {
        b' ' => 0,
        b'K' => 1,
        b'M' => 2,
        b'G' => 3,
        b'T' => 4,
        _ => return None,
    };
    match (power, figures.contains('.')) {
        (0, false) => figures.parse().ok(),
        (0, true) => None,
        (power, _) => {
            let figures: f64 = figures.parse().ok()?;
            Some((figures * base.powi(power)) as i64)
        }
    }
}

fn expected(unit: Unit, most: i64) -> String {
    match unit {
        Unit::None => format!("a number from 0 to {most}, like 443, >=1024 or 1024-2048"),
        Unit::Amount => "an amount like 1500, >10K, <=2GiB or 1M-5M".into(),
        Unit::Duration => "a duration like >10m, <=90s or 1h-2h".into(),
        Unit::Asn => "an autonomous system like AS64500".into(),
        Unit::Protocol => "tcp, udp, icmp, icmpv6, sctp or a number from 0 to 255".into(),
        Unit::Severity => "info, low, medium, high or critical, or with a sign like >=high".into(),
    }
}

/// Reads `>=0.8`, `0.5-0.9`.
fn span(text: &str) -> Result<Span, String> {
    let one = |text: &str| {
        let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| "a number from 0 to 1, like >=0.8 or 0.5-0.9".to_owned())
    };
    let (sign, rest) = comparison(text);
    let closed = |low, high| Span { low, high, is_open: (false, false) };
    if let (Comparison::Equal, Some((low, high))) = (&sign, rest.split_once('-')) {
        return Ok(closed(one(low)?, one(high)?));
    }
    let share = one(rest)?;
    Ok(match sign {
        Comparison::Equal => closed(share, share),
        Comparison::AtLeast => closed(share, 1.0),
        Comparison::AtMost => closed(0.0, share),
        Comparison::More => Span { low: share, high: 1.0, is_open: (true, false) },
        Comparison::Less => Span { low: 0.0, high: share, is_open: (false, true) },
    })
}

fn severity(text: &str) -> Option<Severity> {
    Some(match text.to_ascii_lowercase().as_str() {
        "info" => Severity::Info,
        "low" => Severity::Low,
        "medium" => Severity::Medium,
        "high" => Severity::High,
        "critical" => Severity::Critical,
        _ => return None,
    })
}

/// Returns a severity's place in the order of severities.
#[must_use]
pub const fn severity_rank(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    }
}
