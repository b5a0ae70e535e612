//! Shells that are older than netd: it was killed and started again in the middle of their session.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::redteam::arena::{Arena, outside_address};
use crate::redteam::attacker::{Attacker, Plan};
use crate::redteam::findings::{self, Found};
use crate::redteam::now_ns;
use crate::redteam::tree::{Scratch, Streams, Tree};
use crate::redteam::variant::{Place, Role, Transport, Variant};
use crate::redteam::variants;

const FIRST_PORT: u16 = 27_000;
/// Slow enough for the session to outlive the restart.
const GAP: Duration = Duration::from_secs(2);
/// How long netd may take to find them, from its being ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// A direct one, one over pipes, one on a terminal.
const NAMES: [&str; 3] = ["bash /dev/tcp", "rust two relays", "python3 pty.spawn"];

/// A shell that was there first.
#[derive(Clone, Debug)]
pub struct Survivor {
    pub name: &'static str,
    /// What was found, and milliseconds after netd was ready.
    pub found: Option<(Found, f64)>,
}

impl Survivor {
    pub(super) fn words(&self) -> String {
        self.found.as_ref().map_or_else(
            || "NOT FOUND".to_owned(),
            |(found, ms)| format!("{} ({}) after {ms:.0} ms", found.detector, found.severity),
        )
    }
}

pub(super) fn play() -> Result<Vec<Survivor>> {
    let mut arena = Arena::new()?;
    arena.watch("observe")?;
    let chosen: Vec<(Variant, u16)> =
        variants::all().filter(|variant| NAMES.contains(&variant.name)).zip(FIRST_PORT..).collect();
    let folder = Scratch::new()?;
    let me = std::env::current_exe()?;
    let mut sessions = Vec::new();
    for (variant, port) in &chosen {
        let address = (outside_address(false), *port).into();
        let plan = Plan { address, transport: Transport::Tcp, role: Role::Connects, gap: GAP };
        let (opened, is_open) = mpsc::channel();
        let attacker = Attacker::start(arena.outside(), plan, opened)?;
        let place = Place { address, folder: folder.path().to_owned(), me: me.clone() };
        let words = place.fill(variant.command);
        let tree = Tree::start(arena.victim(), &words, folder.path(), &port.to_string(), Streams::default())?;
        is_open.recv_timeout(Duration::from_secs(6)).with_context(|| format!("{}: no shell came", variant.name))?;
        sessions.push((attacker, tree));
    }
    let daemon = arena.daemon().context("netd was not started")?;
    daemon.kill()?;
    let killed_ns = now_ns();
    daemon.again(&[])?;
    let ready_ns = now_ns();

    let api = arena.api().context("netd was not started")?;
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let findings = findings::read(&api)?;
        let of = |port: u16| {
            findings.iter().find(|found| {
                found.responder_port == port && found.is_about_shells() && found.counts && found.when_ns >= killed_ns
            })
        };
        let found: Vec<_> = chosen.iter().map(|(_, port)| of(*port).cloned()).collect();
        if found.iter().all(Option::is_some) || Instant::now() >= deadline {
            break found;
        }
        thread::sleep(Duration::from_millis(50));
    };
    // The shells end before their attackers are waited for, who would play on.
    let (attackers, trees): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
    drop(trees);
    for attacker in attackers {
        attacker.wait()?;
    }
    let after = |found: Found| {
        let ms = found.when_ns.saturating_sub(ready_ns) as f64 / 1e6;
        (found, ms)
    };
    Ok(chosen
        .iter()
        .zip(found)
        .map(|((variant, _), found)| Survivor { name: variant.name, found: found.map(after) })
        .collect())
}
