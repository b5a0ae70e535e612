//! `netd policy`: policies checked, tried on captures and on what was seen, proposed, put in force and removed.

mod change;
mod generate;
mod simulate;
mod trial;

use std::io::Write;
use std::path::PathBuf;

use netd_engine::policy::schema;

use super::Error;
use crate::config::policies;

/// Checks, tries, proposes, puts and removes policies.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Says whether files, or directories of them, state policies. Exits with 1 and every fault where they do not.
    Check {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Plays the captures that policies name through the detectors, and compares what comes of it.
    Test {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Prints the JSON Schema of a policy.
    Schema,
    /// Says what policies would have cut of what the running netd has seen.
    Simulate(simulate::Args),
    /// Proposes an egress allow policy from the flows that the running netd has seen.
    Generate(generate::Args),
    Put(change::Put),
    Remove(change::Remove),
}

/// Runs the command and returns its exit status.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    match &args.action {
        Action::Check { paths } => check(paths, out),
        Action::Test { paths } => trial::run(paths, out),
        Action::Schema => {
            let text = serde_json::to_string_pretty(&schema()).map_err(std::io::Error::from)?;
            writeln!(out, "{text}")?;
            Ok(0)
        }
        Action::Simulate(args) => simulate::run(args, out).map(|()| 0),
        Action::Generate(args) => generate::run(args, out).map(|()| 0),
        Action::Put(args) => change::put(args, out).map(|()| 0),
        Action::Remove(args) => change::remove(args, out).map(|()| 0),
    }
}

fn check(paths: &[PathBuf], out: &mut dyn Write) -> Result<u8, Error> {
    let mut status = 0;
    for path in paths {
        match policies::read(path) {
            Ok(read) => {
                let names: Vec<_> = read.iter().map(|policy| &*policy.name).collect();
                writeln!(out, "{}: {}", path.display(), names.join(", "))?;
                for warning in policies::warnings(&read) {
                    writeln!(out, "{}: warning: {warning}", path.display())?;
                }
            }
            Err(faults) => {
                writeln!(out, "{faults}")?;
                status = 1;
            }
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests;
