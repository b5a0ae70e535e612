//! Where operators come from is protected while they are at it.

use std::net::IpAddr;

use serde_json::json;

use super::*;

/// Asks over TLS from an address, with a token of a scope.
async fn from(api: &Api, address: &str, scope: Scope, method: Method, path: &str, body: &str) -> Answer {
    let (_, token) = api.tokens.create("t".into(), vec![scope], crate::time::now(), None).unwrap();
    let address: IpAddr = address.parse().unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .extension(Peer::Remote { address })
        .header("host", "netd.example")
        .header("authorization", format!("Bearer {}", token.reveal()))
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()));
    let response = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

const OWN: &str = r#"{"target": {"address": "192.0.2.7"}}"#;

#[tokio::test]
async fn nobody_cuts_the_address_that_an_operator_asks_from_not_even_the_operator() {
    for scope in [Scope::Block, Scope::Admin] {
        let api = Api::new();

        let own = from(&api, "192.0.2.7", scope, Method::POST, "/api/v1/verdicts", OWN).await;

        let problem = own.problem(422);
        assert!(problem["detail"].as_str().unwrap().contains("an operator's session"), "{problem}");
        let told = api.get("/api/v1/explain?ip=192.0.2.7").await.json();
        assert_eq!(told["enforcement"][0]["protected_by"], "an operator's session");
        let operators = api.get("/api/v1/status").await.json()["operators"].take();
        assert_eq!(operators[0]["address"], "192.0.2.7");
        assert!(operators[0]["seconds_left"].as_u64().is_some_and(|left| (3_500..=3_600).contains(&left)));
    }
}

#[tokio::test]
async fn a_token_that_changes_nothing_and_one_that_is_none_protect_nobody() {
    let api = Api::new();
    for scope in [Scope::Read, Scope::Metrics, Scope::Triage] {
        from(&api, "192.0.2.7", scope, Method::GET, "/api/v1/status", "").await;
    }
    let headers = [("authorization", "Bearer ntd_none")];
    api.send(Method::GET, "/api/v1/status", &headers, "").await.problem(401);

    let cut = api.post("/api/v1/verdicts", OWN).await;

    assert_eq!(cut.status, StatusCode::CREATED, "{}", cut.text);
    assert_eq!(api.get("/api/v1/status").await.json()["operators"], json!([]));
}

#[tokio::test]
async fn an_operator_on_this_host_needs_no_protection() {
    let api = Api::new();

    from(&api, "127.0.0.1", Scope::Admin, Method::GET, "/api/v1/status", "").await;

    assert_eq!(api.get("/api/v1/status").await.json()["operators"], json!([]));
}
