//! `netd boot`: what was in force is in force before the network is up.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::run::{choice, kernel_options, log_to_stderr, nets};
use crate::config::{Boot, Config};
use crate::pipeline::{self, Before, Booted};

/// Puts in force what was before the reboot, on interfaces that are still down, and ends; `netd run` takes over later.
///
/// What the service netd-boot.service does before the network is up. `boot` in the configuration says whether the network
/// comes up without it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file; without it /etc/netd/netd.toml, if there is one.
    #[arg(long, value_name = "FILE", env = "NETD_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the configuration cannot be used, or says `boot = "closed"` and not everything is in force.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::read_default()?,
    };
    log_to_stderr(&config.log)?;
    let boot = config.boot;
    let before = Before {
        kernel: kernel_options(&config),
        interfaces: choice(&config.interfaces),
        mode: config.mode.control(),
        accept_degraded: config.accept_degraded,
        protect: nets(&config.protect),
        blocklists: config.limits.blocklists,
        daemon_within: match boot {
            Boot::Open => config.heartbeat_limit,
            Boot::Closed => Duration::ZERO,
        },
        state_dir: config.state_dir,
    };
    match (pipeline::boot(before), boot) {
        (Ok(Booted { interfaces, verdicts, lists }), Boot::Open | Boot::Closed) => {
            let interfaces = interfaces.join(" ");
            writeln!(out, "in force on {interfaces}: {verdicts} verdicts, {lists} lists")?;
            Ok(())
        }
        (Err(error), Boot::Open) => {
            tracing::error!(error = format!("{error:#}"), "the network comes up without everything in force");
            Ok(())
        }
        (Err(error), Boot::Closed) => Err(error.context(
            "not everything is in force, and boot = \"closed\" keeps down what requires this; to come up all the same: \
             `netd unload` and start the network, or netd.boot=off on the kernel's command line",
        )),
    }
}
