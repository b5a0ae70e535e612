//! Follows this host's addresses, gateways and resolvers: what is never cut is what they are at the moment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use netd_engine::config::Networks;
use tokio::sync::watch as channel;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::force;
use crate::host::addresses::{Addresses, Lasting, Watch, configured_resolvers};
use crate::store::status::{Manager, Protected};
use crate::verdicts::Handle;

/// Between two looks at the files that name resolvers.
const FILES: Duration = Duration::from_secs(1);
/// Between two looks at addresses and routes of which nothing was told.
const ANYWAY: Duration = Duration::from_secs(30);
/// A look at a large routing table takes time: the next one waits this many times as long.
const SHARE: u32 = 20;

/// After the service refused, it is left alone for so long.
const RETRY: Duration = Duration::from_secs(10);

/// What the rest of the daemon hears.
pub(super) struct Followed {
    pub(super) networks: channel::Receiver<Arc<Networks>>,
    pub(super) protected: channel::Receiver<Arc<Protected>>,
}

pub(super) struct Follower {
    changes: Watch,
    /// As of the last look.
    seen: Addresses,
    lasting: Lasting,
    in_force: Addresses,
    /// What counts is told to the service from here on.
    may_settle: Instant,
    configured: Networks,
    managers: channel::Receiver<Arc<[Manager]>>,
    handle: Handle,
    networks: channel::Sender<Arc<Networks>>,
    protected: channel::Sender<Arc<Protected>>,
}

impl Follower {
    /// `changes` was subscribed to before `addresses` were looked at, and these are in force.
    pub(super) fn new(
        changes: Watch,
        addresses: Addresses,
        configured: Networks,
        managers: channel::Receiver<Arc<[Manager]>>,
        handle: Handle,
    ) -> (Self, Followed) {
        let mut lasting = Lasting::default();
        lasting.observe(&addresses, Instant::now());
        let in_use = networks(&configured, &addresses, &managers.borrow());
        let (networks, hear_networks) = channel::channel(Arc::new(in_use));
        let (protected, hear_protected) = channel::channel(Arc::new(shown(&addresses, 0)));
        let followed = Followed { networks: hear_networks, protected: hear_protected };
        let (seen, in_force) = (addresses.clone(), addresses);
        let may_settle = Instant::now();
        (
            Self { changes, seen, lasting, in_force, may_settle, configured, managers, handle, networks, protected },
            followed,
        )
    }

    /// Follows until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(FILES);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut may_look, mut must_look) = (Instant::now(), Instant::now() + ANYWAY);
        let mut has_news = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.changes.changed(), if !has_news => {
                    changed.context("cannot hear of changes to this host's addresses")?;
                    has_news = true;
                }
                () = tokio::time::sleep_until(may_look.into()), if has_news => {}
                Ok(()) = self.managers.changed() => {
                    self.publish();
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let begun = Instant::now();
            let whole = has_news && begun >= may_look || begun >= must_look;
            self.look(whole).await?;
            if whole {
                has_news = false;
                let now = Instant::now();
                may_look = now + (now - begun) * SHARE;
                must_look = now + ANYWAY;
            }
            self.settle().await;
        }
    }

    /// Looks at everything, or at the files alone.
    async fn look(&mut self, whole: bool) -> anyhow::Result<()> {
        let look = move || match whole {
            true => Addresses::current().map(Seen::All),
            false => Ok(Seen::Resolvers(configured_resolvers())),
        };
        match tokio::task::spawn_blocking(look).await.context("a look at this host's addresses panicked")? {
            Ok(Seen::All(addresses)) => self.seen = addresses,
            Ok(Seen::Resolvers(resolvers)) => self.seen.resolvers = resolvers,
            Err(error) => warn!(%error, "what this host's addresses are is not known; those known stay protected"),
        }
        Ok(())
    }

    /// Protects what counts, and lets go of what does not.
    async fn settle(&mut self) {
        let now = Instant::now();
        let counts = self.lasting.observe(&self.seen, now);
        if counts == self.in_force || now < self.may_settle {
            return;
        }
        let guards = force::found_out(&counts);
        if guards != force::found_out(&self.in_force)
            && let Err(error) = self.handle.protect_all(guards).await
        {
            warn!(%error, "changed addresses of this host are not protected; trying again");
            self.may_settle = now + RETRY;
            return;
        }
        let changes = self.protected.borrow().changes + 1;
        self.protected.send_replace(Arc::new(shown(&counts, changes)));
        tell(&self.in_force, &counts);
        self.in_force = counts;
        self.publish();
    }

    /// Tells the engine whose addresses are whose, where that has changed.
    fn publish(&self) {
        let new = networks(&self.configured, &self.in_force, &self.managers.borrow());
        self.networks.send_if_modified(|networks| {
            let has_changed = **networks != new;
            if has_changed {
                *networks = Arc::new(new);
            }
            has_changed
        });
    }
}

fn networks(configured: &Networks, addresses: &Addresses, managers: &[Manager]) -> Networks {
    force::networks(configured, addresses, managers.iter().map(|manager| manager.address))
}

enum Seen {
    All(Addresses),
    Resolvers(BTreeSet<IpAddr>),
}

fn shown(addresses: &Addresses, changes: u64) -> Protected {
    let Addresses { own, gateways, resolvers } = addresses.clone();
    Protected { own, gateways, resolvers, changes }
}

fn tell(before: &Addresses, after: &Addresses) {
    let kinds = [
        ("own address", &before.own, &after.own),
        ("gateway", &before.gateways, &after.gateways),
        ("resolver", &before.resolvers, &after.resolvers),
    ];
    for (kind, before, after) in kinds {
        for address in after.difference(before) {
            info!(%address, kind, "protected");
        }
        for address in before.difference(after) {
            info!(%address, kind, "gone, protected no more");
        }
    }
}
