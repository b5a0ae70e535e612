//! What listed names ask for when DNS gives them addresses.

use std::sync::Arc;

use netd_common::record::PayloadKind;
use netd_engine::Command;
use netd_engine::feed::Reach;
use netd_engine::listed::{Listed, NameSet, Names, Resolved};

use super::support::{Flow, UDP, World};

fn names(list: &str, names: &[(&str, Reach)]) -> Names {
    let names = names.iter().map(|(name, reach)| ((*name).into(), *reach)).collect();
    Names { list: list.into(), names: Arc::new(NameSet::new(names)) }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question(id: u8, name: &str) -> Vec<u8> {
    let mut bytes = vec![0, id, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(labels(name));
    bytes.extend([0, 1, 0, 1]);
    bytes
}

/// An answer that leads over `alias`, if there is one, to `address`.
fn answer(id: u8, name: &str, alias: Option<&str>, address: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0, id, 0x81, 0x80, 0, 1, 0, 1 + u8::from(alias.is_some()), 0, 0, 0, 0];
    bytes.extend(labels(name));
    bytes.extend([0, 1, 0, 1]);
    if let Some(alias) = alias {
        bytes.extend(labels(name));
        bytes.extend([0, 5, 0, 1, 0, 0, 0, 120]);
        bytes.extend((labels(alias).len() as u16).to_be_bytes());
        bytes.extend(labels(alias));
    }
    bytes.extend(labels(alias.unwrap_or(name)));
    bytes.extend([0, 1, 0, 1, 0, 0, 0, 120, 0, 4]);
    bytes.extend(address);
    bytes
}

fn carry(world: &mut World, port: u16, is_question: bool, bytes: &[u8]) {
    let flow = Flow::new(&format!("10.0.0.7:{port}"), "9.9.9.9:53", UDP, 0.0);
    world.engine.observe_payload(&flow.payload_record(is_question, PayloadKind::Dns, bytes.len(), 0.0), bytes);
}

/// Asks and answers; returns what the engine wants done.
fn ask(world: &mut World, name: &str, alias: Option<&str>, address: [u8; 4]) -> Vec<Resolved> {
    carry(world, 5_353, true, &question(7, name));
    carry(world, 5_353, false, &answer(7, name, alias, address));
    resolved(world)
}

fn resolved(world: &mut World) -> Vec<Resolved> {
    let commands = world.commands().into_iter();
    commands
        .filter_map(|command| if let Command::Resolved(resolved) = command { Some(*resolved) } else { None })
        .collect()
}

fn world(listed: Listed) -> World {
    let mut world = World::with_flows();
    world.engine.set_listed(Arc::new(listed));
    world
}

fn blocking(entries: &[(&str, Reach)]) -> Listed {
    Listed { block: vec![names("corp", entries)], allow: Vec::new() }
}

#[test]
fn the_address_of_a_listed_name_is_handed_on_with_its_time() {
    let mut world = world(blocking(&[("evil.example", Reach::Below)]));

    let found = ask(&mut world, "C2.Evil.Example", None, [8, 8, 4, 4]);

    let [resolved] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (&*resolved.list, resolved.entry.as_str(), &*resolved.name),
        ("corp", "*.evil.example", "c2.evil.example")
    );
    assert_eq!((resolved.address.to_string().as_str(), resolved.ttl_s, resolved.tenants), ("8.8.4.4", 120, 0));
    assert_eq!(ask(&mut world, "evil.example", None, [8, 8, 4, 4]), []);
}

#[test]
fn an_alias_that_is_listed_counts_too() {
    let mut world = world(blocking(&[("evil.example", Reach::Whole)]));

    let found = ask(&mut world, "innocent.example", Some("cdn.evil.example"), [8, 8, 4, 4]);

    assert_eq!(&*found[0].name, "cdn.evil.example");
}

#[test]
fn an_answer_that_nobody_asked_for_has_nothing_cut() {
    let mut world = world(blocking(&[("evil.example", Reach::Itself)]));
    let forged = answer(7, "evil.example", None, [8, 8, 4, 4]);

    // Without a question; to another port; by another number; by another name; a second time.
    carry(&mut world, 5_353, false, &forged);
    carry(&mut world, 5_354, true, &question(7, "evil.example"));
    carry(&mut world, 5_353, false, &forged);
    carry(&mut world, 5_354, false, &answer(8, "evil.example", None, [8, 8, 4, 4]));
    carry(&mut world, 5_355, true, &question(7, "other.example"));
    carry(&mut world, 5_355, false, &forged);
    assert_eq!(resolved(&mut world), []);

    carry(&mut world, 5_354, false, &forged);
    carry(&mut world, 5_354, false, &forged);
    assert_eq!(resolved(&mut world).len(), 1);
}

#[test]
fn an_allow_listed_name_wins() {
    let listed = Listed {
        block: vec![names("corp", &[("example", Reach::Below), ("evil.example", Reach::Whole)])],
        allow: vec![names("ours", &[("good.evil.example", Reach::Itself)])],
    };
    let mut world = world(listed);

    let found = ask(&mut world, "good.evil.example", None, [8, 8, 4, 4]);

    assert!(found[0].is_allowed && &*found[0].list == "ours");
}

#[test]
fn other_domains_at_the_address_are_counted() {
    let mut world = world(blocking(&[("evil.example", Reach::Whole)]));
    for name in ["a.shop-one.com", "b.shop-one.com", "shop-two.com", "shop-three.co.uk"] {
        ask(&mut world, name, None, [8, 8, 4, 4]);
    }

    let found = ask(&mut world, "evil.example", None, [8, 8, 4, 4]);

    assert_eq!(found[0].tenants, 3, "two names of one domain are one");
}
