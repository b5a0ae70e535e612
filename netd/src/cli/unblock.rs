//! `netd unblock`: everything that hits an address, undone.

use std::io::Write;
use std::net::IpAddr;

use hyper::Method;
use serde_json::json;

use super::output::{self, Format, text};
use super::{Asking, Error};

/// Releases every verdict about an address and takes it out of every block-list.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[arg(required_unless_present = "all")]
    address: Option<IpAddr>,
    /// Releases every verdict and removes every block-list.
    #[arg(long, conflicts_with = "address")]
    all: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let body = match args.address {
        Some(address) => json!({"address": address}),
        None => json!({"all": true}),
    };
    let released = args.asking.client()?.send_json(Method::POST, "/api/v1/unblock", &body)?;
    if args.asking.output != Format::Table {
        return Ok(output::json_object(out, args.asking.output, &released)?);
    }
    let listed = |name: &str| released[name].as_array().into_iter().flatten();
    for verdict in listed("verdicts") {
        writeln!(out, "verdict {} released: {}", text(&verdict["id"]), super::verdicts::target(&verdict["target"]))?;
    }
    for entry in listed("entries") {
        writeln!(out, "{} is out of block-list {}", text(&entry["value"]), text(&entry["list"]))?;
    }
    for list in listed("lists") {
        writeln!(out, "block-list {} removed", text(list))?;
    }
    if ["verdicts", "entries", "lists"].iter().all(|name| listed(name).next().is_none()) {
        writeln!(out, "nothing was blocked")?;
    }
    Ok(())
}
