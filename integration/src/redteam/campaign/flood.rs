//! An exec flood: netd keeps answering, counts what it lost, and attributes what comes afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::api::Api;
use crate::redteam::arena::{Arena, outside_address};
use crate::redteam::tree::{Scratch, Streams, Tree};

const PATIENCE: Duration = Duration::from_secs(20);
/// What names a counter of losses, in the status.
const LOSSES: [&str; 8] = ["lost", "drop", "overload", "overflow", "refused", "cut", "missed", "evicted"];

/// What the flood did.
#[derive(Clone, Debug, Default)]
pub struct Flood {
    pub spawned: u64,
    pub per_second: f64,
    /// The longest that an answer of the API took meanwhile.
    pub worst_answer_ms: f64,
    /// Counters of losses that are not zero.
    pub counters: BTreeMap<String, u64>,
    /// Whether the process of a connection after the flood is named.
    pub is_attributed_after: bool,
}

impl Flood {
    pub(super) fn words(&self) -> String {
        let counters: Vec<String> = self.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!(
            "{} processes, {:.0} a second; slowest answer {:.0} ms; losses counted: {}; a connection afterwards {}",
            self.spawned,
            self.per_second,
            self.worst_answer_ms,
            if counters.is_empty() { "none".to_owned() } else { counters.join(", ") },
            if self.is_attributed_after { "has its process" } else { "HAS NO PROCESS" }
        )
    }
}

pub(super) fn play(arena: &Arena, api: &Api, milliseconds: u64, port: u16) -> Result<Flood> {
    let folder = Scratch::new()?;
    let me = std::env::current_exe()?.display().to_string();
    let words = [me.clone(), "spawner".into(), milliseconds.to_string()];
    let begun = Instant::now();
    let mut spawner = start(arena, &folder, &words, "spawner")?;
    let mut worst = Duration::ZERO;
    while spawner.child().try_wait()?.is_none() && begun.elapsed() < PATIENCE {
        let asked = Instant::now();
        api.get("/readyz").context("netd does not answer under an exec flood")?;
        worst = worst.max(asked.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed().as_secs_f64();
    let spawned = std::fs::read_to_string(folder.path().join("spawner"))?.trim().parse().unwrap_or(0);

    let addresses = [outside_address(false).to_string(), outside_address(true).to_string()];
    let words: Vec<String> = [me, "agent".into(), "1".into(), port.to_string()].into_iter().chain(addresses).collect();
    let mut agent = start(arena, &folder, &words, "after")?;
    let pid = agent.child().id();
    let deadline = Instant::now() + PATIENCE;
    while agent.child().try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let path = format!("/api/v1/flows?port={port}&pid={pid}");
    let is_told = |flows: &Value| flows["items"].as_array().filter(|items| !items.is_empty()).map(drop);
    let is_attributed_after = api.until(&path, PATIENCE, is_told).is_ok();

    let mut counters = BTreeMap::new();
    losses("", &api.get("/api/v1/status")?, &mut counters);
    Ok(Flood {
        spawned,
        per_second: spawned as f64 / took,
        worst_answer_ms: worst.as_secs_f64() * 1e3,
        counters,
        is_attributed_after,
    })
}

fn start(arena: &Arena, folder: &Scratch, words: &[String], name: &str) -> Result<Tree> {
    let output = File::create(folder.path().join(name))?;
    Tree::start(arena.victim(), words, folder.path(), name, Streams { input: None, output: Some(output) })
}

fn losses(path: &str, value: &Value, found: &mut BTreeMap<String, u64>) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            losses(&path, value, found);
        }
    } else if let Some(count @ 1..) = value.as_u64()
        && LOSSES.iter().any(|word| path.contains(word))
    {
        found.insert(path.to_owned(), count);
    }
}
