//! `netd kill-switch`: everything passes, at once.

use std::io::Write;

use hyper::Method;
use serde_json::json;

use super::output::{self, Format, text};
use super::{Asking, Error};

/// Makes every program pass everything (on), or act again (off). Survives a restart.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_enum)]
    state: State,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    On,
    Off,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let body = json!({"on": args.state == State::On});
    let answer = args.asking.client()?.send_json(Method::PUT, "/api/v1/kill-switch", &body)?;
    match args.asking.output {
        Format::Table => {
            let state = if answer["on"] == true { "on: everything passes" } else { "off" };
            writeln!(out, "kill switch {state}; mode in effect: {}", text(&answer["mode"]["effective"]))?;
        }
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &answer)?,
    }
    Ok(())
}
