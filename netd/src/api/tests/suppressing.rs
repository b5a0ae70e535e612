//! Facts about suppressions and explanations.

use axum::http::Method;
use netd_engine::finding::Severity;

use super::Api;
use crate::store::findings_for_tests::finding;

const SUPPRESSION: &str = r#"{"match":{"responder":"198.51.100.0/24"},"who":"ana","why":"our backup","ttl":"30d"}"#;

#[tokio::test]
async fn a_suppression_hides_at_once_what_is_known_already_and_says_who_and_why() {
    let api = Api::new();
    api.findings.report(finding(1, Severity::Low, 0.95));

    let added = api.post("/api/v1/suppressions", SUPPRESSION).await;

    assert_eq!((added.status.as_u16(), &added.json()["covers"]), (201, &1.into()), "{}", added.text);
    let shown = api.get("/api/v1/findings").await.json();
    assert_eq!(shown["items"].as_array().unwrap().len(), 0);
    let hidden = api.get("/api/v1/findings?suppressed=only").await.json();
    assert_eq!(hidden["items"][0]["suppressed_by"]["who"], "ana");
    assert_eq!(hidden["items"][0]["suppressed_by"]["why"], "our backup");

    let removed = api.send(Method::DELETE, "/api/v1/suppressions/1", &[], "").await;
    assert_eq!(removed.status.as_u16(), 200);
    assert_eq!(api.get("/api/v1/findings").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_suppression_of_everything_or_of_nobody_is_refused() {
    let api = Api::new();
    let post = |body: &'static str| api.post("/api/v1/suppressions", body);

    post(r#"{"match":{},"who":"ana","why":"x"}"#).await.problem(422);
    post(r#"{"match":{"port":443},"who":" ","why":"x"}"#).await.problem(422);
    post(r#"{"match":{"port":443},"who":"ana"}"#).await.problem(422);
    post(r#"{"match":{"prot":443},"who":"ana","why":"x"}"#).await.problem(422);
    post(r#"{"match":{"port":443},"who":"ana","why":"x","ttl":"soon"}"#).await.problem(422);
    post(r#"{"match":{"port":443},"who":"ana","why":"x","until":"x"}"#).await.problem(400);
    assert_eq!(api.get("/api/v1/suppressions").await.json()["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn an_explanation_needs_one_address_or_name() {
    let api = Api::new();

    assert_eq!(api.get("/api/v1/explain?ip=198.51.100.9").await.json()["followed"].as_array().unwrap().len(), 0);
    api.get("/api/v1/explain").await.problem(400);
    api.get("/api/v1/explain?ip=198.51.100.9&name=a.example").await.problem(400);
    api.get("/api/v1/explain?name=").await.problem(400);
}
