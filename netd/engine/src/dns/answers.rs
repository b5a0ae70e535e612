//! The answers each client was given, for as long as it may use them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use netd_common::key::Address;

use crate::config::Names;

/// An answer, by the client that was told and the address it was told.
type Key = (Address, Address);

struct Answer {
    name: Arc<str>,
    until_ns: u64,
    /// Which of the entries in `order` is this answer's.
    serial: u64,
}

/// Names by client and address; bounded, the oldest answer gives way.
pub(crate) struct Answers {
    answers: HashMap<Key, Answer>,
    /// Oldest first. An entry whose serial is not its answer's was renewed since.
    order: VecDeque<(Key, u64)>,
    /// Clients of which an answer was seen at all: their other connections can be told to have no name.
    clients: HashMap<Address, u64>,
    serial: u64,
    limit: usize,
    least_ns: u64,
    most_ns: u64,
    pub(crate) forgotten: u64,
}

impl Answers {
    pub(crate) fn new(config: &Names) -> Self {
        Self {
            answers: HashMap::new(),
            order: VecDeque::new(),
            clients: HashMap::new(),
            serial: 0,
            limit: config.limit.max(1),
            least_ns: u64::from(config.least_s) * 1_000_000_000,
            most_ns: u64::from(config.most_s) * 1_000_000_000,
            forgotten: 0,
        }
    }

    pub(crate) fn learn(&mut self, client: Address, address: Address, name: &Arc<str>, ttl_s: u32, now_ns: u64) {
        while self.answers.len() >= self.limit || self.order.len() >= 2 * self.limit {
            self.forget_oldest();
        }
        self.serial += 1;
        let life_ns = (u64::from(ttl_s) * 1_000_000_000).clamp(self.least_ns, self.most_ns.max(self.least_ns));
        let answer = Answer { name: name.clone(), until_ns: now_ns.saturating_add(life_ns), serial: self.serial };
        self.answers.insert((client, address), answer);
        self.order.push_back(((client, address), self.serial));
        if self.clients.len() < self.limit {
            *self.clients.entry(client).or_default() += 1;
        }
    }

    /// Returns the name by which `client` learned `address`.
    pub(crate) fn name(&self, client: Address, address: Address, now_ns: u64) -> Option<&Arc<str>> {
        self.answers.get(&(client, address)).filter(|answer| now_ns < answer.until_ns).map(|answer| &answer.name)
    }

    /// Returns how many answers `client` was seen to get.
    pub(crate) fn answers_of(&self, client: Address) -> u64 {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    fn forget_oldest(&mut self) {
        let Some((key, serial)) = self.order.pop_front() else {
            self.answers.clear();
            return;
        };
        if self.answers.get(&key).is_some_and(|answer| answer.serial == serial) {
            self.answers.remove(&key);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(last: u8) -> Address {
        Address::v4([192, 0, 2, last])
    }

    #[test]
    fn an_answer_names_the_address_for_the_client_that_asked() {
        let mut answers = Answers::new(&Names::default());
        answers.learn(address(1), address(9), &"example.org".into(), 60, 0);

        assert_eq!(answers.name(address(1), address(9), SECOND).map(|name| &**name), Some("example.org"));
        assert_eq!(answers.name(address(2), address(9), SECOND), None);
    }

    #[test]
    fn an_answer_is_forgotten_after_its_time() {
        let mut answers = Answers::new(&Names { least_s: 10, most_s: 20, ..Names::default() });
        answers.learn(address(1), address(9), &"example.org".into(), 86_400, 0);

        assert!(answers.name(address(1), address(9), 19 * SECOND).is_some());
        assert!(answers.name(address(1), address(9), 20 * SECOND).is_none());
    }

    #[test]
    fn a_flood_of_answers_does_not_grow_the_memory() {
        let mut answers = Answers::new(&Names { limit: 10, ..Names::default() });
        for n in 0..1_000 {
            answers.learn(address((n % 251) as u8), address(9), &"example.org".into(), 60, n);
        }

        assert!(answers.answers.len() <= 10);
        assert!(answers.order.len() <= 20);
        assert!(answers.clients.len() <= 10);
    }
}
