//! What a daemon and `netd boot` both do until verdicts act: clocks, protected addresses, programs, proof, takeover.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::Context as _;
use ipnet::IpNet;
use netd_common::flow::ticks;
use netd_engine::config::Networks;
use tracing::warn;

use super::{ACTIVE_TIMEOUT, nanoseconds, succession};
use crate::{
    host::addresses::Addresses,
    kernel::{self, Degraded, Kernel, Steering, interfaces::Interface},
    verdicts::{Guard, Now, Service},
};

/// Tells the programs what a pause is, and how long they act without a daemon.
pub(super) fn steer(kernel: &Kernel, turn_gap_ms: u32, heartbeat_limit: Duration) -> anyhow::Result<Steering> {
    let steering = kernel.steering();
    steering.set_timeouts(ticks(u64::from(turn_gap_ms) * 1_000_000), ticks(nanoseconds(ACTIVE_TIMEOUT)))?;
    steering.set_heartbeat_limit(nanoseconds(heartbeat_limit))?;
    Ok(steering)
}

/// Attaches, has every hook prove that it denies, and then takes another version's place; returns what is missing.
pub(super) fn attach<'a>(
    kernel: &mut Kernel,
    service: &mut Service<kernel::VerdictMaps>,
    interfaces: impl IntoIterator<Item = &'a Interface>,
) -> anyhow::Result<Vec<Degraded>> {
    let mut degraded = kernel.attach(interfaces).context("cannot attach the kernel programs")?;
    degraded.extend(prove(service)?);
    if kernel.succeeds() {
        succession::check_proved(service)?;
        degraded.extend(kernel.take_over().context("cannot take over from another version")?);
    }
    Ok(degraded)
}

/// Says in the log what is gone on without.
pub(super) fn warn_of(degraded: &[Degraded]) {
    for missing in degraded {
        warn!(what = missing.what, why = missing.why, consequence = missing.consequence, "going on without it");
    }
}

/// Has every hook prove that it denies; returns those that do not.
fn prove(service: &mut Service<kernel::VerdictMaps>) -> anyhow::Result<Vec<Degraded>> {
    service.prove(Now::read()).context("cannot prove that verdicts act")?;
    let status = service.status()?;
    let silent = status.proofs.iter().filter(|proof| !proof.denies);
    let consequence = status.reason().unwrap_or_else(|| "what a verdict names passes there".to_owned());
    Ok(silent
        .map(|proof| Degraded {
            what: format!("hook {}", proof.hook),
            why: proof.why.clone(),
            consequence: consequence.clone(),
        })
        .collect())
}

/// Returns what is never cut.
pub(super) fn guards(addresses: &Addresses, protect: &[IpNet]) -> Vec<(Guard, Vec<IpNet>)> {
    let mut guards = found_out(addresses);
    guards.push((Guard::Config, protect.to_vec()));
    guards
}

/// Returns the part of it that netd finds out itself. IPv6 link-local addresses are left out: they are protected anyway,
/// and come and go with every container.
pub(super) fn found_out(addresses: &Addresses) -> Vec<(Guard, Vec<IpNet>)> {
    let needs_a_guard = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let nets = |set: &BTreeSet<IpAddr>| set.iter().copied().filter(needs_a_guard).map(IpNet::from).collect();
    vec![
        (Guard::Own, nets(&addresses.own)),
        (Guard::Gateway, nets(&addresses.gateways)),
        (Guard::Resolver, nets(&addresses.resolvers)),
    ]
}

/// Returns the networks the engine goes by: those of the configuration, what was found out, and who is logged in.
pub(super) fn networks(
    configured: &Networks,
    addresses: &Addresses,
    managers: impl Iterator<Item = IpAddr>,
) -> Networks {
    let mut networks = configured.clone();
    networks.own.extend(addresses.own.iter().copied().map(IpNet::from));
    networks.protected.extend(addresses.iter().chain(managers).map(IpNet::from));
    networks
}
