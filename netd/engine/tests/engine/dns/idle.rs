//! Implants that only ask whether there is something to do.

use super::support::{CLIENT, Dice, Reply, Resolver, TXT, USUAL, by, labels, world};
use crate::support::{check_ins, people};

const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

#[test]
fn new_names_on_a_timer_below_one_domain_are_a_beacon() {
    let mut world = world();
    let mut dice = Dice(21);
    for at_s in check_ins(60, 60.0, 0.2) {
        let mut name = vec![dice.text(BASE32, 14)];
        name.extend(labels("example.com"));
        USUAL.ask(&mut world, &name, TXT, 30.0 + at_s, &Reply::Data { ttl_s: 1, records: vec![b"\x01-".to_vec()] });
    }

    let findings = world.findings();
    let found = by(&findings, "dns_beacon");
    let first = found.first().unwrap();
    assert_eq!(first.name.as_deref(), Some("example.com"));
    assert!(!first.block, "the resolver is everybody's");
    assert!((45.0..65.0).contains(&first.rhythm.unwrap().interval_s));
    assert!(first.rhythm.unwrap().turns <= 30, "{}", first.rhythm.unwrap().turns);
}

#[test]
fn a_timer_that_changes_resolvers_is_one_beacon() {
    let mut world = world();
    let mut dice = Dice(22);
    for (n, at_s) in check_ins(60, 60.0, 0.2).enumerate() {
        let name = [dice.text(BASE32, 14), b"example".to_vec(), b"com".to_vec()];
        let server = ["9.9.9.9", "8.8.8.8", "1.1.1.1"][n % 3];
        let reply = Reply::Data { ttl_s: 1, records: vec![b"\x01-".to_vec()] };
        Resolver { client: CLIENT, server }.ask(&mut world, &name, TXT, 30.0 + at_s, &reply);
    }

    let findings = world.findings();
    let found = by(&findings, "dns_beacon");
    assert!(
        !found.is_empty() && found.iter().all(|finding| finding.id == found[0].id && !finding.block),
        "{findings:?}"
    );
}

#[test]
fn the_same_names_on_a_timer_are_ordinary() {
    for names in [
        &["updates.example.com"][..],
        &["0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"],
        &["connectivitycheck.example.com", "www.example.com", "api.example.com"],
    ] {
        let mut world = world();
        for (n, at_s) in check_ins(400, 60.0, 0.05).enumerate() {
            let reply = Reply::Data { ttl_s: 60, records: vec![vec![198, 51, 100, 9]] };
            USUAL.ask_for(&mut world, names[n % names.len()], 30.0 + at_s, &reply);
        }

        let findings = world.findings();
        assert!(findings.is_empty(), "{names:?}: {}", findings[0].title);
    }
}

#[test]
fn new_names_at_a_persons_pace_are_ordinary() {
    let mut world = world();
    let mut dice = Dice(23);
    for at_s in people(200, 1.0) {
        let name = [dice.text(BASE32, 14), b"example".to_vec(), b"com".to_vec()];
        USUAL.ask(&mut world, &name, 1, 30.0 + at_s, &Reply::address([198, 51, 100, 9]));
    }

    let findings = world.findings();
    assert!(by(&findings, "dns_beacon").is_empty(), "{}", findings[0].title);
}
