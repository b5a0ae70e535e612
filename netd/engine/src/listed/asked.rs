//! Questions that wait for their answer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use netd_common::key::ConversationKey;

/// Questions remembered at once, about 100 bytes each; the oldest gives way.
const MOST: usize = 16_384;
/// How long an answer may take.
const PATIENCE_NS: u64 = 15_000_000_000;

/// Conversation and number of a message.
type Key = (ConversationKey, u16);

/// Questions lately seen, bounded.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// What was asked, and until when an answer counts.
    asked: HashMap<Key, (u64, u64)>,
    /// Oldest first, with the time that tells a renewed one.
    order: VecDeque<(Key, u64)>,
    seed: RandomState,
}

impl Questions {
    pub(crate) fn ask(&mut self, conversation: ConversationKey, id: u16, name: &str, at_ns: u64) {
        while self.order.len() >= MOST {
            let Some((key, until_ns)) = self.order.pop_front() else { break };
            if self.asked.get(&key).is_some_and(|(_, until)| *until == until_ns) {
                self.asked.remove(&key);
            }
        }
        let (key, until_ns) = ((conversation, id), at_ns.saturating_add(PATIENCE_NS));
        self.asked.insert(key, (self.seed.hash_one(name), until_ns));
        self.order.push_back((key, until_ns));
    }

    /// Returns whether this answers a question that was seen. It answers once.
    pub(crate) fn answer(&mut self, conversation: ConversationKey, id: u16, name: &str, at_ns: u64) -> bool {
        let key = (conversation, id);
        let Some((hash, until_ns)) = self.asked.get(&key).copied() else { return false };
        let is_answer = hash == self.seed.hash_one(name) && at_ns <= until_ns;
        if is_answer {
            self.asked.remove(&key);
        }
        is_answer
    }
}

#[cfg(test)]
mod tests {
    use netd_common::key::{Address, FlowKey};

    use super::*;

    fn conversation(port: u16) -> ConversationKey {
        let flow = FlowKey {
            src: Address::v4([10, 0, 0, 7]),
            dst: Address::v4([9, 9, 9, 9]),
            src_port: port.to_be_bytes(),
            dst_port: 53_u16.to_be_bytes(),
            proto: 17,
            pad: [0; 3],
        };
        flow.conversation().0
    }

    #[test]
    fn only_the_question_itself_is_answered_and_once() {
        let mut questions = Questions::default();
        questions.ask(conversation(1), 7, "a.example", 0);

        assert!(!questions.answer(conversation(1), 8, "a.example", 1));
        assert!(!questions.answer(conversation(2), 7, "a.example", 1));
        assert!(!questions.answer(conversation(1), 7, "b.example", 1));
        assert!(questions.answer(conversation(1), 7, "a.example", 1));
        assert!(!questions.answer(conversation(1), 7, "a.example", 1));
    }

    #[test]
    fn an_answer_that_comes_too_late_does_not_count() {
        let mut questions = Questions::default();
        questions.ask(conversation(1), 7, "a.example", 0);

        assert!(!questions.answer(conversation(1), 7, "a.example", PATIENCE_NS + 1));
    }

    #[test]
    fn a_flood_of_questions_does_not_grow_the_memory() {
        let mut questions = Questions::default();
        for n in 0..3 * MOST {
            questions.ask(conversation((n % 60_000) as u16), (n / 60_000) as u16, "a.example", n as u64);
        }

        assert!(questions.asked.len() <= MOST && questions.order.len() <= MOST);
    }
}
