//! Who wants which key, and which of them the kernel is to hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use netd_common::verdict::{Rule, RuleId};
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};

use super::HANDOVER_NS;
use crate::verdicts::blocklist::{Difference, Item, List, ListName};
use crate::verdicts::maps::{MapKey, Table};

/// A verdict in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) rule: RuleId,
    pub(super) key: MapKey,
    pub(super) created: Timestamp,
    pub(super) verdict: Verdict,
    /// `CLOCK_BOOTTIME`, `u64::MAX` for never.
    pub(super) expires_ns: u64,
    /// Its entry among the service's deadlines, `u64::MAX` for none.
    pub(super) deadline_ns: u64,
}

/// A block-list in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeldList {
    pub(super) rule: RuleId,
    pub(super) list: List,
    pub(super) response: Response,
    pub(super) shadow: bool,
    pub(super) updated: Timestamp,
    pub(super) tag: String,
}

impl HeldList {
    pub(super) fn kernel_rule(&self) -> Rule {
        kernel_rule(self.response, self.shadow, u64::MAX)
    }
}

impl Held {
    pub(super) fn kernel_rule(&self) -> Rule {
        kernel_rule(self.verdict.response, self.verdict.shadow, self.expires_ns)
    }
}

fn kernel_rule(response: Response, shadow: bool, expires_ns: u64) -> Rule {
    let rule = match response {
        Response::Throttle { bytes_per_second, burst_bytes } => {
            Rule::throttle(bytes_per_second, burst_bytes, expires_ns)
        }
        Response::Observe | Response::Drop | Response::Reset => Rule::new(response.action(), expires_ns),
    };
    Rule { shadow: u8::from(shadow), ..rule }
}

/// Every claim, by where it came from. A list's items stay packed in their list: asking for a key's claims asks the
/// few lists one by one.
#[derive(Debug, Default)]
pub(super) struct Claims {
    verdicts: BTreeMap<u64, Held>,
    by_key: HashMap<MapKey, Vec<u64>>,
    lists: BTreeMap<ListName, HeldList>,
    fill: BTreeMap<Table, u64>,
}

/// How strong a claim is; the greatest leads. What is about to expire comes last, so that the next one takes over
/// before the kernel lets it lapse; a claim that only counts comes before none that acts.
type Strength = (bool, u8, u8, Reverse<u64>, u64, Reverse<RuleId>);

fn strength(response: Response, shadow: bool, expires_ns: u64, rule: RuleId, boot_ns: u64) -> Strength {
    let stays = expires_ns > boot_ns.saturating_add(HANDOVER_NS) || expires_ns == u64::MAX;
    let action = response.action() as u8;
    let rate = match response {
        Response::Throttle { bytes_per_second, .. } => bytes_per_second,
        Response::Observe | Response::Drop | Response::Reset => 0,
    };
    (stays, if shadow { 1 } else { action }, action, Reverse(rate), expires_ns, Reverse(rule))
}

impl Claims {
    /// Returns the rule the kernel is to hold for a key, `None` for an unclaimed one.
    pub(super) fn leader(&self, key: &MapKey, boot_ns: u64) -> Option<RuleId> {
        let (strength, rule) = self.strongest(key, boot_ns)?;
        match (strength.0, key) {
            // The trie answers with its longest match only, so a prefix that lapses would hide the wider one.
            (false, MapKey::Prefix(_)) => Some(self.around(key, boot_ns).unwrap_or(rule)),
            _ => Some(rule),
        }
    }

    fn strongest(&self, key: &MapKey, boot_ns: u64) -> Option<(Strength, RuleId)> {
        let verdicts = self.verdicts_of(key).map(|held| {
            (strength(held.verdict.response, held.verdict.shadow, held.expires_ns, held.rule, boot_ns), held.rule)
        });
        let lists = self
            .lists_of(key)
            .map(|list| (strength(list.response, list.shadow, u64::MAX, list.rule, boot_ns), list.rule));
        verdicts.chain(lists).max_by_key(|(strength, _)| *strength)
    }

    /// Returns the rule of the narrowest claimed prefix around a key that does not lapse soon.
    fn around(&self, key: &MapKey, boot_ns: u64) -> Option<RuleId> {
        let enclosing = Item::from_key(key)?.enclosing().map(|item| item.key());
        let mut claims = enclosing.filter_map(|key| self.strongest(&key, boot_ns));
        claims.find(|(strength, _)| strength.0).map(|(_, rule)| rule)
    }

    /// Returns how many claims a key has.
    pub(super) fn count(&self, key: &MapKey) -> usize {
        self.by_key.get(key).map_or(0, Vec::len) + self.lists_of(key).count()
    }

    fn lists_of(&self, key: &MapKey) -> impl Iterator<Item = &HeldList> {
        let item = Item::from_key(key);
        self.lists.values().filter(move |list| item.is_some_and(|item| list.list.lists(&item)))
    }

    pub(super) fn insert(&mut self, held: Held) {
        if self.count(&held.key) == 0 {
            *self.fill.entry(held.key.table()).or_default() += 1;
        }
        self.by_key.entry(held.key).or_default().push(held.id);
        self.verdicts.insert(held.id, held);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Held> {
        let held = self.verdicts.remove(&id)?;
        if let Some(ids) = self.by_key.get_mut(&held.key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&held.key);
            }
        }
        if self.count(&held.key) == 0 {
            self.lower(held.key.table());
        }
        Some(held)
    }

    /// Replaces, creates or removes a list, given what differs.
    pub(super) fn swap_list(
        &mut self,
        name: &ListName,
        new: Option<HeldList>,
        difference: &Difference,
    ) -> Option<HeldList> {
        for key in difference.added.iter().map(Item::key) {
            if self.count(&key) == 0 {
                *self.fill.entry(key.table()).or_default() += 1;
            }
        }
        let old = match new {
            Some(new) => self.lists.insert(name.clone(), new),
            None => self.lists.remove(name),
        };
        for key in difference.removed.iter().map(Item::key) {
            if self.count(&key) == 0 {
                self.lower(key.table());
            }
        }
        old
    }

    /// Returns how many keys of each table would come and go if `name` changed by `difference`.
    pub(super) fn forecast(&self, name: &ListName, difference: &Difference) -> BTreeMap<Table, (u64, u64)> {
        let mut forecast = BTreeMap::<Table, (u64, u64)>::new();
        let has_list = usize::from(self.lists.contains_key(name));
        for key in difference.added.iter().map(Item::key).filter(|key| self.count(key) == 0) {
            forecast.entry(key.table()).or_default().0 += 1;
        }
        for key in difference.removed.iter().map(Item::key).filter(|key| self.count(key) == has_list) {
            forecast.entry(key.table()).or_default().1 += 1;
        }
        forecast
    }

    /// Returns how many keys a table holds.
    pub(super) fn fill(&self, table: Table) -> u64 {
        self.fill.get(&table).copied().unwrap_or(0)
    }

    /// Returns every claimed key; one with several claims comes more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = MapKey> {
        self.by_key.keys().copied().chain(self.lists.values().flat_map(|list| list.list.items().iter().map(Item::key)))
    }

    /// Returns how many keys the kernel is to hold.
    pub(super) fn len(&self) -> u64 {
        self.fill.values().sum()
    }

    pub(super) fn verdict(&self, id: u64) -> Option<&Held> {
        self.verdicts.get(&id)
    }

    pub(super) fn verdict_mut(&mut self, id: u64) -> Option<&mut Held> {
        self.verdicts.get_mut(&id)
    }

    /// Returns the verdicts on a key.
    pub(super) fn verdicts_of(&self, key: &MapKey) -> impl Iterator<Item = &Held> {
        self.by_key.get(key).into_iter().flatten().filter_map(|id| self.verdicts.get(id))
    }

    pub(super) fn verdicts(&self) -> &BTreeMap<u64, Held> {
        &self.verdicts
    }

    pub(super) fn lists(&self) -> &BTreeMap<ListName, HeldList> {
        &self.lists
    }

    fn lower(&mut self, table: Table) {
        if let Some(fill) = self.fill.get_mut(&table) {
            *fill = fill.saturating_sub(1);
        }
    }
}
