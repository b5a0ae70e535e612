//! `netd findings`: what the detectors found, and why.

use std::io::Write;

use serde_json::Value;

use super::client::escaped;
use super::output::{self, Format, end, moment, plain, text};
use super::shown::{Shown, make_plain};
use super::{Asking, Error, Reaching};
use crate::export;

/// Shows findings, newest first; with a number, one finding and its reasons.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// One finding's number.
    id: Option<u64>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Shows findings, newest first.
    List(Listing),
    /// Shows one finding and its reasons.
    Show {
        id: u64,
        #[command(flatten)]
        asking: Asking,
    },
    /// Says that somebody has seen it.
    Ack(Triage),
    /// Hands it on.
    Escalate(Triage),
    /// Closes it, with --as why.
    Close(Triage),
    /// Writes findings as other tools take them in: a STIX bundle, Sigma rules, comma-separated values, a report.
    Export(Export),
}

#[derive(Clone, Debug, clap::Args)]
struct Export {
    /// These findings; without a number those that the query asks for.
    ids: Vec<u64>,
    #[arg(short, long, value_enum)]
    format: export::Format,
    /// The query language: 'detector:beacon score:>=0.8 -status:closed'.
    #[arg(short, long, value_name = "QUERY", conflicts_with = "ids")]
    query: Option<String>,
    /// The newest so many.
    #[arg(short = 'n', long, default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    reaching: Reaching,
}

/// What is said of a finding beside its state.
#[derive(Clone, Debug, clap::Args)]
struct Triage {
    id: u64,
    /// Why: false-positive, ir-4411.
    #[arg(long = "as", visible_alias = "reason", value_name = "REASON")]
    reason: Option<String>,
    /// Who is on it.
    #[arg(long, value_name = "WHO")]
    assignee: Option<String>,
    #[arg(long)]
    notes: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

/// Which findings.
#[derive(Clone, Debug, clap::Args)]
struct Listing {
    /// The query language: 'detector:beacon score:>=0.8 -status:closed sort:score'.
    #[arg(short, long, value_name = "QUERY")]
    query: Option<String>,
    #[arg(long)]
    detector: Option<String>,
    /// This severity or higher: info, low, medium, high, critical.
    #[arg(long)]
    severity: Option<String>,
    /// Either end.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// new, ack, escalated or closed.
    #[arg(long)]
    status: Option<String>,
    /// RFC 3339, or a duration ago like 15m.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
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
    match &args.what {
        Some(What::List(listing)) => list(listing, out),
        Some(What::Show { id, asking }) => show(*id, asking, out),
        Some(What::Ack(triage)) => change(triage, "ack", out),
        Some(What::Escalate(triage)) => change(triage, "escalated", out),
        Some(What::Close(triage)) => change(triage, "closed", out),
        Some(What::Export(wanted)) => export(wanted, out),
        None => match args.id {
            Some(id) => show(id, &args.listing.asking, out),
            None => list(&args.listing, out),
        },
    }
}

fn show(id: u64, asking: &Asking, out: &mut dyn Write) -> Result<(), Error> {
    let finding = asking.client()?.get(&format!("/api/v1/findings/{id}"))?;
    match asking.output {
        Format::Table => explain(out, finding),
        format @ (Format::Json | Format::Jsonl) => Ok(output::json_object(out, format, &finding)?),
    }
}

fn export(wanted: &Export, out: &mut dyn Write) -> Result<(), Error> {
    // Whoever names a finding wants it even if it is suppressed.
    let (query, suppressed) = match wanted.ids.is_empty() {
        true => (wanted.query.clone().unwrap_or_default(), "hide"),
        false => {
            let ids: Vec<String> = wanted.ids.iter().map(u64::to_string).collect();
            (format!("id:{}", ids.join(",")), "show")
        }
    };
    let given = format!("limit={}&suppressed={suppressed}&q={}", wanted.limit, escaped(&query));
    let path = format!("/api/v1/findings/export?format={}&{given}", wanted.format.name());
    let text = wanted.reaching.client()?.text(&path)?;
    Ok(out.write_all(text.as_bytes())?)
}

/// Changes a finding's triage, as it stands at this moment.
fn change(triage: &Triage, status: &str, out: &mut dyn Write) -> Result<(), Error> {
    let path = format!("/api/v1/findings/{}", triage.id);
    let revision = text(&triage.asking.reader()?.get(&path)?["triage"]["revision"]);
    let mut body = serde_json::json!({ "status": status });
    for (name, value) in [("reason", &triage.reason), ("assignee", &triage.assignee), ("notes", &triage.notes)] {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let finding = triage.asking.client()?.change(&path, &format!("\"t{revision}\""), &body)?;
    match triage.asking.output {
        Format::Table => writeln!(out, "finding {}: {}", triage.id, text(&finding["triage"]["status"]))?,
        format @ (Format::Json | Format::Jsonl) => output::json_object(out, format, &finding)?,
    }
    Ok(())
}

fn list(args: &Listing, out: &mut dyn Write) -> Result<(), Error> {
    let client = args.asking.client()?;
    let format = args.asking.output;
    let query = [
        ("q", args.query.clone()),
        ("status", args.status.clone()),
        ("until", args.until.clone()),
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
            output::table(
                out,
                &["ID", "TIME (UTC)", "SEVERITY", "SCORE", "STATUS", "DETECTOR", "FROM", "TO", "WHAT"],
                &rows,
            )?;
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
        text(&finding["triage"]["status"]),
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
