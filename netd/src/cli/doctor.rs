//! `netd doctor`: the host and the daemon in one screen.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::output::{self, Format, plain};
use super::{Asking, Error};
use crate::doctor::{self, Check, Grade};

/// Says whether this host has what netd takes, and how the daemon is, with what to do. Exit status 0: all is well, 4: netd
/// works with less, 1: it cannot work.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// netd's state directory.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/netd")]
    state_dir: PathBuf,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    let status = args.asking.client()?.get("/api/v1/status").map_err(|error| error.to_string());
    let checks = doctor::examine(&args.state_dir, &status);
    let worst = doctor::worst(&checks);
    match args.asking.output {
        Format::Table => table(&checks, out)?,
        format @ (Format::Json | Format::Jsonl) => {
            output::json_object(out, format, &json!({"worst": worst, "checks": checks}))?;
        }
    }
    Ok(match worst {
        Grade::Ok => 0,
        Grade::Warn => 4,
        Grade::Fail => 1,
    })
}

fn table(checks: &[Check], out: &mut dyn Write) -> Result<(), Error> {
    for Check { what, grade, found, advice } in checks {
        writeln!(out, "{:<5} {what:<11} {}", grade.name(), plain(found))?;
        if let Some(advice) = advice {
            writeln!(out, "      {:<11} -> {}", "", plain(advice))?;
        }
    }
    Ok(())
}
