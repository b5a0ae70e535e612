//! Terms that every detector shares: who speaks, and where to.

use super::Case;
use crate::finding::Kind;
use crate::score::{Ledger, Strength};
use crate::weights;

const PROCESS: (Kind, Strength) = (Kind::Process, Strength::Independent);
const DESTINATION: (Kind, Strength) = (Kind::Destination, Strength::Independent);

pub(super) fn add(case: &Case<'_>, ledger: &mut Ledger) {
    destination(case, ledger);
    process(case, ledger);
}

fn destination(case: &Case<'_>, ledger: &mut Ledger) {
    let (hosts, users) = (case.prevalence.hosts, case.prevalence.users);
    let share = f64::from(users) / f64::from(hosts.max(1));
    let prevalence = || format!("used by {users} of {hosts} monitored hosts");
    if hosts >= weights::RARE_HOSTS && share <= weights::RARE_SHARE {
        ledger.add("rare_destination", DESTINATION, weights::RARE, prevalence);
    } else if hosts >= weights::COMMON_HOSTS && share >= weights::COMMON_SHARE {
        ledger.add("common_destination", DESTINATION, weights::COMMON, prevalence);
    }
    if case.watched_s >= weights::WATCHED_FOR_S && case.age_s < weights::NEW_WITHIN_S {
        let value = || format!("first seen {:.1} h ago", case.age_s / 3_600.0);
        ledger.add("new_destination", DESTINATION, weights::NEW, value);
    } else if case.age_s > weights::KNOWN_AFTER_S {
        let value = || format!("known for {:.0} days", case.age_s / 86_400.0);
        ledger.add("known_destination", DESTINATION, weights::KNOWN, value);
    }
    if !case.is_named && case.unrelated_answers >= weights::RESOLVES {
        let value = || format!("none of {} DNS answers to this host gave the address", case.unrelated_answers);
        ledger.add("never_resolved", (Kind::Destination, Strength::Corroborating), weights::NEVER_RESOLVED, value);
    }
}

fn process(case: &Case<'_>, ledger: &mut Ledger) {
    let Some(provenance) = case.provenance else { return };
    let mut add = |holds: bool, evidence, weight, value: &str| {
        if holds {
            ledger.add(evidence, PROCESS, weight, || value.to_owned());
        }
    };
    add(provenance.is_memory, "memory_executable", weights::MEMORY_EXECUTABLE, "runs from memory, without a file");
    let is_deleted = provenance.is_deleted && !provenance.is_memory;
    add(is_deleted, "deleted_executable", weights::DELETED_EXECUTABLE, "its executable was deleted");
    add(
        provenance.is_temporary,
        "temporary_executable",
        weights::TEMPORARY_EXECUTABLE,
        "its executable lies in a temporary directory",
    );
    let is_bare = provenance.is_bare_interpreter;
    add(is_bare, "bare_interpreter", weights::BARE_INTERPRETER, "an interpreter that runs no script file");
    let is_suspect = is_bare || is_deleted || provenance.is_memory || provenance.is_temporary;
    match provenance.is_packaged {
        Some(true) if !is_suspect => {
            add(true, "packaged_executable", weights::PACKAGED, "its executable belongs to a package");
        }
        Some(false) => add(true, "unpackaged_executable", weights::UNPACKAGED, "no package owns its executable"),
        Some(true) | None => {}
    }
}
