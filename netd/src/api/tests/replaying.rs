//! Captures that are replayed in the background.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netd_engine::config::Config;
use serde_json::json;

use super::*;
use crate::source::job;
use crate::store::jobs::{self, Queue};

const CAPTURE: [(&str, &str); 1] = [("content-type", "application/vnd.tcpdump.pcap")];

/// The API, and whoever replays what it is given.
struct Place {
    folder: tempfile::TempDir,
    api: Api,
    jobs: Jobs,
}

impl Place {
    fn new() -> (Self, Queue) {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, queue) = Jobs::open(folder.path()).unwrap();
        (Self { api: Api::with_jobs(jobs.clone()), folder, jobs }, queue)
    }

    async fn send(&self, capture: &[u8]) -> Answer {
        self.api.send_bytes(Method::POST, "/api/v1/replay", &CAPTURE, capture).await
    }

    /// Returns the job when it is in a state.
    async fn when(&self, path: &str, state: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let job = self.api.get(path).await.json();
            if job["state"] == state {
                return job;
            }
            assert!(Instant::now() < deadline, "{job}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("spool")).unwrap().count()
    }
}

fn work(queue: Queue) -> JoinHandle<()> {
    thread::spawn(move || {
        while let Some(work) = queue.next() {
            let config = Config::default();
            let outcome = job::replay(&work, config, |_| {});
            queue.finish(work, outcome);
        }
    })
}

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps").join(name)).unwrap()
}

#[tokio::test]
async fn a_capture_is_replayed_as_the_command_line_does_and_gone_afterwards() {
    let (place, queue) = Place::new();
    let worker = work(queue);
    let bytes = capture("beacon-tls.pcap");

    let accepted = place.send(&bytes).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let path = accepted.header("location").to_owned();
    let job = place.when(&path, "done").await;

    assert_eq!((&job["findings"][0]["detector"], &job["error"]), (&json!("beacon"), &Value::Null));
    let mut out = Vec::new();
    let args = crate::cli::replay::Args {
        files: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps/beacon-tls.pcap")],
        output: crate::cli::replay::Output::Jsonl,
        ..Default::default()
    };
    crate::cli::replay::run(&args, &mut out, &mut Vec::new()).unwrap();
    let lines: Vec<Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut summary = job["summary"].clone();
    summary["event"] = json!("summary");
    assert_eq!(&summary, lines.last().unwrap());
    assert_eq!(job["progress"]["packets"], summary["packets"]);
    assert_eq!(job["progress"]["read_bytes"], bytes.len());
    // Nothing of it is netd's own.
    assert_eq!(place.api.get("/api/v1/findings?suppressed=show").await.json()["items"], json!([]));
    assert_eq!(place.api.get("/api/v1/verdicts").await.json()["items"], json!([]));
    assert_eq!(place.spooled(), 0);
    let listed = place.api.get("/api/v1/jobs").await.json();
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["findings"]), (1, &Value::Null));
    place.jobs.close();
    worker.join().unwrap();
}

#[tokio::test]
async fn a_bad_capture_fails_with_packet_and_offset_and_what_came_before_is_told() {
    let (place, queue) = Place::new();
    let worker = work(queue);
    let mut bytes = capture("beacon-tls.pcap");
    bytes.truncate(bytes.len() - 7);

    let cut = place.send(&bytes).await.header("location").to_owned();
    let other = place.send(b"no capture at all").await.header("location").to_owned();
    let empty = place.send(b"").await.header("location").to_owned();

    let cut = place.when(&cut, "failed").await;
    let error = cut["error"].as_str().unwrap();
    assert!(error.starts_with("capture: packet ") && error.contains("truncated"), "{error}");
    assert!(cut["summary"]["packets"].as_u64().unwrap() > 10, "{cut}");
    for path in [&other, &empty] {
        let job = place.when(path, "failed").await;
        assert!(job["error"].as_str().unwrap().starts_with("capture"), "{job}");
        assert_eq!(job["summary"], Value::Null);
    }
    assert_eq!(place.spooled(), 0);
    place.jobs.close();
    worker.join().unwrap();
}

#[tokio::test]
async fn beyond_those_that_wait_nobody_is_taken_until_one_is_cancelled() {
    let (place, _queue) = Place::new();
    let bytes = capture("beacon-tls.pcap");
    let mut paths = Vec::new();
    for _ in 0..jobs::WAITING {
        paths.push(place.send(&bytes).await.header("location").to_owned());
    }

    let refused = place.send(&bytes).await;
    assert_eq!(refused.header("retry-after"), "60");
    refused.problem(429);
    let cancelled = place.api.send(Method::DELETE, &paths[0], &[], "").await;
    assert_eq!(cancelled.json()["state"], "queued");

    place.api.get(&paths[0]).await.problem(404);
    place.api.send(Method::DELETE, &paths[0], &[], "").await.problem(404);
    assert_eq!(place.spooled(), jobs::WAITING - 1);
    assert_eq!(place.send(&bytes).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_replay_under_way_is_cancelled() {
    let (place, queue) = Place::new();
    let path = place.send(&capture("beacon-tls.pcap")).await.header("location").to_owned();
    let work = queue.next().unwrap();
    assert_eq!(place.api.get(&path).await.json()["state"], "running");

    place.api.send(Method::DELETE, &path, &[], "").await.json();
    let outcome = job::replay(&work, Config::default(), |_| {});

    assert!(outcome.error.is_some() && outcome.findings.is_empty(), "{outcome:?}");
    queue.finish(work, outcome);
    assert_eq!((place.api.get("/api/v1/jobs").await.json()["items"].clone(), place.spooled()), (json!([]), 0));
}

#[tokio::test]
async fn what_is_no_capture_to_begin_with_is_refused() {
    let (place, _queue) = Place::new();

    for (path, content_type, length, status) in [
        ("/api/v1/replay", "application/json", "", 415),
        ("/api/v1/replay?local=here", CAPTURE[0].1, "", 400),
        ("/api/v1/replay?output=eve", CAPTURE[0].1, "", 400),
        ("/api/v1/replay", CAPTURE[0].1, "300000000", 413),
    ] {
        let headers = [("content-type", content_type), ("content-length", length)];
        place.api.send(Method::POST, path, &headers, "").await.problem(status);
    }
    let nowhere = Api::new().send(Method::POST, "/api/v1/replay", &CAPTURE, "").await.problem(409);
    assert!(nowhere["detail"].as_str().unwrap().contains("state_dir"), "{nowhere}");
    assert_eq!(place.spooled(), 0);
}
