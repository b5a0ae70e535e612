use super::*;
use crate::opening::quic::tests::example;
use crate::opening::tls::hello::tests::{client_hello, hello, records};
use crate::opening::{Facts, ShellSign};
use crate::slab::Slab;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ORIGINATOR: Direction = Direction::AToB;
const RESPONDER: Direction = Direction::BToA;

/// One conversation and what is heard of it.
struct World {
    openings: Openings,
    handle: Handle,
    ip_protocol: u8,
    port: u16,
    is_known: bool,
}

impl World {
    fn new(ip_protocol: u8, port: u16) -> Self {
        let handle = Slab::new().insert(());
        Self { openings: Openings::new(), handle, ip_protocol, port, is_known: false }
    }

    fn hear(&mut self, direction: Direction, seq: Option<u32>, bytes: &[u8]) -> Option<Heard> {
        let data = FirstData {
            direction,
            originator: ORIGINATOR,
            ip_protocol: self.ip_protocol,
            responder_port: self.port,
            seq,
            bytes,
            at_ns: 0,
        };
        let heard = self.openings.hear(self.handle, self.is_known, &data);
        self.is_known |= heard.is_some();
        heard
    }

    fn opening(&mut self, direction: Direction, bytes: &[u8]) -> Opening {
        (*self.hear(direction, None, bytes).unwrap().opening).clone()
    }
}

fn tcp() -> World {
    World::new(TCP, 4_444)
}

#[test]
fn a_hello_over_several_segments_is_awaited_and_read_in_any_order() {
    let bytes = client_hello(Some("split.example.org"));
    let mut world = tcp();

    let last = world.hear(ORIGINATOR, Some(1_060), &bytes[60..]).unwrap();
    assert_eq!(last.opening.name, None);
    let first = world.hear(ORIGINATOR, Some(1_000), &bytes[..40]).unwrap();
    assert!(first.awaits_name);
    let middle = world.hear(ORIGINATOR, Some(1_040), &bytes[40..60]).unwrap();

    assert!(!middle.awaits_name);
    assert_eq!(middle.opening.name.as_deref(), Some("split.example.org"));
    assert!(!middle.opening.facts.has(Facts::BINARY) && !middle.opening.facts.has(Facts::TLS_CUT));
    assert!(middle.opening.ja4.is_some());
}

#[test]
fn a_hello_whose_rest_never_comes_is_not_awaited_forever() {
    let bytes = client_hello(None);
    let mut world = tcp();
    world.hear(ORIGINATOR, Some(0), &bytes[..20]).unwrap();
    world.hear(ORIGINATOR, Some(0), &bytes[..20]).unwrap();

    let third = world.hear(ORIGINATOR, Some(0), &bytes[..20]).unwrap();

    assert!(!third.awaits_name);
    assert!(third.opening.facts.has(Facts::TLS_CUT));
}

#[test]
fn a_hello_in_quic_is_read_and_ends_the_hearing() {
    let mut world = World::new(UDP, 443);

    let opening = world.opening(ORIGINATOR, &example());

    assert_eq!((opening.protocol, opening.name.as_deref()), (Protocol::Quic, Some("example.com")));
    assert!(world.openings.pending.is_empty() && world.openings.bytes == 0);
}

#[test]
fn the_servers_certificate_is_read_after_the_clients_hello() {
    let mut world = tcp();
    world.hear(ORIGINATOR, None, &client_hello(Some("example.org"))).unwrap();

    let answer = world.opening(RESPONDER, &records(2, &[3, 3], 100));

    assert_eq!((answer.protocol, answer.name.as_deref()), (Protocol::Tls, Some("example.org")));
    assert!(!answer.facts.has(Facts::SELF_SIGNED));
    assert_eq!(world.openings.pending.len(), 1, "its certificate may be in the next segment");
}

#[test]
fn a_server_that_speaks_first_names_the_protocol() {
    let mut world = tcp();

    let greeting = world.opening(RESPONDER, b"220 mail.example.org ESMTP Postfix\r\n");

    assert_eq!(greeting.protocol, Protocol::Smtp);
}

#[test]
fn an_ambiguous_greeting_is_settled_by_the_client() {
    let mut world = tcp();
    assert_eq!(world.opening(RESPONDER, b"220 ready\r\n").protocol, Protocol::Text);

    assert_eq!(world.opening(ORIGINATOR, b"EHLO bee\r\n").protocol, Protocol::Smtp);
}

#[test]
fn a_shell_that_calls_home_is_known_by_its_prompt_and_by_its_first_command() {
    let mut world = tcp();
    assert_eq!(world.opening(RESPONDER, b"id\n").shell_sign, Some(ShellSign::Command));

    let output = world.opening(ORIGINATOR, b"uid=33(www-data) gid=33(www-data)\n$ ");

    assert_eq!(output.shell_sign, Some(ShellSign::Banner));
    assert!(output.facts.has(Facts::TEXT));
}

#[test]
fn a_banner_in_a_later_record_is_still_heard() {
    let mut world = tcp();
    world.hear(ORIGINATOR, None, b"hello\n").unwrap();

    let second = world.opening(ORIGINATOR, b"bash: no job control in this shell\nbash-5.2$ ");

    assert_eq!(second.shell_sign, Some(ShellSign::Banner));
}

#[test]
fn words_of_a_known_protocol_are_no_shell() {
    let mut world = tcp();
    world.hear(RESPONDER, None, b"id\n").unwrap();

    assert_eq!(world.opening(ORIGINATOR, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").shell_sign, None);
}

#[test]
fn what_is_not_ntp_on_its_port_is_noted() {
    let mut client = [0; 48];
    client[0] = 0x23;
    let ntp = World::new(UDP, 123).opening(ORIGINATOR, &client);
    assert_eq!((ntp.protocol, ntp.ntp_mode), (Protocol::Ntp, Some(3)));
    assert!(!ntp.facts.has(Facts::NOT_NTP));

    let tunnel = World::new(UDP, 123).opening(ORIGINATOR, b"exfiltrated bytes");
    assert!(tunnel.facts.has(Facts::NOT_NTP));
}

#[test]
fn after_three_records_nothing_changes() {
    let mut world = tcp();
    for _ in 0..3 {
        world.hear(ORIGINATOR, None, &[0x80; 20]).unwrap();
        world.hear(RESPONDER, None, &[0x80; 20]).unwrap();
    }

    assert!(world.hear(ORIGINATOR, None, b"sh-5.1$ ").is_none());
    assert!(world.openings.pending.is_empty() && world.openings.bytes == 0);
}

#[test]
fn memory_is_bounded_and_what_it_costs_is_counted() {
    let mut slab = Slab::new();
    let mut openings = Openings::with_room(20_000);
    let bytes = hello(None, &[]);
    for _ in 0..100 {
        let data = FirstData {
            direction: ORIGINATOR,
            originator: ORIGINATOR,
            ip_protocol: TCP,
            responder_port: 443,
            seq: None,
            bytes: &bytes,
            at_ns: 0,
        };
        openings.hear(slab.insert(()), false, &data).unwrap();
    }

    assert!(openings.bytes <= 20_000 + OVERHEAD + 200, "{}", openings.bytes);
    assert_eq!(openings.cut + openings.pending.len() as u64, 100);
    assert!(openings.cut > 0);
}

#[test]
fn what_is_waited_for_too_long_is_given_up_without_being_counted() {
    let mut slab = Slab::new();
    let mut openings = Openings::new();
    for second in 0..100 {
        let data = FirstData {
            direction: ORIGINATOR,
            originator: ORIGINATOR,
            ip_protocol: TCP,
            responder_port: 443,
            seq: None,
            bytes: &[0x80; 9],
            at_ns: second * 1_000_000_000,
        };
        openings.hear(slab.insert(()), false, &data).unwrap();
    }

    assert!(openings.pending.len() <= 31);
    assert_eq!(openings.cut, 0);
}

#[test]
fn equal_openings_are_kept_once() {
    let mut slab = Slab::new();
    let mut openings = Openings::new();
    let mut hear = || {
        let data = FirstData {
            direction: ORIGINATOR,
            originator: ORIGINATOR,
            ip_protocol: TCP,
            responder_port: 80,
            seq: None,
            bytes: b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n",
            at_ns: 0,
        };
        openings.hear(slab.insert(()), false, &data).unwrap().opening
    };

    assert!(Arc::ptr_eq(&hear(), &hear()));
}
