use std::sync::{Arc, Mutex};

use netd_engine::verdict::{Response, Target};

use super::*;
use crate::verdicts::{Guard, ListOptions, Refusal, Remark};

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

#[test]
fn what_must_not_be_cut_is_refused_with_the_reason() {
    let mut service = service(&Fake::default());
    service.protect(Guard::Gateway, &[net("10.0.0.1/32")], START).unwrap();
    service.protect(Guard::Own, &[net("10.0.0.7/32")], START).unwrap();
    let address = |text: &str| text.parse().unwrap();
    let tuple = Target::FiveTuple {
        source: address("10.0.0.7"),
        source_port: 1,
        destination: address("198.51.100.7"),
        destination_port: 443,
        proto: 6,
    };
    let targets = [
        host("127.0.0.1"),
        host("::1"),
        host("224.0.0.1"),
        prefix("127.5.0.0/16"),
        host("10.0.0.1"),
        Target::Endpoint { address: address("10.0.0.1"), port: 53, proto: 17 },
        tuple,
    ];
    for target in targets {
        let refusal = service.add(manual(target, Response::Drop, 60), true, START);

        assert!(matches!(refusal, Err(Refusal::Protected { .. })), "{target:?}");
    }
}

#[test]
fn a_prefix_around_a_protected_address_spares_it() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.protect(Guard::Gateway, &[net("198.51.100.1/32")], START).unwrap();

    let added = service.add(manual(prefix("198.51.100.0/24"), Response::Drop, 60), false, START).unwrap();

    assert_eq!(added.spared, ["198.51.100.1"]);
    assert_eq!(action(&fake, "198.51.100.1", START), None);
    assert!(action(&fake, "198.51.100.2", START).is_some());
}

#[test]
fn an_address_protected_later_passes_from_then_on_and_is_cut_again_afterwards() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let added = service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START).unwrap();

    service.protect(Guard::Operator, &[net("198.51.100.7/32")], START).unwrap();
    assert_eq!(action(&fake, "198.51.100.7", START), None);
    assert_eq!(service.verdict(added.id, START).unwrap().shielded_by, Some(Guard::Operator));

    service.protect(Guard::Operator, &[], START).unwrap();
    assert!(action(&fake, "198.51.100.7", START).is_some());
}

#[test]
fn a_gateway_that_moves_is_protected_before_the_old_one_is_cut_again() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(manual(prefix("198.51.100.0/24"), Response::Drop, 60), false, START).unwrap();
    service.protect(Guard::Gateway, &[net("198.51.100.1/32")], START).unwrap();
    // The new gateway was a resolver, and stays protected as it changes its guard.
    service.protect(Guard::Resolver, &[net("198.51.100.2/32")], START).unwrap();
    fake.set_boot_ns(START.boot_ns);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let looks = Arc::clone(&seen);
    fake.lock().watch = Some(Box::new(move |judge| {
        let is_cut = |host| judge.rule("10.9.9.9", host, 443).is_some();
        looks.lock().unwrap().push([is_cut("198.51.100.1"), is_cut("198.51.100.2"), is_cut("198.51.100.3")]);
    }));

    let guards =
        [(Guard::Gateway, vec![net("198.51.100.2/32"), net("198.51.100.3/32")]), (Guard::Resolver, Vec::new())];
    service.protect_all(&guards, START).unwrap();

    let looks = seen.lock().unwrap();
    assert!(looks.len() >= 3, "{looks:?}");
    for [old, moved, new] in &*looks {
        assert!(!moved, "{looks:?}");
        assert!(!(*old && *new), "there was a moment without a gateway: {looks:?}");
    }
    fake.lock().watch = None;
    assert!(action(&fake, "198.51.100.1", START).is_some());
    assert_eq!(action(&fake, "198.51.100.3", START), None);
}

#[test]
fn very_wide_prefixes_need_force() {
    let mut service = service(&Fake::default());
    for wide in ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/7", "2000::/3", "2001::/18"] {
        let verdict = manual(prefix(wide), Response::Drop, 60);

        assert!(matches!(service.add(verdict.clone(), false, START), Err(Refusal::TooWide { .. })), "{wide}");
        assert!(service.add(verdict, true, START).is_ok(), "{wide}");
    }
    for narrow in ["11.0.0.0/8", "2001:e000::/19"] {
        assert!(service.add(manual(prefix(narrow), Response::Drop, 60), false, START).is_ok(), "{narrow}");
    }
}

#[test]
fn all_of_ipv4_leaves_the_host_able_to_speak_to_itself() {
    let fake = Fake::default();
    let mut service = service(&fake);

    service.add(manual(prefix("0.0.0.0/0"), Response::Drop, 60), true, START).unwrap();

    assert!(action(&fake, "198.51.100.7", START).is_some());
    assert_eq!(fake.rule("127.0.0.1", "127.0.0.1", 80, START.boot_ns), None);
    assert_eq!(action(&fake, "2001:db8::1", START), None);
}

#[test]
fn an_ipv6_prefix_that_would_cut_ipv4_is_refused() {
    let mut service = service(&Fake::default());

    let refusal = service.add(manual(prefix("::/0"), Response::Drop, 60), true, START);

    assert!(matches!(refusal, Err(Refusal::CoversIpv4 { .. })));
}

#[test]
fn a_five_tuple_of_two_ip_versions_is_refused() {
    let mut service = service(&Fake::default());
    let target = Target::FiveTuple {
        source: "192.0.2.1".parse().unwrap(),
        source_port: 1,
        destination: "2001:db8::1".parse().unwrap(),
        destination_port: 2,
        proto: 6,
    };

    assert!(matches!(service.add(manual(target, Response::Drop, 60), false, START), Err(Refusal::MixedVersions)));
}

#[test]
fn a_list_is_refused_entry_by_entry() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.protect(Guard::Resolver, &[net("192.0.2.53/32")], START).unwrap();
    let entries = list("192.0.2.53 192.0.2.54 192.0.2.0/24 0.0.0.0/0 127.0.0.1");

    let change = service.replace_list(&name("corp"), entries, ListOptions::default(), START).unwrap();

    let refused: Vec<_> = change.refused.iter().map(|remark| (remark.entry.as_str(), remark.reason.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("0.0.0.0/0", "wider than /8; force accepts it"),
            ("127.0.0.1", "protected: loopback, multicast or link-local"),
            ("192.0.2.53", "protected: a configured resolver"),
        ]
    );
    let spared = Remark { entry: "192.0.2.0/24".into(), reason: "192.0.2.53 inside keeps passing".into() };
    assert_eq!(change.spared, [spared]);
    assert_eq!(change.entries, 2);
    assert_eq!(action(&fake, "192.0.2.53", START), None);
    assert!(action(&fake, "192.0.2.54", START).is_some());
}
