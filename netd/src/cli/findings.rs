//! `netd findings`: what the detectors found, and why.

use std::io::Write;

use serde_json::Value;

use super::output::{self, Format, end, moment, plain, text};
use super::{Asking, Error};

/// Shows findings, newest first; with a number, one finding and its reasons.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// One finding's number.
    id: Option<u64>,
    #[arg(long)]
    detector: Option<String>,
    /// This severity or higher: info, low, medium, high, critical.
    #[arg(long)]
    severity: Option<String>,
    /// Either end.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// RFC 3339, or a duration ago like 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let client = args.asking.client()?;
    let format = args.asking.output;
    if let Some(id) = args.id {
        let finding = client.get(&format!("/api/v1/findings/{id}"))?;
        match format {
            Format::Table => explain(out, &finding)?,
            Format::Json | Format::Jsonl => output::json_object(out, format, &finding)?,
        }
        return Ok(());
    }
    let query = [
        ("detector", args.detector.clone()),
        ("severity", args.severity.clone()),
        ("ip", args.ip.clone()),
        ("since", args.since.clone()),
    ];
    let findings = super::items(&client, "/api/v1/findings", &query, args.limit)?;
    match format {
        Format::Table => {
            let rows: Vec<_> = findings.iter().map(row).collect();
            output::table(out, &["ID", "TIME (UTC)", "SEVERITY", "SCORE", "DETECTOR", "FROM", "TO", "NAME"], &rows)?;
        }
        Format::Json | Format::Jsonl => output::json(out, format, &findings)?,
    }
    Ok(())
}

fn row(finding: &Value) -> Vec<String> {
    vec![
        text(&finding["id"]),
        moment(&finding["time"]),
        text(&finding["severity"]),
        number(&finding["score"]),
        text(&finding["detector"]),
        text(&finding["originator"]),
        end(&finding["responder"], &finding["responder_port"]),
        text(&finding["name"]),
    ]
}

fn explain(out: &mut dyn Write, finding: &Value) -> std::io::Result<()> {
    let text = |value: &Value| plain(&text(value));
    writeln!(
        out,
        "Finding {}: {}, {}, score {}",
        text(&finding["id"]),
        text(&finding["detector"]),
        text(&finding["severity"]),
        number(&finding["score"]),
    )?;
    let to = end(&finding["responder"], &finding["responder_port"]);
    writeln!(out, "  {} -> {to} {}", text(&finding["originator"]), text(&finding["protocol"]))?;
    if !finding["name"].is_null() {
        writeln!(out, "  name      {}", text(&finding["name"]))?;
    }
    let process = &finding["process"];
    if !process.is_null() {
        let exe = if process["exe"].is_null() { String::new() } else { format!(" {}", text(&process["exe"])) };
        writeln!(out, "  process   {}[{}]{exe}", text(&process["comm"]), text(&process["pid"]))?;
    }
    writeln!(out, "  seen      {} to {} UTC", moment(&finding["first_seen"]), moment(&finding["time"]))?;
    let (interval, jitter) = (number(&finding["interval_s"]), number(&finding["jitter"]));
    writeln!(out, "  rhythm    every {interval} s, jitter {jitter}, {} turns", text(&finding["turns"]))?;
    let enough = if finding["block"] == true { "yes" } else { "no" };
    writeln!(out, "  enough to block: {enough}")?;
    for reason in finding["reasons"].as_array().into_iter().flatten() {
        let weight = reason["weight"].as_f64().unwrap_or_default();
        writeln!(out, "  {weight:+7.2}   {}: {}", text(&reason["evidence"]), text(&reason["value"]))?;
    }
    for benign in finding["considered"].as_array().into_iter().flatten() {
        writeln!(out, "  not       {}", text(benign))?;
    }
    let attack: Vec<_> = finding["attack"].as_array().into_iter().flatten().map(text).collect();
    if !attack.is_empty() {
        writeln!(out, "  ATT&CK    {}", attack.join(" "))?;
    }
    Ok(())
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| text(value), |number| format!("{number:.2}"))
}
