//! What long lists cost: a new flow that is not listed, a known flow.

use anyhow::{Context as _, Result};
use aya::maps::{LpmTrie, lpm_trie::Key};
use netd_common::{
    control::Mode,
    names::{TC_INGRESS, XDP_INGRESS},
};
use netd_lab::frames::{Frame, flags};

use crate::support::{
    kernel::{Flows, LIMITS, Object, Order, TC, XDP},
    lists::Lists,
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Noisy, Number, Report, Stable},
};

const PACKETS: u32 = 200_000;
const BATCH: u32 = 16_384;
/// Any IPv4 address.
const ANYONE: Flows = Flows { order: Order::Random, count: u32::MAX, advance: 0 };

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    known_flow(options, report)?;
    look_up(options, report, &Lists::random(1_000, 0), Goal::None)?;
    look_up(options, report, &Lists::random(1_000_000, 10_000), Goal::AtMost(60.0))?;
    new_flow(options, report)?;
    beside_trie(options, report)
}

fn known_flow(options: &Options, report: &mut Report) -> Result<()> {
    let frame = syn().build();
    let netds = [listing(options, &Lists::random(1_000_000, 10_000))?, listing(options, &Lists::random(1_000, 0))?];
    let race = Race::<2>::run(options.effort(PACKETS), |contestant, packets| {
        netds[contestant].object.cost(TC_INGRESS, &frame, packets)
    })?;
    let [many, few] = race.smallest().map(Number);
    report.row("known flow, 10^6 hosts and 10^4 prefixes listed / 10^3 listed", format!("{many} / {few} ns")).ratio(
        race.figure(|[many, few]| many / few),
        Goal::AtMost(1.05),
        Stable,
    );
    Ok(())
}

/// The XDP program looks up every packet and remembers none: less a program that only parses, it is the look-up.
fn look_up(options: &Options, report: &mut Report, lists: &Lists, goal: Goal) -> Result<()> {
    let netd = listing(options, lists)?;
    let mut limits = Object::load(LIMITS.as_ref(), &["parse_xdp", "array_pass", XDP.program], &[])?;
    XDP.steer(&mut limits, ANYONE)?;
    let frame = syn().build();
    let race = Race::<3>::run(options.effort(PACKETS), |contestant, packets| {
        match contestant {
            0 => XDP.aim(&mut limits, netd.object.program(XDP_INGRESS)?)?,
            1 => XDP.aim_at_limit(&mut limits, "array_pass")?,
            _ => XDP.aim_at_limit(&mut limits, "parse_xdp")?,
        }
        limits.cost(XDP.program, &frame, packets)
    })?;
    let [ours, array, parse] = race.smallest();
    let (hosts, prefixes) = (lists.hosts.len(), lists.prefixes.len());
    let name = format!("look-up of a random address, {hosts} hosts and {prefixes} prefixes listed");
    let raw = format!("{} - {} ns; one random array access {}", Number(ours), Number(parse), Number(array - parse));
    report.row(name, raw).end(race.figure(|[ours, _, parse]| ours - parse), " ns", goal, Noisy);
    Ok(())
}

/// The same from the other side: what enforcement adds to a packet that begins a flow.
fn new_flow(options: &Options, report: &mut Report) -> Result<()> {
    let mut netd = listing(options, &Lists::random(1_000_000, 10_000))?;
    let mut limits = Object::load(LIMITS.as_ref(), &[TC.program], &[])?;
    TC.steer(&mut limits, ANYONE)?;
    TC.aim(&mut limits, netd.object.program(TC_INGRESS)?)?;
    let frame = syn().build();
    for _ in 0..(2 * DEFAULT_FLOWS).div_ceil(BATCH) {
        limits.run(TC.program, &frame, BATCH)?;
        netd.drain();
    }
    let race = Race::<2>::run(options.effort(BATCH), |contestant, packets| {
        netd.drain();
        netd.set_mode(if contestant == 0 { Mode::Enforce } else { Mode::Observe })?;
        limits.cost(TC.program, &frame, packets)
    })?;
    let [enforce, observe] = race.smallest().map(Number);
    let name = "new flow of a random address, 10^6 hosts and 10^4 prefixes listed: enforce less observe";
    report.row(name, format!("{enforce} - {observe} ns")).end(
        race.figure(|[enforce, observe]| enforce - observe),
        " ns",
        Goal::AtMost(60.0),
        Noisy,
    );
    Ok(())
}

fn beside_trie(options: &Options, report: &mut Report) -> Result<()> {
    let lists = Lists::random(0, 1_000_000);
    let netd = listing(options, &lists)?;
    let mut limits = Object::load(LIMITS.as_ref(), &["parse_xdp", "trie_drop", XDP.program], &[])?;
    let map = limits.ebpf.map_mut("LISTED_PREFIXES").context("no map LISTED_PREFIXES")?;
    let mut trie = LpmTrie::<_, [u8; 16], u32>::try_from(map)?;
    for prefix in &lists.prefixes {
        trie.insert(&Key::new(prefix.bits, prefix.address), 1, 0)?;
    }
    XDP.steer(&mut limits, ANYONE)?;
    let frame = syn().build();
    let race = Race::<3>::run(options.effort(PACKETS), |contestant, packets| {
        match contestant {
            0 => XDP.aim(&mut limits, netd.object.program(XDP_INGRESS)?)?,
            1 => XDP.aim_at_limit(&mut limits, "trie_drop")?,
            _ => XDP.aim_at_limit(&mut limits, "parse_xdp")?,
        }
        limits.cost(XDP.program, &frame, packets)
    })?;
    let [ours, trie, parse] = race.smallest();
    let raw = format!("{} / {} ns", Number(ours - parse), Number(trie - parse));
    report.row("look-up of a random address, 10^6 prefixes of 24 to 32 bits / LPM trie", raw).ratio(
        race.figure(|[ours, trie, parse]| (ours - parse) / (trie - parse)),
        Goal::AtMost(0.05),
        Noisy,
    );
    Ok(())
}

fn listing(options: &Options, lists: &Lists) -> Result<Netd> {
    let mut netd = Netd::load(options, DEFAULT_FLOWS)?;
    netd.list(lists)?;
    Ok(netd)
}

fn syn() -> Frame {
    Frame::tcp(([10, 0, 0, 7], 40_000), ([198, 51, 100, 9], 443)).flags(flags::SYN).trailer(10)
}
