//! One line for people: what a log, a chat or a telephone shows.

use std::fmt::Write as _;

use netd_engine::finding::Finding;
use netd_engine::flow::protocol_name;
use netd_engine::lookup::{Lookup, rcode_name, type_name};
use netd_engine::verdict::{Response, Target};

use super::Record;
use crate::store::events::{VerdictChange, VerdictEvent};

/// Longest line; what a peer may hold is longer.
const LONGEST: usize = 1_024;

/// Returns a record in one line without control characters.
#[must_use]
pub fn line(record: &Record<'_>) -> String {
    let line = match record {
        Record::Finding(finding) => of_finding(finding),
        Record::Flow(flow) => {
            let flow = flow.conversation;
            let proto = protocol_name(flow.protocol);
            format!(
                "flow {}:{} -> {}:{} {proto} {} {:.1} s, {} and {} bytes",
                flow.originator,
                flow.originator_port,
                flow.responder,
                flow.responder_port,
                flow.state,
                flow.duration_s,
                flow.originated.bytes,
                flow.responded.bytes,
            )
        }
        Record::Lookup { lookup, .. } => of_lookup(lookup),
        Record::Verdict { event, .. } => of_verdict(event),
        Record::Stats { stats, .. } => format!(
            "up {} s: {} packets, {} flows alive, {} findings, {} lost",
            stats.uptime_s, stats.packets, stats.flows_active, stats.findings, stats.lost
        ),
    };
    tame(&line)
}

fn of_finding(finding: &Finding) -> String {
    let pair = &finding.pair;
    let mut line = format!(
        "{} {:.2} {}: {}; {} -> {}:{} {}",
        finding.severity.name().to_uppercase(),
        finding.score,
        finding.detector,
        finding.title,
        pair.originator,
        pair.responder,
        pair.responder_port,
        protocol_name(pair.proto),
    );
    if let Some(name) = &finding.name {
        let _ = write!(line, " {name}");
    }
    if let Some(process) = &finding.process {
        let _ = write!(line, " by {}[{}]", process.comm, process.id.pid);
    }
    for technique in &finding.attack {
        let _ = write!(line, " {technique}");
    }
    line
}

fn of_lookup(lookup: &Lookup) -> String {
    let carrier = &lookup.carrier;
    let name = lookup.name.as_deref().unwrap_or("nothing");
    let mut line = format!(
        "dns {} -> {}:{} {} {name}",
        carrier.originator,
        carrier.responder,
        carrier.responder_port,
        rtype(lookup.qtype)
    );
    match &lookup.reply {
        Some(reply) => {
            let _ = write!(line, ": {}", rcode(reply.flags.rcode()));
            for data in reply.records.iter().filter_map(|record| record.data.as_deref()) {
                let _ = write!(line, " {data}");
            }
        }
        None => line.push_str(": no answer"),
    }
    line
}

/// Returns the name of a type of record, or its number.
pub(super) fn rtype(number: u16) -> String {
    type_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// Returns the name of a response code, or its number.
pub(super) fn rcode(number: u8) -> String {
    rcode_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn of_verdict(event: &VerdictEvent) -> String {
    let verdict = &event.entry.verdict;
    let change = change(event.change);
    let (target, action) = (target(&verdict.target), action(&verdict.response));
    let shadow = if verdict.shadow { " (shadow)" } else { "" };
    format!("verdict {} {change}: {action}{shadow} {target}: {}", event.entry.id, verdict.reason)
}

pub(super) const fn change(change: VerdictChange) -> &'static str {
    match change {
        VerdictChange::Began => "began",
        VerdictChange::Released => "released",
        VerdictChange::Expired => "expired",
    }
}

pub(super) const fn action(response: &Response) -> &'static str {
    match response {
        Response::Observe => "observe",
        Response::Throttle { .. } => "throttle",
        Response::Drop => "drop",
        Response::Reset => "reset",
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            format!("{source}:{source_port} -> {destination}:{destination_port} {}", protocol_name(*proto))
        }
        Target::Endpoint { address, port, proto } => format!("{address}:{port} {}", protocol_name(*proto)),
        Target::Host { address } => address.to_string(),
        Target::Prefix { prefix } => prefix.to_string(),
    }
}

/// Escapes what a terminal or a log could take for something else, and bounds the length.
pub(in crate::sinks) fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        if tamed.len() >= LONGEST {
            tamed.push('…');
            break;
        }
        match c {
            // Controls, line separators, and what turns the direction of text.
            c if c.is_control() => tamed.extend(c.escape_default()),
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => tamed.extend(c.escape_unicode()),
            c => tamed.push(c),
        }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use netd_engine::finding::Severity;

    use super::*;
    use crate::store::findings_for_tests::finding;

    #[test]
    fn a_finding_is_one_tame_line() {
        let mut hostile = finding(1, Severity::High, 0.912);
        hostile.name = Some("evil\r\n\u{1b}[2J\u{202e}moc".into());

        assert_eq!(
            line(&Record::Finding(&hostile)),
            "HIGH 0.91 beacon: check-ins every 60.0 s; 10.0.0.7 -> 198.51.100.9:443 tcp \
             evil\\r\\n\\u{1b}[2J\\u{202e}moc T1071.001"
        );
        hostile.title = "x".repeat(100_000);
        assert!(line(&Record::Finding(&hostile)).len() < 2_000);
    }
}
