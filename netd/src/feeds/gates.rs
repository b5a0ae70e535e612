//! Whether what was fetched looks like the list that it was.

use std::hash::{BuildHasher as _, RandomState};

use netd_engine::feed::{Found, Reader};
use netd_engine::time::Timestamp;

/// A list with fewer entries may change as it likes.
const SMALL: u64 = 10;
/// Bytes at the start of a list in which a page is looked for.
const START: usize = 512;

/// What a feed's list must look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub least: u64,
    pub most: u64,
    /// A list that has become larger by more than this factor is held.
    pub growth: f64,
    /// A list of which more than this share is gone is held.
    pub shrink: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { least: 1, most: 5_000_000, growth: 10.0, shrink: 0.5 }
    }
}

/// What a list holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub entries: u64,
    pub rejected: u64,
}

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("the list is empty")]
    Empty,
    #[error("a web page came where the list was expected")]
    Page,
    #[error("it is a document without its end: it was cut short")]
    CutShort,
    #[error("{rejected} lines of it are no entries and {entries} are: it is something else, or cut short")]
    NotAList { entries: u64, rejected: u64 },
    #[error("it has {entries} entries, fewer than min_entries = {least}")]
    TooFew { entries: u64, least: u64 },
    #[error("it has {entries} entries, more than max_entries = {most}")]
    TooMany { entries: u64, most: u64 },
    #[error(
        "it grew from {from} to {to} entries, by more than max_growth; update it with force to take it all the same"
    )]
    Grew { from: u64, to: u64 },
    #[error(
        "it shrank from {from} to {to} entries, by more than max_shrink; update it with force to take it all the same"
    )]
    Shrank { from: u64, to: u64 },
}

impl Refused {
    /// Returns the reason as the metrics name it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Page => "page",
            Self::CutShort => "cut_short",
            Self::NotAList { .. } => "not_a_list",
            Self::TooFew { .. } => "too_few",
            Self::TooMany { .. } => "too_many",
            Self::Grew { .. } => "grew",
            Self::Shrank { .. } => "shrank",
        }
    }
}

/// Returns what a list holds, if it may take the place of one of `known` entries. `force` takes a list of any size.
///
/// # Errors
/// When it must not.
pub fn judge(
    bytes: &[u8],
    limits: Limits,
    known: Option<u64>,
    force: bool,
    now: Timestamp,
) -> Result<Counted, Refused> {
    if is_page(bytes) {
        return Err(Refused::Page);
    }
    if is_cut_short(bytes) {
        return Err(Refused::CutShort);
    }
    let counted = count(bytes, now);
    let Counted { entries, rejected } = counted;
    if rejected > entries {
        return Err(Refused::NotAList { entries, rejected });
    }
    if entries == 0 {
        return Err(Refused::Empty);
    }
    if entries < limits.least {
        return Err(Refused::TooFew { entries, least: limits.least });
    }
    if entries > limits.most {
        return Err(Refused::TooMany { entries, most: limits.most });
    }
    match known.filter(|_| !force) {
        Some(from) if entries as f64 > from.max(SMALL) as f64 * limits.growth => {
            Err(Refused::Grew { from, to: entries })
        }
        Some(from) if from >= SMALL && (entries as f64) < from as f64 * (1.0 - limits.shrink) => {
            Err(Refused::Shrank { from, to: entries })
        }
        Some(_) | None => Ok(counted),
    }
}

/// Returns whether a text begins as HTML or XML does.
fn is_page(bytes: &[u8]) -> bool {
    let start = bytes.get(..START).unwrap_or(bytes);
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    start.starts_with(b"<")
}

/// Returns whether a text begins as a JSON document and does not end as one.
fn is_cut_short(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    match text {
        [b'{', ..] => !text.ends_with(b"}"),
        [b'[', rest @ ..] => {
            let is_document = rest.trim_ascii_start().first().is_none_or(|next| b"{[\"".contains(next));
            is_document && !text.ends_with(b"]")
        }
        _ => false,
    }
}

fn count(bytes: &[u8], now: Timestamp) -> Counted {
    let (mut rejected, mut reader) = (0, Reader::new(now));
    // A list that says one thing a thousand times holds one entry; digests suffice to tell.
    let (mut seen, state) = (Vec::<u64>::new(), RandomState::new());
    let mut take = |found: Found| match found {
        Ok(entry) => seen.push(state.hash_one(format!("{:?}", entry.value))),
        Err(_) => rejected += 1,
    };
    reader.push(bytes, &mut take);
    _ = reader.finish(&mut take);
    seen.sort_unstable();
    seen.dedup();
    Counted { entries: seen.len() as u64, rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: u32) -> Vec<u8> {
        (0..count).flat_map(|n| format!("{}\n", std::net::Ipv4Addr::from(0xc633_0000 + n)).into_bytes()).collect()
    }

    fn judged(bytes: &[u8], known: Option<u64>) -> Result<u64, &'static str> {
        let counted = judge(bytes, Limits::default(), known, false, Timestamp(0));
        counted.map(|counted| counted.entries).map_err(|refused| refused.reason())
    }

    #[test]
    fn no_bad_generation_takes_the_place_of_a_good_one() {
        let json: String = format!("[{}]", ["\"192.0.2.1\""; 100].join(","));
        let table: [(&str, Vec<u8>, &str); 15] = [
            ("nothing", Vec::new(), "empty"),
            ("blanks", b" \n\n\t\n".to_vec(), "empty"),
            ("comments", b"# all quiet\n; nothing\n".to_vec(), "empty"),
            ("an empty document", b"[]".to_vec(), "empty"),
            ("a page", b"<!DOCTYPE html><html><body>502</body></html>\n192.0.2.1\n".to_vec(), "page"),
            ("a page after a mark", b"\xef\xbb\xbf\n  <html>\n".to_vec(), "page"),
            ("XML", b"<?xml version=\"1.0\"?><Error>AccessDenied</Error>".to_vec(), "page"),
            ("a message", b"Rate limit exceeded, try again later\n".to_vec(), "not_a_list"),
            ("a JSON error", b"{\"error\":\"rate limited\"}\n".to_vec(), "not_a_list"),
            ("a document cut short", json.as_bytes()[..json.len() - 1].to_vec(), "cut_short"),
            ("one entry many times", json.clone().into_bytes(), "shrank"),
            ("bytes", (0..=255).cycle().take(4_096).collect(), "not_a_list"),
            ("a tenth", list(100), "shrank"),
            ("less than half", list(499), "shrank"),
            ("a hundred times", list(100_000), "grew"),
        ];
        for (what, bytes, reason) in table {
            assert_eq!(judged(&bytes, Some(1_000)), Err(reason), "{what}");
        }
    }

    #[test]
    fn a_list_like_the_last_one_is_taken() {
        for (count, known) in
            [(1_000, Some(1_000)), (500, Some(1_000)), (10_000, Some(1_000)), (50_000, None), (1, Some(9))]
        {
            assert_eq!(judged(&list(count), known), Ok(u64::from(count)), "{known:?}");
        }
    }

    #[test]
    fn force_takes_another_size_and_nothing_else() {
        let forced =
            |bytes: &[u8]| judge(bytes, Limits { most: 2_000, ..Limits::default() }, Some(1_000), true, Timestamp(0));

        assert!(forced(&list(10)).is_ok());
        assert_eq!(forced(b""), Err(Refused::Empty));
        assert_eq!(forced(b"<html>"), Err(Refused::Page));
        assert_eq!(forced(&list(2_001)), Err(Refused::TooMany { entries: 2_001, most: 2_000 }));
    }
}
