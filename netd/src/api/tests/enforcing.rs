use serde_json::json;

use super::*;
use crate::verdicts::MapKey;

fn in_kernel(api: &Api) -> usize {
    api.fake.lock().keys.keys().filter(|key| !matches!(key, MapKey::Allow(_))).count()
}

#[tokio::test]
async fn a_verdict_is_put_in_force_shown_and_released() {
    let api = Api::new();

    let body = json!({"target": {"address": "198.51.100.9"}, "ttl": "1h", "reason": "ir-4411"}).to_string();
    let added = api.post("/api/v1/verdicts", &body).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert_eq!(added.header("location"), "/api/v1/verdicts/1");
    let verdict = added.json();
    assert_eq!(verdict["target"], json!({"kind": "host", "address": "198.51.100.9"}));
    assert_eq!((&verdict["action"], &verdict["origin"]), (&json!("drop"), &json!("manual")));
    assert_eq!((&verdict["leads"], &verdict["saved"]), (&json!(true), &json!(true)));
    assert_eq!(verdict["destroyed_sockets"], 1);
    assert_eq!(in_kernel(&api), 1);

    assert_eq!(api.get("/api/v1/verdicts").await.json()["items"][0]["reason"], "ir-4411");
    assert_eq!(api.get("/api/v1/verdicts/1").await.json()["id"], 1);

    let released = api.send(Method::DELETE, "/api/v1/verdicts/1", &[], "").await;
    assert_eq!(released.status, StatusCode::OK);
    assert_eq!(in_kernel(&api), 0);
    api.send(Method::DELETE, "/api/v1/verdicts/1", &[], "").await.problem(404);
}

#[tokio::test]
async fn what_is_shown_can_be_asked_for_again() {
    let api = Api::new();
    let targets = [
        json!({"address": "198.51.100.9"}),
        json!({"address": "198.51.100.9", "port": 53, "protocol": "udp"}),
        json!({"prefix": "203.0.113.0/24"}),
        json!({"source": "10.0.0.7", "source_port": 1, "destination": "198.51.100.9", "destination_port": 443,
               "protocol": "tcp"}),
    ];
    for target in targets {
        let first = api.post("/api/v1/verdicts", &json!({"target": target}).to_string()).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
        let shown = first.json()["target"].take();

        let again = api.post("/api/v1/verdicts", &json!({"target": shown}).to_string()).await;

        assert_eq!(again.status, StatusCode::OK, "{}", again.text);
        assert_eq!(again.json()["renewed"], true);
    }
}

#[tokio::test]
async fn a_throttle_carries_its_rate() {
    let api = Api::new();
    let body = json!({"target": {"address": "198.51.100.9"}, "action": "throttle", "bytes_per_second": 20_000});

    let verdict = api.post("/api/v1/verdicts", &body.to_string()).await.json();

    assert_eq!((&verdict["action"], &verdict["bytes_per_second"]), (&json!("throttle"), &json!(20_000)));
    assert_eq!(verdict["burst_bytes"], 20_000);
}

#[tokio::test]
async fn a_verdict_that_makes_no_sense_is_unprocessable() {
    let api = Api::new();
    let host = json!({"address": "198.51.100.9"});
    let table = [
        (json!({}), "bad-body"),
        (json!({"target": {}}), "bad-target"),
        (json!({"target": {"address": "x"}}), "bad-body"),
        (json!({"target": {"adress": "198.51.100.9"}}), "bad-body"),
        (json!({"target": {"address": "198.51.100.9", "prefix": "10.0.0.0/24"}}), "bad-target"),
        (json!({"target": {"address": "198.51.100.9", "port": 1, "protocol": "foo"}}), "bad-target"),
        (json!({"target": {"kind": "prefix", "address": "198.51.100.9"}}), "bad-target"),
        (json!({"target": host, "ttl": "soon"}), "bad-ttl"),
        (json!({"target": host, "ttl": "0s"}), "bad-ttl"),
        (json!({"target": host, "action": "shoot"}), "bad-body"),
        (json!({"target": host, "action": "throttle"}), "bad-throttle"),
        (json!({"target": host, "action": "throttle", "bytes_per_second": 0}), "bad-throttle"),
        (json!({"target": host, "action": "drop", "bytes_per_second": 9}), "bad-throttle"),
        (json!({"target": host, "reason": "x".repeat(2_000)}), "bad-reason"),
        (json!({"target": {"address": "127.0.0.1"}}), "protected"),
        (json!({"target": {"address": "10.0.0.1"}}), "protected"),
        (json!({"target": {"prefix": "0.0.0.0/0"}}), "too-wide"),
        (json!({"target": {"prefix": "::/0"}, "force": true}), "bad-target"),
    ];
    for (body, kind) in table {
        let problem = api.post("/api/v1/verdicts", &body.to_string()).await.problem(422);

        assert_eq!(problem["type"], format!("urn:netd:problem:{kind}"), "{body}: {problem}");
    }
    assert_eq!(in_kernel(&api), 0);
}

#[tokio::test]
async fn never_is_an_end_too() {
    let api = Api::new();
    let body = json!({"target": {"address": "198.51.100.9"}, "ttl": "never"});

    assert_eq!(api.post("/api/v1/verdicts", &body.to_string()).await.json()["until"], Value::Null);
}

#[tokio::test]
async fn a_full_table_is_507() {
    let api = Api::new();
    api.fake.lock().capacity = Some(0);

    api.post("/api/v1/verdicts", "{\"target\":{\"address\":\"198.51.100.9\"}}").await.problem(507);
}

#[tokio::test]
async fn a_kernel_that_refuses_is_500_and_says_what() {
    let api = Api::new();
    api.fake.lock().writes_left = Some(0);

    let problem = api.post("/api/v1/verdicts", "{\"target\":{\"address\":\"198.51.100.9\"}}").await.problem(500);

    assert_eq!(problem["detail"], "cannot write to a fake: told to refuse");
}

#[tokio::test]
async fn the_kill_switch_makes_everything_pass() {
    let api = Api::new();
    let json = [("content-type", "application/json")];

    let on = api.send(Method::PUT, "/api/v1/kill-switch", &json, "{\"on\":true}").await.json();
    assert_eq!((&on["on"], &on["mode"]["effective"]), (&json!(true), &json!("observe")));
    assert_eq!(api.get("/api/v1/status").await.json()["kill_switch"], true);

    let off = api.send(Method::PUT, "/api/v1/kill-switch", &json, "{\"on\":false}").await.json();
    assert_eq!((&off["on"], &off["mode"]["effective"]), (&json!(false), &json!("enforce")));
    api.send(Method::PUT, "/api/v1/kill-switch", &json, "{\"on\":1}").await.problem(422);
}
