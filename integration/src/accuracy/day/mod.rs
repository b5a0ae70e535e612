//! A simulated network day: two hundred hosts behind a gateway, and ten implants among them.

mod bulk;
mod calendar;
mod caller;
mod failing;
mod implants;
mod inbox;
mod lookups;
mod names;
mod ordinary;
mod people;
mod push;
mod report;
mod rivals;
mod scene;
mod sessions;
mod shell;
mod speech;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use netd_engine::config::Config;
use netd_engine::policy::{Mode, Policy, Spec};
use netd_engine::{Command, Counts, Engine};

use super::connection::Log;
pub(crate) use implants::Implant;
pub(crate) use inbox::Inbox;
pub(crate) use ordinary::Population;
pub(crate) use report::section;
use scene::{Host, Scene};

/// The network of the issue.
pub(crate) const TWO_HUNDRED: Population = Population { workstations: 120, servers: 40, devices: 40 };
/// A network for a quick look.
pub(crate) const THIRTY: Population = Population { workstations: 18, servers: 8, devices: 4 };

/// How many workstations and servers carry implants, in the order of [`implants::hide`].
const ON_SERVERS: [usize; 3] = [2, 4, 9];

/// What a day came to.
pub(crate) struct Day {
    pub(crate) population: Population,
    pub(crate) implants: Vec<Implant>,
    pub(crate) inbox: Inbox,
    pub(crate) conversations: u64,
    pub(crate) records: u64,
    pub(crate) counts: Counts,
    /// As it is at the end of the day.
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    /// Automatic verdicts asked for: the incident each is about.
    pub(crate) verdicts: Vec<u64>,
}

/// Plays a day through an engine as it comes, but with a policy that cuts.
pub(crate) fn play(population: Population, seed: u64) -> Day {
    let mut scene = Scene::new(seed);
    scene.wire.log = Some(Log::default());
    let hosts = ordinary::Hosts::new(&mut scene, population);
    let mut actors = ordinary::cast(&mut scene, &hosts);
    let (implants, players) = implants::hide(&mut scene, infected(&hosts));
    actors.extend(players);

    let spec = Spec { mode: Mode::Enforce, ..Spec::default() };
    let policy = Policy { name: "enforce".into(), spec };
    let mut engine = Engine::new(Config { policies: Arc::new(policy.into()), ..Config::default() });
    let (mut inbox, mut verdicts) = (Inbox::default(), Vec::new());
    let mut each = |command| match command {
        Command::Report(finding) => inbox.take(*finding),
        Command::Enforce { finding, .. } => verdicts.push(finding),
        Command::Update(_)
        | Command::Withheld(_)
        | Command::Respond(_)
        | Command::Release { .. }
        | Command::Resolved(_)
        | Command::Lookup(_)
        | Command::FlowEnded(_) => {}
    };
    let mut due = BinaryHeap::new();
    for (number, actor) in actors.iter().enumerate() {
        if let Some(first_s) = actor.first_s(&mut scene) {
            due.push(Reverse((microseconds(first_s), number)));
        }
    }
    while let Some(Reverse((at, number))) = due.pop() {
        let now_s = at as f64 * 1e-6;
        scene.wire.feed(now_s, &mut engine, &mut each);
        if let Some(next_s) = actors[number].act(now_s, &mut scene) {
            due.push(Reverse((microseconds(next_s).max(at + 1), number)));
        }
    }
    scene.wire.finish(&mut engine, &mut each);
    Day {
        population,
        implants,
        inbox,
        conversations: scene.wire.conversations,
        records: scene.wire.records,
        counts: engine.counts(),
        engine,
        log: scene.wire.log.unwrap_or_default(),
        verdicts,
    }
}

/// Returns the hosts with an implant: some servers, and workstations here and there.
fn infected(hosts: &ordinary::Hosts) -> [Host; implants::COUNT] {
    let step = (hosts.workstations.len() / implants::COUNT).max(1);
    std::array::from_fn(|number| match ON_SERVERS.iter().position(|on_server| *on_server == number) {
        Some(place) => hosts.servers[(place * 2 + 1) % hosts.servers.len()],
        None => hosts.workstations[(number * step + 1) % hosts.workstations.len()],
    })
}

fn microseconds(at_s: f64) -> u64 {
    (at_s * 1e6) as u64
}
