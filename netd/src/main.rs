//! The one binary: every subcommand is in `netd::cli`.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = netd::cli::Cli::parse();
    // Not locked: other threads log to standard error.
    ExitCode::from(netd::cli::run(&cli, &mut io::stdout(), &mut io::stderr()))
}
