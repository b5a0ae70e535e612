//! What a packet, a record and a list cost netd, beside the kernel's own structures in the same run.
//!
//! `make bench` prints one Markdown table: each figure, the yardstick beside it, the goal, and whether it is met. It
//! needs root. `--quick` measures a tenth as often, `--gate` fails when a stable figure misses its goal, `--only WORD`
//! keeps the groups whose name holds the word, `--object FILE` measures another build of the kernel programs.
//!
//! # Method
//!
//! Programs run by `BPF_PROG_TEST_RUN`. A sample is the thread's CPU time over a run of many packets, less that of a
//! run of two (of one the kernel skips the XDP dispatcher), by the packets between. What is compared is sampled in
//! turns, 11 times a round, 5 rounds; the smallest sample of a program is its figure, and a ratio is that of the two
//! smallest. The median of the rounds' own ratios stands beside it: where the two differ, the machine was busy.
//!
//! Many flows come from a driver that gives the packet another address and tail-calls the program; what the driver
//! itself costs, with an empty program behind it, is subtracted. Flows are filled in one order and met in another:
//! the same order flatters an LRU. Ring buffers are emptied between samples, as a full one is the cheap path; every
//! record is read, and packets seen, reported, lost and still in the table are added up after each flood.
//!
//! Ratios hold between machines; absolute times do not, so the empty program's cost stands in the table too.

#![expect(clippy::wildcard_enum_match_arm, reason = "of aya's many kinds of program two are loaded here")]

mod rows;
mod support;

use std::io::Write as _;

use anyhow::Result;

use support::{options::Options, report::Report};

fn main() -> Result<()> {
    let options = Options::parse()?;
    // The flow table is this CPU's.
    support::kernel::pin(0)?;
    let mut report = Report::default();
    for (name, measure) in rows::GROUPS {
        if !options.wants(name) {
            continue;
        }
        writeln!(std::io::stderr(), "measuring: {name}")?;
        if let Err(error) = measure(&options, &mut report) {
            report.fault(name, &error);
        }
    }
    write!(std::io::stdout().lock(), "{report}")?;
    anyhow::ensure!(!options.gate || report.holds(), "a stable figure misses its goal");
    Ok(())
}
