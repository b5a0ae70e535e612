//! `netd findings`: what the detectors found, and why.

use std::io::Write;

use serde_json::Value;

use super::output::{self, Format, end, moment, plain, text};
use super::shown::{Shown, make_plain};
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
    /// Those that a suppression covers: hide, only or show.
    #[arg(long, value_name = "WHICH", default_value = "hide")]
    suppressed: String,
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
            Format::Table => explain(out, finding)?,
            Format::Json | Format::Jsonl => output::json_object(out, format, &finding)?,
        }
        return Ok(());
    }
    let query = [
        ("detector", args.detector.clone()),
        ("severity", args.severity.clone()),
        ("ip", args.ip.clone()),
        ("since", args.since.clone()),
        ("suppressed", Some(args.suppressed.clone())),
    ];
    let findings = super::items(&client, "/api/v1/findings", &query, args.limit)?;
    match format {
        Format::Table => {
            let rows: Vec<_> = findings.iter().map(row).collect();
            output::table(out, &["ID", "TIME (UTC)", "SEVERITY", "SCORE", "DETECTOR", "FROM", "TO", "WHAT"], &rows)?;
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
        plain(&text(&finding["title"])),
    ]
}

/// Writes a finding with its reasons; names come from strangers and must not steer a terminal.
fn explain(out: &mut dyn Write, mut finding: Value) -> Result<(), Error> {
    make_plain(&mut finding);
    let shown: Shown = serde_json::from_value(finding).map_err(std::io::Error::from)?;
    Ok(shown.write(out)?)
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| text(value), |number| format!("{number:.2}"))
}
