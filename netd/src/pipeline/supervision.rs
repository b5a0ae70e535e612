//! Tells the service manager that netd is ready, and goes on telling that it is alive while it is.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::store::status::Sources;

/// Between two words to a service manager that asks for none: its status line is kept current.
const STATUS: Duration = Duration::from_secs(30);

/// Works until `shutdown`. Alive is who has counted anew since the last word.
pub(super) async fn tell(mut sources: Sources, shutdown: CancellationToken) -> anyhow::Result<()> {
    say(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = tokio::time::interval(watchdog.map_or(STATUS, |limit| limit / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let is_alive = sources.has_changed().unwrap_or(false);
        let snapshot = sources.borrow_and_update().clone();
        let status = match snapshot.not_ready.first() {
            Some(reason) => format!("not ready: {reason}"),
            None => format!("watching {} interfaces", snapshot.interfaces.len()),
        };
        match is_alive {
            true => say(&[NotifyState::Status(&status), NotifyState::Watchdog]),
            false => say(&[NotifyState::Status(&status)]),
        }
    }
    say(&[NotifyState::Stopping]);
    Ok(())
}

fn say(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell, which is no error.
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager was not told");
    }
}
