//! Has the policies read again at SIGHUP and when their files change, and tells the engine how far netd lets them go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use netd_engine::Engine;
use netd_engine::policy::Ceiling;
use netd_engine::weights::Weights;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::supervision::Manager;
use crate::config::policies::concerns;
use crate::store::policies::{Book, Readers, Trigger};
use crate::verdicts::Handle;

/// Files are read when nothing has changed for this long: editors and Kubernetes change several, one after the other.
const QUIET: Duration = Duration::from_millis(500);
/// Changes without a pause are read at the latest after so many of them.
const CHANGES: usize = 64;
/// Between two looks at the mode and the kill switch.
const CEILING: Duration = Duration::from_secs(1);

/// Reads again whenever there is reason to.
pub(super) struct Keeper {
    book: Arc<Book>,
    handle: Handle,
    ceiling: watch::Sender<Ceiling>,
    changes: mpsc::Receiver<()>,
    manager: Manager,
    /// None where files cannot be watched; SIGHUP and the API still work.
    _watcher: Option<RecommendedWatcher>,
}

/// What the engine hears.
pub(super) struct Heard {
    read: Readers,
    ceiling: watch::Receiver<Ceiling>,
}

impl Heard {
    /// Hands over to the engine what has changed.
    pub(super) fn hand_over(&mut self, engine: &mut Engine) {
        let Readers { policies, services, weights } = &mut self.read;
        if policies.has_changed().unwrap_or(false) {
            engine.set_policies(Arc::clone(&policies.borrow_and_update()));
        }
        if services.has_changed().unwrap_or(false) {
            engine.set_services(services.borrow_and_update().clone());
        }
        if weights.has_changed().unwrap_or(false) {
            engine.set_weights(Weights::clone(&weights.borrow_and_update()));
        }
        if self.ceiling.has_changed().unwrap_or(false) {
            engine.set_ceiling(self.ceiling.borrow_and_update().clone());
        }
    }
}

impl Keeper {
    pub(super) fn new(book: Arc<Book>, path: &Path, handle: Handle) -> (Self, Heard) {
        let (changed, changes) = mpsc::channel(CHANGES);
        let watcher = match path.as_os_str().is_empty() {
            true => Ok(None),
            false => watcher(path.to_owned(), changed).map(Some),
        };
        let watcher = watcher.unwrap_or_else(|error| {
            warn!(%error, path = %path.display(), "changes of the policies are not noticed; SIGHUP has them read");
            None
        });
        let (ceiling, heard) = watch::channel(Ceiling::default());
        let heard = Heard { read: book.subscribe(), ceiling: heard };
        (Self { book, handle, ceiling, changes, manager: Manager::of_environment(), _watcher: watcher }, heard)
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let mut looks = tokio::time::interval(CEILING);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let trigger = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = looks.tick() => {
                    self.look().await;
                    continue;
                }
                Some(()) = hangup.recv() => Trigger::Signal,
                Some(()) = self.changes.recv() => {
                    self.settle().await;
                    Trigger::File
                }
            };
            self.reload(trigger).await?;
        }
    }

    async fn reload(&self, trigger: Trigger) -> anyhow::Result<()> {
        // Who asked by a signal is the service manager, or speaks through it.
        let is_told = trigger == Trigger::Signal;
        if is_told {
            self.manager.reloading();
        }
        let book = Arc::clone(&self.book);
        let read = tokio::task::spawn_blocking(move || book.reload(trigger));
        let reload = read.await.context("reading the policies panicked")?;
        if is_told {
            self.manager.reloaded(&reload);
        }
        Ok(())
    }

    /// Waits until the files are left alone.
    async fn settle(&mut self) {
        for _ in 0..CHANGES {
            if timeout(QUIET, self.changes.recv()).await.is_err() {
                return;
            }
        }
    }

    /// Tells the engine when mode or kill switch let policies go another way.
    async fn look(&self) {
        // Without an answer netd is ending.
        let Ok(status) = self.handle.status().await else { return };
        let ceiling = status.ceiling();
        self.ceiling.send_if_modified(|known| {
            let differs = *known != ceiling;
            *known = ceiling;
            differs
        });
    }
}

/// Watches the directory, because a file that is replaced is another file.
fn watcher(path: PathBuf, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let directory = match path.is_dir() {
        true => path.clone(),
        false => path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned(),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An overflow says nothing of what changed.
        let is_ours = event.is_ok_and(|event| {
            !matches!(event.kind, EventKind::Access(_))
                && (event.need_rescan() || event.paths.iter().any(|changed| concerns(&path, changed)))
        });
        if is_ours {
            // A full queue wakes the reader as well.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::super::supervision::tests::Fake;
    use super::*;
    use crate::store::policies::{Files, InForce};
    use crate::verdicts;

    #[tokio::test]
    async fn a_signal_is_answered_to_the_service_manager_whatever_comes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("mine.yaml");
        let book = Arc::new(Book::new(Files { policies, ..Files::default() }, InForce::default()));
        let (fake, manager) = Fake::listen();
        let (handle, _commands) = verdicts::channel();
        let (keeper, _heard) = Keeper::new(book, Path::new(""), handle);
        let keeper = Keeper { manager, ..keeper };

        keeper.reload(Trigger::File).await.unwrap();
        keeper.reload(Trigger::Signal).await.unwrap();

        assert_eq!(fake.hear()[0], "RELOADING=1", "only the signal is the manager's");
        let ended = fake.hear();
        assert_eq!(ended[0], "READY=1");
        assert!(ended[1].starts_with("STATUS=reload refused: ") && ended[1].contains("mine.yaml"), "{ended:?}");
    }
}
