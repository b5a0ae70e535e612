//! Protocols where they are not at home.

use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};

use super::support::{Talk, World};

fn opening(originator: &str, responder: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, originator, responder);
    talk.say(&mut world, true, bytes);
    talk.close(&mut world);
    strangers(&mut world)
}

fn strangers(world: &mut World) -> Vec<Finding> {
    world.findings().into_iter().filter(|finding| finding.detector == "protocol_port").collect()
}

#[test]
fn ssh_and_clear_text_on_443_are_low_findings() {
    for bytes in [&b"SSH-2.0-OpenSSH_9.6\r\n"[..], b"hello from far away\n"] {
        let findings = opening("10.0.0.7:50000", "198.51.100.9:443", bytes);

        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Low);
        assert!(!findings[0].block);
        assert_eq!(findings[0].attack[0], "T1571");
    }
}

#[test]
fn at_home_or_inside_they_are_none() {
    assert!(opening("10.0.0.7:50000", "198.51.100.9:22", b"SSH-2.0-OpenSSH_9.6\r\n").is_empty());
    assert!(opening("10.0.0.7:50000", "10.0.0.9:443", b"SSH-2.0-OpenSSH_9.6\r\n").is_empty(), "inside");
    assert!(opening("198.51.100.9:50000", "10.0.0.7:443", b"SSH-2.0-OpenSSH_9.6\r\n").is_empty(), "from outside");
}

#[test]
fn the_web_on_an_odd_port_takes_more_to_be_found() {
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

    assert!(opening("10.0.0.7:50000", "198.51.100.9:8181", request).is_empty());
}

#[test]
fn what_many_hosts_use_is_ordinary() {
    let mut world = World::new(Config::default());
    for n in 1..=20 {
        let mut talk = Talk::open(&mut world, &format!("10.0.0.{n}:50000"), "198.51.100.9:443");
        talk.say(&mut world, true, b"SSH-2.0-OpenSSH_9.6\r\n");
        talk.close(&mut world);
    }

    assert_eq!(strangers(&mut world).len(), 1, "only of the first, when nobody else was known to use it");
}
