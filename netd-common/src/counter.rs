//! The exact per-CPU counters: what was met on each interface, and every place where something passes unseen or is lost.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One CPU's counters. All in one element of one map, so that a packet pays one look-up for all of them; an element is
/// at most 32 KB.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// By [`Counter`]; what was met stays 0 here, see [`Counters::totals`].
    pub slots: [u64; Counter::SLOTS],
    /// By [`Traffic::slot`].
    pub traffic: [Traffic; Traffic::SLOTS],
}

impl Counters {
    /// Returns the counters by [`Counter`], what was met on all interfaces together among them.
    #[must_use]
    pub fn totals(&self) -> [u64; Counter::SLOTS] {
        let mut totals = self.slots;
        for Traffic { packets: [packets_in, packets_out], bytes: [bytes_in, bytes_out] } in self.traffic {
            let met = [
                (Counter::IngressPackets, packets_in),
                (Counter::IngressBytes, bytes_in),
                (Counter::EgressPackets, packets_out),
                (Counter::EgressBytes, bytes_out),
            ];
            for (counter, count) in met {
                let total = &mut totals[counter as usize];
                *total = total.wrapping_add(count);
            }
        }
        totals
    }
}

/// Packets (on the wire, offload undone) and bytes that the TC programs met on interfaces of one slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Traffic {
    /// At ingress, at egress.
    pub packets: [u64; 2],
    pub bytes: [u64; 2],
}

impl Traffic {
    /// Interfaces that are told apart: those whose index is the same modulo this number share a slot. A power of two.
    pub const SLOTS: usize = 512;

    /// Returns the slot of an interface.
    #[inline(always)]
    #[must_use]
    pub const fn slot(ifindex: u32) -> usize {
        ifindex as usize & (Self::SLOTS - 1)
    }
}

const _: () = assert!(Traffic::SLOTS.is_power_of_two());
const _: () = assert!(size_of::<Counters>() <= 32 << 10, "the kernel allocates no larger element for each CPU");

/// An index into [`Counters::slots`] and [`Counters::totals`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// Packets (on the wire, offload undone) and bytes the TC programs met, on all interfaces together.
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
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn the_totals_hold_what_every_interface_met_and_the_rest_as_it_is() {
        let mut counters = Counters::new_zeroed();
        counters.slots[Counter::TcDropped as usize] = 3;
        counters.traffic[Traffic::slot(2)] = Traffic { packets: [1, 10], bytes: [100, 1_000] };
        counters.traffic[Traffic::slot(7)] = Traffic { packets: [2, 20], bytes: [200, 2_000] };

        let totals = counters.totals();

        let of = |counter: Counter| totals[counter as usize];
        assert_eq!([of(Counter::IngressPackets), of(Counter::EgressPackets)], [3, 30]);
        assert_eq!([of(Counter::IngressBytes), of(Counter::EgressBytes)], [300, 3_000]);
        assert_eq!(of(Counter::TcDropped), 3);
    }

    #[test]
    fn all_lists_every_counter_in_index_order() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
        assert_eq!(Counter::RedirectsUnheard as usize + 1, Counter::ALL.len());
        assert!(Counter::ALL.len() <= Counter::SLOTS);
    }
}
