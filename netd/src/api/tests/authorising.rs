use super::*;
use crate::api::auth::Need;
use crate::api::routes;

/// A body that no handler takes: what is asked here is who gets as far as a handler.
const NO_BODY: &str = "no body of this API";

async fn status(api: &Api, route: &routes::Route, token: &str) -> StatusCode {
    let path = route.path.replace("{id}", "999999").replace("{name}", "nobody");
    // A stream would not end; one that is asked for nonsense is refused by its handler.
    let path = if path.ends_with("/stream") { format!("{path}?last=nonsense") } else { path };
    let value = format!("Bearer {token}");
    let headers: &[(&str, &str)] = match token {
        "" => &[("authorization", "")],
        _ => &[("authorization", &value)],
    };
    api.send(route.method.clone(), &path, headers, NO_BODY).await.status
}

#[tokio::test]
async fn every_route_lets_in_whom_its_scope_covers_and_nobody_else() {
    let now = crate::time::now();
    let mut asked = 0;
    for route in routes::table() {
        for scope in Scope::ALL {
            let api = Api::with(Audit::none(), None);
            let (_, token) = api.tokens.create("t".into(), vec![scope], now, None).unwrap();

            let status = status(&api, &route, token.reveal()).await;

            let may = match route.need {
                Need::Nothing => true,
                Need::Scope(needed) => scope.covers(needed),
                Need::Either(needed, other) => scope.covers(needed) || scope.covers(other),
            };
            let place = format!("{} {} with {scope:?}", route.method, route.path);
            match may {
                true => assert!(!matches!(status.as_u16(), 401 | 403), "{place}: {status}"),
                false => assert_eq!(status, StatusCode::FORBIDDEN, "{place}"),
            }
            asked += 1;
        }
    }
    assert_eq!(asked, routes::table().len() * Scope::ALL.len());
}

#[tokio::test]
async fn no_route_lets_in_a_token_that_is_none() {
    let now = crate::time::now();
    for route in routes::table() {
        let api = Api::with(Audit::none(), None);
        let past = now.plus_secs(-1.0);
        let (_, expired) = api.tokens.create("t".into(), vec![Scope::Admin], past, Some(past)).unwrap();
        let (revoked_token, revoked) = api.tokens.create("t".into(), vec![Scope::Admin], now, None).unwrap();
        api.tokens.revoke(&revoked_token.id).unwrap();
        let elsewhere = crate::store::tokens::Tokens::open(None);
        let (_, unknown) = elsewhere.create("t".into(), vec![Scope::Admin], now, None).unwrap();

        for token in [expired.reveal(), revoked.reveal(), unknown.reveal(), "ntd_x"] {
            assert_eq!(status(&api, &route, token).await, StatusCode::UNAUTHORIZED, "{}", route.path);
        }
        let without = status(&api, &route, "").await;
        match route.need {
            Need::Nothing => assert_ne!(without, StatusCode::UNAUTHORIZED, "{}", route.path),
            Need::Scope(_) | Need::Either(..) => assert_eq!(without, StatusCode::UNAUTHORIZED, "{}", route.path),
        }
    }
}

async fn ask(api: &Api, peer: Peer, method: Method, path: &str, token: Option<&str>) -> StatusCode {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost").extension(peer);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
}

#[tokio::test]
async fn without_a_token_root_does_everything_and_others_what_is_granted() {
    let api = Api::with(Audit::none(), Some(Scope::Read));
    let someone = rustix::process::geteuid().as_raw() + 1_000;
    let unix = |uid| Peer::Unix { uid, pid: None };
    let here = Peer::Loopback { address: [127, 0, 0, 1].into() };
    let elsewhere = Peer::Remote { address: [192, 0, 2, 1].into() };
    let table =
        [(unix(0), 200, 404, 200), (unix(someone), 200, 403, 403), (here, 200, 403, 403), (elsewhere, 401, 401, 401)];
    for (peer, reads, releases, audits) in table {
        let status = async |method, path| ask(&api, peer, method, path, None).await.as_u16();

        assert_eq!(status(Method::GET, "/api/v1/status").await, reads, "{peer:?}");
        assert_eq!(status(Method::DELETE, "/api/v1/verdicts/9").await, releases, "{peer:?}");
        assert_eq!(status(Method::GET, "/api/v1/tokens").await, audits, "{peer:?}");
        assert_eq!(status(Method::GET, "/livez").await, 200, "{peer:?}");
    }
}

#[tokio::test]
async fn an_address_that_guesses_is_locked_out_and_the_unix_socket_never() {
    let api = Api::with(Audit::none(), None);
    let (_, token) = api.tokens.create("t".into(), vec![Scope::Read], crate::time::now(), None).unwrap();
    let guesser = Peer::Remote { address: [192, 0, 2, 1].into() };
    let other = Peer::Remote { address: [192, 0, 2, 2].into() };
    let status = async |peer, token: &str| ask(&api, peer, Method::GET, "/api/v1/status", Some(token)).await.as_u16();
    let mut looked_at = 0;
    for _ in 0..50 {
        match status(guesser, "ntd_guess").await {
            401 => looked_at += 1,
            locked => assert_eq!(locked, 429),
        }
    }

    assert_eq!(looked_at, 10);
    assert_eq!(status(guesser, token.reveal()).await, 429);
    assert_eq!(status(other, token.reveal()).await, 200);
    let root = Peer::Unix { uid: 0, pid: None };
    for _ in 0..50 {
        assert_eq!(status(root, "ntd_guess").await, 401);
    }
    assert_eq!(ask(&api, root, Method::GET, "/api/v1/status", None).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_is_made_shown_without_its_secret_used_and_revoked() {
    let api = Api::new();

    let made = api.post("/api/v1/tokens", r#"{"name":"prom","scopes":["metrics"],"ttl":"1h"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let (token, id) =
        (made.json()["token"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    let with = format!("Bearer {token}");
    let with = [("authorization", with.as_str())];
    assert_eq!(api.send(Method::GET, "/metrics", &with, "").await.status, StatusCode::OK);
    let listed = api.get("/api/v1/tokens").await;
    assert!(
        !listed.text.contains(&token[..20]) && listed.json()["items"][0]["last_used"].is_string(),
        "{}",
        listed.text
    );
    assert_eq!(api.send(Method::DELETE, &format!("/api/v1/tokens/{id}"), &[], "").await.status, StatusCode::OK);
    api.send(Method::GET, "/metrics", &with, "").await.problem(401);
    api.send(Method::DELETE, "/api/v1/tokens/none", &[], "").await.problem(404);
    for body in [
        r#"{"name":"","scopes":["read"]}"#,
        r#"{"name":"x","scopes":[]}"#,
        r#"{"name":"x","scopes":["root"]}"#,
        r#"{"name":"x","scopes":["read"],"ttl":"soon"}"#,
    ] {
        api.post("/api/v1/tokens", body).await.problem(422);
    }
}

#[tokio::test]
async fn a_bouncer_presents_its_token_as_an_api_key() {
    let api = Api::with(Audit::none(), None);
    let now = crate::time::now();
    let (_, read) = api.tokens.create("t".into(), vec![Scope::Read], now, None).unwrap();
    let (_, metrics) = api.tokens.create("t".into(), vec![Scope::Metrics], now, None).unwrap();

    for (key, status) in [(read.reveal(), 200), (metrics.reveal(), 403), ("ntd_x", 401), ("anything", 401)] {
        // Root's own socket: what is presented counts, and nothing beside it.
        let answer = api.send(Method::GET, "/v1/decisions", &[("x-api-key", key)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    }
}
