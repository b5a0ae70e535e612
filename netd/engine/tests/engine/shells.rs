//! Interactive reverse shells: which sessions are found, and what looks alike and is not.

use crate::support::process;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};
use netd_engine::process::Provenance;

use super::names::tell;
use super::support::{Talk, World, ns};

const HOST: &str = "10.0.0.7:50000";
const HANDLER: &str = "198.51.100.9:4444";

/// What it is, whom it is with, the first bytes of each side, the exchanges.
type Session<'a> = (&'a str, &'a str, Vec<(bool, &'a [u8])>, Vec<(bool, u64, u64)>);

/// Commands and their output, led by the side that accepted.
const COMMANDS: [(bool, u64, u64); 8] = [
    (false, 3, 54),
    (false, 7, 33),
    (false, 9, 310),
    (false, 16, 1_900),
    (false, 4, 21),
    (false, 12, 640),
    (false, 24, 75),
    (false, 5, 18),
];

/// A ClientHello of TLS 1.2 with these extensions.
fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

fn server_name(name: &str) -> Vec<u8> {
    let len = name.len() as u16;
    let mut extension = vec![0, 0];
    extension.extend((len + 5).to_be_bytes());
    extension.extend((len + 3).to_be_bytes());
    extension.push(0);
    extension.extend(len.to_be_bytes());
    extension.extend(name.as_bytes());
    extension
}

fn shells(world: &mut World) -> Vec<Finding> {
    world.findings().into_iter().filter(|finding| finding.detector == "reverse_shell").collect()
}

/// A session that begins with these first bytes of both sides, then goes on as typed.
fn session(responder: &str, greeting: &[(bool, &[u8])], exchanges: &[(bool, u64, u64)]) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HOST, responder);
    for (by_originator, bytes) in greeting {
        talk.say(&mut world, *by_originator, bytes);
    }
    talk.typed(&mut world, exchanges);
    talk.close(&mut world);
    shells(&mut world)
}

#[test]
fn a_shell_that_greets_with_a_prompt_is_found_and_explained() {
    let findings = session(HANDLER, &[(true, b"sh: no job control in this shell\nsh-5.1$ ")], &COMMANDS);

    let last = findings.last().unwrap();
    assert_eq!(last.severity, Severity::High);
    assert!(!last.block, "content alone is one kind of evidence");
    assert!(last.attack.contains(&"T1059"));
    for evidence in ["shell_prompt", "responder_leads", "small_requests", "uploads", "suspicious_port"] {
        assert!(last.reasons.iter().any(|reason| reason.evidence == evidence), "{evidence}");
    }
    assert!(findings.iter().all(|finding| finding.id == findings[0].id), "one incident");
}

#[test]
fn a_prompt_decides_even_a_short_session_but_not_for_high() {
    let findings = session(HANDLER, &[(true, b"$ ")], &COMMANDS[..1]);

    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.severity <= Severity::Medium));
}

#[test]
fn a_shell_without_a_prompt_is_found_by_its_first_command_and_its_shape() {
    let findings = session(HANDLER, &[(false, b"id\n")], &COMMANDS[..4]);

    assert!(findings.iter().any(|finding| finding.reasons.iter().any(|reason| reason.evidence == "command_text")));
}

#[test]
fn five_exchanges_of_a_person_suffice_whatever_the_bytes() {
    let findings = session("198.51.100.9:8443", &[], &COMMANDS[..6]);

    assert!(!findings.is_empty(), "no text was seen at all");
}

#[test]
fn a_shell_inside_tls_without_a_name_is_found() {
    let findings = session("198.51.100.9:443", &[(true, &client_hello(&[]))], &COMMANDS);

    let reasons = &findings.last().unwrap().reasons;
    assert!(reasons.iter().any(|reason| reason.evidence == "tls_without_name"));
}

#[test]
fn a_name_that_dns_never_gave_is_no_excuse() {
    let found = |gives_address: bool| {
        let mut world = World::new(Config::default());
        for n in 0..10 {
            let address = if gives_address { [198, 51, 100, 9] } else { [203, 0, 113, n] };
            tell(&mut world, "10.0.0.7", "push.example.org", address, 0.0);
        }
        let mut talk = Talk::open(&mut world, HOST, "198.51.100.9:443");
        talk.say(&mut world, true, &client_hello(&server_name("push.example.org")));
        talk.typed(&mut world, &COMMANDS);
        talk.close(&mut world);
        !shells(&mut world).is_empty()
    };

    assert!(found(false), "claimed only");
    assert!(!found(true), "resolved: looks like a push channel");
}

#[test]
fn a_shell_of_a_suspect_process_is_fit_for_a_block() {
    let mut world = World::new(Config::default());
    let provenance = Provenance { is_memory: true, ..Provenance::default() };
    world.engine.observe_process(process(77, None), provenance);
    let mut socket = netd_common::record::SocketRecord::default();
    socket.header.time_ns = ns(0.0);
    socket.cookie = 9;
    socket.owner.tgid = 77;
    socket.event = netd_common::record::SocketEvent::Open as u8;
    world.engine.observe_socket(&socket);
    let mut talk = Talk::open_as(&mut world, HOST, HANDLER, 9);
    talk.say(&mut world, true, b"$ ");
    talk.typed(&mut world, &COMMANDS);
    talk.close(&mut world);

    let findings = shells(&mut world);

    let last = findings.last().unwrap();
    assert!(last.block && last.severity >= Severity::High);
    assert_eq!(last.process.as_ref().unwrap().id.pid, 77);
}

#[test]
fn a_machine_that_asks_on_a_timer_is_no_person() {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HOST, "198.51.100.9:8443");
    talk.exchanges(&mut world, &[(false, 40, 200); 40], |n| 30.0 + 0.2 * (n % 3) as f64);
    talk.close(&mut world);

    assert!(shells(&mut world).is_empty());
}

/// Who leads, how much, which way: sessions of ordinary services, each at a person's pace.
#[test]
fn ordinary_sessions_are_no_shells() {
    let named = client_hello(&server_name("gateway.example.org"));
    let mqtt: &[u8] = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd";
    let websocket: &[u8] = b"GET /socket HTTP/1.1\r\nHost: chat.example.org\r\nUpgrade: websocket\r\n\r\n";
    let ssh: (&[u8], &[u8]) = (b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-OpenSSH_9.2\r\n");
    let cases: [Session<'_>; 17] = [
        (
            "forward SSH",
            "203.0.113.5:22",
            vec![(true, ssh.0), (false, ssh.1)],
            cycle(&[(true, 36, 180), (true, 36, 900), (false, 52, 0)]),
        ),
        ("reverse output of SSH", "203.0.113.5:22", vec![(true, ssh.0), (false, ssh.1)], cycle(&[(false, 100, 36)])),
        ("telnet", "203.0.113.5:23", vec![(false, b"\xff\xfd\x18login: ")], cycle(&[(true, 3, 40), (false, 210, 3)])),
        (
            "IRC",
            "203.0.113.5:6667",
            vec![(true, b"NICK me\r\nUSER me 0 * :me\r\n")],
            cycle(&[(false, 90, 0), (false, 24, 24), (true, 40, 0)]),
        ),
        (
            "remote desktop",
            "203.0.113.5:3389",
            vec![(true, b"\x03\x00\x00\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0")],
            cycle(&[(false, 2_400, 60), (true, 40, 9_000)]),
        ),
        ("push channel", "203.0.113.5:443", vec![(true, &named)], cycle(&[(false, 620, 40)])),
        ("small pushes with receipts", "203.0.113.5:443", vec![(true, &named)], cycle(&[(false, 60, 90)])),
        ("Google push", "203.0.113.5:5228", vec![(true, &named)], cycle(&[(false, 60, 90)])),
        (
            "MQTT commands",
            "203.0.113.5:1883",
            vec![(true, mqtt)],
            cycle(&[(false, 30, 80), (false, 28, 120), (true, 2, 2)]),
        ),
        ("RPC over WebSocket", "203.0.113.5:8080", vec![(true, websocket)], cycle(&[(false, 70, 300)])),
        (
            "database client",
            "203.0.113.5:5432",
            vec![(true, b"\0\0\0\x08\x04\xd2\x16\x2f")],
            cycle(&[(true, 90, 1_200)]),
        ),
        (
            "database replica",
            "203.0.113.5:5432",
            vec![(true, b"\0\0\0\x08\x04\xd2\x16\x2f")],
            cycle(&[(false, 4_000, 39)]),
        ),
        ("video call", "203.0.113.5:443", vec![(true, &named)], cycle(&[(false, 700, 200), (true, 300, 500)])),
        ("FTP control", "203.0.113.5:21", vec![(false, b"220 ready\r\n")], cycle(&[(true, 16, 40)])),
        ("SMTP", "203.0.113.5:25", vec![(false, b"220 mail ESMTP\r\n")], cycle(&[(true, 30, 20)])),
        ("SIP", "203.0.113.5:5060", vec![(true, b"REGISTER sip:a SIP/2.0\r\n")], cycle(&[(false, 420, 380)])),
        (
            "peer to peer",
            "203.0.113.5:8333",
            vec![(true, b"\xf9\xbe\xb4\xd9version\0")],
            cycle(&[(false, 61, 61), (false, 55, 0), (true, 61, 9_000)]),
        ),
    ];

    for (what, responder, greeting, exchanges) in cases {
        assert_eq!(session(responder, &greeting, &exchanges), Vec::new(), "{what}");
    }
}

#[test]
fn a_service_that_others_reach_here_is_none() {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, "198.51.100.9:50000", "10.0.0.7:23");
    talk.say(&mut world, true, b"$ ");
    talk.typed(&mut world, &COMMANDS);
    talk.close(&mut world);

    assert!(shells(&mut world).is_empty());
}

#[test]
fn a_polled_agent_inside_is_none() {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HOST, "10.0.0.9:10050");
    talk.typed(&mut world, &cycle(&[(false, 30, 90)]));
    talk.close(&mut world);

    assert!(shells(&mut world).is_empty());
}

fn cycle(exchanges: &[(bool, u64, u64)]) -> Vec<(bool, u64, u64)> {
    exchanges.iter().copied().cycle().take(18).collect()
}
