//! The red team: reverse shells run for real between two namespaces, and what of them netd finds and cuts.
//!
//! ```text
//! victim (netd, the shells) ─── eth0 ─── attacker (listeners that play a fixed script of commands)
//! ```
//! Nothing here evades or persists: each variant is one command line that everybody knows, run in a namespace without a
//! way out, for two seconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

pub mod arena;
pub mod attacker;

pub mod benign;
pub mod campaign;
pub mod control;
pub mod findings;

pub mod implant;
pub mod matrix;
pub mod published;
pub mod report;

pub mod tls;
pub mod trace;
pub mod tree;
pub mod variant;
pub mod variants;
pub mod warden;

/// The detectors that are about shells; what another detector says of a variant does not count as finding it.
pub const SHELL_DETECTORS: [&str; 3] = ["host_reverse_shell", "bind_shell", "reverse_shell"];

/// Returns nanoseconds since 1970, the clock that findings are dated with.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Works on all items, some at once, and returns the results in their order.
fn at_once<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
