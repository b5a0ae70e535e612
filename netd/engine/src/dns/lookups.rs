//! Questions that wait for their answer to be told together with it, bounded in number and in how many are told.

use std::collections::{HashMap, VecDeque};

use netd_common::key::ConversationKey;

use crate::lookup::Lookup;

/// Questions that wait at once, about 300 bytes each; the oldest is told without its answer.
const MOST: usize = 16_384;
/// How long an answer may take.
const PATIENCE_NS: u64 = 10_000_000_000;
/// A rate may be exceeded by what it allows in this time.
const BURST_NS: u64 = 10_000_000_000;

/// Conversation and number of a message.
type Key = (ConversationKey, u16);

/// Pairs questions with their answers.
#[derive(Debug)]
pub(crate) struct Lookups {
    waiting: HashMap<Key, (u64, Lookup)>,
    /// Oldest first, with the serial that tells a question from a former one of the same number.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    ready: VecDeque<Lookup>,
    /// Time that one look-up takes of the rate; none: none is told.
    cost_ns: Option<u64>,
    /// When the rate would allow the next one, had there been no burst.
    due_ns: u64,
    /// Look-ups that the rate had no room for.
    pub(crate) untold: u64,
}

impl Lookups {
    /// Tells at most `per_s` look-ups a second; 0 tells none.
    pub(crate) fn new(per_s: u32) -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
            ready: VecDeque::new(),
            cost_ns: 1_000_000_000_u64.checked_div(u64::from(per_s)),
            due_ns: 0,
            untold: 0,
        }
    }

    pub(crate) const fn is_wanted(&self) -> bool {
        self.cost_ns.is_some()
    }

    /// Keeps a question until its answer comes. The same question again is a retransmission.
    pub(crate) fn ask(&mut self, conversation: ConversationKey, question: Lookup) {
        let key = (conversation, question.id);
        if let Some((serial, before)) = self.waiting.remove(&key) {
            if is_same(&before, &question) {
                self.waiting.insert(key, (serial, before));
                return;
            }
            self.tell(before);
        }
        while self.waiting.len() >= MOST || self.order.len() >= 2 * MOST {
            self.give_up_oldest();
        }
        self.serial += 1;
        self.order.push_back((key, self.serial));
        self.waiting.insert(key, (self.serial, question));
    }

    /// Joins an answer with its question; one that nobody was seen to ask for is told alone.
    pub(crate) fn answer(&mut self, conversation: ConversationKey, answer: Lookup) {
        let key = (conversation, answer.id);
        // Some servers refuse without repeating the question.
        let is_for = |question: &Lookup| answer.name.is_none() || is_same(question, &answer);
        let question = match self.waiting.remove(&key) {
            Some((_, question)) if is_for(&question) => Some(question),
            Some(other) => {
                self.waiting.insert(key, other);
                None
            }
            None => None,
        };
        self.tell(match question {
            Some(question) => Lookup { reply: answer.reply, ..question },
            None => answer,
        });
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        while let Some((key, serial)) = self.order.front() {
            let is_waiting = self.waiting.get(key).filter(|(known, _)| known == serial);
            if is_waiting.is_some_and(|(_, question)| now_ns.saturating_sub(question.begun().0) <= PATIENCE_NS) {
                return;
            }
            self.give_up_oldest();
        }
    }

    /// Gives up everything that waits.
    pub(crate) fn finish(&mut self) {
        while !self.order.is_empty() {
            self.give_up_oldest();
        }
    }

    /// Returns the next look-up to tell.
    pub(crate) fn pop(&mut self) -> Option<Lookup> {
        self.ready.pop_front()
    }

    fn give_up_oldest(&mut self) {
        let Some((key, serial)) = self.order.pop_front() else { return };
        if self.waiting.get(&key).is_some_and(|(known, _)| *known == serial)
            && let Some((_, question)) = self.waiting.remove(&key)
        {
            self.tell(question);
        }
    }

    fn tell(&mut self, lookup: Lookup) {
        let now_ns = lookup.reply.as_ref().map_or(lookup.begun(), |reply| reply.at).0;
        let due_ns = self.due_ns.max(now_ns).saturating_add(self.cost_ns.unwrap_or_default());
        if due_ns > now_ns.saturating_add(BURST_NS) {
            self.untold += 1;
            return;
        }
        self.due_ns = due_ns;
        self.ready.push_back(lookup);
    }
}

fn is_same(one: &Lookup, other: &Lookup) -> bool {
    (&one.name, one.qtype, one.qclass) == (&other.name, other.qtype, other.qclass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{Carrier, Flags, Reply};
    use crate::time::Timestamp;

    const SECOND: u64 = 1_000_000_000;

    fn question(id: u16, name: &str, at_ns: u64) -> Lookup {
        let carrier = Carrier {
            start: Timestamp(0),
            originator: "10.0.0.7".parse().unwrap(),
            originator_port: 40_000,
            responder: "9.9.9.9".parse().unwrap(),
            responder_port: 53,
            protocol: 17,
            community_id: None,
            vlan: 0,
            ifindex: 0,
        };
        let asked = Some((Timestamp(at_ns), Flags(0x0100)));
        Lookup { carrier, id, name: Some(name.to_owned()), qtype: 1, qclass: 1, asked, reply: None }
    }

    fn answer(id: u16, name: &str, at_ns: u64) -> Lookup {
        let reply = Reply { at: Timestamp(at_ns), flags: Flags(0x8180), records: Vec::new(), is_bare: false };
        Lookup { asked: None, reply: Some(reply), ..question(id, name, 0) }
    }

    fn told(lookups: &mut Lookups) -> Vec<(u16, bool, bool)> {
        let all = std::iter::from_fn(|| lookups.pop());
        all.map(|lookup| (lookup.id, lookup.asked.is_some(), lookup.reply.is_some())).collect()
    }

    #[test]
    fn a_question_is_told_once_with_its_answer() {
        let (mut lookups, key) = (Lookups::new(100), ConversationKey::default());
        lookups.ask(key, question(7, "a.example", 1));
        lookups.ask(key, question(7, "a.example", SECOND));
        lookups.answer(key, answer(7, "a.example", 2 * SECOND));

        let first = lookups.pop().unwrap();

        assert_eq!(first.round_trip_ns(), Some(2 * SECOND - 1));
        lookups.finish();
        assert_eq!(told(&mut lookups), []);
    }

    #[test]
    fn an_answer_to_another_question_is_told_alone() {
        let (mut lookups, key) = (Lookups::new(100), ConversationKey::default());
        lookups.ask(key, question(7, "a.example", 1));
        lookups.answer(key, answer(7, "b.example", 2));
        lookups.answer(key, Lookup { name: None, ..answer(7, "", 3) });

        assert_eq!(told(&mut lookups), [(7, false, true), (7, true, true)]);
    }

    #[test]
    fn a_number_that_is_used_again_tells_the_former_question_unanswered() {
        let (mut lookups, key) = (Lookups::new(100), ConversationKey::default());
        lookups.ask(key, question(7, "a.example", 1));
        lookups.ask(key, question(7, "b.example", 2));
        lookups.answer(key, answer(7, "b.example", 3));

        assert_eq!(told(&mut lookups), [(7, true, false), (7, true, true)]);
    }

    #[test]
    fn a_question_without_an_answer_is_told_after_a_while() {
        let (mut lookups, key) = (Lookups::new(100), ConversationKey::default());
        lookups.ask(key, question(7, "a.example", 1));

        lookups.expire(PATIENCE_NS);
        assert_eq!(told(&mut lookups), []);
        lookups.expire(PATIENCE_NS + 2);
        assert_eq!(told(&mut lookups), [(7, true, false)]);
    }

    #[test]
    fn a_flood_of_questions_is_bounded_and_none_is_lost_uncounted() {
        let (mut lookups, key) = (Lookups::new(u32::MAX), ConversationKey::default());
        let most = MOST as u64;
        let mut count = 0;
        for n in 0..3 * most {
            let name = format!("{n}.example");
            lookups.ask(key, question((n % 65_536) as u16, &name, n));
            count += told(&mut lookups).len() as u64;
            assert!(lookups.waiting.len() <= MOST && lookups.order.len() <= 2 * MOST);
        }

        lookups.finish();
        assert_eq!(count + told(&mut lookups).len() as u64 + lookups.untold, 3 * most);
    }

    #[test]
    fn what_the_rate_has_no_room_for_is_counted() {
        let (mut lookups, key) = (Lookups::new(100), ConversationKey::default());
        for id in 0..3_000 {
            lookups.answer(key, answer(id, "a.example", SECOND));
        }
        assert_eq!((told(&mut lookups).len(), lookups.untold), (1_000, 2_000));

        lookups.answer(key, answer(1, "a.example", 2 * SECOND));

        assert_eq!(told(&mut lookups).len(), 1);
    }

    #[test]
    fn without_a_rate_nothing_is_wanted() {
        assert!(!Lookups::new(0).is_wanted() && Lookups::new(1).is_wanted());
    }
}
