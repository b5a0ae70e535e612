//! How many conversations have ended, by what metrics tell of them.

use std::sync::atomic::{AtomicU64, Ordering};

use netd_engine::flow::Conversation;

/// Transport protocols that are counted by name.
const PROTOS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58), ("sctp", 132)];
const OTHER: &str = "other";

/// Counters by protocol, and by whether a verdict met the conversation.
#[derive(Debug, Default)]
pub struct Ended {
    counts: [[AtomicU64; 2]; PROTOS.len() + 1],
}

/// One of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp` or `other`.
    pub proto: &'static str,
    /// Whether a rule decided packets of it: dropped, throttled or watched.
    pub is_met: bool,
    pub count: u64,
}

impl Ended {
    pub(super) fn count(&self, conversation: &Conversation) {
        let proto = PROTOS.iter().position(|(_, number)| *number == conversation.protocol).unwrap_or(PROTOS.len());
        self.counts[proto][usize::from(conversation.rule != 0)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns every counter.
    pub fn counts(&self) -> impl Iterator<Item = Count> {
        let names = PROTOS.iter().map(|(name, _)| *name).chain([OTHER]);
        names.zip(&self.counts).flat_map(|(proto, counts)| {
            [false, true].map(|is_met| Count {
                proto,
                is_met,
                count: counts[usize::from(is_met)].load(Ordering::Relaxed),
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
    fn each_end_is_counted_once_under_its_protocol_and_verdict() {
        let ended = Ended::default();
        ended.count(&conversation(1, EndReason::Closed));
        ended.count(&Conversation { rule: 7, protocol: 17, ..conversation(2, EndReason::Idle) });
        ended.count(&Conversation { protocol: 47, ..conversation(3, EndReason::Idle) });

        let counted: Vec<_> = ended.counts().filter(|count| count.count > 0).collect();

        let count = |proto, is_met| Count { proto, is_met, count: 1 };
        assert_eq!(counted, [count("tcp", false), count("udp", true), count("other", false)]);
        assert_eq!(ended.counts().count(), 12);
    }
}
