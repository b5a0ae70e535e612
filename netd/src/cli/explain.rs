//! `netd explain`: why there is, or is not, a finding, and what is enforced, about an address, a name, a process or a
//! flow.

use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::Value;

use super::client::escaped;
use super::output::{self, Format, end, moment, text};
use super::shown::{Shown, make_plain};
use super::{Asking, Error};

/// Says what netd follows about an address, a name, a process or a flow, what it amounts to, what was silenced by which
/// benign class, and what is cut.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// An address, or a name and all below it.
    #[arg(required_unless_present_any = ["pid", "flow"])]
    target: Option<String>,
    /// A process of this host.
    #[arg(long, conflicts_with_all = ["target", "flow"])]
    pid: Option<u32>,
    /// A flow by the number that `netd flows -o json` shows.
    #[arg(long, conflicts_with = "target", value_name = "ID")]
    flow: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let (field, value, subject) = match (&args.target, args.pid, args.flow) {
        (Some(target), _, _) => {
            let field = if target.parse::<IpAddr>().is_ok() { "ip" } else { "name" };
            (field, target.clone(), target.clone())
        }
        (None, Some(pid), _) => ("pid", pid.to_string(), format!("process {pid}")),
        (None, None, Some(flow)) => ("flow", flow.to_string(), format!("flow {flow}")),
        (None, None, None) => return Err(Error::Usage("name an address, a name, --pid or --flow".to_owned())),
    };
    let explanation = args.asking.client()?.get(&format!("/api/v1/explain?{field}={}", escaped(&value)))?;
    match args.asking.output {
        Format::Table => write(&subject, explanation, out)?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &explanation)?,
    }
    Ok(())
}

/// Writes an explanation for people.
pub(super) fn write(target: &str, mut explanation: Value, out: &mut dyn Write) -> io::Result<()> {
    make_plain(&mut explanation);
    let list = |name: &str| explanation[name].as_array().cloned().unwrap_or_default();
    let (followed, silenced, findings) = (list("followed"), list("silenced"), list("findings"));
    for one in list("lists") {
        let kind = if one["kind"] == "allow" { "allowed" } else { "blocked" };
        let until = if one["until"].is_null() { String::new() } else { format!(" until {}", moment(&one["until"])) };
        let reason = one["reason"].as_str().filter(|reason| !reason.is_empty());
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        writeln!(out, "{kind} by list {}, entry {}{until}{reason}", text(&one["list"]), text(&one["entry"]))?;
    }
    if followed.is_empty() && silenced.is_empty() && findings.is_empty() {
        writeln!(out, "{target}: no traffic is remembered")?;
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
    let is_followed = |finding: &&Value| !followed.iter().any(|one| one["raised"] == finding["id"]);
    for finding in findings.iter().filter(is_followed) {
        let [id, severity, detector, title] =
            ["id", "severity", "detector", "title"].map(|field| text(&finding[field]));
        writeln!(out, "finding {id}: {severity} {detector}, {title}; `netd findings {id}` says why")?;
    }
    if explanation["is_cut"] == true {
        writeln!(out, "and more")?;
    }
    write_enforcement(&explanation, out)
}

/// Writes what is cut, by what, until when, and how to undo it.
fn write_enforcement(explanation: &Value, out: &mut dyn Write) -> io::Result<()> {
    let told = explanation["lists"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_told = |list: &Value| told.iter().any(|one| one["list"] == *list);
    for one in explanation["enforcement"].as_array().into_iter().flatten() {
        let address = text(&one["address"]);
        if let Some(guard) = one["protected_by"].as_str() {
            writeln!(out, "{address} is never cut: {guard}")?;
        }
        let lists = one["blocklists"].as_array().map(Vec::as_slice).unwrap_or_default();
        for list in lists.iter().filter(|list| !is_told(list)) {
            writeln!(out, "{address} is on the block-list {}", text(list))?;
        }
        let verdicts = one["verdicts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for verdict in verdicts {
            writeln!(out, "{address} {}", verdict_line(verdict, explanation))?;
        }
        if !verdicts.is_empty() || !lists.is_empty() {
            writeln!(out, "  to undo: netd unblock {address}")?;
        }
    }
    Ok(())
}

fn verdict_line(verdict: &Value, explanation: &Value) -> String {
    let target = &verdict["target"];
    let what = match target["kind"].as_str() {
        Some("endpoint") => format!("on port {}/{}", text(&target["port"]), text(&target["protocol"])),
        Some("prefix") => format!("as part of {}", text(&target["prefix"])),
        Some("five_tuple") => "in one conversation".to_owned(),
        Some(_) | None => "as a whole".to_owned(),
    };
    let acts = explanation["mode"] == "enforce" && explanation["kill_switch"] != true && verdict["shadow"] != true;
    let does = match (acts, verdict["action"].as_str()) {
        (false, _) => "would be cut",
        (true, Some("throttle")) => "is throttled",
        (true, Some("observe")) => "is counted",
        (true, Some(_) | None) => "is cut",
    };
    let why = match verdict["finding"].as_u64() {
        Some(finding) => format!("finding {finding}"),
        None => text(&verdict["origin"]),
    };
    let until = match verdict["until"].is_null() {
        true => "without end".to_owned(),
        false => format!("until {}", moment(&verdict["until"])),
    };
    let (id, hits) = (text(&verdict["id"]), text(&verdict["hits"]["packets"]));
    format!("{does} {what}: verdict {id} ({why}), {until}, {hits} packets met it")
}

fn ends(one: &Value) -> String {
    let name = one["name"].as_str().map_or_else(String::new, |name| format!(" ({name})"));
    let to = end(&one["responder"], &one["responder_port"]);
    format!("{} -> {to} {}{name}", text(&one["originator"]), text(&one["protocol"]))
}
