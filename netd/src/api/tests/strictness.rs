use super::*;

#[tokio::test]
async fn an_unknown_parameter_is_named_with_what_is_allowed() {
    let api = Api::new();
    let table = [
        ("/api/v1/flows?prot=tcp", "prot", "proto"),
        ("/api/v1/findings?sev=high", "sev", "severity"),
        ("/api/v1/verdicts?page=2", "page", "cursor"),
        ("/api/v1/blocklists?name=a", "name", ""),
    ];
    for (path, unknown, allowed) in table {
        let problem = api.get(path).await.problem(400);

        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("`{unknown}`")) && detail.contains(allowed), "{detail}");
    }
}

#[tokio::test]
async fn a_parameter_that_makes_no_sense_is_named() {
    let api = Api::new();
    let parameters = [
        "ip=x",
        "src=1.2.3",
        "cidr=1.2.3.4",
        "port=70000",
        "proto=foo",
        "pid=-1",
        "min_score=2",
        "since=yesterday",
        "until=0",
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "cursor=i5",
        "port=1&port=2",
    ];
    for parameter in parameters {
        let problem = api.get(&format!("/api/v1/flows?{parameter}")).await.problem(400);

        let name = parameter.split('=').next().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(name), "{parameter}: {problem}");
    }
}

#[tokio::test]
async fn a_mistake_in_json_is_shown_where_it_is() {
    let api = Api::new();

    let problem = api.post("/api/v1/verdicts", "{\n  \"target\": }").await.problem(400);

    assert_eq!((problem["errors"][0]["line"].as_u64(), problem["errors"][0]["column"].as_u64()), (Some(2), Some(13)));
}

#[tokio::test]
async fn an_unknown_field_is_named_with_what_is_allowed() {
    let api = Api::new();

    let problem = api.post("/api/v1/verdicts", "{\"target\":{},\"tll\":\"1h\"}").await.problem(400);

    assert_eq!(problem["errors"][0]["pointer"], "/tll");
    assert!(problem["detail"].as_str().unwrap().contains("'tll'"));
    assert!(problem["detail"].as_str().unwrap().contains("ttl"));
}

#[tokio::test]
async fn a_body_of_another_kind_is_a_problem_too() {
    let api = Api::new();

    api.send(Method::POST, "/api/v1/verdicts", &[("content-type", "text/plain")], "{}").await.problem(415);
    api.send(Method::POST, "/api/v1/verdicts", &[], "{}").await.problem(415);
    api.post("/api/v1/verdicts", "[]").await.problem(422);
    api.post("/api/v1/verdicts", "").await.problem(400);
    api.post("/api/v1/verdicts", &"[".repeat(100_000)).await.problem(400);
    api.post("/api/v1/verdicts", &format!("{{\"reason\":\"{}\"}}", "x".repeat(1 << 20))).await.problem(413);
}

#[tokio::test]
async fn a_path_that_is_not_there_is_404() {
    let api = Api::new();
    for path in ["/", "/api", "/api/v1", "/api/v2/flows", "/api/v1/flows/", "/api/v1/verdicts/1/2", "/metrics/x"] {
        api.get(path).await.problem(404);
    }
    api.get("/api/v1/verdicts/99").await.problem(404);
    api.get("/api/v1/verdicts/-1").await.problem(404);
    api.get("/api/v1/blocklists/%FF").await.problem(400);
}

#[tokio::test]
async fn a_method_a_path_does_not_take_is_405_and_says_which_it_takes() {
    let api = Api::new();

    let answer = api.send(Method::DELETE, "/api/v1/flows", &[], "").await;

    answer.problem(405);
    assert!(answer.header("allow").contains("GET"), "{:?}", answer.headers);
    api.send(Method::PATCH, "/api/v1/blocklists/corp", &[], "").await.problem(405);
    api.send(Method::POST, "/metrics", &[], "").await.problem(405);
}

#[tokio::test]
async fn another_name_for_this_address_is_refused() {
    let api = Api::new();
    for host in ["evil.example", "evil.example:9443", "10.0.0.5:9443", "localhost.evil.example"] {
        let problem = api.send(Method::GET, "/api/v1/status", &[("host", host)], "").await.problem(421);
        assert!(problem["detail"].as_str().unwrap().contains(host));
    }
    for host in ["localhost", "localhost:9443", "127.0.0.1:9443", "[::1]:9443", "netd.example"] {
        assert_eq!(api.send(Method::GET, "/api/v1/status", &[("host", host)], "").await.status, StatusCode::OK);
    }
    api.send(Method::GET, "/api/v1/status", &[("host", "")], "").await.problem(400);
}

#[tokio::test]
async fn a_page_elsewhere_cannot_make_a_browser_write() {
    let api = Api::new();
    let attempts: [&[(&str, &str)]; 5] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:8080")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9443")],
    ];
    for headers in attempts {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "text/plain"));
        api.send(Method::PUT, "/api/v1/blocklists/corp", &headers, "192.0.2.1\n").await.problem(403);
    }
    let own = [("origin", "http://127.0.0.1:9443"), ("content-type", "text/plain")];
    let put = api.send(Method::PUT, "/api/v1/blocklists/corp", &own, "192.0.2.1\n").await;
    assert_eq!(put.status, StatusCode::CREATED);
}

#[tokio::test]
async fn every_answer_forbids_a_browser_to_make_more_of_it() {
    let api = Api::new();
    for path in ["/api/v1/status", "/metrics", "/nowhere", "/api/v1/flows?x=1"] {
        let answer = api.get(path).await;

        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_fault_in_a_handler_is_a_problem_and_not_the_end() {
    async fn faulty() {
        panic!("a secret");
    }
    let router = axum::Router::new()
        .route("/", axum::routing::get(faulty))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(super::super::after_panic));

    let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();

    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("a secret"));
}
