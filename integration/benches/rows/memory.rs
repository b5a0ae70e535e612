//! Real bytes: what the kernel's memory grows by.

use anyhow::Result;
use aya::maps::{HashMap, MapData};

use crate::support::{
    lists::Lists,
    memory::kernel_bytes,
    netd::Netd,
    options::Options,
    report::{Goal, Report},
};

const SLOTS: u32 = 1 << 20;
const LISTED: u32 = 1_000_000;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    // What an object costs without flows.
    let small = Netd::load(options, 8)?;
    let before = kernel_bytes()?;
    let large = Netd::load(options, SLOTS)?;
    let with_object = kernel_bytes()?;
    drop(small);
    let base = with_object - kernel_bytes()?;
    let slots = f64::from(SLOTS) * f64::from(large.cpus());
    let bytes = (with_object - before).saturating_sub(base) as f64;
    let raw = format!("{:.0} MiB, {slots} slots", bytes / f64::from(1 << 20));
    report.row("bytes a slot of the flow table", raw).count(bytes / slots, " B", Goal::AtMost(180.0));

    let before = kernel_bytes()?;
    let lists = Lists::random(LISTED as usize, 0);
    let mut hosts = HashMap::<MapData, [u8; 16], u32>::create(LISTED, 0)?;
    for host in &lists.hosts {
        hosts.insert(host.0, 1, 0)?;
    }
    let bytes = kernel_bytes()?.saturating_sub(before) as f64;
    let raw = format!("{:.0} MiB, {LISTED} hosts", bytes / f64::from(1 << 20));
    report.row("bytes a listed address", raw).count(bytes / f64::from(LISTED), " B", Goal::AtMost(70.0));
    Ok(())
}
