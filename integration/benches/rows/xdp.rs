//! Dropping a listed host before the stack sees it.

use anyhow::{Context as _, Result, ensure};
use aya::maps::HashMap;
use netd_common::names::XDP_INGRESS;
use netd_lab::frames::Frame;

use crate::support::{
    kernel::{LIMITS, Object},
    lists::Lists,
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Number, Report, Stable},
};

const PACKETS: u32 = 200_000;
const XDP_DROP: u32 = 1;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let lists = Lists::random(1_000_000, 10_000);
    let listed = lists.hosts.first().context("no host is listed")?.ip();
    let mut netd = Netd::load(options, DEFAULT_FLOWS)?;
    netd.list(&lists)?;
    let mut limits = Object::load(LIMITS.as_ref(), &["hash_drop", "empty_xdp"], &[])?;
    let map = limits.ebpf.map_mut("LISTED").context("no map LISTED")?;
    let mut hash = HashMap::<_, [u8; 16], u32>::try_from(map)?;
    for host in &lists.hosts {
        hash.insert(host.0, 1, 0)?;
    }
    let frame = Frame::tcp((listed, 40_000), ([10, 0, 0, 7], 443)).payload(&[0; 74]).build();
    ensure!(netd.object.run(XDP_INGRESS, &frame, 2)? == XDP_DROP, "netd does not drop a listed host");
    ensure!(limits.run("hash_drop", &frame, 2)? == XDP_DROP, "the yardstick does not drop a listed host");

    let race = Race::<3>::run(options.effort(PACKETS), |contestant, packets| match contestant {
        0 => netd.object.cost(XDP_INGRESS, &frame, packets),
        1 => limits.cost("hash_drop", &frame, packets),
        _ => limits.cost("empty_xdp", &frame, packets),
    })?;
    let [ours, bare, empty] = race.smallest().map(Number);
    report.row("XDP drop of a listed host / bare hash look-up", format!("{ours} / {bare} ns, empty {empty}")).ratio(
        race.figure(|[ours, bare, _]| ours / bare),
        Goal::AtMost(1.2),
        Stable,
    );
    unlisted(options, report)
}

/// What every other packet pays.
fn unlisted(options: &Options, report: &mut Report) -> Result<()> {
    let netd = Netd::load(options, DEFAULT_FLOWS)?;
    let limits = Object::load(LIMITS.as_ref(), &["parse_xdp", "empty_xdp"], &[])?;
    let frame = Frame::tcp(([10, 0, 0, 7], 40_000), ([198, 51, 100, 9], 443)).payload(&[0; 74]).build();
    let race = Race::<3>::run(options.effort(PACKETS), |contestant, packets| match contestant {
        0 => netd.object.cost(XDP_INGRESS, &frame, packets),
        1 => limits.cost("parse_xdp", &frame, packets),
        _ => limits.cost("empty_xdp", &frame, packets),
    })?;
    let [ours, bare, empty] = race.smallest().map(Number);
    report.row("XDP pass, nothing listed / parse alone", format!("{ours} / {bare} ns, empty {empty}")).ratio(
        race.figure(|[ours, bare, _]| ours / bare),
        Goal::None,
        Stable,
    );
    Ok(())
}
