//! `netd verdicts`: what is in force.

use std::io::Write;

use serde_json::Value;

use super::output::{self, amount, end, moment, text};
use super::{Asking, Error};

/// Shows the verdicts in force, newest first.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let verdicts = super::items(&args.asking.client()?, "/api/v1/verdicts", &[], args.limit)?;
    let head = ["ID", "TARGET", "ACTION", "UNTIL (UTC)", "ORIGIN", "PACKETS", "REASON"];
    Ok(output::items(out, args.asking.output, &verdicts, &head, row)?)
}

fn row(verdict: &Value) -> Vec<String> {
    let origin = match verdict["origin"].as_str() {
        Some("finding") => format!("finding {}", text(&verdict["finding"])),
        Some("list") => format!("list {}", text(&verdict["list"])),
        _ => text(&verdict["origin"]),
    };
    let action = match (verdict["shadow"] == true, verdict["leads"] == false) {
        (true, _) => format!("{} (shadow)", text(&verdict["action"])),
        (false, true) => format!("{} (waits)", text(&verdict["action"])),
        (false, false) => text(&verdict["action"]),
    };
    let until = if verdict["until"].is_null() { "never".to_owned() } else { moment(&verdict["until"]) };
    let hits = &verdict["hits"];
    let packets = hits["packets"].as_u64().unwrap_or(0) + hits["shadow_packets"].as_u64().unwrap_or(0);
    vec![
        text(&verdict["id"]),
        target(&verdict["target"]),
        action,
        until,
        origin,
        amount(&packets.into()),
        text(&verdict["reason"]),
    ]
}

/// Returns a target in one cell.
pub(super) fn target(target: &Value) -> String {
    match target["kind"].as_str() {
        Some("host") => text(&target["address"]),
        Some("prefix") => text(&target["prefix"]),
        Some("endpoint") => format!("{}/{}", end(&target["address"], &target["port"]), text(&target["protocol"])),
        Some(_) | None => format!(
            "{} -> {}/{}",
            end(&target["source"], &target["source_port"]),
            end(&target["destination"], &target["destination_port"]),
            text(&target["protocol"])
        ),
    }
}
