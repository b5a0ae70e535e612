//! The process of a finding, killed: real processes, which these tests start.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};

use netd_engine::finding::Severity;
use netd_engine::process::{Process, ProcessId};
use serde_json::json;

use super::*;
use crate::store::findings_for_tests::finding;

/// Killed when it is dropped.
struct Started(Child);

impl Started {
    /// A process in a group of its own.
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").process_group(0).spawn().unwrap())
    }

    fn id(&self) -> ProcessId {
        id(self.0.id())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn id(pid: u32) -> ProcessId {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    ProcessId { pid, start_ticks: fields[19].parse().unwrap() }
}

/// Reports a finding of the present about a process.
fn report(api: &Api, number: u64, id: ProcessId) {
    let process = Process { id, comm: "sleep".into(), ..Process::default() };
    let time = crate::time::now();
    let found = finding(number, Severity::Critical, 0.999);
    api.findings.report(netd_engine::finding::Finding { process: Some(process), time, ..found });
}

async fn act(api: &Api, id: u64, body: Value) -> Answer {
    api.post(&format!("/api/v1/findings/{id}/actions"), &body.to_string()).await
}

#[tokio::test]
async fn the_process_of_a_finding_is_named_killed_and_recorded() {
    let log = tempfile::tempdir().unwrap();
    let api = Api::killing(Audit::open(log.path(), crate::time::now()).unwrap());
    let mut process = Started::new();
    report(&api, 4, process.id());

    let would = act(&api, 4, json!({"action": "kill", "dry_run": true})).await;
    assert!(process.is_alive());
    let done = act(&api, 4, json!({"action": "kill", "reason": "ir-7"})).await;

    let pid = process.0.id();
    assert_eq!((would.status, &would.json()["withheld"]), (StatusCode::OK, &Value::Null));
    assert_eq!(would.json()["members"], json!([{"pid": pid, "comm": "sleep"}]));
    assert_eq!(
        (done.status, &done.json()["killed"], &done.json()["process"]["pid"]),
        (StatusCode::CREATED, &json!(1), &json!(pid))
    );
    assert_eq!(process.0.wait().unwrap().signal(), Some(9));
    let (records, _) = api.audit.page(None, 10).unwrap();
    let record = serde_json::to_value(&records[0]).unwrap();
    assert_eq!(
        (records.len(), &record["action"], &record["target"]),
        (1, &json!("process.signal"), &json!(format!("pid {pid}")))
    );
    assert!(record["reason"].as_str().unwrap().ends_with("ir-7"), "{record}");
    // Its number may be anybody's from here on.
    act(&api, 4, json!({"action": "kill"})).await.problem(409);
}

#[tokio::test]
async fn whoever_has_the_number_by_now_init_netd_and_the_kernel_are_never_killed() {
    let api = Api::killing(Audit::none());
    let mut bystander = Started::new();
    let former = ProcessId { start_ticks: bystander.id().start_ticks - 1, ..bystander.id() };
    let unknown = ProcessId { start_ticks: 0, ..bystander.id() };
    let kernel = (2..100).find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("kthreadd") || stat.contains("kworker")
    });
    let never = [Some(former), Some(unknown), Some(id(1)), Some(id(std::process::id())), kernel.map(id)];

    for (number, id) in (1..).zip(never.into_iter().flatten()) {
        report(&api, number, id);
        for dry_run in [true, false] {
            act(&api, number, json!({"action": "kill", "dry_run": dry_run})).await.problem(409);
        }
    }
    assert!(bystander.is_alive());
}

#[tokio::test]
async fn nobody_is_killed_where_netd_is_held_back_and_why_is_said() {
    let mut process = Started::new();
    let api = Api::new();
    report(&api, 4, process.id());

    let would = act(&api, 4, json!({"action": "kill", "dry_run": true})).await.json();
    let refused = act(&api, 4, json!({"action": "kill"})).await.problem(409);
    assert_eq!((&would["withheld"], &refused["detail"]), (&json!("nobody kills here"), &json!("nobody kills here")));
    assert_eq!(api.get("/api/v1/status").await.json()["api_kill"]["why_not"], "nobody kills here");

    let api = Api::killing(Audit::none());
    report(&api, 4, process.id());
    let json = [("content-type", "application/json")];
    api.send(Method::PUT, "/api/v1/mode", &json, r#"{"mode": "observe"}"#).await;
    let refused = act(&api, 4, json!({"action": "kill"})).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("does not enforce"), "{refused}");
    api.send(Method::PUT, "/api/v1/mode", &json, r#"{"mode": "enforce"}"#).await;
    api.send(Method::PUT, "/api/v1/kill-switch", &json, r#"{"on": true}"#).await;
    let refused = act(&api, 4, json!({"action": "kill"})).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("kill switch"), "{refused}");
    assert!(process.is_alive());
}

#[tokio::test]
async fn without_a_record_nobody_is_killed() {
    let log = tempfile::tempdir().unwrap();
    let api = Api::killing(Audit::open(log.path(), crate::time::now()).unwrap());
    let mut process = Started::new();
    report(&api, 4, process.id());
    api.audit.break_for_tests();

    act(&api, 4, json!({"action": "kill"})).await.problem(503);

    assert!(process.is_alive());
}

#[tokio::test]
async fn a_finding_without_a_process_or_of_a_former_boot_kills_nobody() {
    let mut process = Started::new();
    let api = Api::killing(Audit::none());
    api.findings.report(finding(1, Severity::High, 0.9));
    report(&api, 2, process.id());
    let former = api.findings.get(2).unwrap().finding;
    api.findings.report(netd_engine::finding::Finding { id: 3, time: Timestamp(1), ..former });

    act(&api, 1, json!({"action": "kill"})).await.problem(422);
    let refused = act(&api, 3, json!({"action": "kill"})).await.problem(409);
    act(&api, 2, json!({"action": "kill", "ttl": "1h"})).await.problem(422);

    assert!(refused["detail"].as_str().unwrap().contains("former boot"), "{refused}");
    assert!(process.is_alive());
}

#[tokio::test]
async fn killing_takes_the_scope_block() {
    for (scope, status) in [(Scope::Triage, 403), (Scope::Block, 409)] {
        let api = Api::with(Audit::none(), None);
        let process = Started::new();
        report(&api, 4, process.id());
        let (_, token) = api.tokens.create("t".into(), vec![scope], crate::time::now(), None).unwrap();
        let bearer = format!("Bearer {}", token.reveal());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];

        let answer = api.send(Method::POST, "/api/v1/findings/4/actions", &headers, r#"{"action": "kill"}"#).await;

        assert_eq!(answer.status.as_u16(), status, "{scope:?}: {}", answer.text);
    }
}
