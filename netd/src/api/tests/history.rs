use std::time::Duration;

use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;

use super::*;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;
use crate::store::history::{Limits, Writer};

/// The API with history on disk, and what writes it.
fn keeping(folder: &Path, flows: usize) -> (Api, Writer) {
    let limits = Limits { retention: Duration::from_secs(86_400), bytes: 1 << 30 };
    let (history, writer) = History::open(folder, limits, None, 7).unwrap();
    (Api::made(flows, Some(Arc::new(history))), writer)
}

/// Ends a conversation, and writes it.
fn end(api: &Api, writer: &mut Writer, port: u16) {
    api.flows.end(conversation(port, EndReason::Closed));
    let (page, _) = api.flows.page(None, 1, |row| row.conversation.originator_port == port);
    writer.write(crate::time::now(), &page).unwrap();
}

async fn all(api: &Api, path: &str, mut between: impl FnMut(&Api)) -> Vec<u64> {
    let (mut seen, mut path) = (Vec::new(), path.to_owned());
    loop {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let page = answer.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|flow| flow["originator_port"].as_u64().unwrap()));
        between(api);
        match answer.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
            Some(next) => path = next.to_owned(),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn one_cursor_leads_through_memory_and_files_while_flows_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    // Memory holds ten, so that most are on disk only, and more leave memory between two pages.
    let (api, mut writer) = keeping(folder.path(), 10);
    for port in 1..=40 {
        end(&api, &mut writer, port);
    }
    api.flows.put(conversation(41, EndReason::Active));

    for order in ["", "&q=sort:time-asc", "&q=sort:bytes-desc"] {
        let mut next = 1_000 + order.len() as u16 * 100;
        let path = format!("/api/v1/flows?until=2027-01-15T08:00:00Z&port=443&limit=7{order}");
        let seen = all(&api, &path, |api| {
            end(api, &mut writer, next);
            next += 1;
        });
        let seen: Vec<u64> = seen.await.into_iter().filter(|port| *port <= 41).collect();

        let mut expected: Vec<u64> = (1..=41).collect();
        if order != "&q=sort:time-asc" {
            expected.reverse();
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn a_flow_is_shown_wherever_it_is_and_only_with_the_fields_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (api, mut writer) = keeping(folder.path(), 1);
    end(&api, &mut writer, 1);
    let id = api.get("/api/v1/flows").await.json()["items"][0]["id"].as_u64().unwrap();
    let before = api.get(&format!("/api/v1/flows/{id}")).await.json();
    end(&api, &mut writer, 2);

    let after = api.get(&format!("/api/v1/flows/{id}")).await.json();
    let few = api.get("/api/v1/flows?fields=id,originator_port&q=sport:1").await.json();

    assert_eq!(after["originator_port"], 1);
    // Where its responder is was not known to the writer.
    assert_eq!((&before["start"], &before["originated"]), (&after["start"], &after["originated"]));
    assert_eq!(few["items"][0], serde_json::json!({"id": id, "originator_port": 1}));
    api.get("/api/v1/flows?fields=colour").await.problem(400);
    api.get("/api/v1/flows/9").await.problem(404);
}

#[tokio::test]
async fn a_mistake_in_a_query_is_shown_where_it_is() {
    let problem = Api::new().get("/api/v1/flows?q=port:443%20colour:red").await.problem(400);

    assert_eq!(problem["errors"][0]["column"], 10);
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("^^^^^^"));
    assert!(problem["detail"].as_str().unwrap().contains("known are src, dst"));
}

#[tokio::test]
async fn flows_are_added_up_over_memory_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let (api, mut writer) = keeping(folder.path(), 10);
    for port in 1..=30 {
        end(&api, &mut writer, port);
    }
    api.flows.put(conversation(31, EndReason::Active));

    let sum = api.get("/api/v1/flows/stats?group_by=dst&metric=bytes&bucket=1m&q=dport:443").await.json();

    assert_eq!(sum["total"]["flows"], 31);
    assert_eq!((&sum["items"][0]["key"], &sum["items"][0]["value"]), (&"198.51.100.9".into(), &(31 * 60).into()));
    assert_eq!(sum["items"][0]["series"][0]["time"], "2027-01-15T08:00:00Z");
    api.get("/api/v1/flows/stats?group_by=colour").await.problem(400);
    api.get("/api/v1/flows/stats?bucket=0s").await.problem(400);
}

#[tokio::test]
async fn a_finding_is_triaged_by_whoever_has_seen_its_present_state() {
    let folder = tempfile::tempdir().unwrap();
    let (api, _) = keeping(folder.path(), 10);
    api.findings.report(finding(4, Severity::High, 0.9));
    let patch = async |tag: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        api.send(Method::PATCH, "/api/v1/findings/4", &headers, body).await
    };
    let tag = api.get("/api/v1/findings/4").await.header("etag").to_owned();

    patch("", "{\"status\":\"ack\"}").await.problem(428);
    let changed = patch(&tag, "{\"status\":\"closed\",\"reason\":\"fp\",\"assignee\":\"ana\"}").await;
    patch(&tag, "{\"status\":\"new\"}").await.problem(412);
    patch("*", "{\"colour\":1}").await.problem(400);
    patch("*", "{\"status\":\"done\"}").await.problem(422);
    let emptied = patch(changed.header("etag"), "{\"reason\":null}").await.json();

    assert_eq!(
        (&changed.json()["triage"]["status"], &changed.json()["triage"]["reason"]),
        (&"closed".into(), &"fp".into())
    );
    assert_eq!((&emptied["triage"]["reason"], &emptied["triage"]["assignee"]), (&Value::Null, &"ana".into()));
    let count =
        async |q: &str| api.get(&format!("/api/v1/findings?q={q}")).await.json()["items"].as_array().unwrap().len();
    assert_eq!((count("status:closed").await, count("-status:closed").await, count("assignee:ana").await), (1, 0, 1));
    assert_eq!(count("attack:T1071*%20sort:score").await, 1);

    // It is on disk before the answer.
    let (history, _) = History::open(folder.path(), Limits { retention: Duration::ZERO, bytes: 1 }, None, 8).unwrap();
    assert_eq!(history.control.read(10).unwrap().findings[0].triage.assignee.as_deref(), Some("ana"));
}
