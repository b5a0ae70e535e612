//! What each interface met: the kernel counts by slot, and whoever is watched there is credited with what was added.

use std::collections::{BTreeMap, HashMap};

use netd_common::counter::Traffic;

use crate::store::status::InterfaceTraffic;

/// Interfaces told by name; what others meet is told together.
const NAMES: usize = 64;
const OTHER: &str = "other";

/// Counts by interface. An interface that is gone keeps its counts until a newcomer needs its place.
#[derive(Debug)]
pub(super) struct Ledger {
    last: Box<[Traffic; Traffic::SLOTS]>,
    named: BTreeMap<String, Account>,
    other: Traffic,
    looks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    traffic: Traffic,
    /// The last look at which the interface was watched.
    seen: u64,
}

/// Who is credited with a slot.
#[derive(Clone, Copy, Debug)]
enum Owner<'n> {
    One(&'n str),
    /// Their indices are the same modulo the number of slots.
    Several,
}

impl Default for Ledger {
    /// What the kernel counted before the first look is credited to whoever is watched then.
    fn default() -> Self {
        let last = Box::new([Traffic::default(); Traffic::SLOTS]);
        Self { last, named: BTreeMap::new(), other: Traffic::default(), looks: 0 }
    }
}

impl Ledger {
    /// Credits what was added since the last look to the interfaces watched since then, told by index and name.
    pub(super) fn observe<'n>(
        &mut self,
        traffic: &[Traffic; Traffic::SLOTS],
        watched: impl Iterator<Item = (u32, &'n str)>,
    ) {
        self.looks += 1;
        let mut owners = HashMap::new();
        for (index, name) in watched {
            self.open(name);
            owners.entry(Traffic::slot(index)).and_modify(|owner| *owner = Owner::Several).or_insert(Owner::One(name));
        }
        for (slot, (now, last)) in traffic.iter().zip(&mut *self.last).enumerate() {
            if now == last {
                continue;
            }
            let account = match owners.get(&slot) {
                Some(Owner::One(name)) => self.named.get_mut(*name).map(|account| &mut account.traffic),
                Some(Owner::Several) | None => None,
            };
            add(account.unwrap_or(&mut self.other), now, last);
            *last = *now;
        }
    }

    /// Returns every count there is, with `other` last.
    pub(super) fn told(&self) -> Vec<InterfaceTraffic> {
        let named = self.named.iter().map(|(name, account)| (name.as_str(), account.traffic));
        let told = named.chain([(OTHER, self.other)]);
        told.map(|(interface, Traffic { packets, bytes })| InterfaceTraffic {
            interface: interface.to_owned(),
            packets,
            bytes,
        })
        .collect()
    }

    /// Makes sure that an interface has an account, if there is room for one.
    fn open(&mut self, name: &str) {
        if !self.named.contains_key(name) {
            // Nobody is to be taken for what is told together.
            if name == OTHER || (self.named.len() >= NAMES && !self.give_up_one()) {
                return;
            }
        }
        self.named.entry(name.to_owned()).or_default().seen = self.looks;
    }

    /// Gives up the account of whoever is gone longest; returns whether there was one.
    fn give_up_one(&mut self) -> bool {
        let gone = self.named.iter().filter(|(_, account)| account.seen + 1 < self.looks);
        let oldest = gone.min_by_key(|(_, account)| account.seen).map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.named.remove(&name).is_some())
    }
}

fn add(sum: &mut Traffic, now: &Traffic, last: &Traffic) {
    for way in 0..2 {
        sum.packets[way] += now.packets[way].wrapping_sub(last.packets[way]);
        sum.bytes[way] += now.bytes[way].wrapping_sub(last.bytes[way]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Slots = Box<[Traffic; Traffic::SLOTS]>;

    fn slots() -> Slots {
        Box::new([Traffic::default(); Traffic::SLOTS])
    }

    fn meet(slots: &mut Slots, index: u32, packets: u64) {
        let slot = &mut slots[Traffic::slot(index)];
        slot.packets[0] += packets;
        slot.bytes[1] += packets * 100;
    }

    fn packets(ledger: &Ledger, interface: &str) -> u64 {
        ledger.told().iter().find(|told| told.interface == interface).map_or(0, |told| told.packets[0])
    }

    #[test]
    fn each_interface_is_credited_with_what_it_met() {
        let (mut ledger, mut slots) = (Ledger::default(), slots());
        meet(&mut slots, 2, 5);
        ledger.observe(&slots, [(2, "eth0"), (3, "eth1")].into_iter());
        meet(&mut slots, 2, 1);
        meet(&mut slots, 3, 7);
        ledger.observe(&slots, [(2, "eth0"), (3, "eth1")].into_iter());

        assert_eq!((packets(&ledger, "eth0"), packets(&ledger, "eth1"), packets(&ledger, OTHER)), (6, 7, 0));
    }

    #[test]
    fn whoever_comes_to_the_slot_of_one_that_is_gone_inherits_nothing() {
        let (mut ledger, mut slots) = (Ledger::default(), slots());
        meet(&mut slots, 2, 5);
        ledger.observe(&slots, [(2, "old")].into_iter());
        meet(&mut slots, 2 + Traffic::SLOTS as u32, 7);
        ledger.observe(&slots, [(2 + Traffic::SLOTS as u32, "new")].into_iter());

        assert_eq!((packets(&ledger, "old"), packets(&ledger, "new")), (5, 7));
    }

    #[test]
    fn interfaces_that_share_a_slot_are_told_together_with_others() {
        let (mut ledger, mut slots) = (Ledger::default(), slots());
        meet(&mut slots, 2, 5);
        ledger.observe(&slots, [(2, "one"), (2 + Traffic::SLOTS as u32, "two"), (9, "other")].into_iter());
        meet(&mut slots, 9, 1);
        ledger.observe(&slots, [(9, "other")].into_iter());

        assert_eq!((packets(&ledger, "one"), packets(&ledger, OTHER)), (0, 6));
    }

    #[test]
    fn names_are_bounded_and_whoever_is_gone_longest_makes_room() {
        let (mut ledger, slots) = (Ledger::default(), slots());
        let names: Vec<_> = (0..200).map(|number| format!("veth{number}")).collect();
        for (index, name) in names.iter().enumerate() {
            ledger.observe(&slots, [(2, "eth0"), (10 + index as u32, name)].into_iter());
        }

        let told: Vec<_> = ledger.told().into_iter().map(|told| told.interface).collect();
        assert_eq!(told.len(), NAMES + 1);
        assert!(told.iter().any(|name| name == "eth0") && told.iter().any(|name| name == "veth199"), "{told:?}");
        assert!(!told.iter().any(|name| name == "veth0"));
    }

    proptest! {
        /// As long as nobody gives up an account, no packet is missing and none is told twice.
        #[test]
        fn what_is_told_adds_up_to_what_was_met(
            rounds in prop::collection::vec(
                prop::collection::vec((0_u32..2_000, 0_u64..50, any::<bool>()), 0..8), 0..7,
            ),
        ) {
            let (mut ledger, mut slots) = (Ledger::default(), slots());
            let mut met = 0;
            for round in rounds {
                for (index, packets, _) in &round {
                    meet(&mut slots, *index, *packets);
                    met += packets;
                }
                let names: BTreeMap<_, _> = round.iter().filter(|(.., watched)| *watched)
                    .map(|(index, ..)| (*index, format!("if{index}"))).collect();
                ledger.observe(&slots, names.iter().map(|(index, name)| (*index, name.as_str())));
            }
            prop_assert_eq!(ledger.told().iter().map(|told| told.packets[0]).sum::<u64>(), met);
        }
    }
}
