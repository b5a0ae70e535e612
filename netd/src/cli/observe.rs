//! `netd observe`: flows as they come, one a line, oldest first.

use std::io::Write;

use serde_json::Value;

use super::client::escaped;
use super::output::{self, amount, cell, end, moment, plain, text};
use super::{Error, Reaching, flows};

/// Shows flows, oldest first; with -f, others as they end.
///
/// QUERY is the language of the API: 'proc:nginx -dst:10.0.0.0/8 bytes:>1M'.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Which flows; several words are joined.
    query: Vec<String>,
    /// Goes on with flows as they end, when all is known of them, for good.
    #[arg(short, long)]
    follow: bool,
    /// Alive since: RFC 3339, or a duration ago like 10m.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begun before.
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// allow, alert, block, or several of them separated by commas.
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<String>,
    /// At most so many of the past.
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    reaching: Reaching,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// One line a flow, 100 columns.
    #[default]
    Compact,
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a head (RFC 4180).
    Csv,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
    if args.follow && matches!(args.output, Shape::Json | Shape::Table) {
        return Err(Error::Usage("-f has no end, so it prints compact, jsonl or csv".to_owned()));
    }
    let given = [
        ("q", Some(args.query.join(" "))),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
        ("verdict", args.verdict.clone()),
    ];
    if args.follow {
        return follow(args, &given, out, err);
    }
    let mut past = super::items(&args.reaching.client()?, "/api/v1/flows", &given, args.limit)?;
    past.reverse();
    print(args.output, true, &past, out)
}

/// Prints flows as they end, for good.
fn follow(
    args: &Args,
    given: &[(&str, Option<String>)],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Error> {
    let given = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_ref()?))));
    // A stream begins with at most so many of the past.
    let query: Vec<String> = given.chain([format!("last={}", args.limit.min(1_000))]).collect();
    let path = format!("/api/v1/flows/stream?{}", query.join("&"));
    print(args.output, true, &[], out)?;
    args.reaching.client()?.follow(&path, |told| {
        if told.event == "gap" {
            writeln!(err, "netd: flows were lost to this reader; netd flows may still show them")?;
            return Ok(());
        }
        print(args.output, false, std::slice::from_ref(&told.data), out)?;
        out.flush().map_err(Error::from)
    })
}

fn print(shape: Shape, is_first: bool, flows: &[Value], out: &mut dyn Write) -> Result<(), Error> {
    match shape {
        Shape::Compact => flows.iter().try_for_each(|flow| writeln!(out, "{}", plain(&compact(flow))))?,
        Shape::Table => flows::table(out, flows)?,
        Shape::Json => output::json(out, output::Format::Json, flows)?,
        Shape::Jsonl => output::json(out, output::Format::Jsonl, flows)?,
        Shape::Csv => {
            if is_first {
                writeln!(out, "{}", COLUMNS.map(|(name, _)| name).join(","))?;
            }
            for flow in flows {
                let cells = COLUMNS.map(|(_, pointer)| cell(flow.pointer(pointer).unwrap_or(&Value::Null)));
                writeln!(out, "{}", cells.join(","))?;
            }
        }
    }
    Ok(())
}

/// `06:14:02 alert 0.97 tcp 10.0.3.7:51514 -> 198.51.100.7:4444 RU/AS64500 nginx[812] 1.2K/3.4K S1 cdn.example.net`.
fn compact(flow: &Value) -> String {
    let time = moment(&flow["start"]);
    let mut words = vec![time.get(11..).unwrap_or(&time).to_owned(), text(&flow["verdict"])];
    words.extend(flow["score"].as_f64().map(|score| format!("{score:.2}")));
    words.push(text(&flow["protocol"]));
    words.push(end(&flow["originator"], &flow["originator_port"]));
    words.push("->".to_owned());
    words.push(end(&flow["responder"], &flow["responder_port"]));
    let region = &flow["responder_region"];
    let asn = region["asn"].as_u64().map(|asn| format!("AS{asn}"));
    let place: Vec<String> = [region["country"].as_str().map(str::to_owned), asn].into_iter().flatten().collect();
    if !place.is_empty() {
        words.push(place.join("/"));
    }
    if let Some(comm) = flow["process"]["comm"].as_str() {
        words.push(format!("{comm}[{}]", text(&flow["process"]["pid"])));
    }
    words.push(format!("{}/{}", amount(&flow["originated"]["bytes"]), amount(&flow["responded"]["bytes"])));
    words.push(text(&flow["state"]));
    words.extend(flow["name"].as_str().map(str::to_owned));
    words.join(" ")
}

/// Heads of columns, and where their values stand in the API's JSON.
const COLUMNS: [(&str, &str); 22] = [
    ("id", "/id"),
    ("start", "/start"),
    ("end", "/end"),
    ("originator", "/originator"),
    ("originator_port", "/originator_port"),
    ("responder", "/responder"),
    ("responder_port", "/responder_port"),
    ("protocol", "/protocol"),
    ("bytes_out", "/originated/bytes"),
    ("bytes_in", "/responded/bytes"),
    ("packets_out", "/originated/packets"),
    ("packets_in", "/responded/packets"),
    ("state", "/state"),
    ("end_reason", "/end_reason"),
    ("service", "/service"),
    ("name", "/name"),
    ("comm", "/process/comm"),
    ("pid", "/process/pid"),
    ("country", "/responder_region/country"),
    ("asn", "/responder_region/asn"),
    ("verdict", "/verdict"),
    ("score", "/score"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_one_line_and_a_cell_cannot_leave_its_column() {
        let flow = serde_json::json!({
            "id": 1, "start": "2026-11-21T06:14:02Z", "verdict": "alert", "score": 0.97, "protocol": "tcp",
            "originator": "10.0.3.7", "originator_port": 51514, "responder": "198.51.100.7", "responder_port": 4444,
            "responder_region": {"country": "RU", "asn": 64500}, "process": {"comm": "a,\"b", "pid": 812},
            "originated": {"bytes": 1200}, "responded": {"bytes": 99}, "state": "S1", "name": "=cdn",
        });
        let mut csv = Vec::new();

        print(Shape::Csv, true, std::slice::from_ref(&flow), &mut csv).unwrap();

        let line = "06:14:02 alert 0.97 tcp 10.0.3.7:51514 -> 198.51.100.7:4444 RU/AS64500 a,\"b[812] 1.2K/99 S1 =cdn";
        assert_eq!(compact(&flow), line);
        let csv = String::from_utf8(csv).unwrap();
        assert!(csv.lines().nth(1).unwrap().contains(",'=cdn,\"a,\"\"b\",812,RU,64500,alert,0.97"), "{csv}");
    }
}
