//! `netd man`: the manual page, or a page for each subcommand.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Cli, Error};

/// Prints the manual page: `netd man | man -l -`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Writes netd.1 and a page for each subcommand into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    all: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let Some(directory) = &args.all else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return Ok(out.write_all(&page)?);
    };
    let mut command = Cli::command();
    command.build();
    let subcommands: Vec<_> =
        command.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    for command in std::iter::once(command).chain(subcommands) {
        let man = clap_mangen::Man::new(command);
        let file = directory.join(man.get_filename());
        let mut page = Vec::new();
        man.render(&mut page)?;
        let written = fs::write(&file, page);
        written.map_err(|source| anyhow::Error::new(source).context(format!("cannot write {}", file.display())))?;
    }
    Ok(())
}
