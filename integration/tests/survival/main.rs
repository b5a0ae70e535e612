//! What holds while the daemon does not: killed, stopped, hung, gone.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "figures that were measured")]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod floods;
mod ledger;
mod unload;

/// Floods take both CPUs: these tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
