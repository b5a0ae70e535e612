//! Facts about which policy decides what.

use super::*;
use crate::detect::Detector;
use crate::finding::{Pair, Severity};
use crate::process::{Container, Pod, Process};
use crate::region::{Country, Region};
use crate::time::Timestamp;

/// A sure finding about 10.0.0.7, which a shop's curl makes, and 198.51.100.9 in the Netherlands.
pub(super) fn finding(detector: &'static str) -> Finding {
    let pod = Pod { uid: "1".into(), name: Some("shop-7f".into()), namespace: Some("shop".into()) };
    let container = Container { id: "a".repeat(64), pod: Some(pod), ..Container::default() };
    Finding {
        id: 1,
        time: Timestamp(10),
        first_seen: Timestamp(1),
        detector,
        title: String::new(),
        severity: Severity::Medium,
        score: 0.99,
        pair: Pair {
            originator: [10, 0, 0, 7].into(),
            responder: [198, 51, 100, 9].into(),
            responder_port: 443,
            proto: 6,
        },
        name: Some("a.example.org".into()),
        process: Some(Process {
            uid: 33,
            user: Some("www-data".into()),
            comm: "curl".into(),
            exe: Some("/usr/bin/curl".into()),
            container: Some(Arc::new(container)),
            ..Process::default()
        }),
        responder_region: Some(Region { country: Country::new("NL"), asn: Some(64_500), as_name: None }),
        block: true,
        rhythm: None,
        reasons: Vec::new(),
        considered: Vec::new(),
        attack: Vec::new(),
        techniques: Vec::new(),
        host: None,
        decision: None,
    }
}

fn outbound(finding: &Finding) -> Case<'_> {
    Case { finding, direction: Direction::Outbound }
}

fn document(name: &str, spec: &str) -> String {
    format!("apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn read(documents: &[String]) -> Result<Policies, Vec<Fault>> {
    let text = documents.join("---\n");
    Policies::read(&[Source { file: "my.yaml", text: &text }])
}

fn policies(specs: &[&str]) -> Policies {
    let documents: Vec<_> = specs.iter().zip('a'..).map(|(spec, name)| document(&name.to_string(), spec)).collect();
    read(&documents).expect("policies")
}

fn decision(specs: &[&str], finding: &Finding) -> Decision {
    policies(specs).rule(&outbound(finding)).decision(&Ceiling::default())
}

fn refused(spec: &str) -> String {
    read(&[document("a", spec)]).expect_err("a fault")[0].to_string()
}

#[test]
fn the_first_policy_that_matches_decides() {
    let specs = [
        "{mode: off}",
        "{mode: enforce, detectors: [dga]}",
        "{mode: enforce, match: {ports: [8000-8100]}}",
        "{mode: shadow, match: {ports: [443]}}",
        "{mode: enforce}",
    ];

    let decided = decision(&specs, &finding("beacon"));

    assert_eq!(decided.policy.as_deref(), Some("d"));
    assert_eq!((decided.mode, decided.effect, decided.why), (Mode::Shadow, Effect::Shadow, Why::Mode));
}

#[test]
fn where_no_policy_matches_a_finding_is_told_and_nothing_is_done() {
    let decided = decision(&["{mode: enforce, detectors: [dga]}"], &finding("beacon"));

    assert_eq!((decided.policy, decided.effect, decided.why), (None, Effect::Alert, Why::NoPolicy));
}

#[test]
fn every_condition_of_a_match_must_hold() {
    let table = [
        ("directions: [outbound]", true),
        ("directions: [inbound, internal]", false),
        ("originators: [10.0.0.7]", true),
        ("originators: [10.0.1.0/24]", false),
        ("destinations: [198.51.100.0/24], ports: [443]", true),
        ("destinations: [198.51.100.0/24], ports: [80]", false),
        ("protocols: [udp, tcp]", true),
        ("protocols: [udp]", false),
        ("names: ['*.example.org']", true),
        ("names: [example.org]", false),
        ("countries: [nl]", true),
        ("countries: [DE]", false),
        ("asns: [AS64500]", true),
        ("asns: [64501]", false),
        ("processes: [/usr/bin/*]", true),
        ("processes: [curl]", true),
        ("processes: [/usr/bin/wget]", false),
        ("users: [www-data]", true),
        ("users: [33]", true),
        ("users: [0]", false),
        ("containers: [aaaaaaaaaaaa]", true),
        ("containers: [aaaa]", false),
        ("namespaces: [shop]", true),
        ("namespaces: [shop], pods: ['bar-*']", false),
        ("pods: ['shop-*']", true),
    ];
    for (conditions, holds) in table {
        let decided = decision(&[&format!("{{mode: enforce, match: {{{conditions}}}}}")], &finding("beacon"));

        assert_eq!(decided.policy.is_some(), holds, "{conditions}");
    }
}

#[test]
fn one_condition_of_an_exception_spares_a_finding_and_is_named() {
    let decided = decision(&["{mode: enforce, except: {ports: [80], users: [www-data]}}"], &finding("beacon"));

    assert_eq!((decided.effect, decided.why), (Effect::Alert, Why::Exception { key: "users" }));
    assert_eq!(decided.why.words(), "except.users spares it");
}

#[test]
fn a_decision_is_the_same_when_it_is_read_back() {
    let exceptions = [
        "directions: [outbound]",
        "originators: [10.0.0.0/8]",
        "destinations: [198.51.100.0/24]",
        "ports: [443]",
        "protocols: [tcp]",
        "names: ['*.example.org']",
        "countries: [nl]",
        "asns: [64500]",
        "processes: [curl]",
        "users: [33]",
        "containers: [aaaaaaaaaaaa]",
        "namespaces: [shop]",
        "pods: ['shop-*']",
    ];
    let spared = exceptions.map(|condition| format!("{{mode: enforce, except: {{{condition}}}}}"));
    let others =
        ["{mode: observe}", "{mode: shadow}", "{mode: enforce, alert_from: {severity: critical}}"].map(str::to_owned);

    for policy in spared.iter().chain(&others) {
        let decided = decision(&[policy], &finding("beacon"));

        let written = serde_json::to_string(&decided).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&written).unwrap(), decided, "{policy}: {written}");
        assert_eq!(written.contains("spared_by"), policy.contains("except"), "{written}");
    }
}

#[test]
fn thresholds_say_what_is_told_and_what_is_cut() {
    let table = [
        ("alert_from: {severity: high}", Effect::Suppress, Why::BelowAlert),
        ("alert_from: {score: 0.995}", Effect::Suppress, Why::BelowAlert),
        ("alert_from: {severity: medium, score: 0.99}", Effect::Block, Why::Evidence),
        ("block_from: {severity: high}", Effect::Alert, Why::BelowBlock),
        ("action: alert", Effect::Alert, Why::AlertsOnly),
        ("block_when: never", Effect::Alert, Why::NotNamed),
        ("block_when: never, block_at: {beacon: 0.99}", Effect::Block, Why::Evidence),
    ];
    for (words, effect, why) in table {
        let decided = decision(&[&format!("{{mode: enforce, {words}}}")], &finding("beacon"));

        assert_eq!((decided.effect, decided.why), (effect, why), "{words}");
    }
}

#[test]
fn evidence_of_one_kind_cuts_only_where_its_detector_is_named() {
    let unsure = Finding { block: false, ..finding("beacon") };

    assert_eq!(decision(&["{mode: enforce}"], &unsure).why, Why::OneKind);
    assert_eq!(decision(&["{mode: enforce, block_at: {beacon: 0.9}}"], &unsure).effect, Effect::Block);
    assert_eq!(decision(&["{mode: enforce, block_at: {dga: 0.9}}"], &unsure).why, Why::OneKind);
}

#[test]
fn outside_the_share_a_canary_is_a_shadow_and_says_so() {
    let inside = decision(&["{mode: canary, canary: {share: 100%}}"], &finding("beacon"));
    let outside = decision(&["{mode: canary, canary: {share: 0.01%}}"], &finding("beacon"));

    assert_eq!((inside.effect, inside.effective), (Effect::Block, Mode::Canary));
    assert_eq!((outside.effect, outside.effective), (Effect::Shadow, Mode::Shadow));
    assert!(!outside.held_back.is_empty());
}

#[test]
fn requested_and_effective_mode_differ_only_with_a_reason() {
    let policies = policies(&["{mode: enforce}"]);
    let ceilings = [
        Ceiling::default(),
        Ceiling { mode: Mode::Shadow, reason: "netd runs in mode shadow".into() },
        Ceiling { mode: Mode::Observe, reason: "the kill switch is on".into() },
    ];
    for ceiling in ceilings {
        let finding = finding("beacon");
        let decided = policies.rule(&outbound(&finding)).decision(&ceiling);

        assert_eq!(decided.effective, ceiling.mode);
        assert_eq!(decided.mode == decided.effective, decided.held_back.is_empty());
    }
}

#[test]
fn a_fault_names_file_line_column_and_what_was_expected() {
    let fault = refused("\n  mode: observe\n  tll: 1h");

    assert!(fault.starts_with("my.yaml:6:3: error: "), "{fault}");
    assert!(fault.contains("`tll`") && fault.contains(" ttl,"), "{fault}");
    assert!(fault.ends_with("  |\n6 |   tll: 1h\n  |   ^"), "{fault}");
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    let table = [
        ("{mode: enforced}", ":4:14:", "enforce"),
        ("{mode: canary}", ":4:7:", "share: 10%"),
        ("{mode: canary, canary: {share: 10}}", ":4:", "10%"),
        ("{ttl: soon}", ":4:13:", "1h"),
        ("{block_at: {beacn: 0.9}}", ":4:", "beacon"),
        ("{block_at: {beacon: 90}}", ":4:", "from 0 to 1"),
        ("{match: {ports: [99999]}}", ":4:", "a port"),
        ("{match: {ports: [90-80]}}", ":4:", "a range"),
        ("{match: {countries: [Holland]}}", ":4:", "two letters"),
        ("{match: {destinations: [10.0.0.1/8]}}", ":4:", "without host bits"),
        ("{match: {names: ['']}}", ":4:7:", "match.names"),
        ("{except: {hosts: [10.0.0.1]}}", ":4:", "originators"),
        ("{action: throttle, throttle: {bytes_per_second: 0}}", ":4:7:", "a rate"),
        ("{tests: [{capture: a.pcap, expect: {finding: {}}}]}", ":4:", "findings"),
        ("{mode: observe, mode: enforce}", ":4:", "mode"),
        ("&a {canary: *a}", ":4:", ""),
    ];
    for (spec, place, part) in table {
        let fault = refused(spec);

        assert!(fault.contains(place) && fault.contains(part), "{spec}: {fault}");
    }
}

#[test]
fn names_stand_once_and_are_plain() {
    let twice = read(&[document("a", "{}"), document("a", "{}")]).unwrap_err();
    let odd = read(&[document("'a/../b'", "{}")]).unwrap_err();

    assert!(twice[0].to_string().contains("my.yaml:8:11: error: a policy `a` stands"), "{}", twice[0]);
    assert!(odd[0].to_string().contains("cannot be a policy's name"), "{}", odd[0]);
}

#[test]
fn a_file_without_a_policy_and_a_flood_of_nodes_are_refused() {
    assert!(Policies::read(&[Source { file: "e.yaml", text: "" }]).is_err());
    let flood = document("a", &format!("{{tests: [{}]}}", "[],".repeat(60_000)));
    let deep = document("a", &format!("{}{}", "[".repeat(40), "]".repeat(40)));

    for text in [flood, deep] {
        assert!(read(&[text]).is_err());
    }
}

#[test]
fn benign_services_may_lie_beside_policies() {
    let observing = document("a", "{}");
    let sources =
        [Source { file: "a.yaml", text: &observing }, Source { file: "services.yaml", text: crate::services::SHIPPED }];

    assert_eq!(Policies::read(&sources).unwrap().iter().count(), 1);
}

#[test]
fn a_policy_behind_one_that_takes_everything_is_never_asked() {
    let policies = policies(&["{mode: off}", "{match: {ports: [80]}}", "{}", "{mode: enforce}", "{mode: off}"]);

    let found: Vec<_> = policies.unreachable().map(|(policy, by)| (&*policy.name, &*by.name)).collect();

    assert_eq!(found, [("d", "c")]);
}

#[test]
fn a_difference_names_fields_with_their_values() {
    let old = policies(&["{mode: observe, block_at: {beacon: 0.9}}", "{ttl: 1h}"]);
    let new = policies(&["{mode: enforce}", "{ttl: 90m}", "{}"]);

    let difference = Difference::between(&old, &new);

    let changed: Vec<_> =
        difference.changed.iter().map(|c| format!("{}.{} {}->{}", c.policy, c.field, c.old, c.new)).collect();
    let expected =
        ["a.spec.block_at.beacon 0.9->null", r#"a.spec.mode "observe"->"enforce""#, r#"b.spec.ttl "1h"->"1h30m""#];
    assert_eq!(changed, expected);
    assert_eq!((difference.added, difference.removed, difference.reordered), (vec!["c".to_owned()], vec![], false));
    assert!(Difference::between(&new, &new).is_empty());
}

#[test]
fn a_policy_is_the_same_when_it_is_written_and_read_again() {
    let before = policies(&["{mode: canary, canary: {share: 2.5%}, match: {ports: [1-9], users: [7], asns: [AS7], \
        destinations: [10.0.0.0/8]}, respond: {bind_shell: {from: high, do: [cut]}}, block_at: {beacon: 0.5}}"]);
    let policy = before.get("a").unwrap();
    let spec = serde_json::to_value(&policy.spec).unwrap();

    let after = read(&[document("a", &spec.to_string())]).unwrap();

    assert_eq!(after, before);
    assert_eq!(policy.spec.block_at.get(&Detector::Beacon), Some(&Score(0.5)));
}
