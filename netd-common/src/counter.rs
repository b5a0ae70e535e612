//! The exact per-CPU counters: one for every place where something passes unseen or is lost.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One CPU's counters, by [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counters(pub [u64; Counter::SLOTS]);

/// An index into [`Counters`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// Packets (on the wire, offload undone) and bytes the TC programs met.
    IngressPackets,
    IngressBytes,
    EgressPackets,
    EgressBytes,
    /// Packets added to a flow slot. Accounted = reported + still in the table, exactly.
    AccountedPackets,
    /// Packets of flows that found no slot because the ring buffer could not take the slot's last record.
    UnaccountedPackets,
    UnaccountedBytes,
    /// Forwarded packets met again at egress, accounted at ingress.
    ForwardedTwicePackets,
    /// Packets that could not be parsed, by reason; they pass.
    UnparsedNotIp,
    UnparsedTruncatedLink,
    UnparsedTruncatedNetwork,
    UnparsedTruncatedTransport,
    UnparsedBadHeader,
    UnparsedTooManyExtensions,
    UnparsedTooManyTags,
    /// Flows begun, and slots taken from an idle flow.
    FlowsBegun,
    FlowsEvicted,
    /// Records written, and records lost because the ring buffer was full, by kind.
    FlowRecords,
    FlowRecordsLost,
    TurnRecords,
    TurnRecordsLost,
    PayloadRecords,
    PayloadRecordsLost,
    SocketRecords,
    SocketRecordsLost,
    /// Packets a verdict dropped, by hook; passed in shadow mode; resets sent.
    TcDropped,
    XdpDropped,
    ThrottleDropped,
    ShadowDropped,
    ResetsSent,
    ResetsFailed,
    /// connect(2) and sends refused by a verdict.
    ConnectsRefused,
    /// Packets that met a verdict but passed because the daemon's heartbeat is too old.
    FailOpenPackets,
    /// Socket owners that found no room in `SOCKETS`.
    OwnersLost,
    /// Records of processes: execs, ends and redirected streams, written and lost because their ring buffer was full.
    ExecRecords,
    ExecRecordsLost,
    ExitRecords,
    ExitRecordsLost,
    RedirectRecords,
    RedirectRecordsLost,
    /// Redirections to pipes and terminals beyond what a process is heard for in a second.
    RedirectsUnheard,
}

impl Counter {
    /// Every counter, in index order.
    pub const ALL: [Self; 41] = [
        Self::IngressPackets,
        Self::IngressBytes,
        Self::EgressPackets,
        Self::EgressBytes,
        Self::AccountedPackets,
        Self::UnaccountedPackets,
        Self::UnaccountedBytes,
        Self::ForwardedTwicePackets,
        Self::UnparsedNotIp,
        Self::UnparsedTruncatedLink,
        Self::UnparsedTruncatedNetwork,
        Self::UnparsedTruncatedTransport,
        Self::UnparsedBadHeader,
        Self::UnparsedTooManyExtensions,
        Self::UnparsedTooManyTags,
        Self::FlowsBegun,
        Self::FlowsEvicted,
        Self::FlowRecords,
        Self::FlowRecordsLost,
        Self::TurnRecords,
        Self::TurnRecordsLost,
        Self::PayloadRecords,
        Self::PayloadRecordsLost,
        Self::SocketRecords,
        Self::SocketRecordsLost,
        Self::TcDropped,
        Self::XdpDropped,
        Self::ThrottleDropped,
        Self::ShadowDropped,
        Self::ResetsSent,
        Self::ResetsFailed,
        Self::ConnectsRefused,
        Self::FailOpenPackets,
        Self::OwnersLost,
        Self::ExecRecords,
        Self::ExecRecordsLost,
        Self::ExitRecords,
        Self::ExitRecordsLost,
        Self::RedirectRecords,
        Self::RedirectRecordsLost,
        Self::RedirectsUnheard,
    ];

    /// Slots in [`Counters`]: room for counters of later versions without a new map.
    pub const SLOTS: usize = 64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_counter_in_index_order() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
        assert_eq!(Counter::RedirectsUnheard as usize + 1, Counter::ALL.len());
        assert!(Counter::ALL.len() <= Counter::SLOTS);
    }
}
