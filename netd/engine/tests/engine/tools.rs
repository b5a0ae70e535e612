//! Tunnel and remote-access tools: asked about, never blocked.

use netd_common::record::FlowEvent;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};

use super::support::{Flow, Talk, UDP, World};

const HOST: &str = "10.0.0.7:50000";

fn tools(world: &mut World) -> Vec<Finding> {
    world.findings().into_iter().filter(|finding| finding.detector == "tunnel_tool").collect()
}

fn opening(responder: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HOST, responder);
    talk.say(&mut world, true, bytes);
    talk.close(&mut world);
    tools(&mut world)
}

fn request(host: &str, protocol: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n").into()
}

#[test]
fn a_tool_is_told_by_bytes_name_or_port() {
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("198.51.100.9:8080", request("a.example", "chisel-v3"), "chisel"),
        ("198.51.100.9:80", request("connect.ngrok-agent.com", "x"), "ngrok"),
        ("198.51.100.9:7000", vec![0x17, 0x16, 3, 1, 2, 0, 1], "frp"),
        ("198.51.100.9:1080", vec![5, 1, 0], "SOCKS"),
        ("198.51.100.9:5938", vec![0x17, 0x24, 0x0a, 0x20, 0, 0, 0, 0, 0, 0], "TeamViewer"),
        ("198.51.100.9:7844", vec![0xc3; 40], "Cloudflare Tunnel"),
    ];

    for (responder, bytes, tool) in cases {
        let findings = opening(responder, &bytes);

        assert_eq!(findings.len(), 1, "{tool}");
        assert!(findings[0].title.starts_with(tool), "{}", findings[0].title);
        assert!(!findings[0].block && findings[0].severity <= Severity::Medium);
    }
}

#[test]
fn ssh_inside_a_websocket_is_seen_in_the_first_frame() {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HOST, "198.51.100.9:8080");
    talk.say(&mut world, true, &request("a.example", "x"));
    talk.hear(&mut world, false, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    talk.hear(&mut world, false, b"\x82\x15SSH-2.0-OpenSSH_9.6\r\n");
    talk.close(&mut world);

    assert!(tools(&mut world)[0].title.starts_with("SSH inside WebSocket"));
}

#[test]
fn a_wireguard_handshake_is_known_by_its_lengths() {
    let mut world = World::new(Config::default());
    let mut flow = Flow::new(HOST, "198.51.100.9:443", UDP, 0.0);
    world.engine.observe_turn(&flow.turn(true, 148, 0.0));
    flow.carry(148, 92);
    world.engine.observe_turn(&flow.turn(true, 32, 25.0));

    assert!(tools(&mut world)[0].title.starts_with("WireGuard"));
}

#[test]
fn one_tool_of_one_host_is_one_incident() {
    let mut world = World::new(Config::default());
    for n in 0..20 {
        let mut talk =
            Talk::open(&mut world, &format!("10.0.0.7:{}", 50_000 + n), &format!("198.51.100.{}:5938", 1 + n));
        talk.say(&mut world, true, &[0x17, 0x24, 0x0a, 0x20, 0, 0, 0, 0, 0, 0]);
        talk.close(&mut world);
    }

    assert_eq!(tools(&mut world).len(), 1);
}

#[test]
fn a_tool_that_outsiders_reach_here_and_a_port_inside_are_none() {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, "198.51.100.9:50000", "10.0.0.7:1194");
    talk.say(&mut world, true, b"\0\x0e\x38\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0");
    talk.close(&mut world);
    let mut talk = Talk::open(&mut world, HOST, "10.0.0.9:5938");
    talk.say(&mut world, true, b"hello\n");
    talk.close(&mut world);
    world.connection(HOST, "10.0.0.8:7844", 900.0, 300, 200);

    assert!(tools(&mut world).is_empty());
}

#[test]
fn ordinary_web_traffic_is_none() {
    for host in ["www.example.org", "ngrok.com", "www.teamviewer.com"] {
        assert!(opening("203.0.113.5:80", &request(host, "graphql-ws")).is_empty(), "{host}");
    }
    let mut world = World::new(Config::default());
    let mut flow = Flow::new(HOST, "203.0.113.5:443", UDP, 0.0);
    flow.carry(1_200, 0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 0.0));

    assert!(tools(&mut world).is_empty());
}
