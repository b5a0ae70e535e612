//! Lets go of operators who have not asked for anything for a while.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::verdicts::Operators;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);

pub(super) async fn run(operators: Operators, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
        operators.forget(Instant::now()).await;
    }
    Ok(())
}
