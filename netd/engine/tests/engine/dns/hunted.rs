//! What is asked of DNS, whether it suffices for a finding or not.

use netd_engine::engine::Names;

use super::support::{NULL, Reply, USUAL, labels, world};
use crate::support::ip;

#[test]
fn names_are_told_with_what_they_carry() {
    let mut world = world();
    for n in 0..20 {
        let name = labels(&format!("{}.t.example.com", format!("{n:04}").repeat(12)));
        let reply = Reply::Data { ttl_s: 0, records: vec![vec![n; 200]] };
        USUAL.ask(&mut world, &name, NULL, 60.0 + f64::from(n), &reply);
    }
    USUAL.ask_for(&mut world, "nothing.example.org", 90.0, &Reply::NoSuchName);
    let mut names = Names::default();

    while !names.step(&world.engine) {}

    let found = names.found();
    let of =
        |domain: &str| found.iter().find(|traffic| &*traffic.domain == domain).unwrap_or_else(|| panic!("{found:?}"));
    let tunnel = of("example.com");
    assert_eq!((tunnel.client, tunnel.queries, tunnel.carriers), (ip("10.0.0.7"), 21, 20));
    assert!(tunnel.unique_up > 500.0 && tunnel.unique_down > 2_000.0, "{tunnel:?}");
    assert_eq!((of("example.org").answers, of("example.org").no_such_name), (2, 1));
}
