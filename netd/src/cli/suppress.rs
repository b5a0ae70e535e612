//! `netd suppress`: findings that nobody wants to see again.

use std::io::Write;

use hyper::Method;
use serde_json::{Map, Value, json};

use super::output::{self, Format, moment, plain, text};
use super::{Asking, Error};

/// Hides findings, at once and for the past, and releases the verdicts they asked for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Adds a suppression. Every condition that is given must hold.
    Add(Box<Add>),
    /// Shows the suppressions in force.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Removes a suppression: its findings are shown again.
    Remove {
        id: u64,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// Takes detector and ends from this finding.
    #[arg(long, value_name = "ID")]
    finding: Option<u64>,
    #[arg(long)]
    detector: Option<String>,
    /// Address or prefix of the originator.
    #[arg(long, value_name = "NETWORK")]
    from: Option<String>,
    /// Address or prefix of the responder.
    #[arg(long, value_name = "NETWORK")]
    to: Option<String>,
    /// The responder's port.
    #[arg(long)]
    port: Option<u16>,
    /// A name, and all below it.
    #[arg(long)]
    name: Option<String>,
    /// Path of the executable.
    #[arg(long)]
    exe: Option<String>,
    #[arg(long)]
    why: String,
    /// Who says so.
    #[arg(long, env = "SUDO_USER", default_value = "root")]
    who: String,
    /// How long; without it until it is removed.
    #[arg(long)]
    ttl: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    match &args.action {
        Action::Add(add) => self::add(add, out),
        Action::List { asking } => list(asking, out),
        Action::Remove { id, asking } => {
            let gone =
                asking.client()?.send_json(Method::DELETE, &format!("/api/v1/suppressions/{id}"), &Value::Null)?;
            match asking.output {
                Format::Table => writeln!(out, "suppression {} removed", text(&gone["id"]))?,
                format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &gone)?,
            }
            Ok(())
        }
    }
}

fn add(add: &Add, out: &mut dyn Write) -> Result<(), Error> {
    let mut matching = Map::new();
    if let Some(id) = add.finding {
        let finding = add.asking.reader()?.get(&format!("/api/v1/findings/{id}"))?;
        matching.insert("detector".to_owned(), finding["detector"].clone());
        for end in ["originator", "responder"] {
            let address = text(&finding[end]);
            let bits = if address.contains(':') { 128 } else { 32 };
            matching.insert(end.to_owned(), json!(format!("{address}/{bits}")));
        }
    }
    let as_network = |text: &String| match (text.contains('/'), text.contains(':')) {
        (true, _) => text.clone(),
        (false, true) => format!("{text}/128"),
        (false, false) => format!("{text}/32"),
    };
    let given = [
        ("detector", add.detector.clone().map(Value::from)),
        ("originator", add.from.as_ref().map(as_network).map(Value::from)),
        ("responder", add.to.as_ref().map(as_network).map(Value::from)),
        ("port", add.port.map(Value::from)),
        ("name", add.name.clone().map(Value::from)),
        ("exe", add.exe.clone().map(Value::from)),
    ];
    matching.extend(given.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
    let body = json!({"match": matching, "who": add.who, "why": add.why, "ttl": add.ttl});
    let added = add.asking.client()?.send_json(Method::POST, "/api/v1/suppressions", &body)?;
    match add.asking.output {
        Format::Table => {
            let released = added["released"].as_array().map_or(0, Vec::len);
            let (id, covers) = (text(&added["id"]), text(&added["covers"]));
            writeln!(out, "suppression {id}: {covers} findings hidden, {released} verdicts released")?;
        }
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &added)?,
    }
    Ok(())
}

fn list(asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let page = asking.client()?.get("/api/v1/suppressions")?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let head = ["ID", "SINCE (UTC)", "UNTIL (UTC)", "WHO", "WHY", "MATCH"];
    Ok(output::items(out, asking.output, &items, &head, row)?)
}

fn row(item: &Value) -> Vec<String> {
    let until = if item["until"].is_null() { "removed".to_owned() } else { moment(&item["until"]) };
    let matching = item["match"].as_object().into_iter().flatten();
    let matching: Vec<String> = matching.map(|(field, value)| format!("{field}={}", text(value))).collect();
    vec![
        text(&item["id"]),
        moment(&item["since"]),
        until,
        plain(&text(&item["who"])),
        plain(&text(&item["why"])),
        plain(&matching.join(" ")),
    ]
}
