use netd_engine::finding::Severity;
use serde_json::json;

use super::*;
use crate::store::findings_for_tests::finding;

async fn act(api: &Api, id: u64, body: Value) -> Answer {
    api.post(&format!("/api/v1/findings/{id}/actions"), &body.to_string()).await
}

#[tokio::test]
async fn a_finding_leads_to_a_block_of_its_far_side() {
    let api = Api::new();
    api.findings.report(finding(4, Severity::High, 0.9));

    let would = act(&api, 4, json!({"action": "block", "dry_run": true})).await;
    let without = api.get("/api/v1/verdicts").await.json();
    let done = act(&api, 4, json!({"action": "block", "ttl": "1h"})).await;

    assert_eq!((would.status, would.json()["target"]["address"].clone()), (StatusCode::OK, json!("198.51.100.9")));
    assert_eq!((&would.json()["protected_by"], &without["items"]), (&Value::Null, &json!([])));
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.text);
    let verdict = &done.json()["verdict"];
    assert_eq!((&verdict["target"]["kind"], &verdict["origin"]), (&json!("host"), &json!("manual")));
    assert!(verdict["reason"].as_str().unwrap().starts_with("finding 4: check-ins"), "{verdict}");
    assert_eq!(api.get("/api/v1/verdicts").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_must_not_be_cut_is_said_before_and_refused_after() {
    let api = Api::new();
    let mut inside = finding(5, Severity::High, 0.9);
    inside.pair.responder = "10.0.0.1".parse().unwrap();
    api.findings.report(inside);
    let mut tunnel = finding(6, Severity::High, 0.9);
    tunnel.detector = "dns_tunnel";
    api.findings.report(tunnel);

    let would = act(&api, 5, json!({"action": "block", "dry_run": true})).await.json();

    assert_eq!(would["protected_by"], "the default gateway");
    act(&api, 5, json!({"action": "block"})).await.problem(422);
    let named = act(&api, 6, json!({"action": "block"})).await.problem(422);
    assert!(named["detail"].as_str().unwrap().contains("cdn.example.net"), "{named}");
    act(&api, 9, json!({"action": "block"})).await.problem(404);
    act(&api, 5, json!({"action": "maim"})).await.problem(422);
    act(&api, 5, json!({"action": "block", "ttl": "soon"})).await.problem(422);
}

#[tokio::test]
async fn findings_like_one_are_suppressed() {
    let api = Api::new();
    for id in 1..=2 {
        api.findings.report(finding(id, Severity::High, 0.9));
    }

    let would = act(&api, 1, json!({"action": "suppress", "dry_run": true})).await.json();
    let shown = api.get("/api/v1/findings").await.json();
    let done = act(&api, 1, json!({"action": "suppress", "ttl": "7d", "reason": "the backup"})).await.json();

    assert_eq!((&would["covers"], &would["match"]["detector"]), (&json!(2), &json!("beacon")));
    assert_eq!(shown["items"].as_array().unwrap().len(), 2);
    let suppression = &done["suppression"];
    assert_eq!((&suppression["covers"], &suppression["why"]), (&json!(2), &json!("the backup")));
    assert_eq!(api.get("/api/v1/findings").await.json()["items"], json!([]));
}

#[tokio::test]
async fn each_action_takes_a_scope_of_its_own() {
    for (scope, block, suppress) in [(Scope::Triage, 403, 201), (Scope::Block, 201, 403), (Scope::Admin, 201, 201)] {
        let api = Api::with(Audit::none(), None);
        api.findings.report(finding(4, Severity::High, 0.9));
        let (_, token) = api.tokens.create("t".into(), vec![scope], crate::time::now(), None).unwrap();
        let bearer = format!("Bearer {}", token.reveal());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let path = "/api/v1/findings/4/actions";
        for (action, status) in [("block", block), ("suppress", suppress)] {
            let body = json!({"action": action}).to_string();

            let answer = api.send(Method::POST, path, &headers, &body).await;

            assert_eq!(answer.status.as_u16(), status, "{scope:?} {action}: {}", answer.text);
        }
    }
}
