//! `netd unload`: removes what a daemon left in place.

use std::{io::Write, path::PathBuf};

use anyhow::Context as _;

use crate::kernel;

/// Detaches and unpins everything that a stopped daemon left in place.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// netd's directory on the BPF file system.
    #[arg(long, value_name = "DIRECTORY", default_value = kernel::DEFAULT_BPFFS)]
    pub bpffs: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a daemon still runs, or something could not be removed.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let removed = kernel::unload(&args.bpffs).context("cannot unload")?;
    writeln!(out, "removed {} links and {} filters", removed.links, removed.filters)?;
    Ok(())
}
