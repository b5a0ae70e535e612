//! Facts about the read-back of the kernel's tables.

use super::*;
use crate::verdicts::maps::Maps as _;
use crate::verdicts::target;

/// Ticks in which all of the front is read back, and all of it in which something is listed.
const ROUND: u64 = 128;
const LISTED_ROUND: u64 = 4;

#[test]
fn bits_of_the_front_that_somebody_cleared_or_set_are_put_right_and_counted() {
    let fake = Fake::default();
    let mut service = service(&fake);
    for address in ["192.0.2.1", "2001:db8::1"] {
        service.add(manual(host(address), Response::Drop, 600), true, START).unwrap();
    }
    fake.meddle_with_front("192.0.2.1", 0);
    fake.meddle_with_front("2001:db8::1", 0);
    fake.meddle_with_front("198.51.100.1", 3);
    assert_eq!(action(&fake, "192.0.2.1", after(1)), None);

    for _ in 0..LISTED_ROUND {
        service.tick(after(1));
    }
    assert!(action(&fake, "192.0.2.1", after(1)).is_some());
    assert!(action(&fake, "2001:db8::1", after(1)).is_some());
    for _ in 0..2 * ROUND {
        service.tick(after(1));
    }
    assert_eq!(service.status().unwrap().reading.drift.front, 3);
}

#[test]
fn a_front_that_is_right_is_left_alone_whatever_comes_and_goes() {
    let fake = Fake::default();
    let mut service = service_of_generations(&fake, None, START);
    for round in 0..3 {
        service.add(manual(host("192.0.2.1"), Response::Drop, 600), false, START).unwrap();
        for _ in 0..ROUND {
            service.tick(after(round));
        }
        let ids: Vec<_> = service.verdicts(crate::verdicts::Page { before: None, limit: 9 }, START).entries;
        for entry in ids {
            service.release(entry.id, after(round)).unwrap();
        }
    }

    assert_eq!(service.status().unwrap().reading.drift, crate::verdicts::view::Drift::default());
}

#[test]
fn keys_that_somebody_added_or_took_away_are_put_right_and_counted() {
    let mut fake = Fake::default();
    let mut service = service(&fake);
    for address in ["192.0.2.1", "192.0.2.2"] {
        service.add(manual(host(address), Response::Drop, 600), false, START).unwrap();
    }
    let key = |address| target::key(&host(address)).unwrap();
    let rule = fake.get(&key("192.0.2.1")).unwrap().unwrap();
    fake.insert(&[(key("198.51.100.9"), rule)]).unwrap();
    fake.remove(&[key("192.0.2.2")]).unwrap();

    for _ in 0..4 {
        service.tick(after(1));
    }

    assert_eq!(fake.get(&key("198.51.100.9")).unwrap(), None);
    assert!(fake.get(&key("192.0.2.2")).unwrap().is_some());
    let drift = service.status().unwrap().reading.drift;
    assert_eq!((drift.surplus, drift.missing, drift.wrong_rule), (1, 1, 0));
}
