//! What a replay amounts to, loss by loss.

use std::collections::BTreeMap;

use netd_engine::Engine;
use schemars::JsonSchema;
use serde::Serialize;

use super::replay::Replay;
use crate::store::view::rounded;

/// What was read and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ReplaySummary")]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Conversations that began.
    pub flows: u64,
    /// Turns of those.
    pub turns: u64,
    /// Packets that could be parsed.
    pub parsed: u64,
    /// Packets that could not be parsed, by reason.
    pub unparsed: BTreeMap<&'static str, u64>,
    /// Findings raised, or raised again.
    pub findings: u64,
    /// From the first packet to the last.
    pub duration_s: f64,
}

impl Summary {
    #[must_use]
    pub fn of(replay: &Replay, engine: &Engine) -> Self {
        let (tally, counts) = (replay.tally(), engine.counts());
        Self {
            packets: tally.packets,
            bytes: tally.bytes,
            flows: counts.conversations_begun,
            turns: counts.turns,
            parsed: tally.parsed,
            unparsed: tally.unparsed().collect(),
            findings: counts.findings,
            duration_s: rounded(tally.first.map_or(0.0, |first| tally.last.secs_since(first))),
        }
    }
}
