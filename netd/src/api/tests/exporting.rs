use netd_engine::finding::Severity;

use super::*;
use crate::store::findings_for_tests::finding;

#[tokio::test]
async fn findings_are_exported_in_the_formats_of_others() {
    let api = Api::new();
    for id in 1..=3 {
        api.findings.report(finding(id, Severity::High, 0.9));
    }
    let table = [
        ("export?format=csv", "text/csv", "netd-findings.csv"),
        ("export?format=md&limit=1", "text/markdown", "netd-findings.md"),
        ("export?format=stix", "application/stix+json", "netd-findings.stix.json"),
        ("2/stix", "application/stix+json", "netd-finding-2.stix.json"),
        ("2/sigma", "application/yaml", "netd-finding-2.yml"),
    ];
    for (path, media_type, file) in table {
        let answer = api.get(&format!("/api/v1/findings/{path}")).await;

        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert!(answer.header("content-type").starts_with(media_type), "{path}");
        assert!(answer.header("content-disposition").contains(file), "{path}");
    }
    let lines = async |query: &str| {
        let answer = api.get(&format!("/api/v1/findings/export?format=csv&{query}")).await;
        answer.text.lines().count() - 1
    };
    assert_eq!((lines("q=").await, lines("q=id:1,3").await, lines("limit=2").await), (3, 2, 2));
    assert_eq!(lines("q=-detector:beacon").await, 0);
    api.get("/api/v1/findings/9/stix").await.problem(404);
    api.get("/api/v1/findings/export").await.problem(400);
    api.get("/api/v1/findings/export?format=pdf").await.problem(400);
    api.get("/api/v1/findings/export?format=csv&limit=10001").await.problem(400);
}
