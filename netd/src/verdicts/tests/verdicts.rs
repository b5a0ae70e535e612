use netd_common::control::Mode;
use netd_common::verdict::Action;
use netd_engine::verdict::{Response, Target};

use super::*;
use crate::verdicts::{Page, Refusal};

const DROP: Option<u8> = Some(Action::Drop as u8);
const RESET: Option<u8> = Some(Action::Reset as u8);

#[test]
fn a_verdict_cuts_its_target_and_not_the_neighbour() {
    let fake = Fake::default();
    let mut service = service(&fake);

    service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START).unwrap();

    assert_eq!(action(&fake, "198.51.100.7", START), DROP);
    assert_eq!(action(&fake, "198.51.100.8", START), None);
}

#[test]
fn every_kind_of_target_cuts() {
    let address = "198.51.100.7".parse().unwrap();
    let source = "10.9.9.9".parse().unwrap();
    let targets = [
        Target::FiveTuple { source, source_port: 40_000, destination: address, destination_port: 443, proto: 6 },
        Target::FiveTuple {
            source: address,
            source_port: 443,
            destination: source,
            destination_port: 40_000,
            proto: 6,
        },
        Target::Endpoint { address, port: 443, proto: 6 },
        Target::Host { address },
        prefix("198.51.100.0/24"),
        prefix("198.51.100.7/32"),
    ];
    for target in targets {
        let fake = Fake::default();
        let mut service = service(&fake);

        let added = service.add(manual(target, Response::Drop, 60), false, START).unwrap();
        assert_eq!(action(&fake, "198.51.100.7", START), DROP, "{target:?}");

        service.release(added.id, START).unwrap();
        assert_eq!(action(&fake, "198.51.100.7", START), None, "{target:?}");
        assert!(fake.lock().rules.is_empty());
    }
}

#[test]
fn an_expired_verdict_passes_before_the_service_notices() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START).unwrap();

    assert_eq!(action(&fake, "198.51.100.7", after(59)), DROP);
    assert_eq!(action(&fake, "198.51.100.7", after(60)), None);
}

#[test]
fn expiry_is_reported_once_and_leaves_nothing_in_the_kernel() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let added = service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START).unwrap();

    assert!(service.tick(after(59)).is_empty());
    assert_eq!(service.tick(after(60)).iter().map(|entry| entry.id).collect::<Vec<_>>(), [added.id]);
    assert!(service.tick(after(61)).is_empty());
    assert!(fake.lock().rules.is_empty());
}

#[test]
fn a_verdict_without_an_end_stays() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let forever = Verdict { until: None, ..manual(host("198.51.100.7"), Response::Drop, 0) };

    service.add(forever, false, START).unwrap();

    assert!(service.tick(after(10_000_000)).is_empty());
    assert_eq!(action(&fake, "198.51.100.7", after(10_000_000)), DROP);
}

#[test]
fn a_verdict_that_would_be_over_is_refused() {
    let mut service = service(&Fake::default());

    let refusal = service.add(manual(host("198.51.100.7"), Response::Drop, 0), false, START);

    assert!(matches!(refusal, Err(Refusal::NotInFuture)));
}

#[test]
fn the_same_target_from_the_same_origin_is_renewed() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let first = service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START).unwrap();

    let second = service.add(manual(host("198.51.100.7"), Response::Reset, 600), false, after(30)).unwrap();

    assert_eq!((second.id, second.renewed), (first.id, true));
    assert_eq!(action(&fake, "198.51.100.7", after(599)), RESET);
    assert!(service.tick(after(60)).is_empty());
    assert_eq!(service.tick(after(600)).len(), 1);
}

#[test]
fn an_operator_can_shorten_a_verdict_a_finding_cannot() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(manual(host("192.0.2.1"), Response::Drop, 600), false, START).unwrap();
    service.add(found(host("192.0.2.2"), Response::Reset, 600), false, START).unwrap();

    service.add(manual(host("192.0.2.1"), Response::Drop, 60), false, START).unwrap();
    service.add(found(host("192.0.2.2"), Response::Drop, 60), false, START).unwrap();

    assert_eq!(action(&fake, "192.0.2.1", after(61)), None);
    assert_eq!(action(&fake, "192.0.2.2", after(61)), RESET);
}

#[test]
fn the_stronger_claim_leads_and_the_weaker_takes_over() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(found(host("198.51.100.7"), Response::Drop, 600), false, START).unwrap();
    let manual = service.add(manual(host("198.51.100.7"), Response::Reset, 600), false, START).unwrap();
    assert_eq!(action(&fake, "198.51.100.7", START), RESET);

    service.release(manual.id, START).unwrap();

    assert_eq!(action(&fake, "198.51.100.7", START), DROP);
}

#[test]
fn a_claim_cedes_before_it_expires_so_that_there_is_no_gap() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(found(host("198.51.100.7"), Response::Drop, 600), false, START).unwrap();
    service.add(manual(host("198.51.100.7"), Response::Reset, 60), false, START).unwrap();

    for half_seconds in 0..240 {
        let now = START.plus(Duration::from_millis(500 * half_seconds));
        // The kernel's view just before the service looks.
        assert!(action(&fake, "198.51.100.7", now).is_some(), "{half_seconds}");
        service.tick(now);
    }
    assert_eq!(action(&fake, "198.51.100.7", after(61)), DROP);
}

#[test]
fn a_prefix_that_expires_does_not_hide_the_wider_one() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.add(manual(prefix("198.51.0.0/16"), Response::Drop, 600), false, START).unwrap();
    service.add(manual(prefix("198.51.100.0/24"), Response::Reset, 60), false, START).unwrap();
    assert_eq!(action(&fake, "198.51.100.7", START), RESET);

    for half_seconds in 0..240 {
        let now = START.plus(Duration::from_millis(500 * half_seconds));
        assert!(action(&fake, "198.51.100.7", now).is_some(), "{half_seconds}");
        service.tick(now);
    }
    assert_eq!(action(&fake, "198.51.100.7", after(61)), DROP);
}

#[test]
fn a_kernel_that_refuses_leaves_nothing_behind() {
    for writes in 0..6 {
        let fake = Fake::default();
        let mut service = service(&fake);
        fake.lock().writes_left = Some(writes);

        let added = service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, START);

        assert!(matches!(added, Err(Refusal::Kernel(_))) || writes >= 5, "{writes}");
        fake.lock().writes_left = None;
        service.tick(after(10));
        let lasts = added.is_ok();
        assert_eq!(action(&fake, "198.51.100.7", after(10)).is_some(), lasts, "{writes}");
        assert_eq!(service.status().unwrap().rules_used, u64::from(lasts), "{writes}");
    }
}

#[test]
fn a_release_holds_even_when_the_key_cannot_be_removed() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let added = service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, START).unwrap();
    fake.lock().watch = Some(Box::new(|_| {}));

    // The first write, which removes the key, fails; the rule is cleared all the same.
    fake.lock().writes_left = Some(0);
    assert!(service.release(added.id, START).is_err());
    assert_eq!(action(&fake, "198.51.100.7", START), DROP);

    fake.lock().writes_left = None;
    service.release(added.id, START).unwrap();
    assert_eq!(action(&fake, "198.51.100.7", START), None);
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let fake = Fake::default();
    fake.lock().capacity = Some(20);
    let mut service = service(&fake);
    for last in 1..=20 {
        service.add(manual(host(&format!("198.51.100.{last}")), Response::Drop, 60), false, START).unwrap();
    }

    let refusal = service.add(manual(host("198.51.100.21"), Response::Drop, 60), false, START);

    assert!(matches!(refusal, Err(Refusal::TableFull { wanted: 21, capacity: 20, .. })), "{refusal:?}");
    assert_eq!(action(&fake, "198.51.100.20", START), DROP);
}

#[test]
fn when_every_rule_is_taken_the_next_verdict_is_refused() {
    let fake = Fake::default();
    let mut service = service(&fake);
    for n in 0..65_535_u32 {
        let [_, _, a, b] = n.to_be_bytes();
        service.add(manual(host(&format!("198.18.{a}.{b}")), Response::Drop, 60), false, START).unwrap();
    }

    let refusal = service.add(manual(host("198.51.100.7"), Response::Drop, 60), false, START);

    assert!(matches!(refusal, Err(Refusal::RulesFull { limit: 65_535 })));
    assert_eq!(service.tick(after(60)).len(), 65_535);
    assert!(service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, START).is_ok());
}

#[test]
fn established_sockets_are_destroyed_only_where_verdicts_act() {
    let fake = Fake::default();
    let mut service = service(&fake);

    service.add(manual(host("192.0.2.1"), Response::Drop, 60), false, START).unwrap();
    service.add(manual(host("192.0.2.2"), Response::Observe, 60), false, START).unwrap();
    let shadow = Verdict { shadow: true, ..manual(host("192.0.2.3"), Response::Drop, 60) };
    service.add(shadow, false, START).unwrap();
    service.set_mode(Mode::Shadow, START).unwrap();
    service.add(manual(host("192.0.2.4"), Response::Drop, 60), false, START).unwrap();
    service.set_mode(Mode::Enforce, START).unwrap();
    service.set_kill_switch(true, START).unwrap();
    service.add(manual(host("192.0.2.5"), Response::Drop, 60), false, START).unwrap();

    let hosts: Vec<_> =
        fake.lock().destroyed.iter().copied().filter(|target| matches!(target, Target::Host { .. })).collect();
    assert_eq!(hosts, [host("192.0.2.1")]);
}

#[test]
fn a_change_makes_every_flow_decide_again() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let before = fake.lock().generation;

    let added = service.add(manual(host("192.0.2.1"), Response::Drop, 60), false, START).unwrap();
    let between = fake.lock().generation;
    service.release(added.id, START).unwrap();

    assert!(before < between && between < fake.lock().generation);
}

#[test]
fn pages_run_from_the_newest_and_survive_inserts() {
    let mut service = service(&Fake::default());
    let mut add =
        |last: u32| service.add(manual(host(&format!("192.0.2.{last}")), Response::Drop, 60), false, START).unwrap().id;
    let ids: Vec<_> = (1..=5).map(&mut add).collect();

    let first = service.verdicts(Page { before: None, limit: 2 }, START);
    service.add(manual(host("192.0.2.99"), Response::Drop, 60), false, START).unwrap();
    let second = service.verdicts(Page { before: first.next, limit: 2 }, START);
    let third = service.verdicts(Page { before: second.next, limit: 2 }, START);

    let seen: Vec<_> = [&first, &second, &third].iter().flat_map(|p| p.entries.iter().map(|e| e.id)).collect();
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(third.next, None);
}

#[test]
fn enforcing_is_held_back_where_a_hook_does_not_prove_that_it_denies() {
    let fake = Fake::default();
    let mut service = service(&fake);
    fake.lock().is_silent = true;

    service.prove(START).unwrap();

    let status = service.status().unwrap();
    assert_eq!((status.requested, status.effective), (Mode::Enforce, Mode::Observe));
    assert!(status.reason().unwrap().contains("tc_ingress"), "{status:?}");
    assert_eq!(status.verdicts, 0, "nothing of the proof stays in force");
    fake.lock().is_silent = false;
    let status = service.set_mode(Mode::Enforce, START).unwrap();
    assert_eq!((status.effective, status.reason()), (Mode::Enforce, None));
    assert!(status.proofs.iter().all(|proof| proof.denies));
}

#[test]
fn a_degraded_state_that_is_accepted_enforces_and_is_told() {
    let fake = Fake::default();
    let settings = Settings { mode: Mode::Enforce, accept_degraded: true, ..Settings::default() };
    let mut service = Service::start(fake.clone(), None, settings, START).unwrap();
    fake.lock().is_silent = true;

    service.prove(START).unwrap();

    let status = service.status().unwrap();
    assert_eq!((status.effective, status.proofs[0].denies), (Mode::Enforce, false));
}

#[test]
fn nothing_is_proved_where_nothing_is_enforced() {
    let fake = Fake::default();
    let mut service = service(&fake);

    service.set_kill_switch(true, START).unwrap();
    service.prove(START).unwrap();
    assert!(service.status().unwrap().proofs.is_empty());

    service.set_kill_switch(false, START).unwrap();
    assert_eq!(service.status().unwrap().proofs.len(), 1);
}
