//! From a query to SQL over one file of flows. Whatever came from outside is bound, never written into the text.

use ipnet::IpNet;
use rusqlite::types::Value;

use super::flow::{REASONS, reason_name, signed};
use super::insert::{community, octets, reversed};
use super::segments::Key;
use crate::query::{Below, Field, Pattern, Query, Span, Term, Test};

mod entry;

use entry::Entry;
pub(super) use entry::key_of_community;

/// A condition with the values of its question marks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// One key by which all flows of a term's value are found.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) key: Key,
    /// Of the table of keys, `k`.
    pub(super) when: Clause,
}

/// One term's ways: together they find all that the query asks for, some perhaps twice.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) ways: Vec<Way>,
    /// What must hold of flows found by them; nothing when there is nothing more to ask.
    pub(super) rest: Option<Clause>,
}

/// A query over the table `flows AS f`.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    /// Any one will do; the first is mostly the shortest. None: by number.
    pub(super) found: Vec<Found>,
    /// What must hold of any flow.
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
    pub(super) fn new(sql: impl Into<String>, values: impl Into<Vec<Value>>) -> Self {
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
    let times = [
        query.since.map(|since| Clause::new("f.end >= ?", [Value::Integer(signed(since.0))])),
        query.until.map(|until| Clause::new("f.start <= ?", [Value::Integer(signed(until.0))])),
    ];
    let times = || times.iter().flatten().cloned();
    let entries = query.terms.iter().enumerate().filter(|(_, term)| !term.negated);
    let mut entries: Vec<_> = entries.filter_map(|(at, term)| Some((at, Entry::of(term)?))).collect();
    entries.sort_by_key(|(_, entry)| entry.rank);
    let found = entries.into_iter().map(|(at, entry)| {
        let left_out = entry.is_exact.then_some(at);
        let others = query.terms.iter().enumerate().filter(|(at, _)| Some(*at) != left_out);
        let rest: Vec<_> = times().chain(others.map(|(_, term)| holds(term))).collect();
        Found { ways: entry.ways, rest: (!rest.is_empty()).then(|| Clause::and(rest)) }
    });
    let found = found.collect();
    let all = Clause::and(times().chain(query.terms.iter().map(holds)));
    let needs_scores = [Field::Score, Field::Finding, Field::Verdict].iter().any(|field| query.names(*field));
    Compiled { found, all, needs_scores }
}

impl Compiled {
    /// Returns what must hold of any flow, so that only those found by the first entry are looked at.
    pub(super) fn narrowed(&self) -> Clause {
        let Some(Found { ways, .. }) = self.found.first() else { return self.all.clone() };
        let each = ways.iter().flat_map(|Way { key, when }| {
            let column = key.column();
            let sorted = format!(
                "SELECT k.id FROM by_{column} AS k WHERE k.segment IN (SELECT segment FROM segments) AND ({})",
                when.sql
            );
            let fresh = format!("SELECT k.id FROM fresh AS k WHERE {}", when.sql);
            [Clause::new(sorted, when.values.clone()), Clause::new(fresh, when.values.clone())]
        });
        let (texts, values): (Vec<_>, Vec<_>) = each.map(|clause| (clause.sql, clause.values)).unzip();
        let among = Clause::new(format!("f.id IN ({})", texts.join(" UNION ALL ")), values.concat());
        Clause::and([among, self.all.clone()])
    }
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
            let named = Clause::or(named("f.name", name, *below));
            let source = if *field == Field::Sni { "f.name_source = 2 AND " } else { "" };
            Clause { sql: format!("{source}({})", named.sql), ..named }
        }
        Test::Word(word) => {
            let name = Clause::new("instr(lower(f.name), ?)", [Value::Text(reversed(word))]);
            let others = WORD_COLUMNS.map(|column| {
                let sql = format!("{column} IN (SELECT id FROM texts WHERE instr(lower(text), ?))");
                Clause::new(sql, [Value::Text(word.clone())])
            });
            Clause::or(std::iter::once(name).chain(others))
        }
    }
}

/// Where the [`crate::query::WORDS`] of flows are kept, but for the name.
const WORD_COLUMNS: [&str; 5] = ["f.comm", "f.exe", "f.service", "f.user", "coalesce(f.container, f.container_id)"];

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
        (Field::CommunityId, Pattern::Exact(id)) => Clause::new("f.community = ?", [community(id)]),
        (Field::EndReason, Pattern::Exact(name)) => {
            let number = REASONS.iter().position(|reason| reason_name(*reason) == name);
            Clause::new("f.end_reason = ?", [Value::Integer(number.map_or(-1, |number| number as i64))])
        }
        (Field::Verdict, Pattern::Exact(name)) => Clause::new(format!("{VERDICT} = ?"), [Value::Text(name.clone())]),
        (Field::Container, pattern) => {
            Clause::or(["f.container", "f.container_id"].map(|column| among(column, pattern)))
        }
        (Field::Name, pattern) => name_like(pattern),
        (Field::Sni, pattern) => {
            let name = name_like(pattern);
            Clause { sql: format!("f.name_source = 2 AND {}", name.sql), ..name }
        }
        (field, pattern) => among(column(field), pattern),
    }
}

fn among(column: &str, pattern: &Pattern) -> Clause {
    match pattern {
        Pattern::Exact(text) => {
            let sql = format!("{column} = (SELECT id FROM texts WHERE text = ?)");
            Clause::new(sql, [Value::Text(text.clone())])
        }
        Pattern::Glob(pieces) => {
            let sql = format!("{column} IN (SELECT id FROM texts WHERE text GLOB ?)");
            Clause::new(sql, [Value::Text(glob(pieces))])
        }
    }
}

fn name_like(pattern: &Pattern) -> Clause {
    match pattern {
        Pattern::Exact(name) => Clause::new("f.name = ?", [Value::Text(reversed(name))]),
        Pattern::Glob(pieces) => {
            let pieces: Vec<String> = pieces.iter().rev().map(|piece| reversed(piece)).collect();
            Clause::new("f.name GLOB ?", [Value::Text(glob(&pieces))])
        }
    }
}

fn glob(pieces: &[String]) -> String {
    let escaped = pieces.iter().map(|piece| piece.replace('[', "[[]").replace('?', "[?]"));
    escaped.collect::<Vec<_>>().join("*")
}

/// Returns what holds of a name in `column` and what of the names below it, each a condition on one span.
fn named(column: &str, name: &str, below: Below) -> Vec<Clause> {
    let name = reversed(name);
    // The character after the full stop ends what begins with it.
    let span = [Value::Text(format!("{name}.")), Value::Text(format!("{name}/"))];
    let under = Clause::new(format!("{column} >= ? AND {column} < ?"), span);
    let this = Clause::new(format!("{column} = ?"), [Value::Text(name)]);
    match below {
        Below::Without => vec![this],
        Below::Only => vec![under],
        Below::With => vec![this, under],
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
