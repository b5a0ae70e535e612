//! Comma-separated values (RFC 4180) that a spreadsheet takes for values, whoever wrote them.

use netd_engine::flow::protocol_name;

use crate::store::Stored;
use crate::time::rfc3339;

const HEAD: [&str; 27] = [
    "id",
    "time",
    "first_seen",
    "severity",
    "score",
    "detector",
    "title",
    "originator",
    "responder",
    "responder_port",
    "protocol",
    "name",
    "country",
    "asn",
    "process",
    "pid",
    "exe",
    "user",
    "container",
    "techniques",
    "policy",
    "decision",
    "status",
    "reason",
    "assignee",
    "notes",
    "evidence",
];

/// Returns a head and a line for each finding.
pub(super) fn table(findings: &[Stored]) -> String {
    let mut text = HEAD.join(",");
    text.push_str("\r\n");
    for stored in findings {
        text.push_str(&row(stored).map(|value| cell(&value)).join(","));
        text.push_str("\r\n");
    }
    text
}

fn row(Stored { finding, triage, .. }: &Stored) -> [String; 27] {
    let (region, process) = (finding.responder_region.as_ref(), finding.process.as_ref());
    let container = process.and_then(|process| process.container.as_deref());
    let decision = finding.decision.as_ref();
    let of = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let evidence = finding.reasons.iter().map(|reason| format!("{} {:+.2}", reason.evidence, reason.weight));
    [
        finding.id.to_string(),
        rfc3339(finding.time),
        rfc3339(finding.first_seen),
        finding.severity.name().to_owned(),
        format!("{:.4}", finding.score),
        finding.detector.to_owned(),
        finding.title.clone(),
        finding.pair.originator.to_string(),
        finding.pair.responder.to_string(),
        finding.pair.responder_port.to_string(),
        protocol_name(finding.pair.proto),
        of(finding.name.as_deref()),
        of(region.and_then(|region| region.country.as_ref()).map(|country| country.as_str())),
        region.and_then(|region| region.asn).map_or_else(String::new, |asn| asn.to_string()),
        of(process.map(|process| process.comm.as_str())),
        process.map_or_else(String::new, |process| process.id.pid.to_string()),
        of(process.and_then(|process| process.exe.as_deref())),
        of(process.and_then(|process| process.user.as_deref())),
        of(container.map(|container| container.name.as_deref().unwrap_or(&container.id))),
        finding.attack.join(" "),
        of(decision.and_then(|decision| decision.policy.as_deref())),
        of(decision.map(|decision| decision.effect.name())),
        triage.status.name().to_owned(),
        of(triage.reason.as_deref()),
        of(triage.assignee.as_deref()),
        of(triage.notes.as_deref()),
        evidence.collect::<Vec<_>>().join("; "),
    ]
}

/// Returns a text as one cell: nothing in it ends the cell or the line or steers a terminal, and no spreadsheet takes
/// it for a formula.
#[must_use]
pub fn cell(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let plain = if plain.starts_with(['=', '+', '-', '@', '\u{fffd}', '|', '%']) { format!("'{plain}") } else { plain };
    match plain.contains([',', '"', ';']) {
        true => format!("\"{}\"", plain.replace('"', "\"\"")),
        false => plain,
    }
}
