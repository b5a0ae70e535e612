//! Searches through everything that is followed.

use netd_common::key::FlowKey;
use netd_common::record::{SocketEvent, SocketRecord};
use netd_engine::Engine;
use netd_engine::config::Config;
use netd_engine::engine::Rhythms;

use super::support::{TCP, World, check_ins, ip, people};

/// Makes a search to its end; returns how many slices it took.
fn slices(search: &mut Rhythms, engine: &Engine) -> u32 {
    let mut slices = 1;
    while !search.step(engine) {
        slices += 1;
    }
    slices
}

#[test]
fn rhythms_are_told_strongest_first_those_below_the_threshold_too() {
    let mut world = World::new(Config::default());
    for (n, at_s) in check_ins(30, 60.0, 0.2).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 40_000 + n), "198.51.100.9:443", at_s, 300, 200);
    }
    for (n, at_s) in people(30, 2.0).enumerate() {
        world.connection(&format!("10.0.0.7:{}", 50_000 + n), "198.51.100.10:443", at_s + 2_000.0, 300, 200);
    }
    let raised = world.findings()[0].id;
    let mut rhythms = Rhythms::default();

    slices(&mut rhythms, &world.engine);

    let (found, followed) = rhythms.found();
    assert_eq!((found.len(), followed), (2, 2));
    assert!(found[0].is_finding && found[0].raised == Some(raised), "{found:?}");
    assert!(!found[1].is_finding && found[1].would_be.as_ref().is_some_and(|finding| finding.score < 0.5), "{found:?}");
    assert_eq!(found[1].pair.responder, ip("198.51.100.10"));
}

#[test]
fn a_search_through_many_is_made_in_slices_and_keeps_the_strongest() {
    let mut world = World::new(Config::default());
    for host in 0..3_000_u32 {
        let responder = format!("198.51.{}.{}:443", 100 + host / 250, 1 + host % 250);
        for turn in 0..3 {
            let at_s = f64::from(host) + f64::from(turn * (host % 7 + 1));
            world.connection(&format!("10.0.0.7:{}", 20_000 + turn), &responder, at_s, 300, 200);
        }
    }
    for (n, at_s) in check_ins(40, 60.0, 0.1).enumerate() {
        world.connection(&format!("10.0.0.8:{}", 40_000 + n), "203.0.113.9:443", at_s + 5_000.0, 300, 200);
    }
    let mut rhythms = Rhythms::default();

    let slices = slices(&mut rhythms, &world.engine);

    let (found, followed) = rhythms.found();
    assert!(slices > 30 && followed > 3_000, "{slices} {followed}");
    assert!(found.len() <= netd_engine::engine::MOST_RHYTHMS);
    assert_eq!(found[0].pair.responder, ip("203.0.113.9"));
}

#[test]
fn who_waits_on_a_port_is_told_until_it_is_released() {
    let mut world = World::new(Config::default());
    let mut listen = SocketRecord { cookie: 6, event: SocketEvent::Listen as u8, ..SocketRecord::default() };
    listen.owner.tgid = 80;
    listen.key = FlowKey { src_port: 8080_u16.to_be_bytes(), proto: TCP, ..listen.key };
    world.engine.observe_socket(&listen);

    let listening = world.engine.listening();

    assert_eq!(listening.len(), 1);
    assert_eq!((listening[0].port, listening[0].proto, listening[0].process.id.pid), (8080, TCP, 80));
    let mut released = listen;
    (released.event, released.key.dst_port) = (SocketEvent::Released as u8, [0; 2]);
    world.engine.observe_socket(&released);
    assert_eq!(world.engine.listening(), []);
}
