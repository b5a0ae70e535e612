//! Landlock: nothing is written outside of netd's own folders, and nothing executed.

use std::path::PathBuf;

use landlock::{ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules};

use super::Error;

/// Restricts this thread and all that it makes; returns whether the kernel does all of it.
pub(super) fn restrict(writable: &[PathBuf]) -> Result<bool, Error> {
    let write = AccessFs::from_write(ABI::V4);
    let restricted = Ruleset::default()
        .handle_access(write | AccessFs::Execute)
        .and_then(Ruleset::create)
        // A folder that is not there is none that is written to.
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(writable, write)))
        .and_then(landlock::RulesetCreated::restrict_self);
    let status = restricted.map_err(|source| Error::Landlock { source })?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}
