use netd_common::verdict::Action;
use netd_engine::listed::Resolved;

use super::*;
use crate::verdicts::{EntryOptions, Guard, ListOptions, NewEntry, Refusal};

pub(super) fn entry(value: &str, seconds: Option<u64>) -> NewEntry {
    let until = seconds.map(|seconds| after(seconds).wall);
    NewEntry { value: value.parse().unwrap(), reason: "ir-4411".into(), until }
}

fn add(service: &mut Service<Fake>, value: &str, seconds: Option<u64>, now: Now) -> Result<(), Refusal> {
    service.add_entry(&name("corp"), entry(value, seconds), EntryOptions::default(), now).map(|_| ())
}

fn is_cut(fake: &Fake, dst: &str, now: Now) -> bool {
    action(fake, dst, now) == Some(Action::Drop as u8)
}

pub(super) fn resolved(list: &str, entry: &str, address: &str, tenants: u32) -> Resolved {
    Resolved {
        list: list.into(),
        is_allowed: false,
        entry: entry.into(),
        name: "cdn.evil.example".into(),
        address: address.parse().unwrap(),
        ttl_s: 300,
        client: "10.0.0.7".parse().unwrap(),
        tenants,
    }
}

#[test]
fn an_entry_makes_its_list_and_ends_by_itself_in_the_kernel() {
    let fake = Fake::default();
    let mut service = service(&fake);

    add(&mut service, "198.51.100.7", Some(60), START).unwrap();
    add(&mut service, "203.0.113.0/24", None, START).unwrap();

    assert!(is_cut(&fake, "198.51.100.7", START) && is_cut(&fake, "203.0.113.9", START));
    // Nobody ticked.
    assert!(!is_cut(&fake, "198.51.100.7", after(61)));
    service.tick(after(61));
    let entries = service.entries(&name("corp"), after(61)).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.value.to_string()).collect::<Vec<_>>(), ["203.0.113.0/24"]);
    assert_eq!(service.lists()[0].singles, 1);
}

#[test]
fn an_entry_asked_for_again_has_a_new_end_and_another_tag() {
    let mut service = service(&Fake::default());
    let first = service.add_entry(&name("corp"), entry("192.0.2.1", Some(60)), EntryOptions::default(), START).unwrap();
    let second =
        service.add_entry(&name("corp"), entry("192.0.2.1", Some(90)), EntryOptions::default(), START).unwrap();

    assert!(first.is_new && !second.is_new);
    assert_ne!(first.tag, second.tag);
    assert_eq!(service.status().unwrap().verdicts, 1);
    let stale = EntryOptions { if_match: Some(first.tag), ..EntryOptions::default() };
    let refused = service.add_entry(&name("corp"), entry("192.0.2.2", None), stale, START);
    assert!(matches!(refused, Err(Refusal::Changed { .. })));
}

#[test]
fn an_entry_is_taken_out_of_singles_and_content_alike() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("192.0.2.1 192.0.2.2"), ListOptions::default(), START).unwrap();
    add(&mut service, "192.0.2.3", None, START).unwrap();

    for value in ["192.0.2.1", "192.0.2.3"] {
        service.remove_entry(&name("corp"), &value.parse().unwrap(), None, START).unwrap();
    }

    assert!(!is_cut(&fake, "192.0.2.1", START) && !is_cut(&fake, "192.0.2.3", START));
    assert!(is_cut(&fake, "192.0.2.2", START));
    let gone = service.remove_entry(&name("corp"), &"192.0.2.3".parse().unwrap(), None, START);
    assert!(matches!(gone, Err(Refusal::NoEntry { .. })));
}

#[test]
fn a_replacement_takes_single_entries_with_it_unless_they_are_kept() {
    let fake = Fake::default();
    let mut service = service(&fake);
    let kept = ListOptions { keeps_entries: true, ..ListOptions::default() };
    add(&mut service, "192.0.2.9", None, START).unwrap();

    service.replace_list(&name("corp"), list("192.0.2.1"), kept, START).unwrap();
    assert!(is_cut(&fake, "192.0.2.9", START));
    let change = service.replace_list(&name("corp"), list("192.0.2.1"), ListOptions::default(), START).unwrap();

    assert_eq!((change.changed, change.removed), (true, 1));
    assert!(!is_cut(&fake, "192.0.2.9", START) && is_cut(&fake, "192.0.2.1", START));
    let again = service.replace_list(&name("corp"), list("192.0.2.1"), ListOptions::default(), START).unwrap();
    assert!(!again.changed);
}

#[test]
fn entries_names_and_allow_lists_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let disk = || Some(StateDir::open(dir.path()).unwrap());
    let mut first = service_on(&fake, disk(), START);
    add(&mut first, "198.51.100.7", Some(600), START).unwrap();
    add(&mut first, "*.evil.example", Some(600), START).unwrap();
    add(&mut first, "short.example", Some(5), START).unwrap();
    first.replace_list(&name("names"), list("bad.example 192.0.2.1"), ListOptions::default(), START).unwrap();
    first.add_allow_entry(&name("ours"), entry("192.0.2.1", Some(600)), EntryOptions::default(), START).unwrap();
    let tags: Vec<_> = first.lists().into_iter().map(|list| list.tag).collect();
    drop(first);

    let mut second = service_on(&fake, disk(), after(1));
    assert_eq!(second.lists().into_iter().map(|list| list.tag).collect::<Vec<_>>(), tags);
    assert!(!is_cut(&fake, "192.0.2.1", after(1)) && is_cut(&fake, "198.51.100.7", after(1)));
    second.tick(after(6));
    let listed = second.listed().borrow().clone();
    let names: Vec<_> = listed.block.iter().flat_map(|names| names.names.iter()).map(|name| name.to_string()).collect();
    assert_eq!(names, ["*.evil.example", "bad.example"]);
    second.tick(after(601));
    assert!(is_cut(&fake, "192.0.2.1", after(601)), "the allow-list has let go");
}

#[test]
fn an_allow_list_wins_and_what_it_lets_go_is_blocked_again() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_allow_list(&name("ours"), list("192.0.2.0/24"), ListOptions::default(), START).unwrap();

    // Listed before, while and by a single entry.
    let change =
        service.replace_list(&name("corp"), list("192.0.2.1 198.51.100.1"), ListOptions::default(), START).unwrap();
    add(&mut service, "192.0.2.2", None, START).unwrap();

    assert_eq!((change.entries, change.spared.len()), (2, 1));
    assert!(!is_cut(&fake, "192.0.2.1", START) && !is_cut(&fake, "192.0.2.2", START));
    assert!(is_cut(&fake, "198.51.100.1", START));
    let verdict = service.add(manual(host("192.0.2.3"), Response::Drop, 60), false, START);
    assert!(matches!(verdict, Err(Refusal::Protected { guard: Guard::AllowList, .. })));

    service.remove_allow_list(&name("ours"), None, START).unwrap();
    assert!(is_cut(&fake, "192.0.2.1", START) && is_cut(&fake, "192.0.2.2", START));
}

#[test]
fn an_allow_list_does_not_loosen_what_is_protected_otherwise() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.protect(Guard::Gateway, &["10.0.0.1/32".parse().unwrap()], START).unwrap();
    service.replace_allow_list(&name("ours"), list("10.0.0.0/8"), ListOptions::default(), START).unwrap();

    let change = service.replace_list(&name("corp"), list("10.0.0.1 10.0.0.2"), ListOptions::default(), START).unwrap();
    service.remove_allow_list(&name("ours"), None, START).unwrap();

    assert_eq!(change.refused[0].entry, "10.0.0.1");
    assert!(!is_cut(&fake, "10.0.0.1", START) && is_cut(&fake, "10.0.0.2", START));
}

#[test]
fn an_address_of_a_listed_name_is_cut_for_as_long_as_dns_says() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("*.evil.example"), ListOptions::default(), START).unwrap();

    let id = service.resolve(&resolved("corp", "*.evil.example", "8.8.4.4", 0), START).unwrap().unwrap();
    let again = service.resolve(&resolved("corp", "*.evil.example", "8.8.4.4", 0), after(10)).unwrap();

    assert_eq!(again, Some(id));
    assert!(is_cut(&fake, "8.8.4.4", after(299)) && !is_cut(&fake, "8.8.4.4", after(301)));
    let found = &service.lists_of_address("8.8.4.4".parse().unwrap(), START)[0];
    assert_eq!((found.entry.as_str(), found.reason.as_str()), ("*.evil.example", "cdn.evil.example has this address"));
    // Removed from the list, released at once.
    service.remove_entry(&name("corp"), &"*.evil.example".parse().unwrap(), None, after(20)).unwrap();
    assert!(!is_cut(&fake, "8.8.4.4", after(20)));
}

#[test]
fn a_name_cannot_have_just_any_address_cut() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.protect(Guard::Resolver, &["9.9.9.9/32".parse().unwrap()], START).unwrap();
    service.replace_list(&name("corp"), list("evil.example"), ListOptions::default(), START).unwrap();
    let mut refused = |address: &str, tenants| {
        service.resolve(&resolved("corp", "evil.example", address, tenants), START).unwrap_err().to_string()
    };

    assert!(refused("9.9.9.9", 0).contains("protected (a configured resolver)"));
    assert!(refused("10.1.2.3", 0).contains("which is private"));
    assert!(refused("::ffff:127.0.0.1", 0).contains("which is loopback"));
    assert!(refused("8.8.4.4", 4).contains("as 4 other domains lately had"));
    assert_eq!(service.status().unwrap().verdicts, 0);
    let counts = service.status().unwrap().resolved;
    assert_eq!((counts.acted, counts.shared, counts.protected), (0, 1, 3));
}

#[test]
fn one_name_has_a_bounded_number_of_addresses_cut() {
    let mut service = service(&Fake::default());
    service.replace_list(&name("corp"), list("evil.example"), ListOptions::default(), START).unwrap();

    let results = (0..300_u32).map(|n| {
        let address = std::net::Ipv4Addr::from(0x0808_0000 + n).to_string();
        service.resolve(&resolved("corp", "evil.example", &address, 0), START).is_ok()
    });

    assert_eq!(results.filter(|taken| *taken).count(), 256);
}

#[test]
fn an_address_of_an_allow_listed_name_passes_until_its_time_is_over() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service.replace_list(&name("corp"), list("8.8.4.4"), ListOptions::default(), START).unwrap();
    service.add_allow_entry(&name("ours"), entry(".good.example", None), EntryOptions::default(), START).unwrap();
    let allowed = Resolved { is_allowed: true, ..resolved("ours", ".good.example", "8.8.4.4", 9) };

    service.resolve(&allowed, START).unwrap();
    assert!(!is_cut(&fake, "8.8.4.4", START));
    service.tick(after(301));

    assert!(is_cut(&fake, "8.8.4.4", after(301)));
}

#[test]
fn one_command_undoes_all_that_hits_an_address() {
    let fake = Fake::default();
    let mut service = service(&fake);
    service
        .replace_list(&name("a"), list("192.0.2.1 192.0.2.0/24 198.51.100.1"), ListOptions::default(), START)
        .unwrap();
    service.add_entry(&name("b"), entry("192.0.2.1", None), EntryOptions::default(), START).unwrap();
    service.add(manual(host("192.0.2.1"), Response::Drop, 60), false, START).unwrap();
    service.add(manual(prefix("192.0.0.0/16"), Response::Drop, 60), false, START).unwrap();

    let released = service.unblock("192.0.2.1".parse().unwrap(), START).unwrap();

    assert_eq!((released.verdicts.len(), released.entries.len()), (3, 2));
    assert_eq!(action(&fake, "192.0.2.1", START), None);
    assert!(is_cut(&fake, "198.51.100.1", START));
    let released = service.unblock_all(START).unwrap();
    assert_eq!(released.lists, ["a", "b"]);
    assert_eq!(action(&fake, "198.51.100.1", START), None);
}
