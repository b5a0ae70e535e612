//! Many flows, met at random.

use anyhow::Result;
use netd_common::names::TC_INGRESS;
use netd_lab::frames::Frame;

use crate::support::{
    kernel::{Flows, LIMITS, Object, Order, TC},
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Noisy, Number, Report},
};

const PACKETS: u32 = 200_000;
/// As many new flows, with an eviction each, as the ring buffer holds.
const BATCH: u32 = 16_384;
/// Room for a million flows with half of the slots free: an eviction is not what is measured here.
const LARGE: u32 = 1 << 21;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for (capacity, counts) in
        [(LARGE, &[1_000, 10_000, 100_000, 1_000_000][..]), (DEFAULT_FLOWS, &[1_000, 10_000, 1_000_000])]
    {
        for &flows in counts {
            grow(options, report, capacity, flows)?;
        }
    }
    Ok(())
}

fn grow(options: &Options, report: &mut Report, capacity: u32, flows: u32) -> Result<()> {
    let mut netd = Netd::load(options, capacity)?;
    let programs = ["lru_in_place", "empty", TC.program];
    let mut limits = Object::load(LIMITS.as_ref(), &programs, &[("LRU", capacity)])?;
    let frame = Frame::tcp(([10, 0, 0, 7], 40_000), ([198, 51, 100, 9], 443)).payload(&[0; 74]).build();

    TC.steer(&mut limits, Flows { order: Order::InTurn, count: flows, advance: 0 })?;
    TC.aim_at_limit(&mut limits, "lru_in_place")?;
    limits.run(TC.program, &frame, flows)?;
    TC.aim(&mut limits, netd.object.program(TC_INGRESS)?)?;
    for _ in 0..flows.div_ceil(BATCH) {
        limits.run(TC.program, &frame, BATCH)?;
        netd.drain();
    }

    TC.steer(&mut limits, Flows { order: Order::Random, count: flows, advance: 0 })?;
    let packets = if flows > capacity { BATCH } else { PACKETS };
    let race = Race::<3>::run(options.effort(packets), |contestant, packets| {
        match contestant {
            0 => {
                netd.drain();
                TC.aim(&mut limits, netd.object.program(TC_INGRESS)?)?;
            }
            1 => TC.aim_at_limit(&mut limits, "lru_in_place")?,
            _ => TC.aim_at_limit(&mut limits, TC.empty)?,
        }
        limits.cost(TC.program, &frame, packets)
    })?;
    let [ours, bare, driver] = race.smallest();
    let (ours, bare) = (Number(ours - driver), Number(bare - driver));
    let what = if flows > capacity { ", evicting, each with its records / bare LRU without" } else { " / bare LRU" };
    let name = format!("{flows} random flows, {capacity} slots{what}");
    let goal = if flows == 1_000_000 && capacity == LARGE { Goal::AtMost(0.95) } else { Goal::None };
    report.row(name, format!("{ours} / {bare} ns, driver {} taken off", Number(driver))).ratio(
        race.figure(|[ours, bare, driver]| (ours - driver) / (bare - driver)),
        goal,
        Noisy,
    );
    Ok(())
}
