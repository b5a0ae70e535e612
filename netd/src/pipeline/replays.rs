//! Replays captures that the API was given: one at a time, on a thread that gives way to everything else.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use ipnet::IpNet;
use netd_engine::config::{Config, Networks};
use netd_engine::intel::Intel;
use netd_engine::weights::Weights;
use netd_geoip::Databases;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::source::job;
use crate::store::jobs::Queue;
use crate::store::policies::Readers;

/// The lowest priority among ordinary threads.
const NICE: i32 = 19;

/// What a capture is held against: what the daemon itself is told of the world, as it is when the replay begins.
pub(super) struct Replayer {
    pub(super) queue: Queue,
    pub(super) read: Readers,
    pub(super) intel: watch::Receiver<Arc<Intel>>,
    pub(super) databases: Arc<Databases>,
    /// Networks that are monitored, unless a request names others.
    pub(super) local: Vec<IpNet>,
}

impl Replayer {
    /// Begins; the thread ends when the jobs are closed.
    pub(super) fn start(self) -> anyhow::Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name("netd-replay".to_owned());
        thread.spawn(move || self.run()).context("cannot start the thread that replays captures")
    }

    fn run(self) {
        // On Linux this is the thread's own.
        if let Err(error) = rustix::process::setpriority_process(None, NICE).map_err(io::Error::from) {
            warn!(%error, "replays have the priority of everything else");
        }
        while let Some(work) = self.queue.next() {
            let config = self.config(work.local());
            let intel = Arc::clone(&self.intel.borrow());
            let outcome = job::replay(&work, config, |engine| engine.set_intel(intel));
            info!(findings = outcome.findings.len(), error = outcome.error, "a capture was replayed");
            self.queue.finish(work, outcome);
        }
    }

    fn config(&self, local: &[IpNet]) -> Config {
        let local = if local.is_empty() { &self.local } else { local };
        let geography = (!self.databases.is_empty()).then(|| Arc::clone(&self.databases) as _);
        Config {
            networks: Networks { local: local.to_vec(), ..Networks::default() },
            services: self.read.services.borrow().clone(),
            weights: Weights::clone(&self.read.weights.borrow()),
            geography,
            ..Config::default()
        }
    }
}
