//! Every packet a new flow.

use anyhow::{Context as _, Result};
use aya::maps::RingBuf;
use netd_common::names::TC_INGRESS;
use netd_lab::frames::{Frame, flags};

use crate::support::{
    kernel::{Flows, LIMITS, Object, Order, TC},
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Noisy, Number, Report},
};

/// As many new flows, with an eviction each, as the ring buffer holds.
const BATCH: u32 = 16_384;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for (capacity, limit_ns) in [(DEFAULT_FLOWS, Goal::AtMost(150.0)), (1 << 20, Goal::None)] {
        flood(options, report, capacity, limit_ns)?;
    }
    Ok(())
}

fn flood(options: &Options, report: &mut Report, capacity: u32, limit_ns: Goal) -> Result<()> {
    let mut netd = Netd::load(options, capacity)?;
    let programs = ["lru_with_event", "empty", TC.program];
    let mut limits = Object::load(LIMITS.as_ref(), &programs, &[("LRU", capacity)])?;
    let mut limit_events = RingBuf::try_from(limits.ebpf.take_map("LIMIT_EVENTS").context("no map LIMIT_EVENTS")?)?;
    let frame = Frame::tcp(([10, 0, 0, 7], 40_000), ([198, 51, 100, 9], 443)).flags(flags::SYN).trailer(10).build();
    TC.steer(&mut limits, Flows { order: Order::InTurn, count: u32::MAX, advance: 0 })?;

    // Full tables: every new flow costs an old one its place.
    for _ in 0..(2 * capacity).div_ceil(BATCH) {
        TC.aim_at_limit(&mut limits, "lru_with_event")?;
        limits.run(TC.program, &frame, BATCH)?;
        TC.aim(&mut limits, netd.object.program(TC_INGRESS)?)?;
        limits.run(TC.program, &frame, BATCH)?;
        netd.drain();
    }

    let race = Race::<3>::run(options.effort(BATCH), |contestant, packets| {
        match contestant {
            0 => {
                netd.drain();
                TC.aim(&mut limits, netd.object.program(TC_INGRESS)?)?;
            }
            1 => {
                while limit_events.next().is_some() {}
                TC.aim_at_limit(&mut limits, "lru_with_event")?;
            }
            _ => TC.aim_at_limit(&mut limits, TC.empty)?,
        }
        limits.cost(TC.program, &frame, packets)
    })?;
    let [ours, bare, driver] = race.smallest();
    let raw = format!("{} / {} ns, driver {} taken off", Number(ours - driver), Number(bare - driver), Number(driver));
    let name = format!("every packet a new flow, full table of {capacity}: two records / bare LRU with one event");
    report.row(name, raw).ratio(
        race.figure(|[ours, bare, driver]| (ours - driver) / (bare - driver)),
        Goal::AtMost(0.6),
        Noisy,
    );
    report.row(format!("the same, {capacity}, absolute"), "").end(
        race.figure(|[ours, _, driver]| ours - driver),
        " ns",
        limit_ns,
        Noisy,
    );
    let balance = netd.balance()?;
    let raw = format!(
        "{} seen = {} reported + {} in table + {} lost; {} records",
        balance.seen, balance.reported, balance.in_table, balance.counted_lost, balance.records
    );
    report.row(format!("the same, {capacity}, packets nowhere or twice"), raw).count(
        balance.missing() as f64,
        "",
        Goal::AtMost(0.0),
    );
    Ok(())
}
