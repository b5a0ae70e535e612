//! Policies put and removed, beside the operator's own.

use super::*;

/// A state directory, the operator's files beside it, and the API over both.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(policies: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        for (file, text) in policies {
            std::fs::write(folder.path().join("etc").join(file), text).unwrap();
        }
        Self { folder }
    }

    fn files(&self) -> std::path::PathBuf {
        let folder = self.folder.path().join("etc");
        let is_empty = std::fs::read_dir(&folder).unwrap().next().is_none();
        if is_empty { Path::new("").to_owned() } else { folder }
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// Starts over what is there.
    fn start(&self, audit: Audit) -> Api {
        let mut written = Written::open(Some(StateDir::open(&self.state()).unwrap()));
        let (policies, _) = written.read(&self.files()).unwrap();
        let files = Files { policies: self.files(), ..Files::default() };
        let book = Book::new(files, InForce { policies, ..InForce::default() }).keeping(written);
        Api::of(1_000, None, Arc::new(book), audit, Some(Scope::Admin))
    }

    fn api(&self) -> Api {
        self.start(Audit::none())
    }
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

async fn put(api: &Api, name: &str, text: &str, headers: &[(&str, &str)]) -> Answer {
    api.send(Method::PUT, &format!("/api/v1/policies/{name}"), headers, text).await
}

async fn remove(api: &Api, name: &str, headers: &[(&str, &str)]) -> Answer {
    api.send(Method::DELETE, &format!("/api/v1/policies/{name}"), headers, "").await
}

async fn names(api: &Api) -> Vec<String> {
    let listed = api.get("/api/v1/policies").await.json();
    listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

const YAML: [(&str, &str); 1] = [("content-type", "application/yaml")];

#[tokio::test]
async fn what_is_put_is_in_force_shown_with_its_text_and_there_after_a_restart() {
    let place = Place::new(&[]);
    let text = policy("mine", "{mode: shadow}");
    {
        let api = place.api();
        let put = put(&api, "mine", &text, &YAML).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text);
        assert_eq!(put.json()["difference"]["added"], serde_json::json!(["mine"]));
        let shown = api.get("/api/v1/policies/mine").await;
        assert_eq!(shown.json()["text"], text);
        assert_eq!(shown.json()["origin"]["kind"], "api");
        assert_eq!(
            (shown.header("etag"), put.header("etag")),
            (put.json()["tag"].as_str().unwrap(), shown.header("etag"))
        );
    }

    let api = place.api();

    // What netd ships takes every finding: it comes last.
    assert_eq!(names(&api).await, ["mine", "default"]);
    assert_eq!(api.get("/api/v1/policies/default").await.json()["origin"]["kind"], "shipped");
    let kept = std::fs::read_to_string(place.state().join("policies/mine.yaml")).unwrap();
    assert!(crate::config::policies::read(&place.state().join("policies/mine.yaml")).is_ok(), "{kept}");
}

#[tokio::test]
async fn an_operators_file_comes_first_and_stays_the_operators() {
    let own = policy("own", "{mode: observe, detectors: [beacon]}");
    let place = Place::new(&[("10-own.yaml", &own)]);
    let api = place.api();

    assert_eq!(put(&api, "mine", &policy("mine", "{}"), &YAML).await.status, StatusCode::CREATED);
    let taken = put(&api, "own", &policy("own", "{mode: enforce}"), &YAML).await.problem(409);
    let removed = remove(&api, "own", &[]).await.problem(409);
    let shipped = put(&api, "default", &policy("default", "{}"), &YAML).await.problem(409);

    assert_eq!(names(&api).await, ["own", "mine"]);
    for problem in [&taken, &removed] {
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("10-own.yaml: change it there"), "{detail}");
    }
    assert!(shipped["detail"].as_str().unwrap().contains("netd ships"), "{shipped}");
    assert_eq!(std::fs::read_to_string(place.files().join("10-own.yaml")).unwrap(), own);
    assert_eq!(api.get("/api/v1/policies/own").await.json()["origin"]["kind"], "file");
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_its_place_and_changes_nothing() {
    let place = Place::new(&[]);
    let api = place.api();
    put(&api, "mine", &policy("mine", "{mode: shadow}"), &YAML).await;

    let fault = put(&api, "mine", &policy("mine", "{mode: shoot}"), &YAML).await.problem(422);
    let two = format!("{}---\n{}", policy("mine", "{}"), policy("other", "{}"));
    let refused = [
        (put(&api, "mine", &two, &YAML).await, 422),
        (put(&api, "other", &policy("mine", "{}"), &YAML).await, 422),
        (put(&api, "mine", "", &YAML).await, 422),
        (put(&api, "a%20b", &policy("a", "{}"), &YAML).await, 400),
        (put(&api, "mine", &"#".repeat(70_000), &YAML).await, 413),
        (put(&api, "mine", "{}", &[("content-type", "image/png")]).await, 415),
        (api.send(Method::PUT, "/api/v1/policies/mine?dry=1", &YAML, "").await, 400),
        (remove(&api, "nobody", &[]).await, 404),
    ];

    assert_eq!((&fault["errors"][0]["line"], &fault["errors"][0]["column"]), (&4.into(), &14.into()));
    assert!(fault["errors"][0]["detail"].as_str().unwrap().contains("mine of the API:4:14: error: "), "{fault}");
    for (answer, status) in refused {
        answer.problem(status);
    }
    assert_eq!(api.get("/api/v1/policies/mine").await.json()["mode"]["requested"], "shadow");
}

#[tokio::test]
async fn a_dry_run_tells_the_difference_and_a_warning_what_is_never_asked() {
    let all = policy("all", "{mode: observe}");
    let place = Place::new(&[("all.yaml", &all)]);
    let api = place.api();

    let would = api.send(Method::PUT, "/api/v1/policies/mine?dry_run=true", &YAML, &policy("mine", "{}")).await;

    assert_eq!((would.status, would.header("etag")), (StatusCode::OK, ""));
    assert_eq!(would.json()["difference"]["added"], serde_json::json!(["mine"]));
    let warnings = would.json()["warnings"].to_string();
    assert!(warnings.contains("policy mine is never asked: all before it"), "{warnings}");
    assert!(!warnings.contains("policy all"), "{warnings}");
    assert_eq!(names(&api).await, ["all"]);
    assert!(!place.state().join("policies/mine.yaml").exists());
}

#[tokio::test]
async fn a_policy_is_changed_by_whoever_knows_it_as_it_is() {
    let place = Place::new(&[]);
    let api = place.api();
    let (first, second) = (policy("mine", "{mode: shadow}"), policy("mine", "{mode: enforce}"));
    let tag = put(&api, "mine", &first, &YAML).await.header("etag").to_owned();
    let known = [("if-none-match", tag.as_str())];
    let matching = [YAML[0], ("if-match", tag.as_str())];

    assert_eq!(api.send(Method::GET, "/api/v1/policies/mine", &known, "").await.status, StatusCode::NOT_MODIFIED);
    put(&api, "mine", &second, &[YAML[0], ("if-none-match", "*")]).await.problem(412);
    let same = put(&api, "mine", &first, &matching).await;
    let changed = put(&api, "mine", &second, &matching).await;
    let stale = put(&api, "mine", &first, &matching).await.problem(412);
    remove(&api, "mine", &[("if-match", &tag)]).await.problem(412);

    assert_eq!((same.status, &same.json()["changed"]), (StatusCode::OK, &Value::Bool(false)));
    let change = &changed.json()["difference"]["changed"][0];
    assert_eq!((&change["field"], &change["new"]), (&"spec.mode".into(), &"enforce".into()));
    assert!(stale["detail"].as_str().unwrap().contains(changed.header("etag")), "{stale}");
    assert_eq!(api.send(Method::GET, "/api/v1/policies/mine", &known, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_removed_is_out_of_force_and_stays_away() {
    let place = Place::new(&[]);
    {
        let api = place.api();
        put(&api, "mine", &policy("mine", "{}"), &YAML).await;

        let removed = remove(&api, "mine", &[]).await;

        assert_eq!(removed.json()["difference"]["removed"], serde_json::json!(["mine"]));
        assert_eq!(removed.json()["tag"], Value::Null);
        assert_eq!(names(&api).await, ["default"]);
    }
    assert_eq!(names(&place.api()).await, ["default"]);
}

#[tokio::test]
async fn a_reload_keeps_what_the_api_was_given_and_refuses_a_file_that_takes_its_name() {
    let place = Place::new(&[("a.yaml", &policy("a", "{detectors: [beacon]}"))]);
    let api = place.api();
    put(&api, "mine", &policy("mine", "{}"), &YAML).await;

    std::fs::write(place.files().join("b.yaml"), policy("b", "{}")).unwrap();
    api.post("/api/v1/config:reload", "").await;
    assert_eq!(names(&api).await, ["a", "b", "mine"]);
    std::fs::write(place.files().join("b.yaml"), policy("mine", "{mode: enforce}")).unwrap();
    let refused = api.post("/api/v1/config:reload", "").await.problem(422);

    let fault = refused["errors"][0]["detail"].as_str().unwrap();
    assert!(fault.contains("mine of the API:3:") && fault.contains("b.yaml already"), "{fault}");
    assert_eq!(names(&api).await, ["a", "b", "mine"]);
}

#[tokio::test]
async fn a_kept_policy_whose_name_a_file_has_taken_waits_and_can_be_removed() {
    let place = Place::new(&[]);
    put(&place.api(), "mine", &policy("mine", "{}"), &YAML).await;
    std::fs::write(place.folder.path().join("etc/mine.yaml"), policy("mine", "{mode: observe}")).unwrap();
    let mut written = Written::open(Some(StateDir::open(&place.state()).unwrap()));

    let (_, left_out) = written.read(&place.files()).unwrap();
    assert!(left_out[0].why.to_string().contains("mine.yaml already"), "{left_out:?}");
    drop(written);
    let api = place.api();
    assert_eq!(api.get("/api/v1/policies/mine").await.json()["origin"]["kind"], "file");
    assert_eq!(remove(&api, "mine", &[]).await.json()["changed"], true);

    assert_eq!(api.get("/api/v1/policies/mine").await.json()["origin"]["kind"], "file");
    assert!(!place.state().join("policies/mine.yaml").exists());
}

#[tokio::test]
async fn a_damaged_copy_is_set_aside_and_the_others_are_in_force() {
    let place = Place::new(&[]);
    {
        let api = place.api();
        for name in ["mine", "other"] {
            put(&api, name, &policy(name, "{detectors: [beacon]}"), &YAML).await;
        }
    }
    std::fs::write(place.state().join("policies/mine.yaml"), policy("mine", "{mode: enforce}")).unwrap();

    assert_eq!(names(&place.api()).await, ["other", "default"]);
    assert!(place.state().join("policies/mine.damaged-1").exists());
}

#[tokio::test]
async fn every_change_is_recorded_before_it_is_made() {
    let place = Place::new(&[]);
    let log = tempfile::tempdir().unwrap();
    let api = place.start(Audit::open(log.path(), crate::time::now()).unwrap());

    put(&api, "mine", &policy("mine", "{}"), &YAML).await;
    api.send(Method::PUT, "/api/v1/policies/mine?dry_run=true", &YAML, &policy("mine", "{mode: enforce}")).await;
    remove(&api, "mine", &[]).await;

    let (records, _) = api.audit.page(None, 10).unwrap();
    let told: Vec<_> = records.iter().map(|record| serde_json::to_value(record).unwrap()).collect();
    let actions: Vec<_> = told.iter().rev().map(|record| record["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["policy.put", "policy.remove"]);
    assert!(told[1]["before"].is_null() && told[1]["after"] == told[0]["before"], "{told:?}");
}

#[tokio::test]
async fn without_a_record_or_a_place_to_keep_it_nothing_is_put() {
    let nowhere = Api::new();
    let problem = put(&nowhere, "mine", &policy("mine", "{}"), &YAML).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("state_dir"), "{problem}");

    let place = Place::new(&[]);
    let log = tempfile::tempdir().unwrap();
    let api = place.start(Audit::open(log.path(), crate::time::now()).unwrap());
    api.audit.break_for_tests();
    put(&api, "mine", &policy("mine", "{}"), &YAML).await.problem(503);

    assert_eq!(names(&api).await, ["default"]);
    assert!(!place.state().join("policies/mine.yaml").exists());
}
