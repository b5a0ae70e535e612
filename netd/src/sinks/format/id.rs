//! Numbers and names for conversations that are the same in every log and after a restart.

use std::net::IpAddr;

use netd_engine::finding::Pair;
use netd_engine::flow::Conversation;
use netd_engine::lookup::Carrier;

/// A hash of what makes a conversation, or a pair, the one it is.
pub(super) struct Id(blake3::Hash);

impl Id {
    pub(super) fn of_conversation(conversation: &Conversation) -> Self {
        let ports = [conversation.originator_port, conversation.responder_port];
        Self::new(conversation.start.0, conversation.originator, conversation.responder, ports, conversation.protocol)
    }

    pub(super) fn of_carrier(carrier: &Carrier) -> Self {
        let ports = [carrier.originator_port, carrier.responder_port];
        Self::new(carrier.start.0, carrier.originator, carrier.responder, ports, carrier.protocol)
    }

    /// A finding is about a pair, whatever its conversations.
    pub(super) fn of_pair(pair: &Pair) -> Self {
        Self::new(0, pair.originator, pair.responder, [0, pair.responder_port], pair.proto)
    }

    fn new(start_ns: u64, originator: IpAddr, responder: IpAddr, ports: [u16; 2], proto: u8) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start_ns.to_be_bytes());
        for (address, port) in [(originator, ports[0]), (responder, ports[1])] {
            match address {
                IpAddr::V4(address) => hasher.update(&address.to_ipv6_mapped().octets()),
                IpAddr::V6(address) => hasher.update(&address.octets()),
            };
            hasher.update(&port.to_be_bytes());
        }
        hasher.update(&[proto]);
        Self(hasher.finalize())
    }

    fn word(&self, index: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0.as_bytes()[8 * index..][..8]);
        u64::from_be_bytes(word)
    }

    /// EVE's `flow_id`: 51 bits, which JavaScript does not round.
    pub(super) fn flow_id(&self) -> u64 {
        self.word(0) & ((1 << 51) - 1)
    }

    /// Zeek's `uid`: a C and 96 bits in base 62.
    pub(super) fn uid(&self) -> String {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut rest = (u128::from(self.word(0)) << 32) | u128::from(self.word(1) >> 32);
        let mut uid = String::from("C");
        for _ in 0..17 {
            uid.push(char::from(DIGITS[(rest % 62) as usize]));
            rest /= 62;
        }
        uid
    }
}

#[cfg(test)]
mod tests {
    use netd_engine::flow::EndReason;

    use super::*;
    use crate::store::flows_for_tests::conversation;

    #[test]
    fn an_id_is_the_conversations_own_and_stays() {
        let of = |port| Id::of_conversation(&conversation(port, EndReason::Closed));
        let later = Conversation { turns: 9, ..conversation(1, EndReason::Reset) };

        assert_eq!(of(1).flow_id(), Id::of_conversation(&later).flow_id());
        assert_eq!(of(1).uid(), Id::of_conversation(&later).uid());
        assert_ne!(of(1).flow_id(), of(2).flow_id());
        assert!(of(1).flow_id() < 1 << 51);
        assert!(of(1).uid().len() == 18 && of(1).uid().starts_with('C'), "{}", of(1).uid());
    }
}
