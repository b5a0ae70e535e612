//! Keeps the engine's histories over a restart: slow beacons take hours to show themselves.

use std::time::{Duration, Instant};

use netd_engine::Engine;
use netd_engine::config::Config;
use tracing::{info, warn};

use crate::store::disk::{File, StateDir};
use crate::time;

/// Between two snapshots. One that takes long waits so many times as long as it took.
const EVERY: Duration = Duration::from_secs(60);
const SHARE: u32 = 200;

/// Returns an engine with the histories of the former run, if there are any that can be read.
pub(super) fn restored(config: Config, disk: Option<&StateDir>) -> Engine {
    let mut engine = Engine::new(config);
    let Some(disk) = disk else { return engine };
    // A snapshot of another version or of a far future is no damage, but of no use either.
    let taken = disk.read_or_set_aside(File::Histories, |bytes| match engine.restore(bytes, time::now()) {
        Ok(Duration::ZERO) => Some(()),
        Ok(back) => {
            warn!(
                by_s = back.as_secs_f64(),
                "the clock was set back since the histories were saved; their times are set back as far"
            );
            Some(())
        }
        Err(error) => {
            warn!(%error, "the saved histories are not taken over");
            None
        }
    });
    if taken.is_some() {
        info!(histories = engine.counts().histories, "histories of the former run");
    }
    engine
}

/// Saves the histories, off the engine's thread.
pub(super) struct Saver {
    disk: Option<StateDir>,
    next: Instant,
    writing: Option<tokio::task::JoinHandle<()>>,
}

impl Saver {
    pub(super) fn new(disk: Option<StateDir>) -> Self {
        Self { disk, next: Instant::now() + EVERY, writing: None }
    }

    /// Takes a snapshot when it is time, and lets it be written.
    pub(super) fn save_now_and_then(&mut self, engine: &Engine) {
        let now = Instant::now();
        if now < self.next || self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let Some(disk) = self.disk.clone() else { return };
        let bytes = engine.snapshot();
        self.next = now + EVERY.max(now.elapsed() * SHARE);
        self.writing = Some(tokio::task::spawn_blocking(move || write(&disk, &bytes)));
    }

    /// Saves what is known at the end.
    pub(super) async fn save_last(&mut self, engine: &Engine) {
        // The older snapshot must not replace the newer one.
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        if let Some(disk) = &self.disk {
            write(disk, &engine.snapshot());
        }
    }
}

fn write(disk: &StateDir, bytes: &[u8]) {
    if let Err(error) = disk.write(File::Histories, bytes) {
        warn!(%error, "the histories were not saved; a restart would begin anew");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: f64 = 86_400.0;

    /// Returns how many files could not be taken over after a snapshot from `ahead_s` seconds after now.
    fn unread(ahead_s: f64) -> u64 {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = StateDir::open(folder.path()).expect("a state directory");
        let mut engine = Engine::new(Config::default());
        engine.tick(time::now().plus_secs(ahead_s));
        write(&disk, &engine.snapshot());
        restored(Config::default(), Some(&disk));
        disk.unread()
    }

    #[test]
    fn histories_are_taken_over_when_the_clock_was_set_back_by_days_and_set_aside_when_by_months() {
        assert_eq!(unread(0.0), 0);
        assert_eq!(unread(2.0 * DAY_S), 0);
        assert_eq!(unread(60.0 * DAY_S), 1);
    }
}
