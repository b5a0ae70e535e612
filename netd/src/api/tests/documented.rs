//! The OpenAPI document against the code, and the code against what others make of the document.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Methods and paths that are answered.
fn served() -> BTreeSet<(String, String)> {
    let routes = crate::api::routes::table().into_iter();
    routes.map(|route| (route.method.as_str().to_ascii_lowercase(), route.path.replace("{*", "{"))).collect()
}

fn operations() -> Vec<(String, String, Value)> {
    let paths = crate::api::openapi::document()["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let path = path.clone();
        item.as_object().unwrap().clone().into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_route_is_documented_and_nothing_else() {
    let documented: BTreeSet<_> = operations().into_iter().map(|(method, path, _)| (method, path)).collect();
    let served = served();

    assert_eq!(documented.difference(&served).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not served");
    assert_eq!(served.difference(&documented).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not documented");
    assert!(served.len() > 30, "{served:?}");
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_problems() {
    let mut names = BTreeMap::new();
    for (method, path, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert_eq!(names.insert(name.clone(), path.clone()), None, "{name}");
        assert_eq!(operation["responses"]["4XX"]["$ref"], "#/components/responses/Problem", "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
    }
}

#[tokio::test]
async fn every_schema_that_is_named_is_there_and_used() {
    let text = crate::api::openapi::document().to_string();
    let schemas = crate::api::openapi::document()["components"]["schemas"].as_object().unwrap();
    let named: BTreeSet<_> =
        text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();

    assert_eq!(named, schemas.keys().cloned().collect());
}

#[tokio::test]
async fn every_schema_and_every_member_says_what_it_means() {
    let document = crate::api::openapi::document();
    let mut silent = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // What a policy says is told by the policy's own schema.
        silent.extend(said(schema).is_none().then(|| name.clone()));
        let own = schema["properties"].as_object().into_iter().flatten();
        silent.extend(
            own.filter(|(_, member)| is_silent(document, member)).map(|(member, _)| format!("{name}.{member}")),
        );
    }

    assert_eq!(silent, Vec::<String>::new());
    // A link of the code's documentation leads nowhere in this one.
    assert!(!document.to_string().contains("[`"));
}

/// Returns whether neither a member nor what it refers to says what it means.
fn is_silent(document: &Value, member: &Value) -> bool {
    let of_reference = || {
        let reference = member["$ref"].as_str()?.trim_start_matches('#');
        said(document.pointer(reference)?)
    };
    said(member).or_else(of_reference).is_none()
}

fn said(schema: &Value) -> Option<&str> {
    schema["description"].as_str().filter(|text| !text.is_empty())
}

#[tokio::test]
async fn a_body_may_have_the_documented_members_and_no_others() {
    let api = Api::new();
    api.findings.report(crate::store::findings_for_tests::finding(1, netd_engine::finding::Severity::High, 0.9));
    let mut looked = 0;
    for (method, path, operation) in operations() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(reference) = schema["$ref"].as_str() else { continue };
        let schema = crate::api::openapi::document().pointer(reference.trim_start_matches('#')).unwrap();
        let documented: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let path = path.replace("{id}", "1").replace("{name}", "a");
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
        let headers = [("content-type", "application/json")];

        let problem = api.send(method, &path, &headers, r#"{"surely_unknown": 1}"#).await.problem(400);

        let (_, allowed) = problem["detail"].as_str().unwrap().rsplit_once("allowed are: ").unwrap();
        assert_eq!(allowed.split(", ").collect::<BTreeSet<_>>(), documented, "{path}");
        assert_eq!(schema["additionalProperties"], false, "{path}");
        looked += 1;
    }
    assert!(looked >= 9, "{looked}");
}

#[tokio::test]
async fn the_documented_parameters_are_those_that_are_taken() {
    let api = Api::new();
    let mut looked = 0;
    for (method, path, operation) in operations() {
        let documented: BTreeSet<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        if method != "get" || documented.is_empty() || path.starts_with("/v1/") {
            continue;
        }
        // The refusal of an unknown parameter names those that are known.
        let path = path.replace("{id}", "1").replace("{name}", "a");
        let problem = api.get(&format!("{path}?surely_unknown=1")).await.problem(400);
        let detail = problem["detail"].as_str().unwrap();
        let mut taken: BTreeSet<String> =
            detail.split('`').skip(3).step_by(2).map(str::to_owned).filter(|name| name != "domain").collect();
        if path.ends_with("/stream") {
            for paging in ["limit", "cursor"] {
                taken.remove(paging);
            }
            taken.insert("last".to_owned());
        }
        assert_eq!(documented, taken, "{path}: {detail}");
        looked += 1;
    }
    assert!(looked >= 6, "{looked}");
}

#[tokio::test]
async fn the_committed_document_is_the_present_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let present = format!("{}\n", serde_json::to_string_pretty(crate::api::openapi::document()).unwrap());
    if std::env::var_os("NETD_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &present).unwrap();
    }

    let committed = std::fs::read_to_string(&path).unwrap_or_default();

    assert!(committed == present, "docs/openapi.json is behind: run `make openapi` and commit it");
}

#[tokio::test]
async fn the_viewer_needs_nothing_from_elsewhere() {
    let api = Api::new();
    assert_eq!(api.get("/docs").await.header("location"), "/docs/");

    let page = api.get("/docs/").await;
    let initializer = api.get("/docs/swagger-initializer.js").await;

    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    assert!(!page.text.contains("://"), "{}", page.text);
    assert!(!page.text.contains("<script>"), "{}", page.text);
    assert!(initializer.text.contains("/api/v1/openapi.json"));
    assert!(!initializer.text.contains("http"), "{}", initializer.text);
    api.get("/docs/nothing").await.problem(404);
    assert!(
        api.get("/api/v1/version").await.header("content-security-policy").starts_with("default-src 'none'; frame")
    );
}

#[tokio::test]
async fn the_configuration_is_shown() {
    let api = Api::new();

    assert_eq!(api.get("/api/v1/config").await.json()["set"]["mode"], "enforce");
}
