//! `netd config`: the configuration file, printed and checked.

use std::io::Write;
use std::path::PathBuf;

use netd_geoip::Databases;

use super::Error;
use crate::config::{self, Config, files};

/// Prints the default configuration, or checks a file.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Prints every key with its default and what it means.
    Default,
    /// Says whether a file, and the databases it names, can be used.
    Check {
        #[arg(default_value = config::DEFAULT_PATH)]
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::Default => out.write_all(config::DEFAULT.as_bytes())?,
        Action::Check { file } => {
            let config = Config::read(file)?;
            files::read(&config)?;
            for loaded in Databases::new(config.geoip.paths()).reload() {
                loaded.result?;
            }
            writeln!(out, "{} can be used", file.display())?;
        }
    }
    Ok(())
}
