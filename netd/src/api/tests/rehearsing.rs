//! Policies held against what the server has seen.

use netd_engine::finding::Severity;
use netd_engine::flow::{Conversation, EndReason};
use serde_json::json;

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

const BLOCKS: &str =
    "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: mine}\nspec: {mode: enforce, tests: []}\n";
/// Findings and flows of these tests are of 2027.
const SINCE: &str = "since=2027-01-01T00:00:00Z";

/// A finding, and flows that went on after it.
fn api(flows: u16) -> Api {
    let api = Api::new();
    api.findings.report(finding(1, Severity::High, 0.999));
    for port in 0..flows {
        let process = netd_engine::process::Process {
            comm: "curl".into(),
            exe: Some("/usr/bin/curl".into()),
            ..Default::default()
        };
        let process = Some(process);
        api.flows.end(Conversation { process, ..conversation(40_000 + port, EndReason::Idle) });
    }
    api
}

#[tokio::test]
async fn a_text_is_held_against_findings_and_flows_and_nothing_is_done() {
    let api = api(3);

    let text = api.post(&format!("/api/v1/policies:simulate?{SINCE}"), BLOCKS).await.json();
    let in_force = api.post(&format!("/api/v1/policies:simulate?{SINCE}"), "").await.json();

    assert_eq!((&text["policies"], &text["findings"], &text["flows"]), (&json!(["mine"]), &json!(1), &json!(3)));
    assert_eq!((&text["block"], &text["reached"]), (&json!(1), &Value::Null));
    let cut = &text["cut"][0];
    assert_eq!(
        (&cut["target"], &cut["flows"], &cut["bytes"]),
        (&json!("198.51.100.9:443 tcp"), &json!(3), &json!(180))
    );
    assert_eq!(
        (&in_force["policies"], &in_force["alert"], &in_force["cut"]),
        (&json!(["default"]), &json!(1), &json!([]))
    );
    assert_eq!(api.get("/api/v1/verdicts").await.json()["items"], json!([]));
    let later = api.post("/api/v1/policies:simulate?since=2028-01-01T00:00:00Z", BLOCKS).await.json();
    assert_eq!((&later["findings"], &later["flows"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_bound_that_was_reached_is_told() {
    let api = api(5);

    let some = api.post(&format!("/api/v1/policies:simulate?{SINCE}&limit=4"), BLOCKS).await.json();
    let all = api.post(&format!("/api/v1/policies:simulate?{SINCE}&limit=5"), BLOCKS).await.json();
    let proposed = api.post(&format!("/api/v1/policies:generate?{SINCE}&limit=4"), "").await.text;

    assert_eq!((&some["flows"], &some["reached"]), (&json!(4), &json!("limit")));
    assert_eq!((&all["flows"], &all["reached"]), (&json!(5), &Value::Null));
    assert!(proposed.contains("from 4 flows") && proposed.contains("# Older flows were not looked at"), "{proposed}");
}

#[tokio::test]
async fn what_was_seen_is_proposed_as_a_policy_that_is_sound() {
    let api = api(3);

    let proposed = api.post(&format!("/api/v1/policies:generate?{SINCE}"), "").await;

    assert_eq!(proposed.header("content-type"), "application/yaml");
    let validated = api.post("/api/v1/policies:validate", &proposed.text).await.json();
    assert_eq!(validated["policies"], json!(["curl-0"]), "{}", proposed.text);
    assert!(proposed.text.contains("- \"cdn.example.net\" # 3 flows"), "{}", proposed.text);
    let none = api.post(&format!("/api/v1/policies:generate?{SINCE}&format=cilium"), "").await.problem(422);
    assert!(none["detail"].as_str().unwrap().contains("known container"), "{none}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_the_reason() {
    let api = Api::new();

    for (path, body, status, expected) in [
        ("simulate?since=soon", BLOCKS, 400, "since"),
        ("simulate?limit=0", BLOCKS, 400, "limit"),
        ("simulate?limit=1000001", BLOCKS, 400, "limit"),
        ("simulate?until=1h", BLOCKS, 400, "until"),
        ("simulate", "kind: Nonsense", 422, "cannot be used"),
        ("generate?format=iptables", "", 400, "iptables"),
        ("generate?by=user", "", 400, "user"),
    ] {
        let problem = api.post(&format!("/api/v1/policies:{path}"), body).await.problem(status);
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{path}: {problem}");
    }
}
