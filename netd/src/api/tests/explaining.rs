use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use netd_engine::process::{Process, ProcessId};

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

async fn explained(api: &Api, query: &str) -> Value {
    let answer = api.get(&format!("/api/v1/explain?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn an_explanation_says_what_is_cut_and_why() {
    let api = Api::new();
    api.findings.report(finding(4, Severity::High, 0.9));
    api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.9","port":443}}"#).await;
    api.post("/api/v1/verdicts", r#"{"target":{"prefix":"198.51.100.0/24"}}"#).await;
    api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.8"}}"#).await;
    api.put_list("corp", "198.51.0.0/16\n").await;
    api.put_list("other", "203.0.113.1\n").await;

    let told = explained(&api, "ip=198.51.100.9").await;

    assert_eq!((&told["findings"][0]["id"], &told["mode"]), (&4.into(), &"enforce".into()));
    let enforced = &told["enforcement"][0];
    assert_eq!(enforced["address"], "198.51.100.9");
    assert_eq!(enforced["blocklists"], serde_json::json!(["corp"]));
    let kinds: Vec<_> = enforced["verdicts"].as_array().unwrap().iter().map(|v| &v["target"]["kind"]).collect();
    assert_eq!(kinds, ["prefix", "endpoint"]);
    assert_eq!(enforced["protected_by"], Value::Null);
    assert_eq!(explained(&api, "ip=10.0.0.1").await["enforcement"][0]["protected_by"], "the default gateway");
}

#[tokio::test]
async fn a_name_a_process_and_a_flow_are_explained_by_their_pairs() {
    let api = Api::new();
    let mut flow = conversation(1, EndReason::Active);
    flow.process = Some(Process { id: ProcessId { pid: 7, start_ticks: 0 }, ..Process::default() });
    api.flows.put(flow);
    api.findings.report(finding(4, Severity::High, 0.9));
    let flow = format!("flow={}", api.flows.page(None, 1, |_| true).0[0].sequence);

    for query in ["name=example.net", "domain=CDN.example.net.", "pid=7", &flow] {
        let told = explained(&api, query).await;
        assert_eq!(told["findings"][0]["id"], 4, "{query}");
        assert_eq!(told["enforcement"][0]["address"], "198.51.100.9", "{query}");
    }
    assert_eq!(explained(&api, "name=example.org").await["findings"], serde_json::json!([]));
    api.get("/api/v1/explain?pid=8").await.problem(404);
    api.get("/api/v1/explain?flow=2").await.problem(404);
    api.get("/api/v1/explain?flow=1&pid=7").await.problem(400);
}
