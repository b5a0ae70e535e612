//! Domains that do not exist, and names that do not stay.

use super::support::{Dice, Reply, USUAL, by, world};
use crate::support::World;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

fn none(world: &mut World, what: &str) {
    let findings = world.findings();
    assert!(findings.is_empty(), "{what}: {} {:?}", findings[0].title, findings[0].reasons);
}

#[test]
fn generated_domains_are_found_by_their_names() {
    let mut world = world();
    let mut dice = Dice(31);
    for n in 0..60 {
        let name = String::from_utf8(dice.text(LETTERS, 12)).unwrap();
        let top = ["com", "net", "info", "biz"][n % 4];
        let reply = if n == 59 { Reply::address([198, 51, 100, 9]) } else { Reply::NoSuchName };
        USUAL.ask_for(&mut world, &format!("{name}.{top}"), 60.0 + n as f64 * 2.0, &reply);
    }

    let findings = world.findings();
    let found = by(&findings, "dga");
    let first = found.first().unwrap();
    assert!(found.iter().all(|finding| finding.id == first.id), "one incident of the client");
    assert_eq!(first.attack, ["T1568.002"]);
    assert!(!first.block);
}

#[test]
fn words_that_do_not_exist_are_no_generated_domains() {
    const PARTS: [&str; 12] = [
        "travel", "garden", "summer", "office", "market", "silver", "window", "planet", "coffee", "bridge", "flower",
        "storm",
    ];
    let mut world = world();
    for n in 0..140 {
        let name = format!("{}{}.com", PARTS[n % 12], PARTS[(n / 12 + n + 1) % 12]);
        USUAL.ask_for(&mut world, &name, 60.0 + n as f64, &Reply::NoSuchName);
    }

    none(&mut world, "misspelt or expired domains");
}

#[test]
fn search_suffixes_and_a_browsers_probes_are_no_generated_domains() {
    let mut world = world();
    let mut dice = Dice(32);
    for n in 0..200 {
        let probe = String::from_utf8(dice.text(LETTERS, 7 + n % 9)).unwrap();
        let suffix = ["", ".corp.example.com", ".example.com", ".corp.lan"][n % 4];
        USUAL.ask_for(&mut world, &format!("{probe}{suffix}"), 60.0 + n as f64 * 20.0, &Reply::NoSuchName);
    }

    none(&mut world, "probes");
}

/// Asks for one name for an hour; each answer gives five addresses.
fn ask_for_an_hour(world: &mut World, name: &str, mut address: impl FnMut(usize) -> [u8; 4]) {
    for n in 0..120 {
        let records = (0..5).map(|at| address(n * 5 + at).to_vec()).collect();
        USUAL.ask_for(world, name, 60.0 + n as f64 * 30.0, &Reply::Data { ttl_s: 120, records });
    }
}

#[test]
fn a_name_that_moves_through_many_networks_is_fast_flux() {
    let mut world = world();
    let mut dice = Dice(33);
    ask_for_an_hour(&mut world, "shop.example.com", |_| {
        [20 + dice.below(180) as u8, dice.below(256) as u8, dice.below(256) as u8, 7]
    });

    let findings = world.findings();
    let found = by(&findings, "fast_flux");
    assert_eq!(found.first().unwrap().name.as_deref(), Some("shop.example.com"));
    assert!(found.iter().all(|finding| !finding.block && finding.attack == ["T1568.001"]));
}

#[test]
fn content_delivery_and_pools_are_no_fast_flux() {
    let mut world = world();
    let mut dice = Dice(34);
    ask_for_an_hour(&mut world, "cdn.example.com", |_| [151, 101, dice.below(256) as u8, dice.below(256) as u8]);
    ask_for_an_hour(&mut world, "edge.example.net", |n| [52 + (n % 12) as u8, 84, (n % 50) as u8, 9]);
    ask_for_an_hour(&mut world, "2.pool.ntp.org", |_| [20 + dice.below(180) as u8, dice.below(256) as u8, 3, 7]);

    none(&mut world, "delivery and pools");
}
