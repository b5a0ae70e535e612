//! Whom conversations ask for, and what joins by name.

use netd_common::record::{FlowEvent, PayloadKind, PayloadRecord, state};
use netd_engine::config::Config;
use netd_engine::engine::Question;
use netd_engine::flow::NameSource;

use netd_engine::lookup::Lookup;
use netd_engine::{Command, Engine};

use super::support::{Flow, TCP, UDP, World, check_ins, ip, people};

/// A response that says `name` has `address` for a minute.
fn answer(name: &str, address: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    bytes.extend(address);
    bytes
}

pub(crate) fn tell(world: &mut World, client: &str, name: &str, address: [u8; 4], at_s: f64) {
    let mut flow = Flow::new(&format!("{client}:5353"), "9.9.9.9:53", UDP, at_s);
    let bytes = answer(name, address);
    world.engine.observe_payload(&flow.payload_record(false, PayloadKind::Dns, bytes.len(), at_s), &bytes);
    flow.carry(40, bytes.len() as u64);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
}

fn request(world: &mut World, originator: &str, responder: &str, host: &str, at_s: f64) {
    let mut flow = Flow::new(originator, responder, TCP, at_s);
    let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, at_s));
    world.engine.observe_turn(&flow.turn(true, 300, at_s + 0.05));
    let record = flow.payload_record(true, PayloadKind::FirstData, bytes.len(), at_s + 0.05);
    world.engine.observe_payload(&record, &bytes);
    flow.carry(300, 200);
    flow.state |= state::ENDED;
    world.engine.observe_flow(&flow.record(FlowEvent::End, at_s + 0.2));
}

#[test]
fn a_dns_answer_names_later_flows_of_the_client_that_asked() {
    let mut world = World::with_flows();
    tell(&mut world, "10.0.0.7", "c2.example.org", [198, 51, 100, 9], 0.0);
    world.connection("10.0.0.7:40000", "198.51.100.9:443", 1.0, 300, 200);
    world.connection("10.0.0.8:40000", "198.51.100.9:443", 1.0, 300, 200);
    world.engine.finish();

    let ended = world.ended();
    let name = |originator: &str| {
        let flow = ended.iter().find(|flow| flow.originator.to_string() == originator && flow.responder_port == 443);
        flow.unwrap().name.clone()
    };

    assert_eq!(name("10.0.0.7").as_deref(), Some("c2.example.org"));
    assert_eq!(name("10.0.0.8"), None);
}

#[test]
fn what_a_connection_asks_for_is_better_than_what_dns_said() {
    let mut world = World::with_flows();
    tell(&mut world, "10.0.0.7", "cdn.example.org", [198, 51, 100, 9], 0.0);
    request(&mut world, "10.0.0.7:40000", "198.51.100.9:80", "www.example.org", 1.0);
    world.engine.finish();

    let ended = world.ended();
    let flow = ended.iter().find(|flow| flow.responder_port == 80).unwrap();

    assert_eq!((flow.name.as_deref(), flow.name_source), (Some("www.example.org"), NameSource::Host));
}

/// Check-ins by one name at twenty addresses.
pub(crate) fn rotating(world: &mut World, count: u32) {
    for (n, at_s) in check_ins(count, 60.0, 0.1).enumerate() {
        let responder = format!("198.51.100.{}:80", 10 + n % 20);
        request(world, &format!("10.0.0.7:{}", 40_000 + n), &responder, "c2.example.org", at_s);
    }
}

#[test]
fn rotating_addresses_behind_one_name_are_one_finding() {
    let mut world = World::new(Config::default());
    rotating(&mut world, 60);

    let findings = world.findings();

    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.id == 1 && finding.name.as_deref() == Some("c2.example.org")));
}

#[test]
fn a_beacon_with_a_name_and_one_address_is_one_finding() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(200, 60.0, 0.1).enumerate() {
        request(&mut world, &format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:80", "c2.example.org", at_s);
    }

    let findings = world.findings();

    assert!(findings.iter().all(|finding| finding.id == 1));
}

#[test]
fn a_beacon_behind_a_shared_address_is_found_by_its_name() {
    let mut world = World::new(Config::default());
    let mut turns: Vec<(f64, &str)> = check_ins(60, 60.0, 0.1).map(|at_s| (at_s, "c2.example.org")).collect();
    turns.extend(people(90, 1.5).map(|at_s| (at_s, "news.example.net")));
    turns.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (n, (at_s, host)) in turns.into_iter().enumerate() {
        request(&mut world, &format!("10.0.0.7:{}", 30_000 + n), "198.51.100.9:80", host, at_s);
    }

    let findings = world.findings();

    assert!(findings.iter().any(|finding| finding.name.as_deref() == Some("c2.example.org")));
    assert!(findings.iter().all(|finding| finding.name.as_deref() != Some("news.example.net")));
}

#[test]
fn a_flow_shows_the_protocol_that_its_first_bytes_speak() {
    let mut world = World::with_flows();
    request(&mut world, "10.0.0.7:40000", "198.51.100.9:8080", "a.example.org", 0.0);
    let mut flow = Flow::new("10.0.0.7:40001", "198.51.100.9:443", TCP, 1.0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 1.0));
    let greeting = b"SSH-2.0-OpenSSH_9.6\r\n";
    let record = flow.payload_record(false, PayloadKind::FirstData, greeting.len(), 1.1);
    world.engine.observe_payload(&record, greeting);
    flow.carry(300, 200);
    world.engine.observe_flow(&flow.record(FlowEvent::Active, 2.0));
    world.engine.finish();

    let mut services: Vec<_> =
        world.ended().iter().map(|flow| (flow.responder_port, flow.service.map(|service| service.name()))).collect();
    services.sort_unstable();

    assert_eq!(services, [(443, Some("ssh")), (8080, Some("http"))]);
}

#[test]
fn a_name_that_comes_with_the_second_segment_names_its_flow() {
    let mut world = World::with_flows();
    for (second, client) in check_ins(30, 60.0, 0.05).zip(40_000..) {
        let mut flow = Flow::new(&format!("10.0.0.7:{client}"), "198.51.100.9:80", TCP, second);
        let head = b"GET / HTTP/1.1\r\nAccept: */*\r\nHost: late.example.org\r\n\r\n";
        world.engine.observe_flow(&flow.record(FlowEvent::Begin, second));
        world.engine.observe_turn(&flow.turn(true, 300, second + 0.05));
        for (seq, part) in [(1_000, &head[..20]), (1_020, &head[20..])] {
            let record = flow.payload_record(true, PayloadKind::FirstData, part.len(), second + 0.05);
            let record = PayloadRecord { seq, ..record };
            world.engine.observe_payload(&record, part);
        }
        flow.carry(300, 200);
        flow.state |= state::ENDED;
        world.engine.observe_flow(&flow.record(FlowEvent::End, second + 0.2));
    }
    world.engine.finish();

    let ended = world.ended();
    assert!(ended.iter().all(|flow| flow.name.as_deref() == Some("late.example.org")));
    assert_eq!(world.engine.counts().histories, 2, "one pair and one name");
}

/// A service on six addresses, polled each minute at every one, is not six reasons to call another timer a mesh.
#[test]
fn the_addresses_of_one_domain_are_one_destination_at_the_same_interval() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(30, 60.0, 0.0).enumerate() {
        let port = |service: usize| format!("10.0.0.7:{}", 20_000 + 10 * n + service);
        for service in 0..6 {
            let address = format!("203.0.113.{}:80", 10 + service);
            request(
                &mut world,
                &port(service),
                &address,
                &format!("eu{service}.agent.example.org"),
                at_s + service as f64,
            );
        }
        request(&mut world, &port(9), "198.51.100.9:80", "c2.example.net", at_s + 9.0);
    }

    let told = world.engine.explain(&Question::Address(ip("198.51.100.9"))).followed;

    let reasons = told.iter().filter_map(|followed| followed.would_be.as_ref()).flat_map(|finding| &finding.reasons);
    let reasons: Vec<_> = reasons.map(|reason| reason.evidence).collect();
    assert!(reasons.contains(&"interval_regularity") && !reasons.contains(&"same_interval_to_many"), "{reasons:?}");
}

fn lookups(engine: &mut Engine) -> Vec<Lookup> {
    let commands = std::iter::from_fn(|| engine.poll_command());
    commands.filter_map(|command| if let Command::Lookup(lookup) = command { Some(*lookup) } else { None }).collect()
}

fn told() -> World {
    let mut config = Config::default();
    config.flows.report = true;
    config.dns.lookups_per_s = 100;
    World::new(config)
}

/// Slots know their birth to a millisecond; logs find a look-up's flow by its start.
#[test]
fn a_look_up_has_the_start_of_its_flow_however_coarse_later_records_are() {
    let mut world = told();
    let mut flow = Flow::new("10.0.0.7:40000", "9.9.9.9:53", UDP, 5.0042);
    flow.carry(30, 0);
    world.engine.observe_flow(&flow.record(FlowEvent::Begin, 5.0042));
    let query = [
        &answer("a.example.org", [0; 4])[..2],
        &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &answer("a.example.org", [0; 4])[12..31],
    ]
    .concat();
    world.engine.observe_payload(&flow.payload_record(true, PayloadKind::Dns, query.len(), 5.0042), &query);
    let reply = answer("a.example.org", [198, 51, 100, 9]);
    world.engine.observe_payload(&flow.payload_record(false, PayloadKind::Dns, reply.len(), 5.02), &reply);
    flow.first_s = 5.0;
    flow.carry(0, 60);
    world.engine.observe_flow(&flow.record(FlowEvent::Active, 5.1));

    let told = lookups(&mut world.engine);
    world.engine.finish();
    let ended = world.ended();

    assert_eq!((told.len(), ended.len()), (1, 1));
    assert_eq!(told[0].carrier.start, ended[0].start);
    assert_eq!(told[0].carrier.community_id, ended[0].community_id);
    let reply = told[0].reply.as_ref().unwrap();
    assert_eq!(reply.records[0].data.as_deref(), Some("198.51.100.9"));
    assert_eq!(told[0].round_trip_ns().map(|ns| ns / 1_000_000), Some(15));
}

#[test]
fn nobody_is_told_of_look_ups_who_does_not_ask() {
    let mut world = World::with_flows();
    tell(&mut world, "10.0.0.7", "c2.example.org", [198, 51, 100, 9], 0.0);
    world.engine.finish();

    assert!(lookups(&mut world.engine).is_empty());
}

#[test]
fn an_answer_without_its_question_is_told_alone_and_a_flood_is_counted() {
    let mut world = told();
    for _ in 0..1_500 {
        tell(&mut world, "10.0.0.7", "c2.example.org", [198, 51, 100, 9], 0.0);
    }

    let told = lookups(&mut world.engine);

    assert!(told.iter().all(|lookup| lookup.asked.is_none() && lookup.reply.is_some()));
    assert_eq!((told.len(), world.engine.counts().lookups_untold), (1_000, 500));
}
