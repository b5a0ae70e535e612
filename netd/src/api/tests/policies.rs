//! Which policies are in force, and how others take their place.

use super::*;
use crate::store::policies::Collection;

const POLICY: &str =
    "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: mine}\nspec: {mode: enforce, tests: []}\n";

fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf, Arc<Book>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    std::fs::write(&path, text).unwrap();
    let policies = Collection::read(&path, &Default::default()).unwrap();
    let files = Files { policies: path.clone(), ..Files::default() };
    (folder, path, Arc::new(Book::new(files, InForce { policies, ..InForce::default() })))
}

#[tokio::test]
async fn every_policy_shows_its_modes_and_why_they_differ() {
    let (_folder, _, book) = written(POLICY);
    let api = Api::with_policies(book);

    let enforcing = api.get("/api/v1/policies/mine").await.json();
    api.send(Method::PUT, "/api/v1/kill-switch", &[("content-type", "application/json")], r#"{"on": true}"#).await;
    let stopped = api.get("/api/v1/policies").await.json();
    let status = api.get("/api/v1/status").await.json();

    assert_eq!(enforcing["mode"]["effective"], "enforce");
    assert_eq!(enforcing["mode"]["reason"], Value::Null);
    let mode = &stopped["items"][0]["mode"];
    assert_eq!((&mode["requested"], &mode["effective"]), (&"enforce".into(), &"observe".into()));
    assert_eq!(mode["reason"], "the kill switch is on");
    assert_eq!(status["policies"][0]["mode"], *mode);
    assert_eq!(status["mode"]["reason"], "the kill switch is on");
    api.get("/api/v1/policies/other").await.problem(404);
}

#[tokio::test]
async fn a_reload_tells_what_changed_and_a_bad_one_changes_nothing() {
    let (_folder, path, book) = written(POLICY);
    let api = Api::with_policies(book);

    std::fs::write(&path, POLICY.replace("enforce", "shadow")).unwrap();
    let changed = api.post("/api/v1/config:reload", "").await.json();
    std::fs::write(&path, POLICY.replace("enforce", "shoot")).unwrap();
    let refused = api.post("/api/v1/config:reload", "").await;
    let listed = api.get("/api/v1/policies").await.json();
    let metrics = api.get("/metrics").await.text;

    let change = &changed["difference"]["changed"][0];
    assert_eq!(
        (&change["field"], &change["old"], &change["new"]),
        (&"spec.mode".into(), &"enforce".into(), &"shadow".into())
    );
    let problem = refused.problem(422);
    assert_eq!((&problem["errors"][0]["line"], &problem["errors"][0]["column"]), (&4.into(), &14.into()));
    assert_eq!(listed["items"][0]["mode"]["requested"], "shadow");
    assert_eq!(listed["reload"]["faults"][0]["line"], 4);
    assert!(metrics.contains("netd_policy_reload_success{} 0"), "{metrics}");
}

#[tokio::test]
async fn a_text_is_validated_without_being_put_in_force() {
    let api = Api::new();

    let good = api.post("/api/v1/policies:validate", POLICY).await.json();
    let bad = api.post("/api/v1/policies:validate", "kind: Nonsense\n").await;

    assert_eq!(good["policies"][0], "mine");
    assert_eq!(good["warnings"][0], "policy mine has no tests");
    assert_eq!(good["difference"]["added"][0], "mine");
    assert_eq!(bad.problem(422)["errors"][0]["line"], 1);
    assert_eq!(api.get("/api/v1/policies").await.json()["items"][0]["name"], "default");
}

#[tokio::test]
async fn what_is_below_a_policys_threshold_is_hidden_and_not_lost() {
    use netd_engine::policy::{Case, Ceiling, Direction, Policies, Source};

    let api = Api::new();
    let text = POLICY.replace("tests: []", "alert_from: {severity: critical}");
    let policies = Policies::read(&[Source { file: "mine", text: &text }]).unwrap();
    let mut finding = crate::store::findings_for_tests::finding(1, netd_engine::finding::Severity::Low, 0.9);
    let decision =
        policies.rule(&Case { finding: &finding, direction: Direction::Outbound }).decision(&Ceiling::default());
    finding.decision = Some(decision);
    api.findings.report(finding);

    let hidden = api.get("/api/v1/findings").await.json();
    let shown = api.get("/api/v1/findings?suppressed=only").await.json();

    assert_eq!(hidden["items"].as_array().unwrap().len(), 0);
    let policy = &shown["items"][0]["policy"];
    assert_eq!(
        (&policy["policy"], &policy["decision"], &policy["why"]),
        (&"mine".into(), &"suppress".into(), &"below_alert".into())
    );
    assert_eq!(policy["direction"], "outbound");
}
