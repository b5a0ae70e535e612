//! Before the network is up: what was in force is in force again, on interfaces that are still down. Nothing goes on
//! running; the daemon takes over what is pinned here as it would from one that was killed.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use ipnet::IpNet;
use netd_common::control::Mode;
use netd_engine::config::Flows;

use super::force;
use crate::{
    host::addresses::Addresses,
    kernel::{
        self, Kernel,
        interfaces::{Choice, Interface, Watch},
    },
    store::disk::StateDir,
    verdicts::{Now, Page, Service, Settings},
};

/// Everything `netd boot` is told.
#[derive(Clone, Debug)]
pub struct Before {
    pub kernel: kernel::Options,
    pub interfaces: Choice,
    pub mode: Mode,
    pub accept_degraded: bool,
    pub state_dir: PathBuf,
    pub protect: Vec<IpNet>,
    pub blocklists: usize,
    /// What was put in force passes everything when no daemon has come by then; zero: it holds without one.
    pub daemon_within: Duration,
}

/// What is in force before the network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    pub interfaces: Vec<String>,
    pub verdicts: u64,
    pub lists: u64,
}

/// Puts in force what the state directory holds, and leaves it.
///
/// # Errors
/// When not everything is in force on every interface there is; what could be done is.
pub fn boot(before: Before) -> anyhow::Result<Booted> {
    let options = kernel::Options { processes: false, ..before.kernel };
    let (mut kernel, mut degraded) = Kernel::load(&options).context("cannot load the kernel programs")?;
    kernel.keep(true);
    force::steer(&kernel, Flows::default().turn_gap_ms, before.daemon_within)?;

    let addresses = Addresses::current().context("cannot learn this host's addresses")?;
    let disk = StateDir::open(&before.state_dir).context("cannot open the state directory")?;
    let settings = Settings {
        mode: before.mode,
        protect: force::guards(&addresses, &before.protect),
        max_lists: before.blocklists,
        accept_degraded: before.accept_degraded,
        ..Settings::default()
    };
    let mut service = Service::start(kernel.verdict_maps()?, Some(disk.clone()), settings, Now::read())
        .context("cannot put the verdicts in force")?;
    if let Some(why) = service.status()?.out_of_step {
        return Err(anyhow!(why)).context("cannot put the verdicts in force");
    }

    let present = present(before.interfaces)?;
    degraded.extend(force::attach(&mut kernel, &mut service, &present)?);
    force::warn_of(&degraded);

    let status = service.status()?;
    let booted = Booted {
        interfaces: kernel.watched().map(|interface| interface.name.clone()).collect(),
        verdicts: service.verdicts(Page { before: None, limit: usize::MAX }, Now::read()).entries.len() as u64,
        lists: service.lists().len() as u64,
    };
    if let Some(why) = status.held {
        bail!("verdicts do not act: {why}");
    }
    ensure!(disk.unread() == 0, "{} files of the state directory cannot be read; see the warnings", disk.unread());
    ensure!(!present.is_empty(), "there is no interface yet: order netd-boot.service after what makes them");
    ensure!(booted.interfaces.len() == present.len(), "not every interface could be attached to; see the warnings");
    Ok(booted)
}

/// Returns the interfaces there are of those to be watched, up or not.
fn present(wanted: Choice) -> anyhow::Result<Vec<Interface>> {
    let every = Watch::new(Choice::Every)?;
    let is_wanted = |interface: &&Interface| match &wanted {
        Choice::Auto | Choice::Every => true,
        Choice::Named(names) => names.contains(&interface.name),
    };
    Ok(every.current().filter(is_wanted).cloned().collect())
}
