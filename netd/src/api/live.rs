//! Which live flows a list would cut.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use netd_engine::flow::{EndReason, protocol_name};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use super::problem::Problem;
use crate::store::Row;
use crate::verdicts::blocklist::{Item, List};

/// Flows that are named one by one; the rest is counted.
const NAMED: usize = 1_000;

/// The live flows that a list would cut, newest first.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct LiveFlows {
    /// The first thousand.
    items: Vec<LiveFlow>,
    /// How many there are in all.
    total: u64,
}

/// A flow that is alive and would be cut.
#[derive(Debug, Serialize, JsonSchema)]
struct LiveFlow {
    /// The flow's number.
    id: u64,
    /// Who began.
    originator: IpAddr,
    /// The originator's port.
    originator_port: u16,
    /// Who was addressed.
    responder: IpAddr,
    /// The responder's port.
    responder_port: u16,
    /// The transport protocol's name, or its IANA number.
    protocol: String,
    /// Name of the responder.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Name of the process that began it, where it is one of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    /// That process's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// The entry that covers it.
    entry: String,
}

/// Returns the live flows that `list` would cut; what is protected or allow-listed is not among them.
pub(super) async fn would_cut(context: &Context, list: &List) -> Result<LiveFlows, Problem> {
    if list.is_empty() {
        return Ok(LiveFlows::default());
    }
    let index = Index::new(list);
    let is_live = |row: &Row| row.conversation.end_reason == EndReason::Active;
    let (rows, _) = context.flows.page(None, usize::MAX, |row| is_live(row) && index.covers(row).is_some());
    let ends = rows.iter().flat_map(|row| [row.conversation.originator, row.conversation.responder]);
    let ends: Vec<_> = ends.collect::<BTreeSet<_>>().into_iter().collect();
    let guards = context.verdicts.shields(ends.clone()).await?;
    let shielded: BTreeSet<_> = ends.iter().zip(guards).filter_map(|(end, guard)| guard.map(|_| *end)).collect();
    let mut flows = LiveFlows::default();
    for row in rows {
        let Some(entry) = index.entry(&row, &shielded) else { continue };
        flows.total += 1;
        if flows.items.len() < NAMED {
            flows.items.push(shown(&row, entry));
        }
    }
    Ok(flows)
}

fn shown(row: &Arc<Row>, entry: String) -> LiveFlow {
    let flow = &row.conversation;
    let process = flow.process.as_ref();
    LiveFlow {
        id: row.sequence,
        originator: flow.originator,
        originator_port: flow.originator_port,
        responder: flow.responder,
        responder_port: flow.responder_port,
        protocol: protocol_name(flow.protocol),
        name: flow.name.clone(),
        process: process.map(|process| process.comm.clone()),
        pid: process.map(|process| process.id.pid),
        entry,
    }
}

/// A list that is asked for many addresses: only the prefix lengths that occur are tried.
struct Index<'a> {
    list: &'a List,
    lengths: BTreeSet<u8>,
}

impl<'a> Index<'a> {
    fn new(list: &'a List) -> Self {
        Self { list, lengths: list.iter().map(|item| item.parts().1).collect() }
    }

    fn covers(&self, row: &Row) -> Option<String> {
        self.entry(row, &BTreeSet::new())
    }

    /// Returns the entry by which a flow would be cut, unless the end that it covers is shielded.
    fn entry(&self, row: &Row, shielded: &BTreeSet<IpAddr>) -> Option<String> {
        let flow = &row.conversation;
        let ends = [flow.responder, flow.originator].into_iter().filter(|end| !shielded.contains(end));
        if let Some(item) = ends.filter_map(|end| self.item(end)).next() {
            return Some(item.to_string());
        }
        let name = flow.name.as_deref().filter(|_| !shielded.contains(&flow.responder))?;
        Some(self.list.names().find(&name.to_ascii_lowercase())?.to_string())
    }

    fn item(&self, address: IpAddr) -> Option<Item> {
        let host = Item::host(address);
        self.lengths.iter().rev().map(|bits| host.widened(*bits)).find(|item| self.list.lists(item))
    }
}
