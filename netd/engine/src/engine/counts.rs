//! What the engine has seen and where it could not keep something: one counter for each.

use serde::Serialize;

/// Counters since the engine began, and sizes at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub flow_records: u64,
    pub turn_records: u64,
    pub payload_records: u64,
    pub socket_records: u64,
    /// Conversations begun, alive, and those that gave way to others.
    pub conversations_begun: u64,
    pub conversations: u64,
    pub conversations_evicted: u64,
    /// Packets and bytes of conversations: counters added up, each packet once.
    pub packets: u64,
    pub bytes: u64,
    /// Of these, packets that arrived after their conversation had been handed out as ended.
    pub late_packets: u64,
    /// Turns begun; seen by two CPUs as one; goodbyes; kept in no history because the key is no candidate.
    pub turns: u64,
    pub turns_merged: u64,
    pub turns_goodbye: u64,
    pub turns_no_candidate: u64,
    /// Histories of pairs and names, and those that gave way.
    pub histories: u64,
    pub histories_evicted: u64,
    pub names_forgotten: u64,
    /// Openings given up before they were understood, because others needed their room.
    pub openings_cut: u64,
    /// DNS messages read, and what is not DNS on its port; clients and domains watched, and those that gave way.
    pub dns_messages: u64,
    pub dns_unread: u64,
    pub dns_zones: u64,
    pub dns_evicted: u64,
    /// Look-ups not handed out, because there were too many a second.
    pub lookups_untold: u64,
    /// Findings reported for the first time, and verdicts asked for.
    pub findings: u64,
    pub enforced: u64,
    /// Responses asked for.
    pub responded: u64,
    /// Findings told below a policy's threshold, and so hidden.
    pub suppressed: u64,
    /// Reports withheld because too many came from one originator, or at all: see [`crate::config::Reports`].
    pub withheld: u64,
    /// Verdicts not asked for: the target is protected, or the budget is spent.
    pub spared_protected: u64,
    pub spared_budget: u64,
    /// Attempts to connect that nobody answered, or that were refused; findings about strangers' attempts that the hour
    /// had no room for; failed attempts not judged because their gaps grow: a back-off.
    pub attempts_failed: u64,
    pub noise_unraised: u64,
    pub backing_off: u64,
    /// Looks at standard streams, and graphs of them that reached a bound.
    pub streams_traced: u64,
    pub graphs_cut: u64,
}
