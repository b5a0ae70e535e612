//! `netd completions`: what a shell needs to complete netd's command line.

use std::io::Write;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Error};

/// Prints completions for a shell: `netd completions bash > /etc/bash_completion.d/netd`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    // Written at once: the generator ends the program when its output is closed early.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "netd", &mut script);
    Ok(out.write_all(&script)?)
}
