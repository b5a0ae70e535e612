//! `netd hunt`: what the daemon follows at this moment, findings or not.

use std::io::Write;

use serde_json::Value;

use super::client::escaped;
use super::output::{self, Format, amount, end, text};
use super::{Asking, Error};

/// Shows what the daemon follows, the most conspicuous first, whether it suffices for a finding or not.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Pairs by their rhythm: 'score:>=0.3 -country:NL'.
    Beacons(Hunt),
    /// Names and echoes that carry more than they should: 'bytes_out:>10K'.
    Tunnels(Hunt),
    /// Domains by how often they are asked for, within about five minutes: 'name:example.net'.
    Dns(Hunt),
    /// Processes that wait on a port: 'proc:nginx -port:443'.
    Listeners(Hunt),
}

#[derive(Clone, Debug, clap::Args)]
struct Hunt {
    /// The query language; several words are joined.
    query: Vec<String>,
    /// At most so many, 1000 at most.
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

/// Columns: a head, and what stands below it.
type Columns = &'static [(&'static str, fn(&Value) -> String)];

const BEACONS: Columns = &[
    ("SCORE", |item| number(&item["score"], 2)),
    ("FINDING", |item| text(&item["finding"])),
    ("PERIOD", |item| format!("{} s", number(&item["interval_s"], 1))),
    ("JITTER", |item| number(&item["jitter"], 3)),
    ("CHECK-INS", |item| text(&item["check_ins"])),
    ("FROM", |item| text(&item["originator"])),
    ("TO", |item| end(&item["responder"], &item["responder_port"])),
    ("NAME", |item| text(&item["name"])),
    ("PROCESS", |item| process(&item["process"])),
];
const TUNNELS: Columns = &[
    ("KIND", |item| text(&item["kind"])),
    ("FROM", |item| text(&item["originator"])),
    ("TO", |item| text(if item["domain"].is_null() { &item["responder"] } else { &item["domain"] })),
    ("EXCHANGES", |item| text(&item["exchanges"])),
    ("OUT", |item| amount(&item["bytes_out"])),
    ("IN", |item| amount(&item["bytes_in"])),
    ("ENCODED", |item| percent(&item["encoded_share"])),
    ("STRENGTH", |item| number(&item["strength"], 2)),
    ("FINDING", |item| text(&item["is_finding"])),
];
const DNS: Columns = &[
    ("DOMAIN", |item| text(&item["domain"])),
    ("QUERIES", |item| text(&item["queries"])),
    ("CLIENTS", |item| text(&item["clients"])),
    ("NXDOMAIN", |item| percent(&item["no_such_name_share"])),
    ("LABELS", |item| amount(&item["label_bytes"])),
    ("ANSWERS", |item| amount(&item["answer_bytes"])),
    ("UNIQUE", |item| amount(&item["unique_bytes"])),
    ("FINDING", |item| text(&item["is_finding"])),
];
const LISTENERS: Columns = &[
    ("PROTO", |item| text(&item["protocol"])),
    ("AT", |item| end(&item["address"], &item["port"])),
    ("PROCESS", |item| process(&item["process"])),
    ("USER", |item| {
        text(if item["process"]["user"].is_null() { &item["process"]["uid"] } else { &item["process"]["user"] })
    }),
    ("EXECUTABLE", |item| text(&item["process"]["exe"])),
    ("CONTAINER", |item| text(&item["process"]["container"]["name"])),
];

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let (path, hunt, columns) = match &args.what {
        What::Beacons(hunt) => ("beacons", hunt, BEACONS),
        What::Tunnels(hunt) => ("tunnels", hunt, TUNNELS),
        What::Dns(hunt) => ("dns/top", hunt, DNS),
        What::Listeners(hunt) => ("listeners", hunt, LISTENERS),
    };
    let query = escaped(&hunt.query.join(" "));
    let mut found = hunt.asking.client()?.get(&format!("/api/v1/{path}?limit={}&q={query}", hunt.limit))?;
    let items = match found["items"].take() {
        Value::Array(items) => items,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
    };
    match hunt.asking.output {
        Format::Table => {
            let row = |item: &Value| columns.iter().map(|(_, cell)| cell(item)).collect();
            let rows: Vec<Vec<String>> = items.iter().map(row).collect();
            let head: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
            output::table(out, &head, &rows)?;
        }
        format @ (Format::Json | Format::Jsonl) => output::json(out, format, &items)?,
    }
    Ok(())
}

fn number(value: &Value, places: usize) -> String {
    value.as_f64().map_or_else(|| text(value), |number| format!("{number:.places$}"))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| text(value), |share| format!("{:.0} %", 100.0 * share))
}

fn process(value: &Value) -> String {
    match value.is_null() {
        true => "-".to_owned(),
        false => format!("{}[{}]", text(&value["comm"]), text(&value["pid"])),
    }
}
