//! Two CPUs on one flow.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use netd_common::names::TC_INGRESS;
use netd_lab::frames::Frame;

use crate::support::{
    kernel::{LIMITS, Object, pin},
    netd::{DEFAULT_FLOWS, Netd},
    options::Options,
    race::Race,
    report::{Goal, Noisy, Number, Report},
};

const PACKETS: u32 = 500_000;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let netd = Netd::load(options, DEFAULT_FLOWS)?;
    ensure!(netd.cpus() > 1, "one CPU only");
    let limits = Object::load(LIMITS.as_ref(), &["lru_in_place", "shared_lru_in_place"], &[])?;
    let frame = Frame::tcp(([10, 0, 0, 7], 40_000), ([198, 51, 100, 9], 443)).payload(&[0; 74]).build();
    let contestants = [(&netd.object, TC_INGRESS), (&limits, "lru_in_place"), (&limits, "shared_lru_in_place")];

    let race = Race::<6>::run(options.effort(PACKETS), |contestant, packets| {
        let (object, program) = contestants[contestant / 2];
        match contestant % 2 {
            0 => object.cost(program, &frame, packets),
            _ => beside_another(object, program, &frame, packets),
        }
    })?;
    let goals = [Goal::AtMost(1.1), Goal::None, Goal::None];
    for (at, (name, goal)) in ["netd", "bare per-CPU LRU", "bare shared LRU"].iter().zip(goals).enumerate() {
        let times = race.smallest();
        let raw = format!("{} / {} ns", Number(times[2 * at + 1]), Number(times[2 * at]));
        let figure = race.figure(|times| times[2 * at + 1] / times[2 * at]);
        report.row(format!("two CPUs on one flow / one CPU: {name}"), raw).ratio(figure, goal, Noisy);
    }
    Ok(())
}

/// Costs a packet while another CPU sends the same without pause.
fn beside_another(object: &Object, program: &str, frame: &[u8], packets: u32) -> Result<f64> {
    let (running, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            pin(1)?;
            while !done.load(Ordering::Relaxed) {
                object.run(program, frame, 10_000)?;
                running.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
        while !running.load(Ordering::Relaxed) && !other.is_finished() {
            thread::yield_now();
        }
        let cost = object.cost(program, frame, packets);
        done.store(true, Ordering::Relaxed);
        other.join().map_err(|_| anyhow!("the other CPU's thread panicked"))??;
        cost
    })
}
