//! `netd policy simulate`: what policies would have cut of what the running netd has seen.

use std::io::Write;
use std::path::PathBuf;

use hyper::Method;
use serde_json::Value;

use super::super::client::escaped;
use super::super::output::{self, Format, text};
use super::super::{Asking, Error};
use crate::config::policies::{self, Texts};

/// Holds policies against the findings and flows that the running netd has kept.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// A policy file, or a directory of them; without it those in force.
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Since when: RFC 3339, or a duration ago.
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Flows looked at, at most.
    #[arg(short = 'n', long, default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let Args { path, since, limit, asking } = args;
    let body = match path {
        Some(path) => {
            let Texts { texts, faults } = policies::texts(path).map_err(anyhow::Error::new)?;
            // Here a fault names its file.
            policies::stated(&texts, faults).map_err(anyhow::Error::new)?;
            texts.into_iter().map(|text| text.text).collect::<Vec<_>>().join("\n---\n")
        }
        None => String::new(),
    };
    let path = format!("/api/v1/policies:simulate?since={}&limit={limit}", escaped(since));
    let simulated = asking.client()?.send(Method::POST, &path, Some("application/yaml"), body.into_bytes())?;
    match asking.output {
        Format::Table => show(since, &simulated, out),
        format @ (Format::Json | Format::Jsonl) => Ok(output::json_object(out, format, &simulated)?),
    }
}

fn show(since: &str, simulated: &Value, out: &mut dyn Write) -> Result<(), Error> {
    let total = |name: &str| text(&simulated[name]);
    writeln!(
        out,
        "{} findings and {} flows since {since}: {} would lead to a block, {} to a shadow's, {} to a response, {} are \
         told, {} suppressed",
        total("findings"),
        total("flows"),
        total("block"),
        total("shadow"),
        total("respond"),
        total("alert"),
        total("suppress"),
    )?;
    match simulated["reached"].as_str() {
        Some("limit") => writeln!(out, "older flows were not looked at: --limit was reached")?,
        Some(_) => writeln!(out, "older flows were not looked at: it took too long")?,
        None => {}
    }
    let cuts = simulated["cut"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = cuts.iter().map(row).collect();
    output::table(out, &["TARGET", "WOULD BE", "POLICY", "DETECTORS", "FINDINGS", "FLOWS", "HOSTS"], &rows)?;
    Ok(())
}

fn row(cut: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let how = if cut["shadow"] == true { "counted" } else { "cut" };
    let hosts = cut["originators"].as_array().map_or(0, Vec::len);
    vec![
        text(&cut["target"]),
        how.to_owned(),
        list(&cut["policies"]),
        list(&cut["detectors"]),
        text(&cut["findings"]),
        text(&cut["flows"]),
        hosts.to_string(),
    ]
}
