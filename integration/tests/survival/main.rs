//! What holds while the daemon does not: stopped, gone. The rows T01 and T02 of `netd_lab::torture` kill it under a flood.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod ledger;
mod unload;

/// Floods take both CPUs: these tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
