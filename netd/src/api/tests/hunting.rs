use netd_common::key::FlowKey;
use netd_common::record::{PayloadKind, PayloadRecord};

use super::*;
use crate::source::accounting::{Accounting, Settings};
use crate::source::replay::Replay;

/// An engine after a capture that this project generated.
fn after(capture: &str) -> Engine {
    let mut engine = Engine::new(netd_engine::config::Config::default());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps").join(capture);
    let errors = Replay::new(Accounting::new(&Settings::default())).run(&[path], &mut engine, |_| {});
    assert!(errors.is_empty(), "{errors:?}");
    engine
}

#[tokio::test]
async fn beacons_are_hunted_for_by_the_language_of_findings() {
    let api = Api::of_engine(after("beacon-tls.pcap"));

    let found = api.get("/api/v1/beacons").await.json();
    let beacon = &found["items"][0];

    assert!(beacon["score"].as_f64().unwrap() > 0.5 && beacon["is_finding"] == true, "{found}");
    assert!(beacon["interval_s"].as_f64().is_some() && beacon["jitter"].as_f64().is_some(), "{found}");
    assert!(beacon["finding"].is_u64() && beacon["check_ins"].as_u64().unwrap() > 10, "{found}");
    let responder = beacon["responder"].as_str().unwrap();
    for (query, is_there) in [
        (format!("dst:{responder}"), true),
        (format!("-dst:{responder}"), false),
        ("score:>=0.5 sort:score".to_owned(), true),
        ("score:<0.01 port:1".to_owned(), false),
    ] {
        let found = api.get(&format!("/api/v1/beacons?q={}", crate::cli::client::escaped(&query))).await.json();
        let has = found["items"].as_array().unwrap().iter().any(|item| item["responder"] == responder);
        assert_eq!(has, is_there, "{query}: {found}");
    }
    assert!(found["looked_at"].as_u64().unwrap() >= 1 && found["is_cut"] == false);
}

/// Has 10.0.0.7 ask its resolver for a name, `second` seconds after the beginning.
fn ask(engine: &mut Engine, labels: &[&[u8]], second: u8) {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label);
    }
    bytes.extend([0, 0, 16, 0, 1]);
    let (key, direction) = FlowKey {
        src: std::net::IpAddr::from([10, 0, 0, 7]).into(),
        dst: std::net::IpAddr::from([192, 0, 2, 53]).into(),
        src_port: 40_000_u16.to_be_bytes(),
        dst_port: 53_u16.to_be_bytes(),
        proto: 17,
        ..FlowKey::default()
    }
    .conversation();
    let length = u16::try_from(bytes.len()).unwrap();
    let mut record = PayloadRecord {
        key,
        wire_len: length.into(),
        captured: length,
        direction: direction as u8,
        kind: PayloadKind::Dns as u8,
        ..PayloadRecord::default()
    };
    record.header.time_ns = 1_800_000_000_000_000_000 + u64::from(second) * 1_000_000_000;
    engine.observe_payload(&record, &bytes);
}

#[tokio::test]
async fn domains_and_tunnels_are_hunted_for() {
    let mut engine = Engine::new(netd_engine::config::Config::default());
    for n in 0..40_u8 {
        ask(&mut engine, &[&[b'a' + n % 26; 60], &[b'0' + n % 10; 60], b"t", b"example", b"com"], n);
    }
    ask(&mut engine, &[b"www", b"example", b"org"], 41);
    let api = Api::of_engine(engine);

    let domains = api.get("/api/v1/dns/top?limit=1").await.json();
    let top = &domains["items"][0];

    assert!(top["queries"].as_u64().unwrap() >= 1 && top["clients"].as_u64().unwrap() >= 1, "{domains}");
    assert_eq!(
        (&top["domain"], &domains["is_cut"], &domains["looked_at"]),
        (&"example.com".into(), &true.into(), &2.into())
    );
    let one = api.get("/api/v1/dns/top?q=name:example.org").await.json();
    assert_eq!(one["items"][0]["queries"], 1, "{one}");
    let tunnels = api.get("/api/v1/tunnels?q=bytes_out:%3E500").await.json();
    assert_eq!(tunnels["items"].as_array().unwrap().len(), 1, "{tunnels}");
    let tunnel = &tunnels["items"][0];
    assert_eq!(
        (&tunnel["kind"], &tunnel["domain"], &tunnel["originator"]),
        (&"dns".into(), &"example.com".into(), &"10.0.0.7".into())
    );
}

#[tokio::test]
async fn what_a_hunt_does_not_know_is_refused_with_what_it_knows() {
    let api = Api::new();
    for (path, knows) in [
        ("beacons?q=colour:red", "score"),
        ("dns/top?q=src:10.0.0.1", "bytes_out"),
        ("tunnels?q=port:1", "bytes_in"),
        ("listeners?q=score:1", "dport"),
    ] {
        let problem = api.get(&format!("/api/v1/{path}")).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains(knows), "{path}: {problem}");
    }
    api.get("/api/v1/listeners?limit=0").await.problem(400);
    assert_eq!(api.get("/api/v1/listeners").await.json()["items"], serde_json::json!([]));
}
