//! `netd explain`: why there is, or is not, a finding about an address or a name.

use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::Value;

use super::client::escaped;
use super::output::{self, Format, end, moment, text};
use super::shown::{Shown, make_plain};
use super::{Asking, Error};

/// Says what netd follows about an address or a name, what it amounts to, and what was silenced by which benign class.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// An address, or a name and all below it.
    target: String,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let field = if args.target.parse::<IpAddr>().is_ok() { "ip" } else { "name" };
    let explanation = args.asking.client()?.get(&format!("/api/v1/explain?{field}={}", escaped(&args.target)))?;
    match args.asking.output {
        Format::Table => write(&args.target, explanation, out)?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &explanation)?,
    }
    Ok(())
}

/// Writes an explanation for people.
pub(super) fn write(target: &str, mut explanation: Value, out: &mut dyn Write) -> io::Result<()> {
    make_plain(&mut explanation);
    let list = |name: &str| explanation[name].as_array().cloned().unwrap_or_default();
    let (followed, silenced) = (list("followed"), list("silenced"));
    for one in list("lists") {
        let kind = if one["kind"] == "allow" { "allowed" } else { "blocked" };
        let until = if one["until"].is_null() { String::new() } else { format!(" until {}", moment(&one["until"])) };
        let reason = one["reason"].as_str().filter(|reason| !reason.is_empty());
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        writeln!(out, "{kind} by list {}, entry {}{until}{reason}", text(&one["list"]), text(&one["entry"]))?;
    }
    if followed.is_empty() && silenced.is_empty() {
        return writeln!(out, "{target}: no traffic is remembered");
    }
    for one in &followed {
        let said = match (one["raised"].as_u64(), one["is_finding"] == true) {
            (Some(id), _) => format!("finding {id}"),
            (None, true) => "suffices for a finding".to_owned(),
            (None, false) => "does not suffice for a finding".to_owned(),
        };
        let turns = [&one["originator_turns"], &one["responder_turns"]].map(text);
        writeln!(out, "{}: {said}; {} turns, {} of the responder", ends(one), turns[0], turns[1])?;
        match serde_json::from_value::<Shown>(one["would_be"].clone()) {
            Ok(shown) => shown.write_evidence(out)?,
            Err(_) => writeln!(out, "  too few turns to tell a rhythm")?,
        }
    }
    for one in &silenced {
        writeln!(
            out,
            "{}: not followed, {} conversations; {}",
            ends(one),
            text(&one["conversations"]),
            text(&one["why"])
        )?;
    }
    if explanation["is_cut"] == true {
        writeln!(out, "and more")?;
    }
    Ok(())
}

fn ends(one: &Value) -> String {
    let name = one["name"].as_str().map_or_else(String::new, |name| format!(" ({name})"));
    let to = end(&one["responder"], &one["responder_port"]);
    format!("{} -> {to} {}{name}", text(&one["originator"]), text(&one["protocol"]))
}
