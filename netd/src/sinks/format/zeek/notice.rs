//! `notice.log`: findings.

use netd_engine::finding::Finding;

use super::{Column, Field, address, proto};
use crate::sinks::format::Site;
use crate::sinks::format::id::Id;

pub(super) const COLUMNS: [Column; 11] = [
    ("ts", "time"),
    ("uid", "string"),
    ("proto", "enum"),
    ("note", "enum"),
    ("msg", "string"),
    ("sub", "string"),
    ("src", "addr"),
    ("dst", "addr"),
    ("p", "port"),
    ("peer_descr", "string"),
    ("actions", "set[enum]"),
];

pub(super) fn row(finding: &Finding, site: &Site) -> Vec<Field> {
    let pair = &finding.pair;
    let reasons: Vec<_> = finding.reasons.iter().map(|reason| reason.value.as_str()).collect();
    let sub = format!("score {:.2}; {}", finding.score, reasons.join("; "));
    vec![
        Field::Seconds(finding.time.0 / 1_000),
        Field::Word(Id::of_pair(pair).uid()),
        Field::Word(proto(pair.proto)),
        Field::Word(format!("Netd::{}", camel(finding.detector))),
        Field::Text(finding.title.clone()),
        Field::Text(sub),
        address(pair.originator),
        address(pair.responder),
        Field::Count(u64::from(pair.responder_port)),
        if site.host.is_empty() { Field::Unset } else { Field::Text(site.host.clone()) },
        Field::Set("Notice::ACTION_LOG"),
    ]
}

/// `reverse_shell` is `ReverseShell`.
fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}
