//! `netd flows`: conversations alive and ended.

use std::io::Write;

use serde_json::Value;

use super::output::{self, Format, amount, end, moment, text};
use super::{Asking, Error};

/// Shows conversations, newest first.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The query language: 'proc:nginx -dst:10.0.0.0/8 bytes:>1M sort:bytes'; several words are joined.
    query: Vec<String>,
    /// Either end.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Who began.
    #[arg(long, value_name = "ADDRESS")]
    src: Option<String>,
    /// Who was addressed.
    #[arg(long, value_name = "ADDRESS")]
    dst: Option<String>,
    /// A prefix that holds either end.
    #[arg(long, value_name = "PREFIX")]
    cidr: Option<String>,
    /// Either port.
    #[arg(long)]
    port: Option<u16>,
    /// tcp, udp, icmp, icmpv6, sctp or a number.
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<String>,
    #[arg(long)]
    pid: Option<u32>,
    /// The process's name.
    #[arg(long, value_name = "NAME")]
    comm: Option<String>,
    /// The host name asked for, or its domain.
    #[arg(long)]
    name: Option<String>,
    /// Only flows of pairs with a finding of at least this score.
    #[arg(long, value_name = "0..1")]
    min_score: Option<f64>,
    #[arg(long, value_name = "ID")]
    community_id: Option<String>,
    /// Alive since: RFC 3339, or a duration ago like 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begun before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let query = [
        ("q", (!args.query.is_empty()).then(|| args.query.join(" "))),
        ("ip", args.ip.clone()),
        ("src", args.src.clone()),
        ("dst", args.dst.clone()),
        ("cidr", args.cidr.clone()),
        ("port", args.port.map(|port| port.to_string())),
        ("proto", args.proto.clone()),
        ("pid", args.pid.map(|pid| pid.to_string())),
        ("comm", args.comm.clone()),
        ("name", args.name.clone()),
        ("min_score", args.min_score.map(|score| score.to_string())),
        ("community_id", args.community_id.clone()),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
    ];
    let flows = super::items(&args.asking.client()?, "/api/v1/flows", &query, args.limit)?;
    match args.asking.output {
        Format::Table => table(out, &flows)?,
        format @ (Format::Json | Format::Jsonl) => output::json(out, format, &flows)?,
    }
    Ok(())
}

/// Writes flows in columns.
pub(super) fn table(out: &mut dyn Write, flows: &[Value]) -> std::io::Result<()> {
    let rows: Vec<_> = flows.iter().map(row).collect();
    let head = ["BEGAN (UTC)", "PROTO", "FROM", "TO", "CC", "OUT", "IN", "STATE", "NAME", "PROCESS"];
    output::table(out, &head, &rows)
}

fn row(flow: &Value) -> Vec<String> {
    let process = match &flow["process"] {
        process if process.is_null() => "-".to_owned(),
        process => {
            let exe = process["exe"].as_str().map_or_else(String::new, |exe| format!(" {}", super::output::plain(exe)));
            format!("{}[{}]{exe}", text(&process["comm"]), text(&process["pid"]))
        }
    };
    let mut began = moment(&flow["start"]);
    // The day is in the other formats; the columns need the room.
    let began = if began.len() > 11 { began.split_off(11) } else { began };
    vec![
        began,
        text(&flow["protocol"]),
        end(&flow["originator"], &flow["originator_port"]),
        end(&flow["responder"], &flow["responder_port"]),
        text(&flow["responder_region"]["country"]),
        amount(&flow["originated"]["bytes"]),
        amount(&flow["responded"]["bytes"]),
        text(&flow["state"]),
        text(&flow["name"]),
        process,
    ]
}
