//! `netd status`: whether netd does its work, and what it lost.

use std::io::{self, Write};

use serde_json::Value;

use super::output::{self, Format, amount, moment, plain, text};
use super::{Asking, Error};

/// Shows mode, interfaces, losses and how full the tables are.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let status = args.asking.client()?.get("/api/v1/status")?;
    match args.asking.output {
        Format::Table => report(&status, out)?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &status)?,
    }
    Ok(())
}

fn report(status: &Value, out: &mut dyn Write) -> io::Result<()> {
    let mode = in_words(&status["mode"]);
    writeln!(out, "netd {}, up since {} UTC", text(&status["version"]), moment(&status["started"]))?;
    writeln!(out, "mode         {mode}")?;
    writeln!(out, "kill switch  {}", if status["kill_switch"] == true { "ON: everything passes" } else { "off" })?;
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    for policy in list("policies") {
        writeln!(out, "policy       {}: {}", text(&policy["name"]), in_words(&policy["mode"]))?;
    }
    for fault in status["policy_reload"]["faults"].as_array().into_iter().flatten() {
        let place = [&fault["file"], &fault["line"], &fault["column"]].map(|value| plain(&text(value))).join(":");
        writeln!(out, "POLICY KEPT  what was read cannot be used: {place}: {}", plain(&text(&fault["message"])))?;
    }
    let waiting: Vec<_> = status["policy_reload"]["needs_restart"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|key| plain(&text(key)))
        .collect();
    if !waiting.is_empty() {
        writeln!(out, "restart      would take over what changed in the configuration: {}", waiting.join(", "))?;
    }
    for hook in list("hooks").filter(|hook| hook["denies"] != true) {
        writeln!(out, "HOOK PASSES  {}: {}", text(&hook["hook"]), plain(&text(&hook["why"])))?;
    }
    for reason in list("not_ready") {
        writeln!(out, "NOT READY    {}", plain(&text(reason)))?;
    }
    for problem in ["unsaved", "out_of_step"] {
        if !status[problem].is_null() {
            writeln!(out, "{problem:<12} {}", plain(&text(&status[problem])))?;
        }
    }
    for interface in list("interfaces") {
        let attached: Vec<_> = interface["attached"].as_array().into_iter().flatten().map(text).collect();
        writeln!(out, "interface    {} ({})", plain(&text(&interface["name"])), attached.join(", "))?;
    }
    for lack in list("degraded") {
        let said = [&lack["what"], &lack["why"], &lack["consequence"]].map(|value| plain(&text(value)));
        writeln!(out, "degraded     {}: {}; {}", said[0], said[1], said[2])?;
    }
    for database in list("geoip").filter(|database| !database["built"].is_null()) {
        let said = [&database["db"], &database["type"]].map(|value| plain(&text(value)));
        writeln!(out, "geoip        {}: {}, built {} UTC", said[0], said[1], moment(&database["built"]))?;
    }
    let managers: Vec<_> = list("managers").map(|manager| plain(&text(&manager["address"]))).collect();
    if !managers.is_empty() {
        writeln!(out, "logged in    not cut: {}", managers.join(", "))?;
    }
    for kind in ["gateways", "resolvers"] {
        let addresses: Vec<_> =
            status["protected"][kind].as_array().into_iter().flatten().map(|address| plain(&text(address))).collect();
        if !addresses.is_empty() {
            writeln!(out, "{kind:<12} not cut: {}", addresses.join(", "))?;
        }
    }
    let packets = &status["packets"];
    writeln!(out, "packets      {} in, {} out", amount(&packets["ingress"]), amount(&packets["egress"]))?;
    let dropped: u64 =
        ["dropped_tc", "dropped_xdp", "dropped_throttle"].iter().filter_map(|name| packets[name].as_u64()).sum();
    writeln!(out, "dropped      {}", amount(&dropped.into()))?;
    writeln!(
        out,
        "flows        {} alive; findings {}; verdicts {}; block-lists {}",
        text(&status["flows"]["live"]),
        text(&status["findings"]["held"]),
        text(&status["verdicts"]),
        text(&status["blocklists"])
    )?;
    let lost: Vec<_> = list("losses").filter(|loss| loss["lost"].as_u64() != Some(0)).collect();
    if lost.is_empty() {
        writeln!(out, "lost         nothing")?;
    }
    for loss in lost {
        writeln!(out, "lost         {} {}", text(&loss["lost"]), text(&loss["stage"]))?;
    }
    writeln!(out)?;
    let mut rows: Vec<_> = list("tables").map(|fill| row(&text(&fill["table"]), fill)).collect();
    rows.push(row("rules", &status["rules"]));
    rows.push(row("flow slots", &status["flow_slots"]));
    output::table(out, &["TABLE", "ENTRIES", "CAPACITY", "FULL"], &rows)
}

/// Says a requested and an effective mode, and why they differ.
fn in_words(mode: &Value) -> String {
    let (requested, effective) = (text(&mode["requested"]), text(&mode["effective"]));
    let reason = plain(&text(&mode["reason"]));
    match requested == effective {
        true if mode["reason"].is_null() => requested,
        true => format!("{requested}, but {reason}"),
        false => format!("{requested} asked for, {effective} in effect: {reason}"),
    }
}

fn row(name: &str, fill: &Value) -> Vec<String> {
    let (entries, capacity) = (fill["entries"].as_f64().unwrap_or(0.0), fill["capacity"].as_f64().unwrap_or(0.0));
    let full = if capacity > 0.0 { format!("{:.1} %", 100.0 * entries / capacity) } else { "-".to_owned() };
    vec![name.to_owned(), text(&fill["entries"]), text(&fill["capacity"]), full]
}
