//! Upgrades: a version whose maps have another layout takes over, and is taken over from.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::continuity::{PINS, Survival};
use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::{IMPLANT, Lab, NOWHERE, PEOPLE};
use crate::traffic::flood::{Flood, Pace};
use crate::traffic::probe::tuple;
use crate::traffic::sink::PacketCounter;

pub const ROWS: &[Row] = &[Row {
    id: "T04",
    fault: "another layout of the maps, forth and back, kill -9 on the way",
    goal: "0 leaked, 0 lost, one whole layout after each",
    play: upgraded,
}];

/// The layouts that take turns. No release has either: what is exchanged is this build with itself, under other pins.
const LAYOUTS: [&str; 2] = ["9001", "9002"];
/// A neighbour that nobody blocks.
const PASSING: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Kills starts of the other version all over the time that a start takes, and lets the one or the other version finish.
fn upgraded(setting: Setting) -> Result<Outcome> {
    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup::default())?;
    ensure!(daemon.terminate()?.success(), "{}", daemon.log());
    let mut present = 0;
    daemon.again(&["--keep", "--layout", LAYOUTS[present]])?;
    daemon.api().block(&json!({"target": {"address": NOWHERE}}))?;
    let links = only_layout(&lab, LAYOUTS[present])?;

    let from = |address| SocketAddr::from((address, 5_000));
    let (blocked, allowed) = (SocketAddr::from((NOWHERE, 6_000)), SocketAddr::from((PASSING, 6_001)));
    let leaks = PacketCounter::start(lab.wan(), "eth0", tuple(from(IMPLANT), blocked))?;
    let passes = PacketCounter::start(lab.wan(), "eth0", tuple(from(PEOPLE[0]), allowed))?;
    let pace = Pace::full(LONGEST).at(setting.amount(100_000, 20_000));
    let flood = Flood { from: from(IMPLANT), to: blocked, payload: 18, pace }.start(lab.lan())?;
    let stream = Flood { from: from(PEOPLE[0]), to: allowed, payload: 18, pace: pace.at(5_000) }.start(lab.lan())?;

    // How long taking over takes, and that it works undisturbed.
    daemon.kill()?;
    present = 1 - present;
    let begun = Instant::now();
    daemon.again(&["--keep", "--layout", LAYOUTS[present]])?;
    let took = begun.elapsed();
    ensure!(only_layout(&lab, LAYOUTS[present])? == links, "links were lost on the way");

    let rounds = setting.amount(40_u32, 6);
    for round in 0..rounds {
        daemon.kill()?;
        let other = 1 - present;
        daemon.cut_short(&["--keep", "--layout", LAYOUTS[other]], || {
            // Attaching takes a few milliseconds of it: every second one dies there.
            match round % 2 {
                0 => std::thread::sleep(took.mul_f64((f64::from(round) + 0.5) / f64::from(rounds))),
                _ => until_attached(&lab, LAYOUTS[other], 1 + (round as usize / 2) % links.len())?,
            }
            Ok(())
        })?;
        if round % 4 < 2 {
            present = other;
        }
        daemon.again(&["--keep", "--layout", LAYOUTS[present]])?;
        ensure!(only_layout(&lab, LAYOUTS[present])? == links, "links were lost in round {round}");
    }

    let flooded = flood.stop()?.packets;
    let sent = stream.stop()?.packets;
    let survival =
        Survival { flooded, leaked: leaks.packets()?, sent, lost: sent - passes.packets()?, ends: 1 + 2 * rounds };
    let Outcome { measured, holds } = survival.outcome();
    Ok(Outcome { measured: format!("{measured}, of them {rounds} in the middle of a start of {took:.1?}"), holds })
}

/// Waits until so many links of `layout` are pinned.
fn until_attached(lab: &Lab, layout: &str, links: usize) -> Result<()> {
    let path = format!("{PINS}/v{layout}/links");
    let deadline = Instant::now() + Duration::from_secs(20);
    lab.watched().run(|| {
        while fs::read_dir(&path).map_or(0, Iterator::count) < links {
            ensure!(Instant::now() < deadline, "{layout} never attached");
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    })
}

/// Returns the pinned links of `layout`, which must be the only one.
fn only_layout(lab: &Lab, layout: &str) -> Result<Vec<String>> {
    lab.watched().run(|| {
        let names = |path: &str| -> Result<Vec<String>> {
            let entries = fs::read_dir(path).with_context(|| format!("cannot list {path}"))?;
            let mut names: Vec<_> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            Ok(names)
        };
        let layouts = names(PINS)?;
        ensure!(layouts == [format!("v{layout}")], "pinned are {layouts:?}");
        names(&format!("{PINS}/v{layout}/links"))
    })
}
