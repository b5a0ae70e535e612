//! Whose a conversation is, at both ends.

use netd_common::record::{FlowEvent, FlowRecord, Owner, SocketEvent, SocketRecord};
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
    config.networks.own = vec![std::net::IpAddr::from([10, 0, 0, 7]).into()];
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
    world.engine.observe_bound(&key, &Owner { tgid: 90, ..Owner::default() });

    assert_eq!(ends(&mut world, &flow, 0), (Some(90), None));
}

#[test]
fn a_port_of_this_host_names_nobody_for_a_flow_that_passes_through() {
    let mut world = world();
    let flow = Flow::new("10.0.0.99:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_bound(&key, &Owner { tgid: 90, ..Owner::default() });

    assert_eq!(ends(&mut world, &flow, 0), (None, None));
}

#[test]
fn a_port_that_was_released_is_nobodys() {
    let mut world = world();
    let flow = Flow::new("10.0.0.7:5353", "198.51.100.9:53", UDP, 1.0);
    let key = netd_common::key::FlowKey { src_port: 5353_u16.to_be_bytes(), proto: UDP, ..Default::default() };
    world.engine.observe_bound(&key, &Owner { tgid: 90, ..Owner::default() });
    world.engine.observe_released(&key);

    assert_eq!(ends(&mut world, &flow, 0), (None, None));
}
