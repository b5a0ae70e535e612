use serde_json::json;

use super::*;

const NOTHING: &str = "neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint";

#[tokio::test]
async fn a_list_is_uploaded_read_back_and_removed() {
    let api = Api::new();
    let content = "# corp\n198.51.100.7    # ir-4411\n203.0.113.0/24\n2001:db8::/32\n300.1.1.1\n198.51.100.7\n";

    let answer = api.put_list("corp", content).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let change = answer.json();
    assert_eq!((&change["added"], &change["entries"], &change["duplicates"]), (&json!(3), &json!(3), &json!(1)));
    assert_eq!(change["rejected"], json!([{"line": 5, "value": "300.1.1.1", "reason": NOTHING}]));
    assert_eq!((&change["mode"], &change["changed"]), (&json!("enforce"), &json!(true)));
    let tag = answer.header("etag").to_owned();
    assert!(tag.starts_with("\"b3-"));

    let again = api.put_list("corp", content).await;
    assert_eq!((again.status, &again.json()["changed"]), (StatusCode::OK, &json!(false)));
    assert_eq!(again.header("etag"), tag);

    let read = api.get("/api/v1/blocklists/corp").await;
    assert_eq!(read.text, "198.51.100.7\n203.0.113.0/24\n2001:db8::/32\n");
    assert_eq!(read.header("etag"), tag);
    assert!(read.header("content-type").starts_with("text/plain"));
    let known = api.send(Method::GET, "/api/v1/blocklists/corp", &[("if-none-match", &tag)], "").await;
    assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));

    let lists = api.get("/api/v1/blocklists").await.json();
    assert_eq!((&lists["items"][0]["name"], &lists["items"][0]["entries_v6"]), (&json!("corp"), &json!(1)));

    assert_eq!(api.send(Method::DELETE, "/api/v1/blocklists/corp", &[], "").await.status, StatusCode::OK);
    api.get("/api/v1/blocklists/corp").await.problem(404);
}

#[tokio::test]
async fn a_list_read_back_is_the_same_list() {
    let api = Api::new();
    api.put_list("corp", "198.51.100.7\n203.0.113.0/24\n2001:db8::1\n").await;
    let text = api.get("/api/v1/blocklists/corp").await.text;

    assert_eq!(api.put_list("corp", &text).await.json()["changed"], false);
}

#[tokio::test]
async fn a_list_changed_in_between_is_412() {
    let api = Api::new();
    let tag = api.put_list("corp", "192.0.2.1\n").await.header("etag").to_owned();
    let put = async |tag: &str, content: &str| {
        let headers = [("content-type", "text/plain"), ("if-match", tag)];
        api.send(Method::PUT, "/api/v1/blocklists/corp", &headers, content).await
    };

    assert_eq!(put(&tag, "192.0.2.2\n").await.status, StatusCode::OK);
    put(&tag, "192.0.2.3\n").await.problem(412);
    let stale = [("if-match", tag.as_str())];
    api.send(Method::DELETE, "/api/v1/blocklists/corp", &stale, "").await.problem(412);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let api = Api::new();

    let change = api.put_list("corp?dry_run=true", "192.0.2.1\n").await.json();

    assert_eq!((&change["added"], &change["dry_run"]), (&json!(1), &json!(true)));
    api.get("/api/v1/blocklists/corp").await.problem(404);
}

#[tokio::test]
async fn what_must_not_be_cut_is_named() {
    let api = Api::new();

    let change = api.put_list("corp", "10.0.0.1\n10.0.0.0/24\n0.0.0.0/0\n").await.json();

    assert_eq!(change["refused_total"], 2);
    assert_eq!(change["refused"][1], json!({"value": "10.0.0.1", "reason": "protected: the default gateway"}));
    assert_eq!(change["spared"][0]["value"], "10.0.0.0/24");
    assert_eq!(change["entries"], 1);
}

#[tokio::test]
async fn some_other_file_replaces_nothing() {
    let api = Api::new();
    api.put_list("corp", "192.0.2.1\n").await;

    let problem = api.put_list("corp", "<html>\n<h1>502 Bad Gateway</h1>\n</html>\n").await.problem(422);

    assert_eq!(problem["errors"][0]["line"], 1);
    assert_eq!(api.get("/api/v1/blocklists/corp").await.text, "192.0.2.1\n");
    // Emptied on purpose.
    assert_eq!(api.put_list("corp", "# nothing\n").await.json()["removed"], 1);
}

#[tokio::test]
async fn a_name_is_never_a_path() {
    let api = Api::new();
    for name in ["..%2F..%2Fetc%2Fpasswd", "A", "a%00b", "a.list", "%2e%2e", "caf%C3%A9"] {
        let problem = api.put_list(name, "192.0.2.1\n").await.problem(400);
        assert_eq!(problem["type"], "urn:netd:problem:bad-name", "{name}");
    }
}

#[tokio::test]
async fn a_list_of_another_type_is_415() {
    let api = Api::new();
    for content_type in ["image/png", "application/x-www-form-urlencoded", "text/html"] {
        let headers = [("content-type", content_type)];
        api.send(Method::PUT, "/api/v1/blocklists/corp", &headers, "192.0.2.1\n").await.problem(415);
    }
    let plain = [("content-type", "text/plain; charset=utf-8")];
    let put = api.send(Method::PUT, "/api/v1/blocklists/corp", &plain, "192.0.2.1\n").await;
    assert_eq!(put.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_list_too_long_is_413_before_it_is_read() {
    let api = Api::new();
    let announced = [("content-type", "text/plain"), ("content-length", "99999999999")];
    api.send(Method::PUT, "/api/v1/blocklists/corp", &announced, "").await.problem(413);
}

#[tokio::test]
async fn an_action_can_be_given_and_changed() {
    let api = Api::new();
    api.put_list("corp?action=observe", "192.0.2.1\n").await;

    let change = api.put_list("corp?action=reset&shadow=true", "192.0.2.1\n").await.json();

    assert_eq!((&change["unchanged"], &change["changed"]), (&json!(1), &json!(true)));
    let list = api.get("/api/v1/blocklists").await.json()["items"][0].take();
    assert_eq!((&list["action"], &list["shadow"]), (&json!("reset"), &json!(true)));
}
