//! What a replay amounts to, loss by loss.

use std::collections::BTreeMap;

use netd_engine::Engine;
use serde::Serialize;

use super::replay::Replay;
use crate::store::view::rounded;

/// What was read and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub packets: u64,
    /// On the wire.
    pub bytes: u64,
    pub flows: u64,
    pub turns: u64,
    pub parsed: u64,
    /// Packets that could not be parsed, by reason.
    pub unparsed: BTreeMap<&'static str, u64>,
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
