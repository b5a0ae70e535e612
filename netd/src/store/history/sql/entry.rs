//! Which terms lead to their flows by a key, and how well.

use rusqlite::types::Value;

use super::super::insert::community;
use super::super::segments::{COMMUNITY, Key};
use super::{Clause, Way, address, among, named};
use crate::query::{Field, Pattern, Term, Test};

/// Ways that are worth merging; a term with more of them is a filter only.
const MOST_WAYS: usize = 16;

/// A term that leads to its flows by keys.
pub(super) struct Entry {
    /// The lower, the fewer flows it mostly leads to.
    pub(super) rank: u8,
    pub(super) ways: Vec<Way>,
    /// Whether the ways say all that the term does.
    pub(super) is_exact: bool,
}

impl Entry {
    pub(super) fn of(term: &Term) -> Option<Self> {
        let each: Vec<Self> = term.any.iter().map(Self::of_test).collect::<Option<_>>()?;
        let rank = each.iter().map(|entry| entry.rank).max()?;
        let is_exact = each.iter().all(|entry| entry.is_exact);
        let ways: Vec<Way> = each.into_iter().flat_map(|entry| entry.ways).collect();
        (ways.len() <= MOST_WAYS).then_some(Self { rank, ways, is_exact })
    }

    fn of_test(asked: &Test) -> Option<Self> {
        match asked {
            Test::Text { field: Field::CommunityId, pattern: Pattern::Exact(id) } => {
                let first = Value::Blob(key_of_community(&community(id)));
                let when = Clause::new("k.community = ?", [first]);
                Some(Self { rank: 0, ways: vec![Way { key: Key::Community, when }], is_exact: false })
            }
            Test::Text { field: Field::Process, pattern: pattern @ Pattern::Exact(_) } => {
                let when = among("k.comm", pattern);
                Some(Self { rank: 4, ways: vec![Way { key: Key::Process, when }], is_exact: true })
            }
            Test::Address { field, net } => {
                let is_host = net.prefix_len() == net.max_prefix_len();
                // Wider prefixes hold so much that going through everything, newest first, comes by it soon.
                let is_narrow = net.prefix_len() >= if net.max_prefix_len() == 32 { 16 } else { 40 };
                let way = |part: &Field| {
                    let key = if *part == Field::Src { Key::Src } else { Key::Dst };
                    Way { key, when: address(&format!("k.{}", key.column()), *net) }
                };
                let ways = field.parts().iter().map(way).collect();
                is_narrow.then_some(Self { rank: if is_host { 1 } else { 6 }, ways, is_exact: true })
            }
            Test::Number { field: field @ (Field::SrcPort | Field::DstPort | Field::Port), low, high }
                if low == high =>
            {
                let way = |part: &Field| {
                    let key = if *part == Field::SrcPort { Key::Sport } else { Key::Dport };
                    let when = Clause::new(format!("k.{} = ?", key.column()), [Value::Integer(*low)]);
                    Way { key, when }
                };
                Some(Self { rank: 5, ways: field.parts().iter().map(way).collect(), is_exact: true })
            }
            Test::Name { field: field @ (Field::Name | Field::Sni), name, below } => {
                let ways = named("k.name", name, *below).into_iter().map(|when| Way { key: Key::Name, when });
                Some(Self { rank: 2, ways: ways.collect(), is_exact: *field == Field::Name })
            }
            Test::Share { span, .. } if span.low > 0.0 => {
                let sql = "k.dst IN (SELECT s.dst FROM temp.scores s WHERE s.score >= ?)";
                let when = Clause::new(sql, [Value::Real(span.low)]);
                Some(Self { rank: 3, ways: vec![Way { key: Key::Dst, when }], is_exact: false })
            }
            Test::Number { .. } | Test::Share { .. } | Test::Text { .. } | Test::Name { .. } | Test::Word(_) => None,
        }
    }
}

/// Returns the bytes of a Community ID by which flows are found.
pub(in super::super) fn key_of_community(id: &Value) -> Vec<u8> {
    let bytes = match id {
        Value::Blob(digest) => digest.as_slice(),
        Value::Text(text) => text.as_bytes(),
        Value::Null | Value::Integer(_) | Value::Real(_) => &[],
    };
    bytes[..bytes.len().min(COMMUNITY)].to_vec()
}
