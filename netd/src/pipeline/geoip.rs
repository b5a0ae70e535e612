//! Follows the GeoIP files: one that changed is read and verified, and only then takes the old one's place.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use netd_geoip::{Databases, Loaded, Paths};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(30);

/// Reads the files that were named. Without them netd goes on; status says what is missing.
pub(super) fn load(paths: Paths) -> Arc<Databases> {
    let databases = Arc::new(Databases::new(paths));
    databases.reload().iter().for_each(tell);
    databases
}

/// Follows the files until `shutdown`.
pub(super) async fn follow(databases: Arc<Databases>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let databases = Arc::clone(&databases);
        // Verifying a large file takes a second, which no task of the runtime may be held up.
        let reloaded = tokio::task::spawn_blocking(move || databases.reload_changed()).await;
        reloaded.context("reading a GeoIP file panicked")?.iter().for_each(tell);
    }
    Ok(())
}

fn tell(loaded: &Loaded) {
    let db = loaded.kind.name();
    match &loaded.result {
        Ok(info) => info!(
            db,
            path = %info.path.display(),
            database_type = info.database_type,
            networks = info.networks,
            "GeoIP database read"
        ),
        Err(error) => warn!(db, %error, kept = loaded.kept, "GeoIP database cannot be used"),
    }
}
