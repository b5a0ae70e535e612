//! Which slots of `RULES` are taken.

use netd_common::verdict::{MAX_RULES, RuleId};

/// Hands out rule numbers 1 to `MAX_RULES - 1`. A freed number is given out again as late as possible, so that a
/// packet being judged never meets another rule under the number it has just read.
#[derive(Debug)]
pub(super) struct Rules {
    taken: Vec<bool>,
    used: u32,
    next: RuleId,
}

impl Rules {
    /// How many rules there can be.
    pub(super) const LIMIT: u32 = MAX_RULES - 1;

    pub(super) fn new() -> Self {
        Self { taken: vec![false; MAX_RULES as usize], used: 0, next: 1 }
    }

    /// Takes a free number.
    pub(super) fn take(&mut self) -> Option<RuleId> {
        let free = (self.next..MAX_RULES).chain(1..self.next).find(|id| !self.is_taken(*id))?;
        self.reserve(free);
        self.next = if free + 1 < MAX_RULES { free + 1 } else { 1 };
        Some(free)
    }

    /// Takes this very number, and returns whether it was free.
    pub(super) fn reserve(&mut self, id: RuleId) -> bool {
        match self.taken.get_mut(id as usize) {
            Some(taken) if id != 0 && !*taken => {
                *taken = true;
                self.used += 1;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn free(&mut self, id: RuleId) {
        if let Some(taken) = self.taken.get_mut(id as usize)
            && *taken
        {
            *taken = false;
            self.used -= 1;
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    fn is_taken(&self, id: RuleId) -> bool {
        self.taken.get(id as usize).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_but_zero_is_given_out_once() {
        let mut rules = Rules::new();

        let mut given: Vec<_> = std::iter::from_fn(|| rules.take()).collect();

        given.sort_unstable();
        assert_eq!(given, (1..MAX_RULES).collect::<Vec<_>>());
        assert_eq!(rules.used(), Rules::LIMIT);
    }

    #[test]
    fn a_freed_number_waits_until_the_others_have_been_used() {
        let mut rules = Rules::new();
        let first = rules.take().unwrap();

        rules.free(first);

        assert_ne!(rules.take(), Some(first));
    }

    #[test]
    fn slot_zero_cannot_be_reserved() {
        assert!(!Rules::new().reserve(0));
    }
}
