//! `netd policy generate`: an egress allow policy, proposed from the flows that were seen.

use std::io::Write;

use super::super::Error;
use super::super::output::Format;
use super::Asking;
use super::proposal::{By, Proposal};
use crate::time;

/// Flows are few where a policy is young: each workload's destinations, and what was seen too seldom as comments.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How the policy is written.
    #[arg(long, value_enum, default_value_t)]
    format: As,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum As {
    /// netd's policy: a shadow that spares what was seen.
    #[default]
    Netd,
    /// A NetworkPolicy for each pod's container.
    Kubernetes,
    /// A CiliumNetworkPolicy for each pod's container.
    Cilium,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    if args.asking.output != Format::Table {
        return Err(Error::Usage("a policy is YAML: --output does not apply".to_owned()));
    }
    let by = match args.format {
        As::Netd => args.by,
        As::Kubernetes | As::Cilium => By::Container,
    };
    let query = [("since", Some(args.since.clone()))];
    let flows = super::super::items(&args.asking.client()?, "/api/v1/flows", &query, args.limit)?;
    let proposal = Proposal::of(&flows, by);
    if proposal.is_empty() {
        let whose = if by == By::Container { "container" } else { "process" };
        return Err(Error::Usage(format!("no flow since {} was opened by a known {whose}", args.since)));
    }
    writeln!(
        out,
        "# Proposed by netd on {} from {} flows since {}.",
        time::rfc3339(time::now()),
        flows.len(),
        args.since
    )?;
    writeln!(out, "# Read it before you use it: what was seen may be what should have been stopped.")?;
    let text = match args.format {
        As::Netd => proposal.netd(args.least),
        As::Kubernetes => proposal.kubernetes(args.least),
        As::Cilium => proposal.cilium(args.least),
    };
    out.write_all(text.as_bytes())?;
    Ok(())
}
