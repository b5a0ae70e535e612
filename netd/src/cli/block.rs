//! `netd block`: an operator's own verdicts and lists.

use std::fs;
use std::io::{self, Read as _, Write};
use std::net::IpAddr;

use hyper::Method;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::client::{Client, escaped};
use super::output::{self, Format, amount, moment, plain, text};
use super::{Asking, Error};

/// Blocks addresses, prefixes and lists of them, and releases them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Blocks an address, a prefix, or a port of an address.
    Add(Add),
    /// Releases a verdict by its number or its target, or removes a list.
    Remove(Remove),
    /// Replaces a block-list by a file: one address or prefix a line, # and ; begin comments.
    Import(Import),
    /// Shows the block-lists.
    List(List),
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// An address or a prefix.
    target: String,
    /// Only this port of the address.
    #[arg(long)]
    port: Option<u16>,
    /// The port's protocol.
    #[arg(long, default_value = "tcp", requires = "port")]
    proto: String,
    /// How long: a duration like 1h, or never.
    #[arg(long, default_value = "24h")]
    ttl: String,
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
    /// Accepts prefixes wider than /8 (IPv4) or /19 (IPv6).
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct Remove {
    /// A verdict's number, or the address or prefix it is about.
    #[arg(required_unless_present = "list")]
    verdict: Option<String>,
    /// Removes this block-list.
    #[arg(long, value_name = "NAME", conflicts_with = "verdict")]
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
    /// Says what would change, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Counts what would be cut, and lets it pass.
    #[arg(long)]
    shadow: bool,
    /// Accepts prefixes wider than /8 (IPv4) or /19 (IPv6).
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    match &args.action {
        Action::Add(args) => add(args, out).map(|()| 0),
        Action::Remove(args) => remove(args, out).map(|()| 0),
        Action::Import(args) => import(args, out),
        Action::List(args) => list(args, out).map(|()| 0),
    }
}

fn add(args: &Add, out: &mut dyn Write) -> Result<(), Error> {
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
        "ttl": args.ttl,
        "reason": args.reason,
        "shadow": args.shadow,
        "force": args.force,
    });
    if let Some(rate) = args.bytes_per_second {
        body["bytes_per_second"] = rate.into();
    }
    let added = args.asking.client()?.send_json(Method::POST, "/api/v1/verdicts", &body)?;
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
    if added["saved"] == false {
        writeln!(out, "not saved yet: it would not survive a restart; netd status says why")?;
    }
    Ok(())
}

fn remove(args: &Remove, out: &mut dyn Write) -> Result<(), Error> {
    let client = args.asking.client()?;
    if let Some(name) = &args.list {
        let removed =
            client.send(Method::DELETE, &format!("/api/v1/blocklists/{}", escaped(name)), None, Vec::new())?;
        return match args.asking.output {
            Format::Table => Ok(writeln!(out, "list {name} removed, {} entries released", text(&removed["entries"]))?),
            format @ (Format::Json | Format::Jsonl) => Ok(output::json_object(out, format, &removed)?),
        };
    }
    let wanted = args.verdict.as_deref().unwrap_or_default();
    let ids = match wanted.parse::<u64>() {
        Ok(id) => vec![id],
        Err(_) => on_target(&client, wanted)?,
    };
    let mut released = Vec::new();
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
        true => {
            Err(Error::Usage(format!("there is no verdict on {wanted}; block-lists are replaced or removed whole")))
        }
        false => Ok(ids),
    }
}

fn import(args: &Import, out: &mut dyn Write) -> Result<u8, Error> {
    let failed = |source| Error::Input { path: args.file.clone(), source };
    let content = match args.file.as_str() {
        "-" => {
            let mut content = Vec::new();
            io::stdin().lock().read_to_end(&mut content).map_err(failed)?;
            content
        }
        path => fs::read(path).map_err(failed)?,
    };
    let path = format!(
        "/api/v1/blocklists/{}?action={}&dry_run={}&shadow={}&force={}",
        escaped(&args.list),
        escaped(&args.action),
        args.dry_run,
        args.shadow,
        args.force
    );
    let change = args.asking.client()?.send(Method::PUT, &path, Some("text/plain"), content)?;
    match args.asking.output {
        Format::Table => report(&change, out)?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &change)?,
    }
    Ok(0)
}

fn report(change: &Value, out: &mut dyn Write) -> io::Result<()> {
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
    if change["mode"] != "enforce" {
        writeln!(out, "the mode is {}: nothing is cut", text(&change["mode"]))?;
    }
    Ok(())
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), Error> {
    let mut answer = args.asking.client()?.get("/api/v1/blocklists")?;
    let lists: Vec<Value> = serde_json::from_value(answer["items"].take()).unwrap_or_default();
    match args.asking.output {
        Format::Table => {
            let rows: Vec<_> = lists.iter().map(row).collect();
            output::table(out, &["NAME", "IPV4", "IPV6", "ACTION", "UPDATED (UTC)", "PACKETS"], &rows)?;
        }
        format @ (Format::Json | Format::Jsonl) => output::json(out, format, &lists)?,
    }
    Ok(())
}

fn row(list: &Value) -> Vec<String> {
    let shadow = if list["shadow"] == true { " (shadow)" } else { "" };
    vec![
        text(&list["name"]),
        text(&list["entries_v4"]),
        text(&list["entries_v6"]),
        format!("{}{shadow}", text(&list["action"])),
        moment(&list["updated"]),
        amount(&list["hits"]["packets"]),
    ]
}
