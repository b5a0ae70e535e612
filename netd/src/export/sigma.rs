//! Findings as Sigma rules: what another sensor's events would show of the same.

use netd_engine::finding::{Finding, Severity};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::sought::Sought;
use super::stix::id;
use crate::store::Stored;
use crate::time::rfc3339;

#[derive(Serialize)]
struct Rule {
    title: String,
    id: String,
    status: &'static str,
    description: String,
    author: &'static str,
    date: String,
    tags: Vec<String>,
    logsource: Logsource,
    detection: Detection,
    falsepositives: Vec<String>,
    level: &'static str,
}

#[derive(Serialize)]
struct Logsource {
    category: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'static str>,
}

#[derive(Serialize)]
struct Detection {
    selection: Value,
    condition: &'static str,
}

/// Returns a YAML document for each finding.
pub(super) fn rules(findings: &[Stored]) -> String {
    let documents = findings.iter().map(|stored| rule(&stored.finding)).map(|rule| {
        // Texts, lists and maps are all that a rule is made of.
        serde_saphyr::to_string(&rule).unwrap_or_default()
    });
    documents.collect::<Vec<_>>().join("---\n")
}

fn rule(finding: &Finding) -> Rule {
    let (logsource, selection) = looked_for(finding);
    let mut tags: Vec<String> = Vec::new();
    for entry in &finding.techniques {
        for tag in [entry.tactic.to_owned(), entry.id.to_lowercase()].map(|name| format!("attack.{name}")) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    Rule {
        // At most 256 characters, says the specification.
        title: plain(&format!("{}: {}", finding.detector, finding.title)).chars().take(256).collect(),
        id: id::own("sigma", &[&id::of_finding(finding)]),
        status: "experimental",
        description: plain(&format!(
            "Found by netd (finding {}, score {:.2}) between {} and {}.",
            finding.id, finding.score, finding.pair.originator, finding.pair.responder
        )),
        author: "netd",
        date: rfc3339(finding.time).chars().take(10).collect(),
        tags,
        logsource,
        detection: Detection { selection, condition: "selection" },
        falsepositives: match finding.considered.is_empty() {
            true => vec!["Unknown".to_owned()],
            false => finding.considered.iter().map(|text| plain(text)).collect(),
        },
        level: match finding.severity {
            Severity::Info => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        },
    }
}

/// Returns where to look, and for what: the fields of Sigma's taxonomy.
fn looked_for(finding: &Finding) -> (Logsource, Value) {
    let sought = Sought::of(finding);
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let linux = Some("linux");
    match (sought.is_originator, sought.address, sought.name) {
        (true, address, _) => {
            put("src_ip", json!(address));
            if let Some(port) = sought.port {
                put("dst_port", json!(port));
            }
            (Logsource { category: "firewall", product: None }, Value::Object(fields))
        }
        (false, None, name) => {
            let name = plain(name.unwrap_or_default());
            put("QueryName|endswith", json!(format!(".{name}")));
            (Logsource { category: "dns_query", product: linux }, json!([fields, {"QueryName": name}]))
        }
        (false, Some(address), _) => {
            put("Initiated", json!("true"));
            put("DestinationIp", json!(address));
            if let Some(port) = sought.port {
                put("DestinationPort", json!(port));
            }
            if let Some(exe) = finding.process.as_ref().and_then(|process| process.exe.as_deref()) {
                put("Image", json!(plain(exe)));
            }
            (Logsource { category: "network_connection", product: linux }, Value::Object(fields))
        }
    }
}

/// Returns a text without what no YAML reader takes. Backslash and wildcards mean something in Sigma's values only.
fn plain(text: &str) -> String {
    let is_printable =
        |c: char| !c.is_control() && !matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}');
    text.chars().map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect()
}
