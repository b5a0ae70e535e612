//! Facts about reading policies again.

use std::collections::BTreeMap;

use super::*;

const POLICY: &str = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: a}\nspec: {mode: observe}\n";

fn book() -> (tempfile::TempDir, PathBuf, Book) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let policies = Collection::read(&path, &BTreeMap::new()).unwrap();
    let files = Files { policies: path.clone(), ..Files::default() };
    (folder, path, Book::new(files, InForce { policies, ..InForce::default() }))
}

#[test]
fn what_cannot_be_used_leaves_the_old_policies_in_force() {
    let (_folder, path, book) = book();
    let before = book.policies();
    std::fs::write(&path, POLICY.replace("observe", "enforced")).unwrap();

    let reload = book.reload(Trigger::Signal);

    assert!(reload.is_refused() && reload.faults[0].line == 4, "{reload:?}");
    assert!(Arc::ptr_eq(&before, &book.policies()));
    assert_eq!(book.last(), reload);
}

#[test]
fn what_changed_is_told_and_heard_once() {
    let (_folder, path, book) = book();
    let Readers { mut policies, mut services, .. } = book.subscribe();
    std::fs::write(&path, POLICY.replace("observe", "enforce")).unwrap();

    let reload = book.reload(Trigger::Api);

    assert_eq!(reload.difference.changed[0].field, "spec.mode");
    assert!(policies.has_changed().unwrap() && !services.has_changed().unwrap());
    policies.mark_unchanged();
    services.mark_unchanged();
    assert!(book.reload(Trigger::File).difference.is_empty());
    assert!(!policies.has_changed().unwrap());
}

const KILLS: &str = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: a}\n\
                     spec: {mode: enforce, respond: {host_reverse_shell: {from: critical, do: [kill]}}}\n";

#[test]
fn a_policy_that_kills_waits_for_a_restart_where_the_right_to_was_given_up() {
    let (_folder, path, book) = book();
    let (before, book) = (book.policies(), book.without_signals());
    std::fs::write(&path, KILLS).unwrap();

    let reload = book.reload(Trigger::Api);

    let fault = &reload.faults[0];
    assert!(fault.message.starts_with("restart needed: policy a: kill takes CAP_KILL"), "{fault:?}");
    assert_eq!(fault.file, path.display().to_string());
    assert!(Arc::ptr_eq(&before, &book.policies()));
}

#[test]
fn a_policy_that_kills_is_put_in_force_where_the_right_to_is_held() {
    let (_folder, path, book) = book();
    std::fs::write(&path, KILLS).unwrap();

    assert!(!book.reload(Trigger::Api).is_refused());
    let policies = book.policies();
    assert_eq!(policies.iter().map(|policy| book.withheld(policy)).collect::<Vec<_>>(), [None]);
}

/// Without the capability in the unit, it is not there at the start either.
#[test]
fn a_policy_that_kills_from_the_start_says_what_it_lacks_and_can_be_changed() {
    let (_folder, path, _) = book();
    std::fs::write(&path, KILLS).unwrap();
    let policies = Collection::read(&path, &BTreeMap::new()).unwrap();
    let files = Files { policies: path.clone(), ..Files::default() };
    let book = Book::new(files, InForce { policies, ..InForce::default() }).without_signals();
    std::fs::write(&path, KILLS.replace("enforce", "shadow")).unwrap();

    let reload = book.reload(Trigger::File);

    assert!(!reload.is_refused() && reload.difference.changed[0].field == "spec.mode", "{reload:?}");
    let policies = book.policies();
    let withheld = policies.iter().find_map(|policy| book.withheld(policy)).unwrap();
    assert!(withheld.starts_with("restart needed: kill takes CAP_KILL"), "{withheld}");
}

#[test]
fn weights_are_read_again_and_bad_ones_change_nothing() {
    let (folder, _, _) = book();
    let path = folder.path().join("weights.toml");
    let shipped = netd_engine::weights::SHIPPED;
    std::fs::write(&path, shipped).unwrap();
    let book = Book::new(Files { weights: path.clone(), ..Files::default() }, InForce::default());
    let Readers { mut weights, .. } = book.subscribe();

    assert!(!book.reload(Trigger::Signal).is_refused());
    assert!(!weights.has_changed().unwrap(), "the same weights are no change");
    let line = shipped.lines().find(|line| line.starts_with("rare_region_conversations")).unwrap();
    std::fs::write(&path, shipped.replace(line, "rare_region_conversations = 77.0")).unwrap();
    assert!(!book.reload(Trigger::Signal).is_refused());
    assert!((weights.borrow_and_update().destination.rare_region_conversations - 77.0).abs() < f64::EPSILON);
    std::fs::write(&path, "nonsense").unwrap();

    let reload = book.reload(Trigger::Signal);

    assert!(reload.is_refused() && reload.faults[0].file == path.display().to_string(), "{reload:?}");
    assert!(!weights.has_changed().unwrap());
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let (folder, policies, _) = book();
    let path = folder.path().join("netd.toml");
    let config = Started::with(&path, "");
    std::fs::write(&path, "mode = \"shadow\"\n[limits]\npairs = 9\n").unwrap();
    let book = Book::new(Files { policies, config, ..Files::default() }, InForce::default());

    assert_eq!(book.reload(Trigger::Api).needs_restart, ["mode", "limits.pairs"]);
    std::fs::write(&path, "limits = 1\n").unwrap();
    assert!(book.reload(Trigger::Api).is_refused());
}
