//! Who is protected changes: the kernel follows without a gap, and what stops or begins to cut is told.

use ipnet::IpNet;
use netd_common::verdict::Prefix;
use tracing::{info, warn};

use super::Service;
use crate::verdicts::blocklist::Item;
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{MapKey, Maps};
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;

/// Addresses of which a change is told one by one.
const TOLD: usize = 32;

impl<M: Maps> Service<M> {
    /// Replaces what one guard protects.
    pub fn protect(&mut self, guard: Guard, prefixes: &[IpNet], now: Now) -> Result<(), Refusal> {
        self.protect_each([(guard, prefixes)], now)
    }

    /// Replaces what several guards protect, at once: an address that goes from one to another is protected throughout.
    pub fn protect_all(&mut self, guards: &[(Guard, Vec<IpNet>)], now: Now) -> Result<(), Refusal> {
        self.protect_each(guards.iter().map(|(guard, prefixes)| (*guard, prefixes.as_slice())), now)
    }

    fn protect_each<'p>(
        &mut self,
        guards: impl IntoIterator<Item = (Guard, &'p [IpNet])>,
        now: Now,
    ) -> Result<(), Refusal> {
        let mut protected = self.protected.clone();
        let mut is_found_out = false;
        for (guard, prefixes) in guards {
            // What an allow-list covers is told by whoever changes the allow-list.
            is_found_out |= guard != Guard::AllowList;
            protected.set(guard, prefixes);
        }
        let (before, after) = (self.protected.keys(), protected.keys());
        let added: Vec<_> = after.difference(&before).copied().collect();
        let removed: Vec<_> = before.difference(&after).copied().collect();
        if added.is_empty() && removed.is_empty() {
            self.protected = protected;
            return Ok(());
        }
        let keys: Vec<_> = added.iter().map(|prefix| (MapKey::Allow(*prefix), 1)).collect();
        if let Err(error) = self.maps.insert(&keys) {
            self.note_out_of_step(&error, now);
            return Err(error.into());
        }
        self.protected = protected;
        let keys: Vec<_> = removed.iter().map(|prefix| MapKey::Allow(*prefix)).collect();
        let told = self.maps.remove(&keys).and_then(|()| self.maps.bump_generation());
        if let Err(error) = told {
            self.note_out_of_step(&error, now);
        }
        if is_found_out {
            self.tell_shift(&added, &removed, now);
        }
        Ok(())
    }

    /// Says which verdicts and lists stop or begin to cut.
    fn tell_shift(&self, added: &[Prefix], removed: &[Prefix], now: Now) {
        for (item, verdicts, lists) in self.named(added, now) {
            let guard = self.protected.shield(&item).map(Guard::name);
            warn!(address = %item, guard, verdicts, lists, "protected: what names it stops cutting it");
        }
        for (item, verdicts, lists) in self.named(removed, now) {
            info!(address = %item, verdicts, lists, "protected no more: what names it cuts it again");
        }
    }

    /// Returns those of `prefixes` that verdicts or lists name, how many verdicts do, and which lists.
    fn named(&self, prefixes: &[Prefix], now: Now) -> impl Iterator<Item = (Item, usize, String)> {
        let items = prefixes.iter().map(target::item_of).filter(|item| item.is_host());
        items.take(TOLD).filter_map(move |item| {
            let coverage = self.coverage(item.net().addr(), now);
            let names = coverage.lists.join(" ");
            (!coverage.verdicts.is_empty() || !names.is_empty()).then_some((item, coverage.verdicts.len(), names))
        })
    }
}
