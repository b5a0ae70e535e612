//! `dns.log`: questions to name servers and their answers.

use netd_engine::lookup::{Lookup, Record, rcode_name, type_name};

use super::{Column, Field, ID, address, proto};
use crate::sinks::format::id::Id;

const TXT: u16 = 16;
const ANY: u16 = 255;

pub(super) const COLUMNS: [Column; 24] = [
    ID[0],
    ID[1],
    ID[2],
    ID[3],
    ID[4],
    ID[5],
    ("proto", "enum"),
    ("trans_id", "count"),
    ("rtt", "interval"),
    ("query", "string"),
    ("qclass", "count"),
    ("qclass_name", "string"),
    ("qtype", "count"),
    ("qtype_name", "string"),
    ("rcode", "count"),
    ("rcode_name", "string"),
    ("AA", "bool"),
    ("TC", "bool"),
    ("RD", "bool"),
    ("RA", "bool"),
    ("Z", "count"),
    ("answers", "vector[string]"),
    ("TTLs", "vector[interval]"),
    ("rejected", "bool"),
];

pub(super) fn row(lookup: &Lookup) -> Vec<Field> {
    let Lookup { carrier, reply, .. } = lookup;
    let reply = reply.as_ref();
    let said = reply.map(|reply| reply.flags);
    // What the server says of a question is the question's own, where that was not seen.
    let asked = lookup.asked.map(|(_, flags)| flags).or(said).unwrap_or_default();
    let records = reply.map(|reply| reply.records.as_slice()).filter(|records| !records.is_empty());
    let count = |value: Option<u64>| value.map_or(Field::Unset, Field::Count);
    let word = |value: Option<String>| value.map_or(Field::Unset, Field::Word);
    let bool = |value: Option<bool>| value.map_or(Field::Unset, Field::Bool);
    // A message without a question asks for no type.
    let question = lookup.name.as_ref().map(|_| lookup);
    vec![
        Field::Seconds(lookup.begun().0 / 1_000),
        Field::Word(Id::of_carrier(carrier).uid()),
        address(carrier.originator),
        Field::Count(u64::from(carrier.originator_port)),
        address(carrier.responder),
        Field::Count(u64::from(carrier.responder_port)),
        Field::Word(proto(carrier.protocol)),
        Field::Count(u64::from(lookup.id)),
        lookup.round_trip_ns().map_or(Field::Unset, |ns| Field::Seconds(ns / 1_000)),
        question.map_or(Field::Unset, query),
        count(question.map(|lookup| u64::from(lookup.qclass))),
        word(question.map(|lookup| class_name(lookup.qclass))),
        count(question.map(|lookup| u64::from(lookup.qtype))),
        word(question.map(|lookup| qtype_name(lookup.qtype))),
        count(said.map(|flags| u64::from(flags.rcode()))),
        word(said.map(|flags| rcode(flags.rcode()))),
        bool(said.map(|flags| flags.is_authoritative())),
        bool(said.map(|flags| flags.is_truncated())),
        Field::Bool(asked.recursion_desired()),
        bool(said.map(|flags| flags.recursion_available())),
        Field::Count(u64::from(said.unwrap_or(asked).reserved())),
        records.map_or(Field::Unset, |records| Field::Texts(records.iter().map(answer).collect())),
        records.map_or(Field::Unset, |records| Field::Intervals(records.iter().map(|record| record.ttl_s).collect())),
        // Zeek: a reply that says nothing but its code.
        bool(Some(reply.is_some_and(|reply| reply.is_bare))),
    ]
}

/// The root has no labels.
fn query(lookup: &Lookup) -> Field {
    match lookup.name.as_deref() {
        Some("") => Field::Word(".".to_owned()),
        Some(name) => Field::Text(name.to_owned()),
        None => Field::Unset,
    }
}

fn answer(record: &Record) -> String {
    match (&record.data, record.rtype) {
        (Some(text), TXT) => format!("TXT {} {text}", text.len()),
        (Some(data), _) => data.clone(),
        (None, rtype) => match type_name(rtype) {
            Some(name) => format!("<{name}>"),
            None => format!("<unknown type={rtype}>"),
        },
    }
}

fn qtype_name(qtype: u16) -> String {
    match (qtype, type_name(qtype)) {
        (ANY, _) => "*".to_owned(),
        (_, Some(name)) => name.to_owned(),
        (_, None) => format!("query-{qtype}"),
    }
}

fn class_name(class: u16) -> String {
    match class {
        1 => "C_INTERNET".to_owned(),
        2 => "C_CSNET".to_owned(),
        3 => "C_CHAOS".to_owned(),
        4 => "C_HESIOD".to_owned(),
        254 => "C_NONE".to_owned(),
        255 => "C_ANY".to_owned(),
        other => format!("qclass-{other}"),
    }
}

fn rcode(rcode: u8) -> String {
    rcode_name(rcode).map_or_else(|| format!("rcode-{rcode}"), str::to_owned)
}
