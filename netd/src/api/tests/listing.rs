//! Facts about single entries, allow-lists, dry runs, names and confirmations.

use netd_engine::flow::EndReason;
use serde_json::json;

use super::*;
use crate::store::flows_for_tests::conversation;

const ENTRIES: &str = "/api/v1/blocklists/corp/entries";

async fn delete(api: &Api, path: &str) -> Answer {
    api.send(Method::DELETE, path, &[], "").await
}

#[tokio::test]
async fn an_entry_is_added_shown_explained_and_removed() {
    let api = Api::new();

    let added = api.post(ENTRIES, r#"{"value":"198.51.100.7","ttl":"1h","reason":"ir-4411"}"#).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert!(added.header("etag").starts_with("\"b3-"));
    api.post(ENTRIES, r#"{"value":"*.evil.example","reason":"c2"}"#).await;

    let shown = api.get(ENTRIES).await.json();
    assert_eq!(
        (&shown["items"][0]["value"], &shown["items"][0]["reason"]),
        (&json!("198.51.100.7"), &json!("ir-4411"))
    );
    assert_eq!(shown["items"][1]["until"], json!(null));
    let text = api.get("/api/v1/blocklists/corp").await.text;
    assert!(text.contains("198.51.100.7  # until ") && text.contains("*.evil.example  # c2\n"), "{text}");
    let explained = api.get("/api/v1/explain?ip=198.51.100.7").await.json();
    assert_eq!((&explained["lists"][0]["list"], &explained["lists"][0]["reason"]), (&json!("corp"), &json!("ir-4411")));
    let explained = api.get("/api/v1/explain?name=www.evil.example").await.json();
    assert_eq!(explained["lists"][0]["entry"], "*.evil.example");

    assert_eq!(delete(&api, &format!("{ENTRIES}/198.51.100.7")).await.status, StatusCode::OK);
    assert_eq!(delete(&api, &format!("{ENTRIES}?value=*.evil.example")).await.status, StatusCode::OK);
    delete(&api, &format!("{ENTRIES}/198.51.100.7")).await.problem(404);
}

#[tokio::test]
async fn a_prefix_is_removed_by_its_path() {
    let api = Api::new();
    api.put_list("corp", "203.0.113.0/24\n").await;

    assert_eq!(delete(&api, &format!("{ENTRIES}/203.0.113.0/24")).await.status, StatusCode::OK);

    assert_eq!(api.get("/api/v1/blocklists/corp").await.text, "");
}

#[tokio::test]
async fn an_entry_that_cannot_be_meant_is_refused_with_the_reason() {
    let api = Api::new();
    let table = [
        (r#"{"value":"10.0.0.1"}"#, 422, "the default gateway"),
        (r#"{"value":"0.0.0.0/0"}"#, 422, "wider than /8"),
        (r#"{"value":"192.0.2.7/24"}"#, 422, "the prefix is 192.0.2.0/24"),
        (r#"{"value":".co.uk"}"#, 422, "everybody registers below co.uk"),
        (r#"{"value":"192.0.2.1:443"}"#, 422, "names a port"),
        (r#"{"value":"192.0.2.1","ttl":"0s"}"#, 422, "not in the future"),
        (r#"{"value":"192.0.2.1","ttl":"soon"}"#, 422, "not a duration"),
        (r#"{"value":"192.0.2.1","reason":"a\u001b[2Jb"}"#, 422, "control characters"),
        (r#"{"value":"192.0.2.1","why":"x"}"#, 400, "unknown field 'why'"),
        (r#"{"ttl":"1h"}"#, 422, "value"),
    ];
    for (body, status, expected) in table {
        let problem = api.post(ENTRIES, body).await.problem(status);

        assert!(problem["detail"].as_str().unwrap().contains(expected), "{body}: {problem}");
    }
    api.get(ENTRIES).await.problem(404);
}

#[tokio::test]
async fn names_are_listed_beside_addresses_and_read_back() {
    let api = Api::new();

    let change =
        api.put_list("corp", "||ads.example^\n0.0.0.0 bad.example\n*.evil.example CNAME .\n192.0.2.1\n").await.json();
    assert_eq!((&change["entries"], &change["added"]), (&json!(4), &json!(4)));
    let text = api.get("/api/v1/blocklists/corp").await.text;

    assert_eq!(text, "192.0.2.1\n.ads.example\nbad.example\n*.evil.example\n");
    assert_eq!(api.put_list("corp", &text).await.json()["changed"], false);
    assert_eq!(api.get("/api/v1/blocklists").await.json()["items"][0]["names"], 3);
}

#[tokio::test]
async fn a_dry_run_names_the_live_flows_it_would_cut() {
    let api = Api::new();
    api.flows.put(conversation(1, EndReason::Active));
    api.flows.end(conversation(2, EndReason::Closed));
    api.flows.put(conversation(3, EndReason::Active));

    let by_address = api.put_list("corp?dry_run=true", "198.51.100.0/24\n").await.json();
    let by_name = api.put_list("corp?dry_run=true", ".example.net\n").await.json();
    let by_entry = api.post(&format!("{ENTRIES}?dry_run=true"), r#"{"value":"198.51.100.9"}"#).await.json();

    let flows = &by_address["live_flows"];
    assert_eq!((&flows["total"], &flows["items"][0]["originator_port"]), (&json!(2), &json!(3)));
    assert_eq!(flows["items"][0]["entry"], "198.51.100.0/24");
    assert_eq!((&by_name["live_flows"]["total"], &by_entry["live_flows"]["total"]), (&json!(2), &json!(2)));
    let put =
        api.send(Method::PUT, "/api/v1/allowlists/ours", &[("content-type", "text/plain")], "198.51.100.9\n").await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
    let allowed = api.put_list("corp?dry_run=true", "198.51.100.0/24\n").await.json();
    assert_eq!(allowed["live_flows"]["total"], 0, "what is allow-listed is not cut");
    assert!(api.get("/api/v1/blocklists").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_allow_list_is_uploaded_read_back_and_removed() {
    let api = Api::new();
    let path = "/api/v1/allowlists/ours";
    let put = api
        .send(Method::PUT, path, &[("content-type", "text/plain")], "192.0.2.0/24\n.good.example\n0.0.0.0/0\n")
        .await;

    let change = put.json();
    assert_eq!((&change["entries"], &change["refused"][0]["value"]), (&json!(2), &json!("0.0.0.0/0")));
    assert_eq!(api.get(path).await.text, "192.0.2.0/24\n.good.example\n");
    assert_eq!(api.get("/api/v1/allowlists").await.json()["items"][0]["names"], 1);
    let stale = api.send(Method::DELETE, path, &[("if-match", "\"b3-0\"")], "").await;
    stale.problem(412);
    assert_eq!(delete(&api, path).await.status, StatusCode::OK);
    api.get(path).await.problem(404);
}

#[tokio::test]
async fn a_change_for_now_says_how_to_confirm_it() {
    let api = Api::new();

    let list = api.put_list("corp?confirm=60s", "192.0.2.1\n").await.json();
    let verdict = api.post("/api/v1/verdicts?confirm=60s", r#"{"target":{"address":"192.0.2.2"}}"#).await.json();
    let (list, verdict) = (&list["confirmation"]["id"], &verdict["confirmation"]["id"]);

    assert_eq!(api.get("/api/v1/confirmations").await.json()["items"].as_array().unwrap().len(), 2);
    let second = api.put_list("corp", "192.0.2.3\n").await.problem(409);
    assert_eq!(second["type"], "urn:netd:problem:unconfirmed");
    assert_eq!(api.post(&format!("/api/v1/confirmations/{list}"), "").await.json()["what"], "block-list corp");
    assert_eq!(delete(&api, &format!("/api/v1/confirmations/{verdict}")).await.status, StatusCode::OK);
    assert_eq!(api.get("/api/v1/verdicts").await.json()["items"], json!([]));
    assert_eq!(api.get("/api/v1/blocklists/corp").await.text, "192.0.2.1\n");
    api.put_list("corp?confirm=1s", "192.0.2.1\n192.0.2.9\n").await.problem(400);
}

#[tokio::test]
async fn one_request_unblocks_an_address_or_everything() {
    let api = Api::new();
    api.put_list("corp", "192.0.2.1\n192.0.2.0/24\n198.51.100.1\n").await;
    api.post("/api/v1/verdicts", r#"{"target":{"address":"192.0.2.1"}}"#).await;

    let released = api.post("/api/v1/unblock", r#"{"address":"192.0.2.1"}"#).await.json();
    let all = api.post("/api/v1/unblock", r#"{"all":true}"#).await.json();

    assert_eq!(released["verdicts"].as_array().unwrap().len(), 1);
    assert_eq!(released["entries"].as_array().unwrap().len(), 2);
    assert_eq!(all["lists"], json!(["corp"]));
    api.post("/api/v1/unblock", "{}").await.problem(422);
}

#[tokio::test]
async fn there_are_no_feeds_but_those_configured() {
    let api = Api::new();

    assert_eq!(api.get("/api/v1/feeds").await.json()["items"], json!([]));
    api.post("/api/v1/feeds/x:update", "").await.problem(404);
    api.post("/api/v1/feeds/x", "").await.problem(404);
}
