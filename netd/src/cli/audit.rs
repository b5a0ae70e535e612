//! `netd audit`: who changed what is enforced, and whether the log of it is whole.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::output::{self, Format, moment, plain, text};
use super::{Asking, Error, items};
use crate::store::audit::{self, Verified};
use crate::store::disk;

/// Shows who changed what is enforced, and verifies the log of it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Shows changes, newest first.
    List {
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        asking: Asking,
    },
    /// Follows the chain of records through the files, without the daemon; exit status 1 and the first record that does
    /// not follow when it is broken.
    Verify {
        /// netd's state directory.
        #[arg(long, value_name = "FOLDER", default_value = "/var/lib/netd")]
        state_dir: PathBuf,
        /// Hash of a record that was written down elsewhere: it must be there.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// What to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    match &args.action {
        Action::List { limit, asking } => list(*limit, asking, out).map(|()| 0),
        Action::Verify { state_dir, head, output } => {
            let verified = audit::verify(&state_dir.join(disk::AUDIT), head.as_deref())?;
            verify(&verified, head.is_some(), *output, out)
        }
    }
}

fn list(limit: usize, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let items = items(&asking.client()?, "/api/v1/audit", &[], limit)?;
    let head = ["SEQ", "TIME (UTC)", "WHO", "ACTION", "TARGET", "REASON"];
    Ok(output::items(out, asking.output, &items, &head, row)?)
}

fn row(item: &Value) -> Vec<String> {
    let said = |field: &str| plain(&text(&item[field]));
    vec![said("seq"), moment(&item["time"]), said("actor"), said("action"), said("target"), said("reason")]
}

fn verify(verified: &Verified, wants_head: bool, format: Format, out: &mut dyn Write) -> Result<u8, Error> {
    let Verified { first, records, last, head, broken, has_wanted } = verified;
    let is_whole = broken.is_none() && (*has_wanted || !wants_head);
    match format {
        Format::Table => {
            writeln!(out, "{records} records, numbers {first} to {last}, head {head}")?;
            if *first > 1 {
                writeln!(out, "older records were removed with their files")?;
            }
            match broken {
                Some(broken) => writeln!(out, "BROKEN at {broken}")?,
                None if is_whole => writeln!(out, "the chain is whole")?,
                None => writeln!(out, "BROKEN: no record has the hash that was given with --head")?,
            }
        }
        format @ (Format::Json | Format::Jsonl) => {
            let broken = broken
                .as_ref()
                .map(|broken| json!({"file": broken.file, "line": broken.line, "fault": broken.fault.to_string()}));
            let object = json!({
                "whole": is_whole, "first": first, "records": records, "last": last, "head": head, "broken": broken,
            });
            output::json_object(out, format, &object)?;
        }
    }
    Ok(u8::from(!is_whole))
}
