//! What a thing did on the network, as far as the store holds it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use netd_engine::process::Process;
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Material;
use crate::api::explain::FindingView;
use crate::api::{Context, flows};
use crate::store::Row;
use crate::store::history::Flow;
use crate::time;

/// Conversations that are looked at, and findings that are told, at most; the newest.
pub(super) const ROWS: usize = 10_000;
pub(super) const FINDINGS: usize = 50;
/// Conversations, peers, names and processes that are told at most.
const TOLD: usize = 50;

/// Conversations, summed up.
#[derive(Serialize, JsonSchema)]
pub(super) struct Activity<'a> {
    /// When the first of them began; null without conversations.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    first_seen: Option<Timestamp>,
    /// When the last of them was seen last; null without conversations.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    last_seen: Option<Timestamp>,
    /// How many were summed up, 10,000 at most, the newest.
    conversations: usize,
    /// Whether there are more conversations than were summed up.
    is_cut: bool,
    /// Bytes on the wire that originators sent.
    originated_bytes: u64,
    /// Bytes on the wire that responders sent.
    responded_bytes: u64,
    /// Who is at the other end, most conversations first, 50 at most.
    peers: Vec<Peer>,
    /// Names of responders, most conversations first, 50 at most.
    names: Vec<Count>,
    /// Port and protocol of responders, `443/tcp`, most conversations first, 50 at most.
    services: Vec<Count>,
    /// Processes of this host at either end, 50 at most.
    processes: Vec<&'a Process>,
    /// Findings about it, newest first, 50 at most.
    findings: Vec<FindingView>,
    /// The newest conversations, 50 at most.
    flows: Vec<Flow>,
}

/// Who is at the other end.
#[derive(Serialize, JsonSchema)]
struct Peer {
    /// The address.
    address: IpAddr,
    /// Where it is, if a database says.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
    /// Conversations with it.
    conversations: usize,
}

/// Something that conversations have in common.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NameCount")]
struct Count {
    /// What they have in common.
    name: String,
    /// How many they are.
    conversations: usize,
}

impl<'a> Activity<'a> {
    /// Sums material up; `peer` says who is at the other end of a conversation.
    pub(super) fn of(material: &'a Material, context: &Context, peer: impl Fn(&Row) -> IpAddr) -> Self {
        let rows = &material.rows;
        let conversations = || rows.iter().map(|row| &row.conversation);
        let scores = context.findings.scores();
        let peers = counted(rows.iter().map(|row| peer(row)));
        let mut processes: Vec<&Process> = Vec::new();
        for process in material.processes() {
            if processes.len() < TOLD && !processes.iter().any(|known| known.id == process.id) {
                processes.push(process);
            }
        }
        Self {
            first_seen: conversations().map(|c| c.start).min(),
            last_seen: conversations().map(|c| c.end).max(),
            conversations: rows.len(),
            is_cut: material.is_cut,
            originated_bytes: conversations().map(|c| c.originated.bytes).sum(),
            responded_bytes: conversations().map(|c| c.responded.bytes).sum(),
            peers: peers
                .into_iter()
                .map(|(address, conversations)| Peer {
                    address,
                    region: context.databases.lookup(address),
                    conversations,
                })
                .collect(),
            names: counts(conversations().filter_map(|c| c.name.as_deref())),
            services: counts(
                conversations()
                    .map(|c| format!("{}/{}", c.responder_port, netd_engine::flow::protocol_name(c.protocol))),
            ),
            processes,
            findings: material.findings.iter().map(|stored| FindingView::from(&stored.finding)).collect(),
            flows: rows.iter().take(TOLD).map(|row| flows::shown(context, row, &scores)).collect(),
        }
    }
}

fn counts<T: Eq + Hash + Ord + Into<String>>(items: impl Iterator<Item = T>) -> Vec<Count> {
    let count = |(name, conversations): (T, usize)| Count { name: name.into(), conversations };
    counted(items).into_iter().map(count).collect()
}

/// Returns what came most often, with how often.
fn counted<T: Eq + Hash + Ord>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_insert(0_usize) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, many), (b, more)| more.cmp(many).then_with(|| a.cmp(b)));
    counts.truncate(TOLD);
    counts
}
