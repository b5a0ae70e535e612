use super::*;

impl Api {
    async fn block(&self, target: &str, more: &str) -> u64 {
        let answer = self.post("/api/v1/verdicts", &format!(r#"{{"target":{target},"ttl":"4h"{more}}}"#)).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.json()["id"].as_u64().unwrap()
    }

    /// Returns the key of a further bouncer.
    pub(super) fn key(&self) -> String {
        let (_, secret) = self.tokens.create("bouncer".into(), vec![Scope::Read], crate::time::now(), None).unwrap();
        secret.reveal().to_owned()
    }

    async fn pull(&self, query: &str, key: &str) -> Value {
        let headers = [("x-api-key", key), ("user-agent", "bouncer/1")];
        self.send(Method::GET, &format!("/v1/decisions/stream{query}"), &headers, "").await.json()
    }
}

fn values(decisions: &Value) -> Vec<&str> {
    decisions.as_array().into_iter().flatten().map(|decision| decision["value"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bouncer_gets_everything_at_startup_and_then_what_changed() {
    let api = Api::new();
    let key = api.key();
    let first = api.block(r#"{"address":"198.51.100.9"}"#, "").await;
    api.block(r#"{"prefix":"203.0.113.0/24"}"#, "").await;

    let all = api.pull("?startup=true", &key).await;
    let nothing = api.pull("?startup=false", &key).await;
    api.send(Method::DELETE, &format!("/api/v1/verdicts/{first}"), &[], "").await;
    api.block(r#"{"address":"2001:db8::9"}"#, "").await;
    let changed = api.pull("?startup=false", &key).await;

    assert_eq!(values(&all["new"]), ["198.51.100.9", "203.0.113.0/24"]);
    assert!(all["deleted"].is_null() && nothing["new"].is_null() && nothing["deleted"].is_null());
    assert_eq!((values(&changed["new"]), values(&changed["deleted"])), (vec!["2001:db8::9"], vec!["198.51.100.9"]));
    assert!(changed["deleted"][0]["duration"].as_str().unwrap().starts_with('-'));
    let decision = &all["new"][0];
    assert_eq!(decision["id"], first);
    assert_eq!((&decision["type"], &decision["scope"]), (&"ban".into(), &"Ip".into()));
    assert_eq!((&decision["origin"], &decision["scenario"]), (&"netd".into(), &"netd/manual".into()));
    assert!(decision["duration"].as_str().unwrap().starts_with("3h59m"), "{decision}");
    assert_eq!(all["new"][1]["scope"], "Range");
}

#[tokio::test]
async fn each_bouncer_has_deltas_of_its_own() {
    let api = Api::new();
    let key = api.key();
    api.block(r#"{"address":"198.51.100.9"}"#, "").await;
    api.pull("?startup=true", &key).await;

    let other = api.pull("", &api.key()).await;

    assert_eq!(values(&other["new"]), ["198.51.100.9"]);
    assert!(api.pull("", &key).await["new"].is_null());
}

#[tokio::test]
async fn a_renewed_verdict_is_told_again_with_its_new_end() {
    let api = Api::new();
    let key = api.key();
    let id = api.block(r#"{"address":"198.51.100.9"}"#, "").await;
    api.pull("?startup=true", &key).await;
    let renewal = r#"{"target":{"address":"198.51.100.9"},"ttl":"8h"}"#;
    assert_eq!(api.post("/api/v1/verdicts", renewal).await.status, StatusCode::OK);

    let changed = api.pull("", &key).await;

    assert_eq!(changed["new"][0]["id"], id);
    assert!(changed["new"][0]["duration"].as_str().unwrap().starts_with("7h59m") && changed["deleted"].is_null());
}

#[tokio::test]
async fn what_netd_does_not_cut_is_no_decision() {
    let api = Api::new();
    let key = api.key();
    api.block(r#"{"address":"198.51.100.1"}"#, r#","shadow":true"#).await;
    api.block(r#"{"address":"198.51.100.2"}"#, r#","action":"observe""#).await;
    api.block(r#"{"address":"198.51.100.3"}"#, r#","action":"throttle","bytes_per_second":1000000"#).await;
    api.block(r#"{"address":"198.51.100.4","port":443}"#, "").await;
    assert_eq!(api.get("/v1/decisions").await.text, "null");
    api.block(r#"{"address":"198.51.100.5"}"#, "").await;
    assert_eq!(values(&api.get("/v1/decisions").await.json()), ["198.51.100.5"]);
    api.pull("?startup=true", &key).await;

    let switch =
        api.send(Method::PUT, "/api/v1/kill-switch", &[("content-type", "application/json")], r#"{"on":true}"#);
    assert_eq!(switch.await.status, StatusCode::OK);

    assert_eq!(values(&api.pull("", &key).await["deleted"]), ["198.51.100.5"]);
}

#[tokio::test]
async fn an_endpoint_is_a_decision_for_who_asks_for_that_scope() {
    let api = Api::new();
    api.block(r#"{"address":"2001:db8::4","port":443}"#, "").await;

    let decisions = api.get("/v1/decisions?scopes=ip,endpoint,country").await.json();

    assert_eq!((&decisions[0]["scope"], &decisions[0]["value"]), (&"Endpoint".into(), &"[2001:db8::4]:443/tcp".into()));
}

#[tokio::test]
async fn decisions_are_asked_for_by_address_scenario_and_origin() {
    let api = Api::new();
    api.block(r#"{"prefix":"198.51.100.0/24"}"#, "").await;
    let table = [
        ("ip=198.51.100.77", 1),
        ("ip=198.51.101.1", 0),
        ("range=198.51.100.0/25", 1),
        ("range=198.51.0.0/16", 0),
        ("scope=ip", 0),
        ("scopes=ip", 0),
        ("value=198.51.100.0/24", 1),
        ("type=captcha", 0),
        ("origins=lists,netd", 1),
        ("origins=CAPI", 0),
        ("scenarios_containing=beacon", 0),
        ("scenarios_containing=beacon,manual", 1),
        ("scenarios_not_containing=manual", 0),
        ("community_pull=true&something=new", 1),
    ];
    for (query, expected) in table {
        let decisions = api.get(&format!("/v1/decisions?{query}")).await.json();
        assert_eq!(values(&decisions).len(), expected, "{query}");
    }
    api.get("/v1/decisions?ip=x").await.problem(400);
    api.get("/v1/decisions?range=x").await.problem(400);
    assert_eq!(api.send(Method::HEAD, "/v1/decisions", &[], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn decisions_are_a_page_in_the_api_of_netd() {
    let api = Api::new();
    for number in 1..=3 {
        api.block(&format!(r#"{{"address":"198.51.100.{number}"}}"#), "").await;
    }

    let first = api.get("/api/v1/decisions?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/decisions?limit=2&cursor={cursor}")).await.json();

    assert_eq!(values(&first["items"]), ["198.51.100.3", "198.51.100.2"]);
    assert_eq!((values(&second["items"]), &second["next_cursor"]), (vec!["198.51.100.1"], &Value::Null));
}
