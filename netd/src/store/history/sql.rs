//! From a query to SQL over one file of flows. Whatever came from outside is bound, never written into the text.

use ipnet::IpNet;
use rusqlite::types::Value;

use super::flow::{REASONS, reason_name, signed};
use super::writer::{community, octets, reversed, zone};
use crate::query::{Below, Field, Pattern, Query, Span, Term, Test};

/// Ways into a table that are worth merging; a term with more values is a filter only.
const MOST_WAYS: usize = 16;

/// A condition with the values of its question marks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// One index by which all rows of a term's value are found.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) index: &'static str,
    pub(super) when: Clause,
}

/// A query over the table `flows AS f`.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    /// Together they find all that the query asks for, some perhaps twice. Empty: by number.
    pub(super) ways: Vec<Way>,
    /// What must hold of rows found by a way.
    pub(super) rest: Clause,
    /// What must hold of any row.
    pub(super) all: Clause,
    /// Whether the table `temp.scores` is looked at.
    pub(super) needs_scores: bool,
}

/// Highest score and its finding by pair, filled for one question.
pub(super) const SCORES: &str = "
DROP TABLE IF EXISTS temp.scores;
CREATE TABLE temp.scores (
    src BLOB, dst BLOB, dport INTEGER, proto INTEGER, finding INTEGER, score REAL,
    PRIMARY KEY (src, dst, dport, proto)
) WITHOUT ROWID;
";

const ON_PAIR: &str = "s.src = f.src AND s.dst = f.dst AND s.dport = f.dport AND s.proto = f.proto";
pub(super) const VERDICT: &str = "CASE WHEN f.rule <> 0 THEN 'block' WHEN EXISTS (SELECT 1 FROM temp.scores s \
     WHERE s.src = f.src AND s.dst = f.dst AND s.dport = f.dport AND s.proto = f.proto) THEN 'alert' ELSE 'allow' END";

impl Clause {
    fn new(sql: impl Into<String>, values: impl Into<Vec<Value>>) -> Self {
        Self { sql: sql.into(), values: values.into() }
    }

    fn joined(clauses: impl IntoIterator<Item = Self>, by: &str, none: &str) -> Self {
        let (texts, values): (Vec<_>, Vec<_>) =
            clauses.into_iter().map(|clause| (format!("({})", clause.sql), clause.values)).unzip();
        let sql = if texts.is_empty() { none.to_owned() } else { texts.join(by) };
        Self { sql, values: values.concat() }
    }

    pub(super) fn and(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(clauses, " AND ", "1")
    }

    fn or(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(clauses, " OR ", "0")
    }
}

/// Compiles what a query asks of every row; its order and its place are the reader's.
pub(super) fn compile(query: &Query) -> Compiled {
    let entry = query.terms.iter().enumerate().filter(|(_, term)| !term.negated);
    let entry = entry.filter_map(|(at, term)| Some((at, Entry::of(term)?)));
    let entry = entry.min_by_key(|(_, entry)| entry.rank);
    let times = [
        query.since.map(|since| Clause::new("f.end >= ?", [Value::Integer(signed(since.0))])),
        query.until.map(|until| Clause::new("f.start <= ?", [Value::Integer(signed(until.0))])),
    ];
    let times = times.into_iter().flatten();
    let left_out = entry.as_ref().filter(|(_, entry)| entry.is_exact).map(|(at, _)| *at);
    let others = query.terms.iter().enumerate().filter(|(at, _)| Some(*at) != left_out).map(|(_, term)| holds(term));
    let rest = Clause::and(times.clone().chain(others));
    let all = Clause::and(times.chain(query.terms.iter().map(holds)));
    let ways = entry.map(|(_, entry)| entry.ways).unwrap_or_default();
    let needs_scores = [Field::Score, Field::Finding, Field::Verdict].iter().any(|field| query.names(*field));
    Compiled { ways, rest, all, needs_scores }
}

/// Returns the number by which rows are put in order, as [`crate::query::Sort::place`] does.
pub(super) fn rank(field: Field) -> String {
    if field == Field::Id {
        return "0".to_owned();
    }
    if field == Field::Score {
        return format!("coalesce((SELECT CAST(s.score * 1e9 AS INTEGER) FROM temp.scores s WHERE {ON_PAIR}), -1)");
    }
    format!("coalesce({}, -1)", number(field))
}

fn holds(term: &Term) -> Clause {
    let any = Clause::or(term.any.iter().map(test));
    match term.negated {
        // What has no value is not what it must not be.
        true => Clause { sql: format!("({}) IS NOT TRUE", any.sql), ..any },
        false => any,
    }
}

fn test(test: &Test) -> Clause {
    match test {
        Test::Address { field, net } => Clause::or(field.parts().iter().map(|part| address(column(*part), *net))),
        Test::Number { field, low, high } => {
            let between = |field| {
                let sql = format!("{} BETWEEN ? AND ?", number(field));
                Clause::new(sql, [Value::Integer(*low), Value::Integer(*high)])
            };
            match field.parts() {
                [] => between(*field),
                parts => Clause::or(parts.iter().map(|part| between(*part))),
            }
        }
        Test::Share { span, .. } => share(*span),
        Test::Text { field, pattern } => text(*field, pattern),
        Test::Name { field, name, below } => {
            let found = names_below(name, *below);
            let source = if *field == Field::Sni { "f.name_source = 2 AND " } else { "" };
            Clause { sql: format!("{source}f.name IN ({})", found.sql), ..found }
        }
        Test::Word(word) => Clause::or(WORD_COLUMNS.map(|(column, table)| {
            let sql = format!("{column} IN (SELECT id FROM {table} WHERE instr(lower(text), ?))");
            Clause::new(sql, [Value::Text(word.clone())])
        })),
    }
}

/// Where the [`crate::query::WORDS`] of flows are kept.
const WORD_COLUMNS: [(&str, &str); 6] = [
    ("f.name", "names"),
    ("f.comm", "texts"),
    ("f.exe", "texts"),
    ("f.service", "texts"),
    ("f.user", "texts"),
    ("coalesce(f.container, f.container_id)", "texts"),
];

fn address(column: &str, net: IpNet) -> Clause {
    let (first, last) = (octets(net.network()), octets(net.broadcast()));
    if net.prefix_len() == net.max_prefix_len() {
        return Clause::new(format!("{column} = ?"), [Value::Blob(first)]);
    }
    // An IPv6 address may lie between two of IPv4.
    let sql = format!("{column} BETWEEN ? AND ? AND length({column}) = {}", first.len());
    Clause::new(sql, [Value::Blob(first), Value::Blob(last)])
}

fn share(span: Span) -> Clause {
    let (more, less) = (if span.is_open.0 { ">" } else { ">=" }, if span.is_open.1 { "<" } else { "<=" });
    let sql = format!("EXISTS (SELECT 1 FROM temp.scores s WHERE {ON_PAIR} AND s.score {more} ? AND s.score {less} ?)");
    Clause::new(sql, [Value::Real(span.low), Value::Real(span.high)])
}

fn text(field: Field, pattern: &Pattern) -> Clause {
    match (field, pattern) {
        (Field::CommunityId, Pattern::Exact(id)) => {
            let value = community(id);
            let sql = "substr(f.community, 1, 6) = substr(?, 1, 6) AND f.community = ?";
            Clause::new(sql, [value.clone(), value])
        }
        (Field::EndReason, Pattern::Exact(name)) => {
            let number = REASONS.iter().position(|reason| reason_name(*reason) == name);
            Clause::new("f.end_reason = ?", [Value::Integer(number.map_or(-1, |number| number as i64))])
        }
        (Field::Verdict, Pattern::Exact(name)) => Clause::new(format!("{VERDICT} = ?"), [Value::Text(name.clone())]),
        (Field::Container, pattern) => {
            Clause::or(["f.container", "f.container_id"].map(|column| among(column, "texts", pattern)))
        }
        (Field::Name, pattern) => among("f.name", "names", pattern),
        (Field::Sni, pattern) => {
            let name = among("f.name", "names", pattern);
            Clause { sql: format!("f.name_source = 2 AND {}", name.sql), ..name }
        }
        (field, pattern) => among(column(field), "texts", pattern),
    }
}

fn among(column: &str, table: &str, pattern: &Pattern) -> Clause {
    match pattern {
        Pattern::Exact(text) => {
            let sql = format!("{column} = (SELECT id FROM {table} WHERE text = ?)");
            Clause::new(sql, [Value::Text(text.clone())])
        }
        Pattern::Glob(pieces) => {
            let escaped = pieces.iter().map(|piece| piece.replace('[', "[[]").replace('?', "[?]"));
            let glob = escaped.collect::<Vec<_>>().join("*");
            let sql = format!("{column} IN (SELECT id FROM {table} WHERE text GLOB ?)");
            Clause::new(sql, [Value::Text(glob)])
        }
    }
}

fn names_below(name: &str, below: Below) -> Clause {
    let (this, under) = ("text = ?", "reversed >= ? AND reversed < ?");
    let from = reversed(name);
    // The character after the full stop ends what begins with it.
    let (first, last) = (Value::Text(format!("{from}.")), Value::Text(format!("{from}/")));
    let name = Value::Text(name.to_owned());
    match below {
        Below::Without => Clause::new(format!("SELECT id FROM names WHERE {this}"), [name]),
        Below::Only => Clause::new(format!("SELECT id FROM names WHERE {under}"), [first, last]),
        Below::With => {
            let sql = format!("SELECT id FROM names WHERE {this} UNION ALL SELECT id FROM names WHERE {under}");
            Clause::new(sql, [name, first, last])
        }
    }
}

/// A term that leads to its rows by an index.
struct Entry {
    /// The lower, the fewer rows it mostly leads to.
    rank: u8,
    ways: Vec<Way>,
    /// Whether the ways say all that the term does.
    is_exact: bool,
}

impl Entry {
    fn of(term: &Term) -> Option<Self> {
        let each: Vec<Self> = term.any.iter().map(Self::of_test).collect::<Option<_>>()?;
        let rank = each.iter().map(|entry| entry.rank).max()?;
        let is_exact = each.iter().all(|entry| entry.is_exact);
        let ways: Vec<Way> = each.into_iter().flat_map(|entry| entry.ways).collect();
        (ways.len() <= MOST_WAYS).then_some(Self { rank, ways, is_exact })
    }

    fn of_test(asked: &Test) -> Option<Self> {
        let one = |rank, index, when| Some(Self { rank, ways: vec![Way { index, when }], is_exact: true });
        match asked {
            Test::Text { field: Field::CommunityId, .. } => one(0, "flows_community", test(asked)),
            Test::Text { field: Field::Process, pattern: Pattern::Exact(_) } => one(4, "flows_comm", test(asked)),
            Test::Address { field, net } => {
                let host = net.prefix_len() == net.max_prefix_len();
                // Wider prefixes hold so much that going through everything, newest first, comes by it soon.
                let is_narrow = net.prefix_len() >= if net.max_prefix_len() == 32 { 16 } else { 40 };
                let way = |part: &Field| {
                    let index = if *part == Field::Src { "flows_src" } else { "flows_dst" };
                    Way { index, when: address(column(*part), *net) }
                };
                let ways = field.parts().iter().map(way).collect();
                is_narrow.then_some(Self { rank: if host { 1 } else { 6 }, ways, is_exact: true })
            }
            Test::Number { field: field @ (Field::SrcPort | Field::DstPort | Field::Port), low, high }
                if low == high =>
            {
                let way = |part: &Field| {
                    let index = if *part == Field::SrcPort { "flows_sport" } else { "flows_dport" };
                    Way { index, when: Clause::new(format!("{} = ?", column(*part)), [Value::Integer(*low)]) }
                };
                let ways = field.parts().iter().map(way).collect();
                Some(Self { rank: 5, ways, is_exact: true })
            }
            Test::Name { field: Field::Name | Field::Sni, name, below } => {
                // A single label may be the end of any zone.
                let is_in_one_zone = name.contains('.') || *below == Below::Without;
                let sql = "f.zone = (SELECT id FROM names WHERE text = ?)";
                let when = Clause::new(sql, [Value::Text(zone(name).to_owned())]);
                let ways = vec![Way { index: "flows_zone", when }];
                is_in_one_zone.then_some(Self { rank: 2, ways, is_exact: false })
            }
            Test::Share { span, .. } if span.low > 0.0 => {
                let sql = "f.dst IN (SELECT s.dst FROM temp.scores s WHERE s.score >= ?)";
                let when = Clause::new(sql, [Value::Real(span.low)]);
                Some(Self { rank: 3, ways: vec![Way { index: "flows_dst", when }], is_exact: false })
            }
            Test::Number { .. } | Test::Share { .. } | Test::Text { .. } | Test::Name { .. } | Test::Word(_) => None,
        }
    }
}

const fn column(field: Field) -> &'static str {
    match field {
        Field::Src => "f.src",
        Field::Dst => "f.dst",
        Field::SrcPort => "f.sport",
        Field::DstPort => "f.dport",
        Field::Protocol => "f.proto",
        Field::Process => "f.comm",
        Field::Exe => "f.exe",
        Field::Pid => "f.pid",
        Field::User => "f.user",
        Field::Container => "f.container",
        Field::Namespace => "f.ns",
        Field::Pod => "f.pod",
        Field::Name | Field::Sni => "f.name",
        Field::Service => "f.service",
        Field::Ja4 => "f.ja4",
        Field::Country => "f.country",
        Field::Asn => "f.asn",
        Field::Rule => "f.rule",
        Field::CommunityId => "f.community",
        Field::State => "f.state",
        Field::EndReason => "f.end_reason",
        Field::BytesIn => "f.bytes_in",
        Field::BytesOut => "f.bytes_out",
        Field::Turns => "f.turns",
        Field::Id => "f.id",
        // Made of others, or of findings only.
        Field::Ip
        | Field::Port
        | Field::Verdict
        | Field::Score
        | Field::Finding
        | Field::Bytes
        | Field::Packets
        | Field::Duration
        | Field::Detector
        | Field::Severity
        | Field::Status
        | Field::Assignee
        | Field::Technique
        | Field::Title => "NULL",
    }
}

fn number(field: Field) -> String {
    if field == Field::Finding {
        return format!("(SELECT s.finding FROM temp.scores s WHERE {ON_PAIR})");
    }
    let sums = [
        (Field::Bytes, "(f.bytes_out + f.bytes_in)"),
        (Field::Packets, "(f.packets_out + f.packets_in)"),
        (Field::Duration, "(f.end - f.start)"),
    ];
    let sum = sums.iter().find(|(known, _)| *known == field).map(|(_, sum)| *sum);
    sum.unwrap_or_else(|| column(field)).to_owned()
}
