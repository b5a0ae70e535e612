use super::*;
use crate::api::auth::Need;
use crate::api::routes;

/// A session of a token with these scopes: its cookie and its CSRF token.
async fn session(api: &Api, scopes: &[Scope]) -> (String, String, String) {
    let (token, secret) = api.tokens.create("t".into(), scopes.to_vec(), crate::time::now(), None).unwrap();
    let bearer = format!("Bearer {}", secret.reveal());
    let begun = api.send(Method::POST, "/api/v1/session", &[("authorization", &bearer)], "").await;
    assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text);
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    (cookie, begun.json()["csrf"].as_str().unwrap().to_owned(), token.id)
}

#[tokio::test]
async fn a_token_is_exchanged_for_a_cookie_that_no_script_reads_and_no_other_site_sends() {
    let api = Api::with(Audit::none(), None);
    let (_, secret) = api.tokens.create("t".into(), vec![Scope::Read], crate::time::now(), None).unwrap();
    for (peer, is_secure) in [
        (Peer::Loopback { address: [127, 0, 0, 1].into() }, false),
        (Peer::Remote { address: [127, 0, 0, 1].into() }, true),
    ] {
        let request = Request::post("/api/v1/session").header("host", "localhost").extension(peer);
        let request = request.header("authorization", format!("Bearer {}", secret.reveal()));
        let answer = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();

        assert_eq!(answer.status(), StatusCode::CREATED);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=28800"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert_eq!(cookie.contains("; Secure"), is_secure, "{cookie}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    // Without a token there is nothing to exchange, whoever asks.
    api.send(Method::POST, "/api/v1/session", &[], "").await.problem(422);
}

#[tokio::test]
async fn a_session_may_what_its_token_may_and_ends_with_it() {
    let api = Api::with(Audit::none(), None);
    let (cookie, csrf, token) = session(&api, &[Scope::Triage]).await;
    let with = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];

    let shown = api.send(Method::GET, "/api/v1/session", &with[..1], "").await.json();
    assert_eq!((shown["csrf"].as_str(), shown["token"].as_str()), (Some(csrf.as_str()), Some(token.as_str())));
    assert_eq!(shown["scopes"], serde_json::json!(["triage"]));
    assert_eq!(api.send(Method::GET, "/api/v1/findings", &with[..1], "").await.status, StatusCode::OK);
    api.send(Method::DELETE, "/api/v1/suppressions/9", &with, "").await.problem(404);
    let refused = api.send(Method::PUT, "/api/v1/mode", &with, "{}").await.problem(403);
    assert_eq!(refused["type"], "urn:netd:problem:forbidden");
    api.send(Method::POST, "/api/v1/session", &with, "").await.problem(422);
    api.tokens.revoke(&token).unwrap();
    api.send(Method::GET, "/api/v1/findings", &with, "").await.problem(401);
}

#[tokio::test]
async fn a_session_that_was_ended_or_never_was_opens_nothing() {
    let api = Api::with(Audit::none(), None);
    let (cookie, csrf, _) = session(&api, &[Scope::Admin]).await;
    let with = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];

    let ended = api.send(Method::DELETE, "/api/v1/session", &with, "").await;

    assert!(ended.header("set-cookie").contains("Max-Age=0"), "{}", ended.header("set-cookie"));
    for cookie in [cookie.as_str(), "netd_session=", "netd_session=00", "a=b; netd_session=x"] {
        api.send(Method::GET, "/api/v1/findings", &[("cookie", cookie)], "").await.problem(401);
    }
    // A page that goes on asking when its session is over locks nobody out.
    let here = Peer::Loopback { address: [127, 0, 0, 1].into() };
    for _ in 0..50 {
        let request = Request::get("/api/v1/findings").header("host", "localhost").extension(here);
        let answer = api.router.clone().oneshot(request.header("cookie", &cookie).body(Body::empty()).unwrap());
        assert_eq!(answer.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    // Cookies of others on this host's name are not ours.
    assert_eq!(api.send(Method::GET, "/api/v1/findings", &[("cookie", "other=1")], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_route_changes_anything_by_a_cookie_alone() {
    let api = Api::with(Audit::none(), None);
    let (cookie, csrf, _) = session(&api, &[Scope::Admin]).await;
    let mut asked = 0;
    for route in routes::table() {
        if route.method.is_safe() || route.need == Need::Nothing {
            continue;
        }
        let path = route.path.replace("{id}", "999999").replace("{name}", "nobody");
        for csrf in ["", "wrong", &csrf[1..]] {
            let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf)];
            let refused = api.send(route.method.clone(), &path, &headers, "").await.problem(403);
            assert_eq!(refused["type"], "urn:netd:problem:no-csrf-token", "{} {path}", route.method);
        }
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
}
