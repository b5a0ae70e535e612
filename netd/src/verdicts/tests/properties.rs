use std::collections::BTreeMap;

use netd_engine::verdict::{Response, Target};
use proptest::prelude::*;

use super::*;
use crate::verdicts::blocklist::Item;
use crate::verdicts::fake::FakeComing;
use crate::verdicts::{HANDOVER, ListOptions, MapKey, Page, Work};

/// One thing that can happen. Addresses are few, so that claims meet.
#[derive(Clone, Debug)]
enum Step {
    Add { target: u8, response: u8, seconds: u64, by_finding: bool },
    Release { nth: usize },
    Replace { list: u8, items: Vec<u8>, response: u8 },
    RemoveList { list: u8 },
    Wait { millis: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..6, 0_u8..4, 1_u64..20, any::<bool>()).prop_map(|(target, response, seconds, by_finding)| Step::Add {
            target,
            response,
            seconds,
            by_finding
        }),
        2 => (0_usize..6).prop_map(|nth| Step::Release { nth }),
        3 => (0_u8..3, proptest::collection::vec(0_u8..6, 0..5), 0_u8..4)
            .prop_map(|(list, items, response)| Step::Replace { list, items, response }),
        1 => (0_u8..3).prop_map(|list| Step::RemoveList { list }),
        4 => (1_u64..4_000).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Restart),
    ]
}

fn response(number: u8) -> Response {
    match number {
        0 => Response::Observe,
        1 => Response::Throttle { bytes_per_second: 1_000, burst_bytes: 2_000 },
        2 => Response::Drop,
        _ => Response::Reset,
    }
}

fn item(number: u8) -> Item {
    let text = ["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "2001:db8::1", "2001:db8::/32", "192.0.0.0/16"];
    text[usize::from(number)].parse().unwrap()
}

/// Returns every claim on a key: action and time left.
fn claims(service: &Service<Fake>, key: &MapKey, now: Now) -> Vec<(u8, Option<u64>)> {
    let page = service.verdicts(Page { before: None, limit: 1_000 }, now);
    let mut claims = Vec::new();
    for entry in page.entries {
        let Target::Prefix { prefix } = entry.verdict.target else { panic!("only prefixes are added") };
        if Item::from_net(prefix).key() == *key {
            let left = entry.verdict.until.map(|until| until.0.saturating_sub(now.wall.0));
            claims.push((entry.verdict.response.action() as u8, left));
        }
    }
    for view in service.lists() {
        let (view, list) = service.list(&name(&view.name)).unwrap();
        if list.iter().any(|item| item.key() == *key) {
            claims.push((view.response.action() as u8, None));
        }
    }
    claims
}

fn check(service: &Service<Fake>, fake: &Fake, now: Now) -> Result<(), TestCaseError> {
    let held: BTreeMap<_, _> =
        fake.lock().keys.iter().filter(|(key, _)| !matches!(key, MapKey::Allow(_))).map(|(k, r)| (*k, *r)).collect();
    let handover = HANDOVER.as_nanos() as u64;
    for number in 0..6 {
        let key = item(number).key();
        let claims = claims(service, &key, now);
        let Some(rule) = held.get(&key) else {
            prop_assert!(claims.is_empty(), "{key:?} is claimed and not in the kernel");
            continue;
        };
        let rule = fake.lock().rules[rule];
        prop_assert!(rule.holds(now.boot_ns), "{key:?} has a rule that does not hold");
        // The strongest of those that do not end soon; when all do, any of them.
        let strongest = claims.iter().filter(|(_, left)| left.is_none_or(|left| left > handover)).map(|c| c.0).max();
        match strongest {
            Some(strongest) => prop_assert_eq!(rule.action, strongest, "{:?}", key),
            None => {
                let around = item(number).enclosing().flat_map(|item| self::claims(service, &item.key(), now));
                let possible: Vec<_> = claims.iter().copied().chain(around).map(|claim| claim.0).collect();
                prop_assert!(!claims.is_empty() && possible.contains(&rule.action), "{key:?} is surplus");
            }
        }
    }
    let known: std::collections::BTreeSet<_> = (0..6).map(|n| item(n).key()).collect();
    prop_assert!(held.keys().all(|key| known.contains(key)));
    let status = service.status().unwrap();
    let counted: u64 =
        status.tables.iter().filter(|t| t.table != crate::verdicts::Table::Allow).map(|t| t.entries).sum();
    prop_assert_eq!(counted, held.len() as u64);
    prop_assert_eq!(fake.lock().rules.len() as u64, status.rules_used);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, the kernel holds for each key the strongest claim in force on it, and nothing else.
    #[test]
    fn the_kernel_holds_what_is_wanted(
        steps in proptest::collection::vec(step(), 1..40),
        by_generation in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let mut now = START;
        let start = |now| {
            let service = if by_generation { service_of_generations } else { service_on };
            Some(service(&fake, Some(StateDir::open(dir.path()).unwrap()), now))
        };
        let mut service = start(now);
        for step in steps {
            let s = service.as_mut().unwrap();
            match step {
                Step::Add { target, response: r, seconds, by_finding } => {
                    let target = Target::Prefix { prefix: item(target).net() };
                    let until = Some(now.plus(Duration::from_secs(seconds)).wall);
                    let ask = if by_finding { found } else { manual };
                    let verdict = ask(target, response(r), 0);
                    s.add(Verdict { until, ..verdict }, false, now).unwrap();
                }
                Step::Release { nth } => {
                    let page = s.verdicts(Page { before: None, limit: 1_000 }, now);
                    if let Some(entry) = page.entries.get(nth) {
                        s.release(entry.id, now).unwrap();
                    }
                }
                Step::Replace { list, items, response: r } => {
                    let items = items.into_iter().map(item).collect();
                    let options = ListOptions { response: response(r), ..ListOptions::default() };
                    s.replace_list(&name(&format!("list-{list}")), items, options, now).unwrap();
                }
                Step::RemoveList { list } => drop(s.remove_list(&name(&format!("list-{list}")), None, now)),
                Step::Wait { millis } => {
                    now = now.plus(Duration::from_millis(millis));
                    s.tick(now);
                }
                Step::Restart => {
                    drop(service.take());
                    service = start(now);
                }
            }
            check(service.as_ref().unwrap(), &fake, now)?;
        }
    }

    /// A key that one list claims all along is cut at every moment, whatever else happens to it.
    #[test]
    fn a_claimed_key_never_has_a_gap(
        steps in proptest::collection::vec(step(), 1..30),
        by_generation in any::<bool>(),
    ) {
        let fake = Fake::default();
        let mut service =
            if by_generation { service_of_generations(&fake, None, START) } else { service(&fake) };
        let mut now = START;
        let always: List = [item(0)].into_iter().collect();
        service.replace_list(&name("always"), always, ListOptions::default(), now).unwrap();
        fake.set_boot_ns(now.boot_ns);
        fake.lock().watch =
            Some(Box::new(|kernel| assert!(kernel.rule("10.9.9.9", "192.0.2.1", 443).is_some(), "a gap")));
        for step in steps {
            match step {
                Step::Add { target, response: r, seconds, .. } => {
                    let target = Target::Prefix { prefix: item(target).net() };
                    let until = Some(now.plus(Duration::from_secs(seconds)).wall);
                    service.add(Verdict { until, ..manual(target, response(r), 0) }, false, now).unwrap();
                }
                Step::Replace { list, items, response: r } => {
                    let items = items.into_iter().map(item).collect();
                    let options = ListOptions { response: response(r), ..ListOptions::default() };
                    service.replace_list(&name(&format!("list-{list}")), items, options, now).unwrap();
                }
                Step::RemoveList { list } => drop(service.remove_list(&name(&format!("list-{list}")), None, now)),
                Step::Release { .. } | Step::Restart => {}
                Step::Wait { millis } => {
                    // The service looks every half second.
                    for _ in 0..millis / 500 {
                        now = now.plus(Duration::from_millis(500));
                        fake.set_boot_ns(now.boot_ns);
                        prop_assert!(fake.rule("10.9.9.9", "192.0.2.1", 443, now.boot_ns).is_some());
                        service.tick(now);
                    }
                }
            }
        }
    }

    /// Verdicts that come and go while a generation is made are in it when it answers.
    #[test]
    fn a_generation_holds_what_happened_while_it_was_made(
        before in proptest::collection::vec(step(), 0..12),
        items in proptest::collection::vec(0_u8..6, 0..5),
        meanwhile in proptest::collection::vec(step(), 0..12),
        pause in 0_usize..5,
    ) {
        let fake = Fake::default();
        let mut service = service_of_generations(&fake, None, START);
        let mut now = START;
        for step in before {
            play(&mut service, step, &mut now);
        }
        let items = items.into_iter().map(item).collect();
        service.begin_list(&name("coming"), items, ListOptions::default(), now).unwrap();
        let (mut work, mut is_building) = (None, true);
        for step in meanwhile {
            // Lists wait for each other; verdicts do not.
            if !matches!(step, Step::Replace { .. } | Step::RemoveList { .. } | Step::Restart) {
                play(&mut service, step, &mut now);
            }
            for _ in 0..pause {
                is_building = is_building && advance(&mut service, &mut work, now);
            }
        }
        while is_building {
            is_building = advance(&mut service, &mut work, now);
        }
        check(&service, &fake, now)?;
    }
}

/// Goes on with a change of lists, bit by bit: takes work, does it, goes on with what came of it. Returns whether that
/// was not all.
fn advance(service: &mut Service<Fake>, taken: &mut Option<Work<FakeComing>>, now: Now) -> bool {
    if let Some(work) = taken.take() {
        service.resume(work.run());
        return true;
    }
    *taken = service.work();
    taken.is_some() || service.step(now).is_none()
}

fn play(service: &mut Service<Fake>, step: Step, now: &mut Now) {
    match step {
        Step::Add { target, response: r, seconds, by_finding } => {
            let target = Target::Prefix { prefix: item(target).net() };
            let until = Some(now.plus(Duration::from_secs(seconds)).wall);
            let ask = if by_finding { found } else { manual };
            service.add(Verdict { until, ..ask(target, response(r), 0) }, false, *now).unwrap();
        }
        Step::Release { nth } => {
            let page = service.verdicts(Page { before: None, limit: 1_000 }, *now);
            if let Some(entry) = page.entries.get(nth) {
                service.release(entry.id, *now).unwrap();
            }
        }
        Step::Replace { list, items, response: r } => {
            let items = items.into_iter().map(item).collect();
            let options = ListOptions { response: response(r), ..ListOptions::default() };
            service.replace_list(&name(&format!("list-{list}")), items, options, *now).unwrap();
        }
        Step::RemoveList { list } => drop(service.remove_list(&name(&format!("list-{list}")), None, *now)),
        Step::Wait { millis } => {
            *now = now.plus(Duration::from_millis(millis));
            service.tick(*now);
        }
        Step::Restart => {}
    }
}
