//! What the engine has seen and where it could not keep something: one counter for each.

use schemars::JsonSchema;
use serde::Serialize;

/// Counters since the engine began, and sizes at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EngineCounts")]
pub struct Counts {
    /// Flow records of the kernel, or packets of a capture that changed a flow.
    pub flow_records: u64,
    /// Records of turns: a side that begins to speak.
    pub turn_records: u64,
    /// Records with the first payload of a side.
    pub payload_records: u64,
    /// Records of sockets with their owners.
    pub socket_records: u64,
    /// Conversations begun.
    pub conversations_begun: u64,
    /// Conversations alive.
    pub conversations: u64,
    /// Conversations that gave way to others because the table was full.
    pub conversations_evicted: u64,
    /// Packets of conversations, each counted once.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Of these, packets that arrived after their conversation had been handed out as ended.
    pub late_packets: u64,
    /// Turns begun.
    pub turns: u64,
    /// Turns that two CPUs saw, counted as one.
    pub turns_merged: u64,
    /// Turns that only said goodbye.
    pub turns_goodbye: u64,
    /// Turns kept in no history because their key is no candidate.
    pub turns_no_candidate: u64,
    /// Histories of pairs and names held.
    pub histories: u64,
    /// Histories that gave way to others.
    pub histories_evicted: u64,
    /// Names of addresses, learnt from DNS, that gave way to others.
    pub names_forgotten: u64,
    /// Openings given up before they were understood, because others needed their room.
    pub openings_cut: u64,
    /// DNS messages read.
    pub dns_messages: u64,
    /// What is not DNS on DNS's port.
    pub dns_unread: u64,
    /// Clients and domains watched.
    pub dns_zones: u64,
    /// Clients and domains that gave way to others.
    pub dns_evicted: u64,
    /// Look-ups of processes not handed out, because there were too many a second.
    pub lookups_untold: u64,
    /// Findings reported for the first time.
    pub findings: u64,
    /// Verdicts asked for.
    pub enforced: u64,
    /// Responses asked for.
    pub responded: u64,
    /// Findings told below a policy's threshold, and so hidden.
    pub suppressed: u64,
    /// Reports withheld because too many came from one originator, or at all.
    pub withheld: u64,
    /// Verdicts not asked for because the target is protected.
    pub spared_protected: u64,
    /// Verdicts not asked for because the policy's budget is spent.
    pub spared_budget: u64,
    /// Attempts to connect that nobody answered, or that were refused.
    pub attempts_failed: u64,
    /// Findings about strangers' attempts that the hour had no room for.
    pub noise_unraised: u64,
    /// Failed attempts not judged because their gaps grow: a back-off.
    pub backing_off: u64,
    /// Looks at standard streams.
    pub streams_traced: u64,
    /// Graphs of standard streams that reached a bound.
    pub graphs_cut: u64,
}
