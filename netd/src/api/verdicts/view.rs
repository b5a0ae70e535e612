//! A verdict as it is shown: what it is about, what it does, who asked for it, what it met.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_common::verdict::Hits;
use netd_engine::flow::protocol_name;
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Origin, Response, Target};
use schemars::JsonSchema;
use serde::Serialize;

use super::ActionName;
use crate::api::confirmations::ConfirmationView;
use crate::time;
use crate::verdicts::{Entry, Guard};

/// A verdict in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Verdict")]
pub(in crate::api) struct View {
    /// The verdict's number.
    id: u64,
    /// What it is about.
    target: TargetView,
    #[serde(flatten)]
    action: ActionView,
    /// Whether it only counts what it would have met.
    shadow: bool,
    /// When it was put in force.
    #[serde(serialize_with = "time::serialize")]
    #[schemars(with = "time::Rfc3339")]
    created: Timestamp,
    /// When it ends; null: never.
    #[serde(serialize_with = "time::serialize_option")]
    #[schemars(with = "Option<time::Rfc3339>")]
    until: Option<Timestamp>,
    #[serde(flatten)]
    origin: OriginView,
    /// Why it is in force.
    reason: String,
    /// False while a stronger claim holds the target.
    leads: bool,
    /// Why nothing is cut, where the target has become protected since.
    #[schemars(example = "the default gateway")]
    shielded_by: Option<&'static str>,
    hits: HitsView,
}

/// What a verdict is about.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Target")]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(in crate::api) enum TargetView {
    /// One conversation, in one direction.
    FiveTuple {
        source: IpAddr,
        source_port: u16,
        destination: IpAddr,
        destination_port: u16,
        /// The protocol's name, or its IANA number.
        protocol: String,
    },
    /// One port of an address.
    Endpoint {
        address: IpAddr,
        port: u16,
        /// The protocol's name, or its IANA number.
        protocol: String,
    },
    /// All of an address.
    Host { address: IpAddr },
    /// All addresses of a prefix.
    Prefix {
        #[schemars(with = "String", example = "198.51.100.0/24")]
        prefix: IpNet,
    },
}

/// Who asked for a verdict.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Origin")]
struct OriginView {
    origin: OriginName,
    /// Number of the finding that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<u64>,
    /// The policy that turned the finding into a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The block-list that holds the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<String>,
    /// The name that the list holds, where DNS gave the address to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// What kind of asker it was.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OriginName {
    /// A finding, by a policy.
    Finding,
    /// An operator.
    Manual,
    /// A block-list.
    List,
}

impl From<Origin> for OriginView {
    fn from(origin: Origin) -> Self {
        let plain = |origin| Self { origin, finding: None, policy: None, list: None, name: None };
        match origin {
            Origin::Finding { finding, policy } => {
                Self { finding: Some(finding), policy: Some(policy), ..plain(OriginName::Finding) }
            }
            Origin::Manual => plain(OriginName::Manual),
            Origin::List { list, name } => Self { list: Some(list), name, ..plain(OriginName::List) },
        }
    }
}

/// An action with its numbers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActionFacts")]
pub(in crate::api) struct ActionView {
    /// What is done with the packets.
    action: ActionName,
    /// Of `throttle`: the rate that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    /// Of `throttle`: bytes that pass at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_bytes: Option<u64>,
}

/// Packets and bytes that met a rule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Hits")]
pub(in crate::api) struct HitsView {
    /// Packets that it acted on.
    packets: u64,
    /// Bytes of them.
    bytes: u64,
    /// Packets that it would have acted on.
    shadow_packets: u64,
    /// Bytes of them.
    shadow_bytes: u64,
}

/// The answer to a verdict that was put in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VerdictAdded")]
pub(in crate::api) struct AddedView {
    #[serde(flatten)]
    pub(super) verdict: View,
    /// Whether a verdict on the same target was in force already.
    pub(super) renewed: bool,
    /// Sockets on this host that were closed.
    pub(super) destroyed_sockets: u64,
    /// Protected prefixes inside the target, which keep passing.
    pub(super) spared: Vec<String>,
    /// Whether it is on disk, so that it outlives a restart.
    pub(super) saved: bool,
    /// That it undoes itself, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confirmation: Option<ConfirmationView>,
}

pub(in crate::api) fn view(entry: Entry) -> View {
    let Entry { id, created, verdict, leads, shielded_by, hits } = entry;
    View {
        id,
        target: target_view(&verdict.target),
        action: action_view(verdict.response),
        shadow: verdict.shadow,
        created,
        until: verdict.until,
        origin: OriginView::from(verdict.origin),
        reason: verdict.reason,
        leads,
        shielded_by: shielded_by.map(Guard::name),
        hits: hits_view(hits),
    }
}

pub(in crate::api) fn target_view(target: &Target) -> TargetView {
    match *target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            TargetView::FiveTuple { source, source_port, destination, destination_port, protocol: protocol_name(proto) }
        }
        Target::Endpoint { address, port, proto } => {
            TargetView::Endpoint { address, port, protocol: protocol_name(proto) }
        }
        Target::Host { address } => TargetView::Host { address },
        Target::Prefix { prefix } => TargetView::Prefix { prefix },
    }
}

pub(in crate::api) fn action_view(response: Response) -> ActionView {
    let plain = |action| ActionView { action, bytes_per_second: None, burst_bytes: None };
    match response {
        Response::Observe => plain(ActionName::Observe),
        Response::Drop => plain(ActionName::Drop),
        Response::Reset => plain(ActionName::Reset),
        Response::Throttle { bytes_per_second, burst_bytes } => ActionView {
            action: ActionName::Throttle,
            bytes_per_second: Some(bytes_per_second),
            burst_bytes: Some(burst_bytes),
        },
    }
}

pub(in crate::api) const fn hits_view(hits: Hits) -> HitsView {
    let Hits { packets, bytes, shadow_packets, shadow_bytes } = hits;
    HitsView { packets, bytes, shadow_packets, shadow_bytes }
}
