//! Findings as a report in Markdown (CommonMark, with GitHub's tables).

use std::fmt::Write as _;

use netd_engine::flow::protocol_name;
use netd_engine::process::Process;

use crate::store::Stored;
use crate::time::rfc3339;

/// Returns a section for each finding.
pub(super) fn report(findings: &[Stored]) -> String {
    let mut text = format!("# Findings: {}\n", findings.len());
    for stored in findings {
        // Text takes whatever is written to it.
        let _ = section(&mut text, stored);
    }
    text
}

fn section(text: &mut String, stored: &Stored) -> std::fmt::Result {
    let Stored { finding, triage, .. } = stored;
    let pair = &finding.pair;
    writeln!(text, "\n## {}: {}\n", finding.id, plain(&finding.title))?;
    writeln!(text, "| | |\n| --- | --- |")?;
    let region = finding.responder_region.as_ref();
    let place = region.map(|region| {
        let country = region.country.map(|country| country.to_string());
        let asn = region.asn.map(|asn| format!("AS{asn}"));
        [country, asn, region.as_name.as_deref().map(str::to_owned)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    let decision = finding.decision.as_ref().map(|decision| {
        let policy = decision.policy.as_deref().unwrap_or("none");
        format!("{} by policy {policy}: {}", decision.effect.name(), decision.why.words())
    });
    let rows = [
        ("Severity", Some(format!("{}, score {:.2}", finding.severity.name(), finding.score))),
        ("Detector", Some(finding.detector.to_owned())),
        ("Time", Some(format!("{} (first seen {})", rfc3339(finding.time), rfc3339(finding.first_seen)))),
        ("From", Some(pair.originator.to_string())),
        ("To", Some(format!("{} port {} {}", pair.responder, pair.responder_port, protocol_name(pair.proto)))),
        ("Name", finding.name.clone()),
        ("Where", place.filter(|place| !place.is_empty())),
        ("Process", finding.process.as_ref().map(process)),
        ("Decision", decision),
        ("Triage", Some(said(stored))),
        ("Notes", triage.notes.clone()),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(text, "| {name} | {} |", plain(&value))?;
        }
    }
    writeln!(text, "\n### Evidence\n\n| Evidence | Kind | Measured | Nats |\n| --- | --- | --- | ---: |")?;
    for reason in &finding.reasons {
        let kind = format!("{:?}", reason.kind).to_lowercase();
        writeln!(text, "| {} | {kind} | {} | {:+.2} |", plain(reason.evidence), plain(&reason.value), reason.weight)?;
    }
    list(text, "Considered, and ruled out", &finding.considered)?;
    let techniques: Vec<_> =
        finding.techniques.iter().map(|entry| format!("{} {} ({})", entry.id, entry.name, entry.tactic)).collect();
    list(text, "ATT&CK", &techniques)?;
    if let Some(host) = &finding.host {
        list(text, "On the host", &host.lines)?;
        list(text, "Commands", &host.commands)?;
    }
    Ok(())
}

fn list(text: &mut String, head: &str, items: &[String]) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n### {}\n", plain(head))?;
    items.iter().try_for_each(|item| writeln!(text, "- {}", plain(item)))
}

fn process(process: &Process) -> String {
    let exe = process.exe.as_deref().unwrap_or("executable not known");
    let user = process.user.as_deref().map_or_else(|| process.uid.to_string(), str::to_owned);
    let arguments = if process.args.is_empty() { String::new() } else { format!(": {}", process.args.join(" ")) };
    format!("{}[{}] {exe} of user {user}{arguments}", process.comm, process.id.pid)
}

fn said(Stored { triage, .. }: &Stored) -> String {
    let reason = triage.reason.as_deref().map_or_else(String::new, |reason| format!(", {reason}"));
    let assignee = triage.assignee.as_deref().map_or_else(String::new, |who| format!(", {who} is on it"));
    format!("{}{reason}{assignee}", triage.status.name())
}

/// Returns a text that is nothing but text wherever it stands in a line.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '!' | '$' => {
                plain.extend(['\\', c])
            }
            c if c.is_control() => plain.push('\u{fffd}'),
            c => plain.push(c),
        }
    }
    plain
}
