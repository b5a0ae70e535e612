//! Has the policies read again at SIGHUP and when their files change, and tells the engine how far netd lets them go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use netd_engine::Engine;
use netd_engine::policy::{Ceiling, Policies};
use netd_engine::services::Services;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::policies::concerns;
use crate::store::policies::{Book, Trigger};
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
    hangup: Signal,
    changes: mpsc::Receiver<()>,
    /// None where files cannot be watched; SIGHUP and the API still work.
    _watcher: Option<RecommendedWatcher>,
}

/// What the engine hears.
pub(super) struct Heard {
    policies: watch::Receiver<Arc<Policies>>,
    services: watch::Receiver<Services>,
    ceiling: watch::Receiver<Ceiling>,
}

impl Heard {
    /// Hands over to the engine what has changed.
    pub(super) fn hand_over(&mut self, engine: &mut Engine) {
        if self.policies.has_changed().unwrap_or(false) {
            engine.set_policies(Arc::clone(&self.policies.borrow_and_update()));
        }
        if self.services.has_changed().unwrap_or(false) {
            engine.set_services(self.services.borrow_and_update().clone());
        }
        if self.ceiling.has_changed().unwrap_or(false) {
            engine.set_ceiling(self.ceiling.borrow_and_update().clone());
        }
    }
}

impl Keeper {
    pub(super) fn new(book: Arc<Book>, path: &Path, handle: Handle) -> anyhow::Result<(Self, Heard)> {
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
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
        let (policies, services) = book.subscribe();
        let heard = Heard { policies, services, ceiling: heard };
        Ok((Self { book, handle, ceiling, hangup, changes, _watcher: watcher }, heard))
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut looks = tokio::time::interval(CEILING);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let trigger = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = looks.tick() => {
                    self.look().await;
                    continue;
                }
                Some(()) = self.hangup.recv() => Trigger::Signal,
                Some(()) = self.changes.recv() => {
                    self.settle().await;
                    Trigger::File
                }
            };
            let book = Arc::clone(&self.book);
            tokio::task::spawn_blocking(move || book.reload(trigger)).await.context("reading the policies panicked")?;
        }
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
