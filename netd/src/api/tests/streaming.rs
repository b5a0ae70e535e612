use std::time::Duration;

use axum::body::BodyDataStream;
use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use tokio_stream::StreamExt as _;

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

/// A stream under way.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Api {
    async fn read(&self, path: &str, headers: &[(&str, &str)]) -> Reader {
        let mut request =
            Request::builder().uri(path).header("host", "localhost").extension(Peer::Unix { uid: 0, pid: None });
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Reader { body: response.into_body().into_data_stream(), text: String::new() }
    }
}

impl Reader {
    /// Returns the next event of a stream of server-sent events: its kind, its id, its data.
    async fn event(&mut self) -> (String, String, Value) {
        let end = loop {
            if let Some(end) = self.text.find("\n\n") {
                break end;
            }
            let piece = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
            self.text.push_str(std::str::from_utf8(&piece.unwrap().unwrap().unwrap()).unwrap());
        };
        let event: String = self.text.drain(..end + 2).collect();
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        (field("event: "), field("id: "), serde_json::from_str(&field("data: ")).unwrap())
    }

    /// Returns the next line of a stream of NDJSON.
    async fn line(&mut self) -> Value {
        let piece = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
        serde_json::from_slice(&piece.unwrap().unwrap().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_finding_is_told_when_it_is_reported() {
    let api = Api::new();
    let mut reader = api.read("/api/v1/findings/stream", &[]).await;

    api.findings.report(finding(7, Severity::High, 0.9));

    let (kind, _, data) = reader.event().await;
    assert_eq!((kind.as_str(), &data["id"], &data["severity"]), ("finding", &7.into(), &"high".into()));
}

#[tokio::test]
async fn what_came_before_is_told_when_asked_for_and_once() {
    let api = Api::new();
    for id in 1..=5 {
        api.findings.report(finding(id, Severity::Low, 0.5));
    }
    let mut reader = api.read("/api/v1/findings/stream?last=2", &[]).await;
    api.findings.report(finding(6, Severity::Low, 0.5));

    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(reader.event().await.2["id"].as_u64().unwrap());
    }

    assert_eq!(ids, [4, 5, 6]);
}

#[tokio::test]
async fn who_comes_back_gets_what_came_since() {
    let api = Api::new();
    api.findings.report(finding(1, Severity::Low, 0.5));
    api.findings.report(finding(2, Severity::Low, 0.5));
    let (_, id, _) = api.read("/api/v1/findings/stream?last=1", &[]).await.event().await;
    api.findings.report(finding(1, Severity::High, 0.9));
    api.findings.report(finding(3, Severity::Low, 0.5));

    let mut reader = api.read("/api/v1/findings/stream", &[("last-event-id", &id)]).await;

    let (first, second) = (reader.event().await, reader.event().await);
    assert_eq!((&first.2["id"], &first.2["severity"]), (&1.into(), &"high".into()));
    assert_eq!((first.0.as_str(), &second.2["id"]), ("finding", &3.into()));
}

#[tokio::test]
async fn what_the_store_has_forgotten_is_a_gap() {
    let api = Api::new();
    api.findings.report(finding(1, Severity::Low, 0.5));
    let (_, id, _) = api.read("/api/v1/findings/stream?last=1", &[]).await.event().await;
    for id in 2..1_100 {
        api.findings.report(finding(id, Severity::Low, 0.5));
    }

    let mut reader = api.read("/api/v1/findings/stream", &[("last-event-id", &id)]).await;
    let gap = reader.event().await;
    assert_eq!((gap.0.as_str(), &gap.1, &gap.2["after"]), ("gap", &id, &id.clone().into()));
    assert_eq!(reader.event().await.2["id"], 100);

    let mut stranger = api.read("/api/v1/findings/stream", &[("last-event-id", "1-1")]).await;
    assert_eq!(stranger.event().await.0, "gap");
}

#[tokio::test]
async fn who_falls_behind_catches_up_from_the_store() {
    let api = Api::new();
    api.flows.end(conversation(8, EndReason::Closed));
    let mut reader = api.read("/api/v1/flows/stream", &[]).await;
    for _ in 0..17_000 {
        api.findings.report(finding(1, Severity::Low, 0.5));
    }
    api.flows.end(conversation(9, EndReason::Closed));

    let (kind, _, data) = reader.event().await;

    assert_eq!((kind.as_str(), &data["originator_port"]), ("flow", &9.into()));
}

#[tokio::test]
async fn flows_are_told_when_they_end_and_filtered_as_the_list() {
    let api = Api::new();
    let mut reader = api.read("/api/v1/flows/stream?port=2", &[]).await;

    api.flows.put(conversation(2, EndReason::Active));
    api.flows.end(conversation(1, EndReason::Closed));
    api.flows.end(conversation(2, EndReason::Closed));

    let (kind, _, data) = reader.event().await;
    assert_eq!((kind.as_str(), &data["originator_port"]), ("flow", &2.into()));
    assert_eq!(data["end_reason"], "closed");
}

#[tokio::test]
async fn a_verdict_is_told_when_it_comes_and_when_it_goes() {
    let api = Api::new();
    let mut reader = api.read("/api/v1/verdicts/stream", &[("accept", "application/x-ndjson")]).await;
    let added = api.post("/api/v1/verdicts", r#"{"target":{"address":"198.51.100.9"},"ttl":"1h"}"#).await.json();
    api.send(Method::DELETE, &format!("/api/v1/verdicts/{}", added["id"]), &[], "").await;

    let (began, released) = (reader.line().await, reader.line().await);

    assert_eq!((&began["event"], &began["data"]["change"]), (&"verdict".into(), &"began".into()));
    assert_eq!(released["data"]["change"], "released");
    assert_eq!(released["data"]["verdict"]["target"]["address"], "198.51.100.9");
    let mut again = api.read("/api/v1/verdicts/stream", &[("last-event-id", began["id"].as_str().unwrap())]).await;
    assert_eq!(again.event().await.2["change"], "released");
}

#[tokio::test]
async fn there_is_a_bounded_number_of_streams() {
    let api = Api::new();
    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(api.read("/api/v1/flows/stream", &[]).await);
    }

    api.get("/api/v1/findings/stream").await.problem(503);
    readers.pop();

    api.read("/api/v1/findings/stream", &[]).await;
}

#[tokio::test]
async fn what_a_stream_does_not_take_is_refused() {
    let api = Api::new();
    for query in ["last=x", "limit=5", "cursor=f1", "nonsense=1", "ip=x", "port=99999", "last=5&last=x"] {
        api.get(&format!("/api/v1/flows/stream?{query}")).await.problem(400);
    }
    api.get("/api/v1/verdicts/stream?ip=10.0.0.1").await.problem(400);
}

#[tokio::test]
async fn shutdown_ends_a_stream_at_once() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let api = Api::new();
    let (address, shutdown, serving) = api.listen().await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /api/v1/flows/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    let began = std::time::Instant::now();

    shutdown.cancel();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    serving.await.unwrap();

    assert!(rest.ends_with(b"0\r\n\r\n"));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_takes_the_query_language_and_tells_items_as_the_list_does() {
    let api = Api::new();
    let query = "q=port:2%20-score:%3E%3D0.1&fields=id,originator_port";
    let mut flows = api.read(&format!("/api/v1/flows/stream?{query}"), &[]).await;
    let mut findings = api.read("/api/v1/findings/stream?q=severity:high", &[]).await;

    for port in 1..=3 {
        api.flows.end(conversation(port, EndReason::Closed));
    }
    let told = flows.event().await.2;
    assert_eq!(told["originator_port"], 2);
    let list = api.get("/api/v1/flows?port=2&fields=id,originator_port").await.json();
    assert_eq!(told, list["items"][0]);

    api.findings.report(finding(1, Severity::Low, 0.5));
    api.findings.report(finding(2, Severity::High, 0.9));
    let told = findings.event().await.2;
    assert_eq!(told, api.get("/api/v1/findings?severity=high").await.json()["items"][0]);
    for path in ["flows/stream?q=sort:score-desc", "findings/stream?q=sort:score-desc", "flows/stream?q=nothing:1"] {
        api.get(&format!("/api/v1/{path}")).await.problem(400);
    }
}
