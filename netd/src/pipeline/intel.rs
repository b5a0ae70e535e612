//! Reads lists of threat intelligence again when their files change, or a feed brought another. A file that cannot be used leaves the last good
//! state in place.

use std::sync::Arc;
use std::time::Duration;

use netd_engine::intel::Intel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::feeds::Texts;
use crate::config::files::{self, IntelList, Stamp};
use crate::time;

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(10);

pub(super) struct Renewer {
    lists: Vec<IntelList>,
    stamp: Stamp,
    /// Lists that are fetched.
    feeds: watch::Receiver<Texts>,
    renewed: watch::Sender<Arc<Intel>>,
}

impl Renewer {
    pub(super) fn new(
        lists: Vec<IntelList>,
        intel: Arc<Intel>,
        feeds: watch::Receiver<Texts>,
    ) -> (Self, watch::Receiver<Arc<Intel>>) {
        let stamp = stamp(&lists);
        let (renewed, mut received) = watch::channel(intel);
        received.mark_changed();
        (Self { lists, stamp, feeds, renewed }, received)
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let stamp = stamp(&self.lists);
            if stamp == self.stamp && !self.feeds.has_changed().unwrap_or(false) {
                continue;
            }
            self.stamp = stamp;
            let (lists, feeds) = (self.lists.clone(), self.feeds.borrow_and_update().clone());
            match tokio::task::spawn_blocking(move || read(&lists, &feeds)).await? {
                Ok(intel) => {
                    info!(indicators = intel.len(), "threat intelligence was read again");
                    self.renewed.send_replace(Arc::new(intel));
                }
                Err(error) => warn!(%error, "threat intelligence stays as it was"),
            }
        }
        Ok(())
    }
}

/// Reads every list, from files and from feeds.
fn read(lists: &[IntelList], feeds: &Texts) -> anyhow::Result<Intel> {
    let mut intel = files::intel(lists)?;
    for (name, text) in feeds {
        let loaded = intel.add(name, text, time::now());
        if let Some((line, why)) = loaded.refused.first() {
            let refused = loaded.refused_total;
            warn!(feed = name, line, %why, refused, "lines of the feed were left out");
        }
    }
    Ok(intel)
}

fn stamp(lists: &[IntelList]) -> Stamp {
    Stamp::of(lists.iter().map(|list| list.file.as_path()))
}
