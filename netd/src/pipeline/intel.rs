//! Reads lists of threat intelligence again when their files change. A file that cannot be used leaves the last good
//! state in place.

use std::sync::Arc;
use std::time::Duration;

use netd_engine::intel::Intel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::files::{self, IntelList, Stamp};

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(10);

pub(super) struct Renewer {
    lists: Vec<IntelList>,
    stamp: Stamp,
    renewed: watch::Sender<Arc<Intel>>,
}

impl Renewer {
    pub(super) fn new(lists: Vec<IntelList>, intel: Arc<Intel>) -> (Self, watch::Receiver<Arc<Intel>>) {
        let stamp = stamp(&lists);
        let (renewed, mut received) = watch::channel(intel);
        received.mark_changed();
        (Self { lists, stamp, renewed }, received)
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let stamp = stamp(&self.lists);
            if stamp == self.stamp {
                continue;
            }
            self.stamp = stamp;
            let lists = self.lists.clone();
            match tokio::task::spawn_blocking(move || files::intel(&lists)).await? {
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

fn stamp(lists: &[IntelList]) -> Stamp {
    Stamp::of(lists.iter().map(|list| list.file.as_path()))
}
