//! `netd confirm`: changes that undo themselves unless they are confirmed.

use std::io::Write;

use hyper::Method;
use serde_json::Value;

use super::output::{self, Format, moment, text};
use super::{Asking, Error};

/// Keeps a change that was made with --confirm, or shows those that wait.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The change's number; without it the changes that wait are shown.
    id: Option<u64>,
    /// Undoes the change at once.
    #[arg(long, requires = "id")]
    undo: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let client = args.asking.client()?;
    let Some(id) = args.id else {
        let mut answer = client.get("/api/v1/confirmations")?;
        let waiting: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
        let row = |one: &Value| vec![text(&one["id"]), moment(&one["until"]), text(&one["what"])];
        return Ok(output::items(out, args.asking.output, &waiting, &["ID", "UNDONE AT (UTC)", "CHANGE"], row)?);
    };
    let (method, verb) = if args.undo { (Method::DELETE, "undone") } else { (Method::POST, "confirmed") };
    let answer = client.send(method, &format!("/api/v1/confirmations/{id}"), None, Vec::new())?;
    match args.asking.output {
        Format::Table => writeln!(out, "change {id} of {} is {verb}", text(&answer["what"]))?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &answer)?,
    }
    Ok(())
}
