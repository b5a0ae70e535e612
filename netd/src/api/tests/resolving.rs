//! A listed name, from the upload to the packet that is dropped.

use netd_common::key::FlowKey;
use netd_common::record::{Header, PayloadKind, PayloadRecord};
use netd_engine::{Command, Engine};

use super::*;

/// The client's side of its conversation with the resolver.
const QUESTION: FlowKey = FlowKey {
    src: netd_common::key::Address::v4([10, 0, 0, 7]),
    dst: netd_common::key::Address::v4([9, 9, 9, 9]),
    src_port: 5_353_u16.to_be_bytes(),
    dst_port: 53_u16.to_be_bytes(),
    proto: 17,
    pad: [0; 3],
};

fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The answer to the question: an address for five minutes.
fn answer(name: &str, address: [u8; 4]) -> Vec<u8> {
    let mut bytes = question(name);
    (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 1);
    bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
    bytes.extend(address);
    bytes
}

/// Lets the engine hear a question and its answer, and the service what the engine asks for.
async fn look_up(api: &Api, engine: &mut Engine, name: &str, address: [u8; 4]) {
    engine.set_listed(api.listed.borrow().clone());
    let (key, direction) = QUESTION.conversation();
    for (bytes, direction) in [(question(name), direction), (answer(name, address), direction.opposite())] {
        let record = PayloadRecord {
            header: Header { time_ns: crate::time::now().0, ..Header::default() },
            key,
            wire_len: bytes.len() as u32,
            captured: bytes.len() as u16,
            direction: direction as u8,
            kind: PayloadKind::Dns as u8,
            ..PayloadRecord::default()
        };
        engine.observe_payload(&record, &bytes);
    }
    while let Some(command) = engine.poll_command() {
        if let Command::Resolved(resolved) = command {
            // A refusal is what some tests are about.
            let _ = api.handle.resolve(resolved).await;
        }
    }
}

fn is_cut(api: &Api, address: &str) -> bool {
    api.fake.rule("10.0.0.7", address, 443, Now::read().boot_ns).is_some()
}

#[tokio::test]
async fn an_uploaded_name_is_cut_where_dns_says_it_is() {
    let api = Api::new();
    let mut engine = Engine::new(netd_engine::config::Config::default());
    api.put_list("corp", "||evil.example^\n").await;

    look_up(&api, &mut engine, "c2.evil.example", [8, 8, 4, 4]).await;
    look_up(&api, &mut engine, "good.example", [8, 8, 4, 5]).await;

    assert!(is_cut(&api, "8.8.4.4") && !is_cut(&api, "8.8.4.5"));
    let verdict = api.get("/api/v1/verdicts").await.json()["items"][0].take();
    assert_eq!(
        (&verdict["origin"], &verdict["list"], &verdict["name"]),
        (&"list".into(), &"corp".into(), &".evil.example".into())
    );
    let explained = api.get("/api/v1/explain?ip=8.8.4.4").await.json();
    assert_eq!(explained["lists"][0]["reason"], "c2.evil.example has this address");

    api.send(Method::DELETE, "/api/v1/blocklists/corp", &[], "").await;
    assert!(!is_cut(&api, "8.8.4.4"));
}

#[tokio::test]
async fn an_address_that_others_have_too_is_not_cut_and_counted() {
    let api = Api::new();
    let mut engine = Engine::new(netd_engine::config::Config::default());
    api.put_list("corp", "evil.example\n").await;
    for name in ["one.com", "two.com", "three.com", "four.com"] {
        look_up(&api, &mut engine, name, [8, 8, 4, 4]).await;
    }

    look_up(&api, &mut engine, "evil.example", [8, 8, 4, 4]).await;

    assert!(!is_cut(&api, "8.8.4.4"));
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("netd_name_answers_total{result=\"shared\"} 1"), "{metrics}");
}

#[tokio::test]
async fn an_allow_listed_name_passes_though_its_address_is_listed() {
    let api = Api::new();
    let mut engine = Engine::new(netd_engine::config::Config::default());
    api.put_list("corp", "8.8.4.4\n").await;
    api.post("/api/v1/allowlists/ours/entries", r#"{"value":".good.example"}"#).await;
    assert!(is_cut(&api, "8.8.4.4"));

    look_up(&api, &mut engine, "www.good.example", [8, 8, 4, 4]).await;

    assert!(!is_cut(&api, "8.8.4.4"));
    api.send(Method::DELETE, "/api/v1/allowlists/ours", &[], "").await;
    assert!(is_cut(&api, "8.8.4.4"));
}
