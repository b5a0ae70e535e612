//! `netd policy generate`: an egress allow policy, proposed from the flows that were seen.

use std::io::Write;

use hyper::Method;

use super::super::client::escaped;
use super::super::output::Format;
use super::super::{Asking, Error};
use crate::rehearsal::{By, Notation};

/// Flows are few where a policy is young: each workload's destinations, and what was seen too seldom as comments.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How the policy is written.
    #[arg(long, value_enum, default_value_t)]
    format: Notation,
    /// Whose destinations stand together.
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Since when: RFC 3339, or a duration ago.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    since: String,
    /// Connections that make a destination a rule; with fewer it is a comment.
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    least: u64,
    /// Flows looked at, at most.
    #[arg(short = 'n', long, default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let Args { format, by, since, least, limit, asking } = args;
    if asking.output != Format::Table {
        return Err(Error::Usage("a policy is YAML: --output does not apply".to_owned()));
    }
    let path = format!(
        "/api/v1/policies:generate?format={}&by={}&since={}&least={least}&limit={limit}",
        format.name(),
        by.name(),
        escaped(since)
    );
    out.write_all(asking.client()?.text_of(Method::POST, &path)?.as_bytes())?;
    Ok(())
}
