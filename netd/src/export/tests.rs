//! Facts about exports, over findings whose texts are as hostile as strangers make them.

use std::collections::{BTreeMap, BTreeSet};

use netd_engine::finding::{Kind, Reason, Severity};
use netd_engine::policy::{Case, Ceiling, Direction, Policies};
use netd_engine::process::{Process, ProcessId};
use serde_json::Value;

use super::*;
use crate::store::Findings;
use crate::store::findings_for_tests::finding;

const HOSTILE: &str = "=cmd|' /C calc'!A1,\"\r\n- a: [b]\u{85}\u{1b}[2J`rm`|<b>\\' OR '";

/// A plain finding, one that strangers named, one about a name alone, one about who opens the conversations.
fn findings() -> Vec<Stored> {
    let plain = finding(1, Severity::High, 0.91);
    let mut hostile = finding(2, Severity::Critical, 0.99);
    (hostile.title, hostile.name) = (HOSTILE.into(), Some(HOSTILE.into()));
    hostile.considered = vec![HOSTILE.into()];
    hostile.reasons = vec![Reason { evidence: "names", kind: Kind::Content, value: HOSTILE.into(), weight: 1.5 }];
    hostile.process = Some(Process {
        id: ProcessId { pid: 700, start_ticks: 9 },
        comm: HOSTILE.into(),
        exe: Some(format!("/tmp/{HOSTILE}")),
        sha256: Some("0".repeat(64).into()),
        args: vec![HOSTILE.into()],
        cwd: Some("/".into()),
        ..Process::default()
    });
    let mut tunnel = finding(3, Severity::Medium, 0.7);
    tunnel.detector = "dns_tunnel";
    let mut scan = finding(4, Severity::Info, 0.6);
    (scan.detector, scan.name, scan.pair.originator) = ("inbound_scan", None, "2001:db8::7".parse().unwrap());
    let policies = Policies::default();
    let decided = policies.rule(&Case { finding: &scan, direction: Direction::Inbound });
    scan.decision = Some(decided.decision(&Ceiling::default()));
    let store = Findings::new(10);
    for finding in [plain, hostile, tunnel, scan] {
        store.report(finding);
    }
    store.page(None, 10, |_| true).0.into_iter().rev().collect()
}

fn objects(findings: &[Stored]) -> Vec<Value> {
    let bundle: Value = serde_json::from_str(&Format::Stix.write(findings)).unwrap();
    assert_eq!(bundle["type"], "bundle");
    assert_id(&bundle["id"], "bundle");
    bundle["objects"].as_array().unwrap().clone()
}

/// An identifier is `type--UUID`, of RFC 4122's variant.
fn assert_id(id: &Value, kind: &str) {
    let uuid: uuid::Uuid = id.as_str().unwrap().strip_prefix(&format!("{kind}--")).unwrap().parse().unwrap();
    let version = if kind == "process" { 4 } else { 5 };
    assert_eq!((uuid.get_version_num(), uuid.get_variant()), (version, uuid::Variant::RFC4122), "{id}");
}

/// What STIX 2.1 requires of each type beyond `type`, `id`, `spec_version`.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "identity" => &["created", "modified", "name"],
        "observed-data" => {
            &["created", "modified", "first_observed", "last_observed", "number_observed", "object_refs"]
        }
        "indicator" => &["created", "modified", "pattern", "pattern_type", "valid_from"],
        "sighting" => &["created", "modified", "sighting_of_ref"],
        "attack-pattern" => &["created", "modified", "name"],
        "relationship" => &["created", "modified", "relationship_type", "source_ref", "target_ref"],
        "ipv4-addr" | "ipv6-addr" | "domain-name" => &["value"],
        "network-traffic" => &["protocols", "src_ref", "dst_ref"],
        "file" => &["name"],
        "process" => &["pid"],
        other => panic!("{other} is not written"),
    }
}

#[test]
fn a_bundle_has_what_stix_requires_and_refers_to_itself_alone() {
    let objects = objects(&findings());
    let ids: BTreeSet<&str> = objects.iter().map(|object| object["id"].as_str().unwrap()).collect();
    let mut kinds = BTreeMap::<&str, usize>::new();

    for object in &objects {
        let kind = object["type"].as_str().unwrap();
        *kinds.entry(kind).or_default() += 1;
        assert_eq!(object["spec_version"], "2.1", "{object}");
        assert_id(&object["id"], kind);
        for member in required(kind) {
            assert!(!object[*member].is_null(), "{member} is not in {object}");
        }
        for (name, value) in object.as_object().unwrap() {
            let references = match (name.ends_with("_ref"), name.ends_with("_refs")) {
                (true, _) => vec![value.clone()],
                (_, true) => value.as_array().unwrap().clone(),
                (false, false) => Vec::new(),
            };
            for reference in references {
                assert!(ids.contains(reference.as_str().unwrap()), "{name} {reference} is not in the bundle");
            }
            if matches!(name.as_str(), "created" | "modified" | "first_observed" | "last_observed" | "valid_from") {
                let (date, fraction) = value.as_str().unwrap().split_once('.').unwrap();
                assert_eq!((date.len(), fraction.len(), &fraction[3..]), (19, 4, "Z"), "{name} {value}");
            }
        }
    }
    assert_eq!(ids.len(), objects.len(), "an object is there twice");
    assert_eq!((kinds["indicator"], kinds["sighting"], kinds["observed-data"]), (4, 4, 4));
    // Four findings share a technique and the identity.
    assert_eq!((kinds["attack-pattern"], kinds["identity"], kinds["process"]), (1, 1, 1));
}

#[test]
fn the_same_findings_are_the_same_bundle_and_another_daemons_are_others() {
    let mut elsewhere = findings();
    for stored in &mut elsewhere {
        stored.finding.first_seen.0 += 1_000_000;
    }
    let ids = |objects: Vec<Value>, kind: &str| -> BTreeSet<String> {
        let of_kind = objects.into_iter().filter(|object| object["type"] == kind);
        of_kind.map(|object| object["id"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(Format::Stix.write(&findings()), Format::Stix.write(&findings()));
    assert_eq!(ids(objects(&findings()), "ipv4-addr"), ids(objects(&elsewhere), "ipv4-addr"));
    assert!(ids(objects(&findings()), "indicator").is_disjoint(&ids(objects(&elsewhere), "indicator")));
}

#[test]
fn an_indicator_is_about_the_far_side_and_never_about_a_resolver() {
    let all = findings();
    let pattern = |at: usize| {
        let objects = objects(&all[at..=at]);
        objects.iter().find(|object| object["type"] == "indicator").unwrap()["pattern"].as_str().unwrap().to_owned()
    };

    assert_eq!(
        pattern(0),
        "[domain-name:value = 'cdn.example.net'] OR [network-traffic:dst_ref.type = 'ipv4-addr' AND \
         network-traffic:dst_ref.value = '198.51.100.9' AND network-traffic:dst_port = 443]"
    );
    assert!(pattern(1).contains("\\\\\\' OR \\'"), "{}", pattern(1));
    assert_eq!(pattern(2), "[domain-name:value = 'cdn.example.net']");
    assert!(pattern(3).contains("src_ref.value = '2001:db8::7'"), "{}", pattern(3));
}

#[test]
fn sigma_rules_are_yaml_with_what_a_rule_needs() {
    let text = Format::Sigma.write(&findings());

    let rules: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));

    assert_eq!(rules.len(), 4);
    for rule in &rules {
        uuid::Uuid::parse_str(rule["id"].as_str().unwrap()).unwrap();
        assert!(
            rule["title"].as_str().is_some_and(|title| !title.is_empty() && title.chars().count() <= 256),
            "{rule}"
        );
        assert_eq!(rule["detection"]["condition"], "selection");
        assert!(rule["logsource"]["category"].is_string());
        let tags = rule["tags"].as_array().unwrap();
        assert!(tags.contains(&"attack.command-and-control".into()) && tags.contains(&"attack.t1071.001".into()));
    }
    let selection = |at: usize| &rules[at]["detection"]["selection"];
    assert_eq!(
        (&selection(0)["DestinationIp"], &selection(0)["DestinationPort"]),
        (&"198.51.100.9".into(), &443.into())
    );
    assert_eq!(selection(2)[0]["QueryName|endswith"], ".cdn.example.net");
    assert_eq!(selection(3)["src_ip"], "2001:db8::7");
    assert_eq!((&rules[0]["level"], &rules[3]["level"]), (&"high".into(), &"informational".into()));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn no_cell_is_a_formula_or_leaves_its_place() {
    let text = Format::Csv.write(&findings());

    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 4 + 2);
    for line in &lines[..5] {
        assert_eq!(cells(line).len(), 27, "{line}");
        for cell in cells(line) {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '|', '%']), "{cell} in {line}");
        }
    }
    assert!(cells(lines[2])[6].starts_with("'=cmd"));
    assert!(!text.replace("\r\n", "").contains(char::is_control));
}

/// Reads a line as RFC 4180 has it.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut is_quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    assert!(!is_quoted, "{line}");
    cells
}

#[test]
fn a_report_says_what_was_found_and_strangers_add_no_markup() {
    let text = Format::Md.write(&findings());

    assert!(text.starts_with("# Findings: 4\n\n## 1: check-ins every 60.0 s\n"), "{text}");
    assert!(text.contains("| To | 198.51.100.9 port 443 TCP |") || text.contains("| To | 198.51.100.9 port 443 tcp |"));
    assert!(text.contains("- T1071.001 Web Protocols (command-and-control)"));
    assert_eq!(text.lines().filter(|line| line.starts_with("## ")).count(), 4);
    for forbidden in ["<b>", "`rm`", "\u{1b}", "\n- a: "] {
        assert!(!text.contains(forbidden), "{forbidden:?}");
    }
}
