//! `netd block`: an operator's own verdicts and lists.

use std::io::Write;
use std::net::IpAddr;

use hyper::Method;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::client::{Client, escaped};
use super::lists::{self, Kind, Making};
use super::output::{self, Format, amount, moment, text};
use super::{Asking, Error};

/// Blocks addresses, prefixes and lists of them, and releases them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Blocks an address, a prefix, or a port of an address; with --list, adds an entry, also a name, to a list.
    Add(Box<Add>),
    /// Releases a verdict by its number or its target, or removes an entry of a list or a list.
    Remove(Remove),
    /// Replaces a block-list by a file, in any of the formats of feeds.
    Import(Import),
    /// Shows the block-lists, or the single entries of one.
    List(List),
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// An address or a prefix; with --list also a name, *.name (all below it) or .name (both).
    target: String,
    /// Adds it to this list, with the list's action.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["port", "proto", "action", "bytes_per_second", "shadow"])]
    list: Option<String>,
    /// Only this port of the address.
    #[arg(long)]
    port: Option<u16>,
    /// The port's protocol.
    #[arg(long, default_value = "tcp", requires = "port")]
    proto: String,
    /// How long: a duration like 1h, or never. 24h unless it is an entry of a list, which stays.
    #[arg(long)]
    ttl: Option<String>,
    #[arg(long, default_value = "")]
    reason: String,
    /// observe, throttle, drop or reset.
    #[arg(long, default_value = "drop")]
    action: String,
    /// With throttle.
    #[arg(long, value_name = "N")]
    bytes_per_second: Option<u64>,
    /// Counts what would be cut, and lets it pass.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct Remove {
    /// A verdict's number, or the address or prefix it is about; with --list the entry.
    #[arg(required_unless_present = "list")]
    verdict: Option<String>,
    /// Removes the entry from this block-list, or the whole list.
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct Import {
    /// The file; - is standard input.
    file: String,
    /// The list's name: a-z, 0-9 and -.
    #[arg(long, value_name = "NAME")]
    list: String,
    /// observe, drop or reset.
    #[arg(long, default_value = "drop")]
    action: String,
    /// Counts what would be cut, and lets it pass.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    /// The list whose single entries are shown.
    list: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    match &args.action {
        Action::Add(args) => add(args, out).map(|()| 0),
        Action::Remove(args) => remove(args, out).map(|()| 0),
        Action::Import(args) => import(args, out).map(|()| 0),
        Action::List(List { list: Some(list), asking }) => lists::entries(Kind::Block, list, asking, out).map(|()| 0),
        Action::List(args) => list(args, out).map(|()| 0),
    }
}

fn add(args: &Add, out: &mut dyn Write) -> Result<(), Error> {
    if let Some(list) = &args.list {
        let entry = lists::entry(&args.target, args.ttl.as_ref(), &args.reason);
        return lists::add(Kind::Block, list, &entry, &args.making, &args.asking, out);
    }
    if args.making.dry_run {
        return Err(Error::Usage("--dry-run needs --list: a verdict says nothing before it acts".into()));
    }
    let target = match (args.target.parse::<IpAddr>(), args.target.parse::<IpNet>(), args.port) {
        (Ok(address), _, Some(port)) => json!({"address": address, "port": port, "protocol": args.proto}),
        (Ok(address), _, None) => json!({"address": address}),
        (Err(_), Ok(prefix), None) if prefix.trunc() == prefix => json!({"prefix": prefix}),
        (Err(_), Ok(prefix), None) => {
            return Err(Error::Usage(format!("{} has host bits set; the prefix is {}", args.target, prefix.trunc())));
        }
        (Err(_), Ok(_), Some(_)) => return Err(Error::Usage("a port belongs to an address, not to a prefix".into())),
        (Err(_), Err(_), _) => return Err(Error::Usage(format!("'{}' is not an IP address or prefix", args.target))),
    };
    let mut body = json!({
        "target": target,
        "action": args.action,
        "ttl": args.ttl.as_deref().unwrap_or("24h"),
        "reason": args.reason,
        "shadow": args.shadow,
        "force": args.making.force,
    });
    if let Some(rate) = args.bytes_per_second {
        body["bytes_per_second"] = rate.into();
    }
    let confirm = args.making.confirm.as_ref().map_or_else(String::new, |time| format!("?confirm={}", escaped(time)));
    let added = args.asking.client()?.send_json(Method::POST, &format!("/api/v1/verdicts{confirm}"), &body)?;
    if args.asking.output != Format::Table {
        return Ok(output::json_object(out, args.asking.output, &added)?);
    }
    let until =
        if added["until"].is_null() { "for good".to_owned() } else { format!("until {}", moment(&added["until"])) };
    let verb = if added["renewed"] == true { "renewed" } else { "in force" };
    writeln!(out, "verdict {} {verb} {until}: {} {}", text(&added["id"]), args.action, args.target)?;
    if let Some(destroyed) = added["destroyed_sockets"].as_u64().filter(|count| *count > 0) {
        writeln!(out, "closed {destroyed} established connections of this host")?;
    }
    for spared in added["spared"].as_array().into_iter().flatten() {
        writeln!(out, "{} inside is protected and keeps passing", text(spared))?;
    }
    lists::after(&added, out)
}

fn remove(args: &Remove, out: &mut dyn Write) -> Result<(), Error> {
    match (&args.list, &args.verdict) {
        (Some(list), Some(value)) => return lists::remove(Kind::Block, list, value, &args.asking, out),
        (Some(list), None) => return lists::remove_list(Kind::Block, list, &args.asking, out),
        (None, _) => {}
    }
    let wanted = args.verdict.as_deref().unwrap_or_default();
    let ids = match wanted.parse::<u64>() {
        Ok(id) => vec![id],
        Err(_) => on_target(&args.asking.reader()?, wanted)?,
    };
    let (client, mut released) = (args.asking.client()?, Vec::new());
    for id in ids {
        released.push(client.send(Method::DELETE, &format!("/api/v1/verdicts/{id}"), None, Vec::new())?);
    }
    match args.asking.output {
        Format::Table => {
            for verdict in &released {
                writeln!(
                    out,
                    "verdict {} released: {}",
                    text(&verdict["id"]),
                    super::verdicts::target(&verdict["target"])
                )?;
            }
        }
        format @ (Format::Json | Format::Jsonl) => output::json(out, format, &released)?,
    }
    Ok(())
}

/// Returns the verdicts on an address, any port of it, or a prefix.
fn on_target(client: &Client, wanted: &str) -> Result<Vec<u64>, Error> {
    if wanted.parse::<IpAddr>().is_err() && wanted.parse::<IpNet>().is_err() {
        return Err(Error::Usage(format!("'{wanted}' is neither a verdict's number nor an address nor a prefix")));
    }
    let verdicts = super::items(client, "/api/v1/verdicts", &[], usize::MAX)?;
    let is_about = |verdict: &&Value| {
        let target = &verdict["target"];
        [&target["address"], &target["prefix"]].iter().any(|value| value.as_str() == Some(wanted))
    };
    let ids: Vec<_> = verdicts.iter().filter(is_about).filter_map(|verdict| verdict["id"].as_u64()).collect();
    match ids.is_empty() {
        true => Err(Error::Usage(format!(
            "there is no verdict on {wanted}; netd unblock also takes it out of the block-lists"
        ))),
        false => Ok(ids),
    }
}

fn import(args: &Import, out: &mut dyn Write) -> Result<(), Error> {
    let query = format!("action={}&shadow={}&{}", escaped(&args.action), args.shadow, args.making.query());
    lists::import(Kind::Block, &args.file, &args.list, &query, &args.asking, out)
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), Error> {
    let mut answer = args.asking.client()?.get("/api/v1/blocklists")?;
    let lists: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
    let head = ["NAME", "IPV4", "IPV6", "NAMES", "SINGLE", "ACTION", "UPDATED (UTC)", "PACKETS"];
    Ok(output::items(out, args.asking.output, &lists, &head, row)?)
}

fn row(list: &Value) -> Vec<String> {
    let shadow = if list["shadow"] == true { " (shadow)" } else { "" };
    vec![
        text(&list["name"]),
        text(&list["entries_v4"]),
        text(&list["entries_v6"]),
        text(&list["names"]),
        text(&list["single_entries"]),
        format!("{}{shadow}", text(&list["action"])),
        moment(&list["updated"]),
        amount(&list["hits"]["packets"]),
    ]
}
