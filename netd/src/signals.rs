//! Processes stopped or killed on somebody's behalf: who asked is written down first. Policies and the API go this way.

use std::sync::Arc;

use netd_engine::process::{ProcessId, Programs};
use rustix::process::Signal;

use crate::host::group::{self, Member};
use crate::store::audit::{Audit, Caller, Change, Effect, Unrecorded};
use crate::time;

/// Signals processes, as far as the daemon may.
#[derive(Clone, Debug)]
pub struct Signaller {
    pub audit: Audit,
    pub programs: Arc<Programs>,
}

/// Kills for the API, where it may: whom it would reach is told everywhere.
#[derive(Clone, Debug)]
pub struct Killer {
    pub signaller: Signaller,
    /// Why nobody is killed; none where it may.
    pub withheld: Option<&'static str>,
}

/// Why nobody was signalled, or not everybody.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    #[error(transparent)]
    Group(#[from] group::Error),
    #[error("the thread that was to signal it panicked")]
    Lost,
}

impl Signaller {
    /// Signals a process and whoever goes with it ([`group::signal`]); returns how many got the signal. `why` is written
    /// down.
    ///
    /// # Errors
    /// When it cannot be recorded, is gone, or must not be signalled.
    pub async fn signal(&self, id: ProcessId, signal: Signal, caller: &Caller, why: &str) -> Result<usize, Error> {
        let change = Change::new(Effect::Increases, "process.signal", format!("pid {}", id.pid));
        self.audit.admit(time::now(), caller, change.reason(format!("{signal:?}: {why}")))?;
        let told = self.ask(move |programs| group::signal(id, signal, programs)).await;
        if let Err(error) = &told {
            let refused = Change::new(Effect::Decreases, "refused", format!("pid {}", id.pid));
            self.audit.record(time::now(), caller, refused.reason(format!("process.signal: {error}")));
        }
        told
    }

    /// Returns whom [`Self::signal`] would signal.
    ///
    /// # Errors
    /// When it is gone or must not be signalled.
    pub async fn whom(&self, id: ProcessId) -> Result<Vec<Member>, Error> {
        self.ask(move |programs| group::whom(id, programs)).await
    }

    /// Asks on a thread that may wait for `/proc`.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Programs) -> Result<T, group::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let programs = Arc::clone(&self.programs);
        let asked = tokio::task::spawn_blocking(move || ask(&programs)).await;
        Ok(asked.map_err(|_| Error::Lost)??)
    }
}
