//! A daemon that is killed while it loads a list.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::overload::{PATIENCE, Witnesses, long_text, put};
use super::{Outcome, Row, Setting};
use crate::daemon::{Daemon, Setup};
use crate::lab::Lab;
use crate::traffic::flood::{Flood, Pace};
use crate::traffic::probe::tuple;
use crate::traffic::sink::PacketCounter;

pub const ROWS: &[Row] = &[Row {
    id: "T24b",
    fault: "kill -9 at every moment of a list's loading",
    goal: "the old list or the new one, 0 leaked of what both hold",
    play: killed,
}];

const LIST: &str = "/api/v1/blocklists/large";

fn killed(setting: Setting) -> Result<Outcome> {
    let (entries, kills) = (setting.amount(1_000_000, 50_000), setting.amount(40_u32, 4));
    let lab = Lab::gateway()?;
    let mut daemon = Daemon::start(&lab, Setup { listed: 2_000_000, ..Setup::default() })?;
    let witnesses = Witnesses::new();
    let texts = [true, false].map(|prefixes| witnesses.lines(prefixes) + &long_text(entries, u64::from(prefixes)));
    let (mut tags, mut took) = (Vec::new(), Duration::ZERO);
    for text in &texts {
        let begun = Instant::now();
        put(&daemon, "large", text)?.accepted()?;
        took = begun.elapsed();
        tags.push(tag(&daemon)?);
    }

    let (from, to) = witnesses.cut[0];
    let leaks = PacketCounter::start(lab.wan(), "eth0", tuple(from, to))?;
    let pace = Pace::full(Duration::from_secs(20 * 60)).at(5_000);
    let flood = Flood { from, to, payload: 18, pace }.start(lab.lan())?;
    let (mut old, mut new) = (0, 0);
    for kill in 0..kills {
        let before = tag(&daemon)?;
        let other = usize::from(before == tags[0]);
        let moment = took * (2 * kill + 1) / (2 * kills);
        std::thread::scope(|scope| -> Result<()> {
            let put = scope.spawn(|| daemon.api().patient(PATIENCE).send("PUT", LIST, "text/plain", &texts[other]));
            std::thread::sleep(moment);
            kill_now(daemon.id()?)?;
            // Its answer may have come before.
            let _ = put.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
            Ok(())
        })?;
        // It is dead already: this reaps it.
        let _ = daemon.kill();
        daemon.again(&[])?;
        let after = tag(&daemon)?;
        ensure!(tags.contains(&after), "after a kill at {moment:.1?} there is another list than either");
        *(if after == before { &mut old } else { &mut new }) += 1;
    }
    let flooded = flood.stop()?.packets;
    let leaked = leaks.packets()?;
    let measured = format!(
        "{kills} kills over {took:.1?} of loading {entries} entries: {old} times the old list, {new} times the new; \
         {leaked} leaked of {flooded}"
    );
    Ok(Outcome { measured, holds: leaked == 0 && old > 0 })
}

fn kill_now(process: u32) -> Result<()> {
    let id = nix::unistd::Pid::from_raw(i32::try_from(process).context("a process id beyond i32")?);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).context("cannot kill the daemon")
}

fn tag(daemon: &Daemon) -> Result<String> {
    let lists = daemon.api().get("/api/v1/blocklists")?;
    let mut lists = lists["items"].as_array().into_iter().flatten();
    let list = lists.find(|list| list["name"] == "large").context("the list is gone")?;
    list["tag"].as_str().map(str::to_owned).context("a list without a tag")
}
