//! Whether this daemon may take another version's place: only with everything that the other one enforces, proved to act.

use anyhow::{Context as _, ensure};

use crate::{kernel, verdicts::Service};

/// Refuses when the maps do not hold what is wanted: another version's go on enforcing it.
pub(super) fn check_filled(service: &Service<kernel::VerdictMaps>, is_saved: bool) -> anyhow::Result<()> {
    ensure!(
        is_saved,
        "another version of netd enforces, and without a state directory its verdicts are unknown: set state_dir, or \
         `netd unload`"
    );
    match service.status()?.out_of_step {
        Some(why) => Err(anyhow::anyhow!(why)).context("another version's verdicts do not fit; it goes on enforcing"),
        None => Ok(()),
    }
}

/// Refuses when verdicts would not act, unless the kill switch says so.
pub(super) fn check_proved(service: &Service<kernel::VerdictMaps>) -> anyhow::Result<()> {
    let status = service.status()?;
    match status.held.filter(|_| !status.kill_switch) {
        Some(why) => Err(anyhow::anyhow!(why)).context("verdicts would not act; another version goes on enforcing"),
        None => Ok(()),
    }
}
