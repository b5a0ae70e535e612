use super::entries::entry;
use super::*;
use crate::verdicts::{Begun, EntryOptions, ListOptions, Refusal};

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

fn for_now() -> ListOptions {
    ListOptions { confirm: MINUTE, ..ListOptions::default() }
}

fn is_cut(fake: &Fake, dst: &str, seconds: u64) -> bool {
    action(fake, dst, after(seconds)).is_some()
}

#[test]
fn a_change_that_nobody_confirms_undoes_itself() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("192.0.2.1 evil.example"), ListOptions::default(), START).unwrap();
    service.add_entry(&name("corp"), entry("192.0.2.9", None), EntryOptions::default(), START).unwrap();
    let tag = service.lists()[0].tag.clone();

    let change = service.replace_list(&name("corp"), list("192.0.2.2"), for_now(), START).unwrap();
    service.replace_list(&name("new"), list("192.0.2.3"), for_now(), START).unwrap();
    let options = EntryOptions { confirm: MINUTE, ..EntryOptions::default() };
    service.add_entry(&name("entries"), entry("192.0.2.4", None), options, START).unwrap();
    service.add_for_now(manual(host("192.0.2.5"), Response::Drop, 600), false, Duration::from_secs(60), START).unwrap();

    assert!(change.confirmation.is_some());
    assert_eq!(service.confirmations().len(), 4);
    service.tick(after(59));
    assert!(["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].iter().all(|address| is_cut(&fake, address, 59)));
    service.tick(after(61));

    assert!(["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].iter().all(|address| !is_cut(&fake, address, 61)));
    assert!(is_cut(&fake, "192.0.2.1", 61) && is_cut(&fake, "192.0.2.9", 61));
    assert_eq!(service.lists().iter().map(|list| list.name.as_str()).collect::<Vec<_>>(), ["corp"]);
    assert_eq!(service.lists()[0].tag, tag, "as it was, its single entry too");
    assert_eq!(service.confirmations(), []);
}

#[test]
fn a_confirmed_change_stays() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let change = service.replace_list(&name("corp"), list("192.0.2.2"), for_now(), START).unwrap();

    service.confirm(change.confirmation.unwrap().0).unwrap();
    service.tick(after(3_600));

    assert!(is_cut(&fake, "192.0.2.2", 3_600));
    assert!(matches!(service.confirm(1), Err(Refusal::NoConfirmation { id: 1 })));
}

#[test]
fn a_verdict_that_was_renewed_for_now_is_what_it_was() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let id = service
        .add(
            manual(host("192.0.2.5"), Response::Throttle { bytes_per_second: 1_000, burst_bytes: 2_000 }, 600),
            false,
            START,
        )
        .unwrap()
        .id;

    let again = manual(host("192.0.2.5"), Response::Drop, 60);
    let (added, _) = service.add_for_now(again, false, Duration::from_secs(30), START).unwrap();
    service.tick(after(31));

    assert_eq!(added.id, id);
    assert!(matches!(service.verdict(id, after(31)).unwrap().verdict.response, Response::Throttle { .. }));
    assert!(is_cut(&fake, "192.0.2.5", 500));
}

#[test]
fn an_undo_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let disk = || Some(StateDir::open(dir.path()).unwrap());
    let mut first = service_on(&fake, disk(), START);
    first.replace_list(&name("corp"), list("192.0.2.1"), ListOptions::default(), START).unwrap();
    first.replace_list(&name("corp"), list("192.0.2.2"), for_now(), START).unwrap();
    drop(first);

    // Down while the time ran out.
    let mut second = service_on(&fake, disk(), after(120));
    second.tick(after(120));

    assert!(is_cut(&fake, "192.0.2.1", 120) && !is_cut(&fake, "192.0.2.2", 120));
    drop(second);
    assert_eq!(service_on(&fake, disk(), after(121)).confirmations(), []);
}

#[test]
fn one_change_of_a_list_waits_at_a_time_and_removing_is_always_possible() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.7"), ListOptions::default(), START).unwrap();
    service.replace_list(&name("corp"), list("192.0.2.2"), for_now(), START).unwrap();

    let second = service.replace_list(&name("corp"), list("192.0.2.3"), ListOptions::default(), START);
    assert!(matches!(second, Err(Refusal::Unconfirmed { .. })));
    service.remove_entry(&name("corp"), &"192.0.2.2".parse().unwrap(), None, START).unwrap();
    assert!(!is_cut(&fake, "192.0.2.2", 0));
    service.remove_list(&name("corp"), None, START).unwrap();
    service.tick(after(61));

    assert!(service.lists().is_empty(), "an undo does not bring back what was removed since");
}

#[test]
fn a_change_whose_undo_cannot_be_written_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut service = service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), START);
    std::fs::remove_dir(dir.path().join("undo")).unwrap();

    let change = service.replace_list(&name("corp"), list("192.0.2.2"), for_now(), START);

    assert!(matches!(change, Err(Refusal::Undo(_))));
    assert!(!is_cut(&fake, "192.0.2.2", 0));
}

/// A list of so many entries that changing it is work for a thread of its own; it holds `address`.
fn long(address: &str) -> List {
    let others = (0..5_000).map(|number| format!("10.0.{}.{}", number / 250, number % 250 + 1));
    list(&others.chain([address.to_owned()]).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_long_list_is_given_back_beside_verdicts_that_come_in_force() {
    for made in [service_on, service_of_generations] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let disk = || Some(StateDir::open(dir.path()).unwrap());
        let mut service = made(&fake, disk(), START);
        service.replace_list(&name("corp"), long("192.0.2.1"), ListOptions::default(), START).unwrap();
        service.add_entry(&name("corp"), entry("192.0.2.9", None), EntryOptions::default(), START).unwrap();
        service.replace_list(&name("corp"), long("192.0.2.2"), for_now(), START).unwrap();
        service.replace_list(&name("new"), long("192.0.2.3"), for_now(), START).unwrap();

        service.tick(after(61));
        assert!(service.is_building() && is_cut(&fake, "192.0.2.2", 61), "nothing is undone in between");
        service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, after(61)).unwrap();
        assert!(is_cut(&fake, "198.51.100.7", 61));
        let undone = until_known(&mut service, after(61)).unwrap().undone().unwrap();
        assert_eq!(undone.what, "block-list corp");
        service.tick(after(62));
        while service.is_building() {
            until_known(&mut service, after(62)).unwrap();
        }

        let cut = |address| is_cut(&fake, address, 62);
        assert!(["192.0.2.1", "192.0.2.9", "10.0.19.250", "198.51.100.7"].into_iter().all(cut));
        assert!(!cut("192.0.2.2") && !cut("192.0.2.3"));
        assert_eq!(service.lists().len(), 1);
        drop(service);
        let again = made(&fake, disk(), after(63));
        assert_eq!(again.confirmations(), []);
        assert!(again.list(&name("corp")).unwrap().1.lists(&"192.0.2.1".parse().unwrap()));
    }
}

#[test]
fn an_undo_that_fails_is_tried_again() {
    let fake = Fake::default();
    let mut service = service_of_generations(&fake, None, START);
    service.replace_list(&name("corp"), long("192.0.2.1"), ListOptions::default(), START).unwrap();
    service.replace_list(&name("corp"), long("192.0.2.2"), for_now(), START).unwrap();
    let id = service.confirmations()[0].id;

    fake.lock().writes_left = Some(0);
    assert!(matches!(service.begin_revert(id, after(10)), Ok(Begun::Building)));
    assert!(until_known(&mut service, after(10)).is_err());
    assert!(is_cut(&fake, "192.0.2.2", 10));
    assert_eq!(service.confirmations()[0].until, after(60).wall, "it waits as before");
    fake.lock().writes_left = None;
    service.tick(after(61));
    until_known(&mut service, after(61)).unwrap();

    assert!(is_cut(&fake, "192.0.2.1", 61) && !is_cut(&fake, "192.0.2.2", 61));
    assert_eq!(service.confirmations(), []);
}
