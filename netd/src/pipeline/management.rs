//! Protects whoever is logged in on this host over the network, for as long as the session lasts and a little longer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch as channel;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::host::logins::{Logins, Ports};
use crate::store::status::Manager;
use crate::verdicts::{Handle, Operators};

/// Between two looks: whoever logs in is protected by then.
const LOOK: Duration = Duration::from_secs(5);

/// Returns who is logged in already. Without an answer netd goes on: the next look may have one.
pub(super) fn present(ports: &Ports) -> BTreeSet<IpAddr> {
    Logins::default().peers(ports).unwrap_or_else(|error| {
        warn!(%error, "who is logged in is not known");
        BTreeSet::new()
    })
}

pub(super) struct Managers {
    ports: Ports,
    operators: Operators,
    told: channel::Sender<Arc<[Manager]>>,
}

impl Managers {
    /// `present` are protected already. Returns what is told of those logged in, too.
    pub(super) fn new(
        handle: Handle,
        ports: Ports,
        present: BTreeSet<IpAddr>,
    ) -> (Self, channel::Receiver<Arc<[Manager]>>) {
        let managers = present.iter().map(|address| Manager { address: *address, seconds_left: 0 }).collect();
        let operators = Operators::logged_in(handle, present, Instant::now());
        let (told, hear) = channel::channel(managers);
        (Self { ports, operators, told }, hear)
    }

    /// Looks until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
            let ports = self.ports.clone();
            let look = tokio::task::spawn_blocking(move || present(&ports));
            let peers = look.await.context("a look at who is logged in panicked")?;
            let now = Instant::now();
            for peer in peers {
                self.operators.note(peer, now).await;
            }
            self.operators.forget(now).await;
            let list = self.operators.list(now).await.into_iter();
            self.told
                .send_replace(list.map(|(address, left)| Manager { address, seconds_left: left.as_secs() }).collect());
        }
        Ok(())
    }
}
