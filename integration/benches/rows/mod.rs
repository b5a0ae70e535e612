//! The groups of rows, in the order of the table.

mod cpus;
mod established;
mod flood;
mod growth;
mod lists;
mod memory;
mod xdp;

use anyhow::Result;

use crate::support::{options::Options, report::Report};

type Group = fn(&Options, &mut Report) -> Result<()>;

pub(crate) const GROUPS: [(&str, Group); 7] = [
    ("established", established::measure),
    ("growth", growth::measure),
    ("flood", flood::measure),
    ("lists", lists::measure),
    ("xdp", xdp::measure),
    ("cpus", cpus::measure),
    ("memory", memory::measure),
];
