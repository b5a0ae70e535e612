use super::*;

fn actions(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_change_has_a_record_of_who_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(folder.path(), Timestamp(1)).unwrap();
    let api = Api::with(audit, None);

    api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.9"},"reason":"ir-1"}"#).await;
    api.post("/api/v1/verdicts", r#"{"target":{"address":"10.0.0.1"}}"#).await.problem(422);
    api.send(Method::DELETE, "/api/v1/verdicts/1", &[], "").await;
    api.put_list("corp", "192.0.2.1\n").await;
    api.put_list("corp?dry_run=true", "192.0.2.2\n").await;
    api.send(Method::DELETE, "/api/v1/blocklists/corp", &[], "").await;
    let json = [("content-type", "application/json")];
    api.send(Method::PUT, "/api/v1/kill-switch", &json, r#"{"on":true}"#).await;
    api.send(Method::PUT, "/api/v1/mode", &json, r#"{"mode":"observe"}"#).await;
    api.post("/api/v1/suppressions", r#"{"match":{"port":443},"who":"ana","why":"x"}"#).await;
    api.post("/api/v1/tokens", r#"{"name":"prom","scopes":["metrics"]}"#).await;

    let page = api.get("/api/v1/audit").await;
    let oldest_first: Vec<_> = actions(&page).into_iter().rev().collect();
    assert_eq!(
        oldest_first,
        [
            "verdict.add",
            "verdict.add",
            "refused",
            "verdict.release",
            "list.replace",
            "list.remove",
            "kill-switch.set",
            "mode.set",
            "suppression.add",
            "token.create",
        ]
    );
    let first = page.json()["items"][9].clone();
    assert_eq!((first["actor"].as_str(), first["target"].as_str()), (Some("uid:0"), Some("198.51.100.9")));
    assert_eq!((first["reason"].as_str(), first["seq"].as_u64()), (Some("ir-1"), Some(1)));
    assert!(first["request"].as_str().is_some_and(|id| id.len() == 36));
    let second = api.get("/api/v1/audit?limit=3").await;
    let cursor = second.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(actions(&api.get(&format!("/api/v1/audit?cursor={cursor}")).await).len(), 7);
    assert_eq!(crate::store::audit::verify(folder.path(), None).unwrap().broken, None);
}

#[tokio::test]
async fn what_cuts_more_is_refused_without_a_record_and_what_cuts_less_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::with(Audit::open(folder.path(), Timestamp(1)).unwrap(), None);
    let block = r#"{"target":{"address":"198.51.100.9"}}"#;
    api.post("/api/v1/verdicts", block).await;
    api.audit.break_for_tests();

    let problem = api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.10"}}"#).await.problem(503);
    assert_eq!(problem["type"], "urn:netd:problem:unrecorded");
    api.put_list("corp", "192.0.2.1\n").await.problem(503);
    api.post("/api/v1/tokens", r#"{"name":"x","scopes":["admin"]}"#).await.problem(503);
    assert_eq!(api.send(Method::DELETE, "/api/v1/verdicts/1", &[], "").await.status, StatusCode::OK);
    assert!(api.get("/api/v1/blocklists").await.json()["items"].as_array().unwrap().is_empty());

    api.audit.mend_for_tests();
    assert_eq!(api.post("/api/v1/verdicts", block).await.status, StatusCode::CREATED);
    let page = api.get("/api/v1/audit").await;
    assert_eq!(actions(&page), ["verdict.add", "verdict.release", "verdict.add"]);
}
