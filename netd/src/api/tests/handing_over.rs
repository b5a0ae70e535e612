//! Entity pages and evidence.

use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use netd_engine::process::{Container, Process, ProcessId};

use super::*;
use crate::store::evidence::tests::{flow, record};
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

const CONTAINER: &str = "4f1c8b2e9d7a4f1c8b2e9d7a4f1c8b2e9d7a4f1c8b2e9d7a4f1c8b2e9d7a4f1c";

fn populated() -> Api {
    let api = Api::new();
    for port in 1..=3 {
        let mut flow = conversation(port, EndReason::Active);
        flow.process = Some(Process {
            id: ProcessId { pid: 7, start_ticks: 0 },
            comm: "curl".into(),
            container: Some(Arc::new(Container { id: CONTAINER.into(), ..Container::default() })),
            ..Process::default()
        });
        api.flows.put(flow);
    }
    let mut other = conversation(9, EndReason::Active);
    (other.responder, other.name) = ("203.0.113.5".parse().unwrap(), None);
    api.flows.put(other);
    api.findings.report(finding(4, Severity::High, 0.9));
    api
}

#[tokio::test]
async fn each_kind_of_thing_has_a_page() {
    let api = populated();
    let pages = [
        ("hosts/198.51.100.9", "peers"),
        ("hosts/::ffff:198.51.100.9", "peers"),
        ("domains/example.net", "peers"),
        ("domains/CDN.Example.Net.", "peers"),
        ("processes/7", "process"),
        ("containers/4f1c8b2e9d7a", "container"),
    ];
    for (path, field) in pages {
        let answer = api.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        let page = answer.json();
        assert_eq!(page["conversations"], 3, "{path}");
        assert!(!page[field].is_null(), "{path}");
        assert_eq!(
            (&page["first_seen"], &page["last_seen"]),
            (&"2027-01-15T08:00:00Z".into(), &"2027-01-15T08:01:00Z".into())
        );
        assert_eq!(
            (&page["names"][0]["name"], &page["services"][0]["name"]),
            (&"cdn.example.net".into(), &"443/tcp".into())
        );
        assert_eq!(page["processes"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(page["flows"].as_array().unwrap().len(), 3, "{path}");
    }
    let host = api.get("/api/v1/hosts/10.0.0.7").await.json();
    let peers: Vec<_> = host["peers"].as_array().unwrap().iter().map(|peer| &peer["address"]).collect();
    assert_eq!(peers, ["198.51.100.9", "203.0.113.5"]);
    assert_eq!(host["findings"][0]["id"], 4);
}

#[tokio::test]
async fn a_host_nobody_spoke_to_has_a_page_of_what_is_enforced() {
    let api = populated();
    api.put_list("corp", "192.0.2.0/24\n").await;

    let host = api.get("/api/v1/hosts/192.0.2.77").await.json();

    assert_eq!((&host["conversations"], &host["first_seen"]), (&0.into(), &Value::Null));
    assert_eq!(host["enforcement"]["blocklists"][0], "corp");
}

#[tokio::test]
async fn what_is_not_known_or_cannot_be_meant_is_said() {
    let api = populated();
    for path in ["domains/example.org", "processes/8", "containers/000000000000"] {
        api.get(&format!("/api/v1/{path}")).await.problem(404);
    }
    for path in ["hosts/x", "hosts/10.0.0.0%2F8", "domains/.", "processes/x", "processes/-1", "containers/4f1c"] {
        api.get(&format!("/api/v1/{path}")).await.problem(400);
    }
}

#[tokio::test]
async fn a_finding_is_handed_over_with_its_payload() {
    let api = populated();
    api.evidence.take(&record(flow(1), 1, 100, 5), b"hello");

    let json = api.get("/api/v1/findings/4/evidence.json").await.json();
    let request = Request::builder().uri("/api/v1/findings/4/evidence.pcapng").header("host", "localhost");
    let request = request.extension(Peer::Unix { uid: 0, pid: None });
    let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();

    assert_eq!((&json["finding"]["id"], &json["packets"]["payload_bytes"]), (&4.into(), &5.into()));
    assert_eq!(json["flows"].as_array().unwrap().len(), 3);
    assert_eq!(response.headers()["content-type"], "application/x-pcapng");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"netd-finding-4.pcapng\"");
    let file = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert!(file.windows(5).any(|window| window == b"hello"));
    api.get("/api/v1/findings/5/evidence.pcapng").await.problem(404);
    api.get("/api/v1/findings/x/evidence.json").await.problem(404);
}
