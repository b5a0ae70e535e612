use netd_engine::verdict::Response;

use super::*;
use crate::verdicts::{ListOptions, Refusal, Worked};

fn options() -> ListOptions {
    ListOptions::default()
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let fake = Fake::default();
    let mut service = service(&fake);

    let first = service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.2 2001:db8::/32"), options(), START);
    let first = first.unwrap();
    assert_eq!((first.added, first.removed, first.unchanged, first.changed), (3, 0, 0, true));

    let second = service.replace_list(&name("corp"), list("192.0.2.2 192.0.2.3"), options(), START).unwrap();
    assert_eq!((second.added, second.removed, second.unchanged, second.changed), (1, 2, 1, true));
    assert_eq!(action(&fake, "192.0.2.1", START), None);
    assert_eq!(action(&fake, "2001:db8::1", START), None);
    assert!(action(&fake, "192.0.2.2", START).is_some());
    assert!(action(&fake, "192.0.2.3", START).is_some());
}

#[test]
fn the_same_list_twice_changes_nothing() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let first = service.replace_list(&name("corp"), list("192.0.2.1"), options(), START).unwrap();
    fake.lock().writes_left = Some(0);

    let second = service.replace_list(&name("corp"), list("192.0.2.1"), options(), after(9)).unwrap();

    assert!(!second.changed);
    assert_eq!(second.tag, first.tag);
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let fake = Fake::default();
    let mut service = service(&fake);
    fake.lock().writes_left = Some(0);

    let dry = ListOptions { dry_run: true, ..options() };
    let change = service.replace_list(&name("corp"), list("192.0.2.1"), dry, START).unwrap();

    assert_eq!((change.added, change.changed), (1, true));
    assert!(service.lists().is_empty());
}

#[test]
fn a_list_that_has_changed_since_is_not_replaced() {
    let mut service = service(&Fake::default());
    let tag = service.replace_list(&name("corp"), list("192.0.2.1"), options(), START).unwrap().tag;
    let with = |tag: &str| ListOptions { if_match: Some(tag.to_owned()), ..options() };

    let stale = service.replace_list(&name("corp"), list("192.0.2.2"), with("\"b3-0\""), START);
    assert!(matches!(stale, Err(Refusal::Changed { .. })));
    assert!(matches!(service.remove_list(&name("corp"), Some("\"b3-0\""), START), Err(Refusal::Changed { .. })));
    let new = service.replace_list(&name("new"), list("192.0.2.2"), with("*"), START);
    assert!(matches!(new, Err(Refusal::Changed { .. })));

    assert!(service.replace_list(&name("corp"), list("192.0.2.2"), with(&tag), START).is_ok());
}

#[test]
fn a_removed_list_leaves_what_another_claims() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("a"), list("192.0.2.1 192.0.2.2"), options(), START).unwrap();
    service.replace_list(&name("b"), list("192.0.2.2"), options(), START).unwrap();

    service.remove_list(&name("a"), None, START).unwrap();

    assert_eq!(action(&fake, "192.0.2.1", START), None);
    assert!(action(&fake, "192.0.2.2", START).is_some());
    assert_eq!(service.status().unwrap().rules_used, 1);
    assert!(matches!(service.remove_list(&name("a"), None, START), Err(Refusal::NoList { .. })));
}

#[test]
fn a_list_that_becomes_weaker_lets_another_lead() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let with = |response| ListOptions { response, ..options() };
    service.replace_list(&name("a"), list("192.0.2.1 192.0.2.9"), with(Response::Reset), START).unwrap();
    service.replace_list(&name("b"), list("192.0.2.1"), with(Response::Drop), START).unwrap();

    service.replace_list(&name("a"), list("192.0.2.1 192.0.2.9"), with(Response::Observe), START).unwrap();

    assert_eq!(action(&fake, "192.0.2.1", START), Some(Response::Drop.action() as u8));
    assert_eq!(action(&fake, "192.0.2.9", START), Some(Response::Observe.action() as u8));
}

#[test]
fn an_unchanged_entry_has_no_gap_while_its_list_is_replaced() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.2"), options(), START).unwrap();
    fake.set_boot_ns(START.boot_ns);
    fake.lock().watch = Some(Box::new(|kernel| assert!(kernel.rule("10.9.9.9", "192.0.2.1", 443).is_some())));

    service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.3 198.51.100.0/24"), options(), START).unwrap();
    let reset = ListOptions { response: Response::Reset, ..options() };
    service.replace_list(&name("corp"), list("192.0.2.1"), reset, START).unwrap();
}

#[test]
fn a_list_that_does_not_fit_is_refused_whole() {
    let fake = Fake::default();
    fake.lock().capacity = Some(20);
    let mut service = service(&fake);
    let many = |range: std::ops::Range<u32>| list(&range.map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>().join(" "));
    service.replace_list(&name("a"), many(0..15), options(), START).unwrap();

    let refusal = service.replace_list(&name("b"), many(10..30), options(), START);

    assert!(matches!(refusal, Err(Refusal::TableFull { wanted: 30, .. })), "{refusal:?}");
    assert_eq!(action(&fake, "192.0.2.20", START), None);
    // The same number of other entries fits, one after the other.
    let swapped = service.replace_list(&name("a"), many(100..120), options(), START).unwrap();
    assert_eq!((swapped.added, swapped.removed), (20, 15));
}

#[test]
fn a_kernel_that_refuses_half_way_keeps_the_old_list() {
    for writes in 0..12 {
        let fake = Fake::default();
        let mut service = service(&fake);
        service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.2"), options(), START).unwrap();
        fake.lock().writes_left = Some(writes);

        let change = service.replace_list(&name("corp"), list("192.0.2.2 192.0.2.3 192.0.2.4"), options(), START);
        fake.lock().writes_left = None;
        service.tick(after(10));

        let old = change.is_err();
        assert_eq!(action(&fake, "192.0.2.1", START).is_some(), old, "{writes}");
        assert!(action(&fake, "192.0.2.2", START).is_some(), "{writes}");
        assert_eq!(action(&fake, "192.0.2.3", START).is_some(), !old, "{writes}");
        assert_eq!(
            fake.lock().keys.keys().filter(|k| matches!(k, crate::verdicts::MapKey::Host(_))).count(),
            2 + usize::from(!old)
        );
    }
}

#[test]
fn there_is_a_limit_to_the_number_of_lists() {
    let mut service = service(&Fake::default());
    for n in 0..64 {
        service.replace_list(&name(&format!("list-{n}")), list("192.0.2.1"), options(), START).unwrap();
    }

    let refusal = service.replace_list(&name("one-more"), list("192.0.2.1"), options(), START);

    assert!(matches!(refusal, Err(Refusal::ListsFull { limit: 64 })));
    assert!(service.replace_list(&name("list-0"), list("192.0.2.2"), options(), START).is_ok());
}

#[test]
fn one_change_to_a_list_of_a_million_writes_one_key() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let item = |n: u32| crate::verdicts::blocklist::Item::host((0xc612_0000_u32 + n).to_be_bytes().into());
    service.replace_list(&name("feed"), (0..1_000_000).map(item).collect(), options(), START).unwrap();
    assert_eq!(service.lists()[0].entries_v4, 1_000_000);

    // One bit in the front, one key, the generation.
    fake.lock().writes_left = Some(3);
    let change = service.replace_list(&name("feed"), (0..1_000_001).map(item).collect(), options(), START).unwrap();

    assert_eq!((change.added, change.removed, change.unchanged), (1, 0, 1_000_000));
}

#[test]
fn a_refused_generation_changes_nothing() {
    // Each of the first writes, then some of the many of the front.
    for writes_left in (0..12).chain((12..120).step_by(12)) {
        let fake = Fake::default();
        let mut service = service_of_generations(&fake, None, START);
        service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.0/28"), options(), START).unwrap();
        // One guard: in a tuple the first lives until the statement ends.
        let (keys, rules) = {
            let mut maps = fake.lock();
            maps.writes_left = Some(writes_left);
            (maps.keys.clone(), maps.rules.len())
        };

        let observing = ListOptions { response: Response::Observe, ..options() };
        let refused = service.replace_list(&name("corp"), list("192.0.2.2 198.51.100.0/24"), observing, START);

        fake.lock().writes_left = None;
        if refused.is_ok() {
            // Enough writes for all of it.
            assert!(writes_left > 10, "{writes_left}");
            return;
        }
        assert_eq!(fake.lock().keys, keys, "after {writes_left} writes");
        assert_eq!(action(&fake, "192.0.2.1", START), Some(3), "after {writes_left} writes");
        service.tick(after(60));
        assert_eq!(fake.lock().rules.len(), rules, "after {writes_left} writes");
        assert_eq!(service.list(&name("corp")).unwrap().1, list("192.0.2.1 192.0.2.0/28").into());
    }
    panic!("never enough writes");
}

#[test]
fn a_list_that_its_table_has_no_room_for_gets_another_generation_up_to_the_limit() {
    let fake = Fake::default();
    let mut service = service(&fake);
    fake.lock().room = Some(2);
    fake.lock().capacity = Some(40);

    let three = service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.2 192.0.2.3"), options(), START);
    assert_eq!(three.unwrap().added, 3);
    assert!(action(&fake, "192.0.2.3", START).is_some());

    let many: String = (0..41).map(|n| format!("198.51.100.{n} ")).collect();
    let refused = service.replace_list(&name("corp"), list(&many), options(), START);

    assert!(matches!(refused, Err(Refusal::TableFull { wanted: 41, capacity: 40, .. })), "{refused:?}");
    assert!(action(&fake, "192.0.2.3", START).is_some());
}

#[test]
fn entries_that_mean_the_same_are_merged_when_asked_for() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let aggregate = ListOptions { aggregate: true, ..options() };
    let text = "192.0.2.0/25 192.0.2.128/25 192.0.2.7 12.0.0.0/8 13.0.0.0/8";

    let change = service.replace_list(&name("corp"), list(text), aggregate, START).unwrap();

    assert_eq!((change.entries, change.merged), (3, 2));
    assert!(action(&fake, "192.0.2.7", START).is_some() && action(&fake, "192.0.2.200", START).is_some());
    assert!(action(&fake, "192.0.3.0", START).is_none());
}

#[test]
fn a_packed_list_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Some(StateDir::open(dir.path()).unwrap());
    let entries = list("192.0.2.1 255.255.255.254 10.0.0.0/9 2001:db8::1 2001:db8::/48");
    let first = Fake::default();
    service_on(&first, open(), START).replace_list(&name("corp"), entries.clone(), options(), START).unwrap();

    let fake = Fake::default();
    let service = service_on(&fake, open(), after(1));

    assert_eq!(*service.list(&name("corp")).unwrap().1, entries);
    assert!(action(&fake, "192.0.2.1", START).is_some() && action(&fake, "2001:db8::1", START).is_some());
}

#[test]
fn a_verdict_is_made_while_a_list_is_worked_on_elsewhere() {
    let fake = Fake::default();
    let mut service = service_of_generations(&fake, None, START);
    service.begin_list(&name("corp"), list("192.0.2.1"), options(), START).unwrap();
    while let Some(work) = service.work() {
        assert!(!service.is_ready() && service.step(START).is_none(), "nothing goes on before the work is done");
        service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, START).unwrap();
        assert!(action(&fake, "198.51.100.7", START).is_some());
        service.resume(work.run());
        while service.is_ready() && !service.has_work() && service.step(START).is_none() {}
    }

    assert!(!service.is_building());
    assert!(action(&fake, "192.0.2.1", START).is_some() && action(&fake, "198.51.100.7", START).is_some());
}

#[test]
fn a_change_whose_thread_dies_is_not_made_and_the_next_one_is() {
    let dir = tempfile::tempdir().unwrap();
    for work_before in 0..3 {
        let fake = Fake::default();
        let path = dir.path().join(work_before.to_string());
        let mut service = service_of_generations(&fake, Some(StateDir::open(&path).unwrap()), START);
        service.begin_list(&name("corp"), list("192.0.2.1"), options(), START).unwrap();
        for _ in 0..work_before {
            let work = service.work().unwrap();
            service.resume(work.run());
            while service.is_ready() && !service.has_work() {
                assert_eq!(service.step(START).map(|result| result.is_ok()), None);
            }
        }
        drop(service.work().unwrap());
        service.resume(Worked::lost());

        let known = until_known(&mut service, START);

        // Preparing and filling change nothing; once the list is in force only its saving was lost.
        let is_in_force = work_before == 2;
        assert_eq!(known.is_ok(), is_in_force, "{work_before}: {known:?}");
        assert_eq!(action(&fake, "192.0.2.1", START).is_some(), is_in_force);
        if is_in_force {
            assert!(service.status().unwrap().unsaved.is_some());
            service.tick(after(60));
            until_known(&mut service, START).unwrap();
            assert!(service.status().unwrap().unsaved.is_none());
        }
        service.replace_list(&name("corp"), list("192.0.2.2"), options(), after(61)).unwrap();
        assert!(action(&fake, "192.0.2.2", START).is_some() && action(&fake, "192.0.2.1", START).is_none());
    }
}

#[test]
fn a_change_that_may_not_be_written_down_is_not_made() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let confirmed = ListOptions { confirm: Some(Duration::from_secs(60)), ..options() };
    service.begin_list(&name("corp"), list("192.0.2.1"), confirmed, START).unwrap();
    let worked = service.work().unwrap().run();
    assert_eq!(worked.content().unwrap().entries, 1);
    service.resume(worked);

    service.abandon(START);

    assert!(!service.is_building() && service.lists().is_empty() && service.confirmations().is_empty());
    assert!(action(&fake, "192.0.2.1", START).is_none());
}
