//! Hands the addresses of listed names to the verdict service, off the engine's task.

use netd_engine::listed::Resolved;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::verdicts::{Handle, Refusal};

/// Works until the engine is gone. What is refused is counted by the service.
pub(super) async fn run(handle: Handle, mut resolved: mpsc::Receiver<Box<Resolved>>) -> anyhow::Result<()> {
    while let Some(resolved) = resolved.recv().await {
        match handle.resolve(resolved).await {
            Ok(_) => {}
            Err(refusal @ (Refusal::Kernel(_) | Refusal::RulesFull { .. } | Refusal::TableFull { .. })) => {
                warn!(%refusal, "an address of a listed name is not cut");
            }
            Err(refusal) => debug!(%refusal, "an address of a listed name is not cut"),
        }
    }
    Ok(())
}
