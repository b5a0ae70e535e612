//! How many conversations have ended, by what metrics tell of them.

use std::sync::atomic::{AtomicU64, Ordering};

use netd_engine::flow::Conversation;
use netd_engine::policy::Direction;

/// Transport protocols that are counted by name.
const PROTOS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58), ("sctp", 132)];
const OTHER: &str = "other";

/// Counters by protocol, by direction, and by whether a verdict met the conversation.
#[derive(Debug, Default)]
pub struct Ended {
    counts: [[[AtomicU64; 2]; Direction::ALL.len()]; PROTOS.len() + 1],
}

/// One of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp` or `other`.
    pub proto: &'static str,
    pub direction: Direction,
    /// Whether a rule decided packets of it: dropped, throttled or watched.
    pub is_met: bool,
    pub count: u64,
}

impl Ended {
    /// Counts a conversation that has ended.
    pub fn count(&self, conversation: &Conversation, direction: Direction) {
        let proto = PROTOS.iter().position(|(_, number)| *number == conversation.protocol).unwrap_or(PROTOS.len());
        let is_met = usize::from(conversation.rule != 0);
        self.counts[proto][direction as usize][is_met].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns every counter.
    pub fn counts(&self) -> impl Iterator<Item = Count> {
        let names = PROTOS.iter().map(|(name, _)| *name).chain([OTHER]);
        names.zip(&self.counts).flat_map(|(proto, counts)| {
            Direction::ALL.into_iter().flat_map(move |direction| {
                [false, true].map(|is_met| {
                    let count = counts[direction as usize][usize::from(is_met)].load(Ordering::Relaxed);
                    Count { proto, direction, is_met, count }
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use netd_engine::flow::EndReason;

    use super::*;
    use crate::store::flows_for_tests::conversation;

    #[test]
    fn each_end_is_counted_once_under_its_protocol_direction_and_verdict() {
        let ended = Ended::default();
        ended.count(&conversation(1, EndReason::Closed), Direction::Outbound);
        let met = Conversation { rule: 7, protocol: 17, ..conversation(2, EndReason::Idle) };
        ended.count(&met, Direction::Transit);
        ended.count(&Conversation { protocol: 47, ..conversation(3, EndReason::Idle) }, Direction::Inbound);

        let counted: Vec<_> = ended.counts().filter(|count| count.count > 0).collect();

        let count = |proto, direction, is_met| Count { proto, direction, is_met, count: 1 };
        let expected = [
            count("tcp", Direction::Outbound, false),
            count("udp", Direction::Transit, true),
            count("other", Direction::Inbound, false),
        ];
        assert_eq!(counted, expected);
        assert_eq!(ended.counts().count(), 48);
    }
}
