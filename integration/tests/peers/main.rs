//! Programs that others wrote read what a running netd tells: Prometheus and promtool, jq, a syslog socket, a web server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod outputs;
mod prometheus;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Generous: machines are loaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// One laboratory at a time: a machine's CPUs are few.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a condition.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
