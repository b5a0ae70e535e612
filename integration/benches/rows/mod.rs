//! The groups of rows, in the order of the table.

mod cpus;
mod engine;
mod established;
mod flood;
mod growth;
mod lists;
mod memory;
mod processes;
mod replay;
mod xdp;

use anyhow::Result;

use crate::support::{options::Options, report::Report};

type Group = fn(&Options, &mut Report) -> Result<()>;

pub(crate) const GROUPS: [(&str, Group); 10] = [
    ("established", established::measure),
    ("growth", growth::measure),
    ("flood", flood::measure),
    ("lists", lists::measure),
    ("xdp", xdp::measure),
    ("cpus", cpus::measure),
    ("memory", memory::measure),
    ("processes", processes::measure),
    ("engine", engine::measure),
    ("replay", replay::measure),
];
