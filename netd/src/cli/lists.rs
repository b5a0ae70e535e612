//! What `netd block` and `netd allow` share: a list's text sent, an entry sent, and what the daemon answered.

use std::fs;
use std::io::{self, Read as _, Write};

use hyper::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::output::{self, Format, end, moment, plain, text};
use super::{Asking, Error};

/// Which lists are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Allow,
}

impl Kind {
    /// Returns where the API has them.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Block => "/api/v1/blocklists",
            Self::Allow => "/api/v1/allowlists",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Block => "block-list",
            Self::Allow => "allow-list",
        }
    }
}

/// How a change is made.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Making {
    /// Says what would change, and changes nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Accepts prefixes wider than /8 (IPv4) or /19 (IPv6), and names below which everybody registers.
    #[arg(long)]
    pub(super) force: bool,
    /// Undoes the change unless it is confirmed in this time: 60s.
    #[arg(long, value_name = "TIME", conflicts_with = "dry_run")]
    pub(super) confirm: Option<String>,
}

impl Making {
    /// Returns the change's query parameters.
    pub(super) fn query(&self) -> String {
        let confirm = self.confirm.as_ref().map_or_else(String::new, |time| format!("&confirm={}", escaped(time)));
        format!("dry_run={}&force={}{confirm}", self.dry_run, self.force)
    }
}

/// Sends one entry.
pub(super) fn add(
    kind: Kind,
    list: &str,
    entry: &Value,
    making: &Making,
    asking: &Asking,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let path = format!("{}/{}/entries?{}", kind.path(), escaped(list), making.query());
    let change = asking.client()?.send_json(Method::POST, &path, entry)?;
    if asking.output != Format::Table {
        return Ok(output::json_object(out, asking.output, &change)?);
    }
    let verb = match (change["dry_run"] == true, change["is_new"] == true) {
        (true, _) => "would be",
        (false, true) => "is",
        (false, false) => "has a new reason and end",
    };
    writeln!(out, "{} {verb} in {} {list}", text(&change["value"]), kind.name())?;
    for spared in change["spared"].as_array().into_iter().flatten() {
        writeln!(out, "{} is protected or allow-listed and keeps passing", text(spared))?;
    }
    after(&change, out)
}

/// Takes one entry out.
pub(super) fn remove(kind: Kind, list: &str, value: &str, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let path = format!("{}/{}/entries?value={}", kind.path(), escaped(list), escaped(value));
    let change = asking.client()?.send(Method::DELETE, &path, None, Vec::new())?;
    match asking.output {
        Format::Table => writeln!(out, "{} is out of {} {list}", text(&change["value"]), kind.name())?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &change)?,
    }
    Ok(())
}

/// Removes a whole list.
pub(super) fn remove_list(kind: Kind, list: &str, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let removed =
        asking.client()?.send(Method::DELETE, &format!("{}/{}", kind.path(), escaped(list)), None, Vec::new())?;
    match asking.output {
        Format::Table => writeln!(out, "list {list} removed, {} entries released", text(&removed["entries"]))?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &removed)?,
    }
    Ok(())
}

/// Sends a file as a list's content.
pub(super) fn import(
    kind: Kind,
    file: &str,
    list: &str,
    query: &str,
    asking: &Asking,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let content = read(file).map_err(|source| Error::Input { path: file.to_owned(), source })?;
    let path = format!("{}/{}?{query}", kind.path(), escaped(list));
    let change = asking.client()?.send(Method::PUT, &path, Some("text/plain"), content)?;
    match asking.output {
        Format::Table => report(&change, out),
        format @ (Format::Json | Format::Jsonl) => Ok(output::json_object(out, format, &change)?),
    }
}

/// Shows the single entries of a list.
pub(super) fn entries(kind: Kind, list: &str, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let path = format!("{}/{}/entries", kind.path(), escaped(list));
    let entries = super::items(&asking.client()?, &path, &[], usize::MAX)?;
    let head = ["ENTRY", "SINCE (UTC)", "UNTIL (UTC)", "REASON"];
    Ok(output::items(out, asking.output, &entries, &head, row)?)
}

fn row(entry: &Value) -> Vec<String> {
    let until = if entry["until"].is_null() { "never".to_owned() } else { moment(&entry["until"]) };
    vec![text(&entry["value"]), moment(&entry["created"]), until, plain(&text(&entry["reason"]))]
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return fs::read(file);
    }
    let mut content = Vec::new();
    io::stdin().lock().read_to_end(&mut content)?;
    Ok(content)
}

fn report(change: &Value, out: &mut dyn Write) -> Result<(), Error> {
    let tense = if change["dry_run"] == true { "would be " } else { "" };
    writeln!(
        out,
        "{}: {} entries; {tense}added {}, removed {}, unchanged {}",
        text(&change["name"]),
        text(&change["entries"]),
        text(&change["added"]),
        text(&change["removed"]),
        text(&change["unchanged"])
    )?;
    let listed = |name: &str| change[name].as_array().into_iter().flatten();
    for line in listed("rejected") {
        let (value, reason) = (plain(&text(&line["value"])), text(&line["reason"]));
        writeln!(out, "line {} rejected: {value}: {reason}", text(&line["line"]))?;
    }
    for refused in listed("refused") {
        writeln!(out, "not taken: {}: {}", text(&refused["value"]), text(&refused["reason"]))?;
    }
    for spared in listed("spared") {
        writeln!(out, "taken, but {}: {}", text(&spared["value"]), text(&spared["reason"]))?;
    }
    after(change, out)?;
    if change["mode"] != "enforce" {
        writeln!(out, "the mode is {}: nothing is cut", text(&change["mode"]))?;
    }
    Ok(())
}

/// Writes what every change may have to say: flows it would cut, how to confirm it, that it is not saved.
pub(super) fn after(change: &Value, out: &mut dyn Write) -> Result<(), Error> {
    if let Some(flows) = change["live_flows"]["items"].as_array().filter(|flows| !flows.is_empty()) {
        writeln!(out, "{} live flows would be cut, the newest first:", text(&change["live_flows"]["total"]))?;
        for flow in flows {
            let process = flow["process"].as_str().map_or_else(String::new, |name| format!(" {}", plain(name)));
            let name = flow["name"].as_str().map_or_else(String::new, |name| format!(" ({})", plain(name)));
            let from = end(&flow["originator"], &flow["originator_port"]);
            let to = end(&flow["responder"], &flow["responder_port"]);
            writeln!(out, "  {from} -> {to}/{}{name}{process}", text(&flow["protocol"]))?;
        }
    }
    if let Some(id) = change["confirmation"]["id"].as_u64() {
        let until = moment(&change["confirmation"]["until"]);
        writeln!(out, "it undoes itself at {until} UTC unless you say: netd confirm {id}")?;
    }
    if change["saved"] == false {
        writeln!(out, "not saved yet: it would not survive a restart; netd status says why")?;
    }
    Ok(())
}

/// Returns the JSON of an entry.
pub(super) fn entry(value: &str, ttl: Option<&String>, reason: &str) -> Value {
    json!({"value": value, "ttl": ttl, "reason": reason})
}
