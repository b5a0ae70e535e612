//! Whose a conversation is, at both ends.

use netd_common::record::{FlowEvent, FlowRecord, SocketEvent, SocketRecord};
use netd_engine::config::Config;

use crate::support::{Flow, TCP, UDP, World, ns};

fn socket(event: SocketEvent, cookie: u64, tgid: u32) -> SocketRecord {
    let mut record = SocketRecord { cookie, event: event as u8, ..SocketRecord::default() };
    record.header.time_ns = ns(0.0);
    record.owner.tgid = tgid;
    record
}

fn world() -> World {
    let mut config = Config::default();
    config.flows.report = true;
    config.networks.own = vec!["10.0.0.7/32".parse().unwrap()];
    World::new(config)
}

/// Processes of a conversation from `originator` to `responder`.
fn ends(world: &mut World, flow: &Flow, cookie: u64) -> (Option<u32>, Option<u32>) {
    let begin = FlowRecord { cookie, ..flow.record(FlowEvent::Begin, 1.0) };
    world.engine.observe_flow(&begin);
    world.engine.finish();
    let ended = world.ended().remove(0);
    (ended.process.map(|process| process.id.pid), ended.responder_process.map(|process| process.id.pid))
}

#[test]
fn a_flow_between_two_processes_of_this_host_has_both() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:40000", "10.0.0.7:8080", TCP, 1.0);
    world.engine.observe_socket(&socket(SocketEvent::Open, 5, 70));
    let mut listen = socket(SocketEvent::Listen, 6, 80);
    listen.key = netd_common::key::FlowKey { src_port: 8080_u16.to_be_bytes(), proto: TCP, ..listen.key };
    world.engine.observe_socket(&listen);

    assert_eq!(ends(&mut world, &flow, 5), (Some(70), Some(80)));
}

#[test]
fn datagrams_without_a_cookie_belong_to_whoever_bound_the_port() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_socket(&SocketRecord { key, ..socket(SocketEvent::Bound, 0, 90) });

    assert_eq!(ends(&mut world, &flow, 0), (Some(90), None));
}

#[test]
fn a_port_of_this_host_names_nobody_for_a_flow_that_passes_through() {
    let mut world = world();
    let flow = Flow::new("10.0.0.99:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_socket(&SocketRecord { key, ..socket(SocketEvent::Bound, 0, 90) });

    assert_eq!(ends(&mut world, &flow, 0), (None, None));
}

#[test]
fn a_port_that_was_released_is_nobodys() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_socket(&SocketRecord { key, ..socket(SocketEvent::Bound, 0, 90) });
    world.engine.observe_socket(&SocketRecord { key, ..socket(SocketEvent::Released, 0, 90) });

    assert_eq!(ends(&mut world, &flow, 0), (None, None));
}

fn key(src: &str, dst: &str) -> netd_common::key::FlowKey {
    let [src, dst] = [src, dst].map(|end| end.parse::<std::net::SocketAddr>().unwrap());
    netd_common::key::FlowKey {
        src: src.ip().into(),
        dst: dst.ip().into(),
        src_port: src.port().to_be_bytes(),
        dst_port: dst.port().to_be_bytes(),
        proto: TCP,
        pad: [0; 3],
    }
}

fn process(pid: u32, exe: &str) -> std::sync::Arc<netd_engine::process::Process> {
    let id = netd_engine::process::ProcessId { pid, start_ticks: 0 };
    std::sync::Arc::new(netd_engine::process::Process { id, exe: Some(exe.to_owned()), ..Default::default() })
}

#[test]
fn the_ends_of_a_conversation_on_this_host_are_both_known_whatever_record_comes_first() {
    for events in [[SocketEvent::Connected, SocketEvent::AcceptedBy], [SocketEvent::AcceptedBy, SocketEvent::Connected]]
    {
        let mut world = world();
        let flow = Flow::new("10.0.0.7:40000", "198.51.100.9:80", TCP, 1.0);
        for event in events {
            let is_own = event == SocketEvent::Connected;
            let (cookie, pid) = if is_own { (5, 70) } else { (6, 80) };
            let own = key("10.0.0.7:40000", "198.51.100.9:80");
            let key = if is_own { own } else { own.reversed() };
            world.engine.observe_socket(&SocketRecord { key, ..socket(event, cookie, pid) });
        }

        assert_eq!(ends(&mut world, &flow, 6), (Some(70), Some(80)));
    }
}

#[test]
fn a_socket_corrects_what_its_port_told() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_socket(&SocketRecord { key, ..socket(SocketEvent::Bound, 0, 90) });
    world.engine.observe_flow(&FlowRecord { cookie: 7, ..flow.record(FlowEvent::Begin, 1.0) });
    world.engine.observe_socket(&socket(SocketEvent::Open, 7, 91));

    assert_eq!(ends(&mut world, &flow, 7), (Some(91), None));
}

#[test]
fn what_is_found_out_of_a_process_after_its_packets_is_told_with_them() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:40000", "198.51.100.9:80", TCP, 1.0);
    world.engine.observe_socket(&SocketRecord {
        key: key("10.0.0.7:40000", "198.51.100.9:80"),
        ..socket(SocketEvent::Connected, 5, 70)
    });
    world.engine.observe_flow(&FlowRecord { cookie: 5, ..flow.record(FlowEvent::Begin, 1.0) });
    world.engine.observe_process(process(70, "/usr/bin/curl"), netd_engine::process::Provenance::default());

    let exe = |process: &netd_engine::process::Process| process.exe.clone();
    let alive = world.engine.conversations().next().and_then(|alive| alive.process);
    assert_eq!(alive.as_ref().and_then(exe).as_deref(), Some("/usr/bin/curl"));
    world.engine.finish();
    assert_eq!(world.ended().remove(0).process.as_ref().and_then(exe).as_deref(), Some("/usr/bin/curl"));
}
