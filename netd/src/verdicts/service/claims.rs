//! Who wants which key, and which of them the kernel is to hold.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use netd_common::verdict::{Rule, RuleId};
use netd_engine::time::Timestamp;
use netd_engine::verdict::{Response, Verdict};

use super::HANDOVER_NS;
use crate::verdicts::blocklist::{Difference, Item, List, ListName, Position};
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
    pub(super) list: Arc<List>,
    pub(super) response: Response,
    pub(super) shadow: bool,
    pub(super) updated: Timestamp,
    pub(super) tag: String,
}

impl HeldList {
    pub(super) fn kernel_rule(&self) -> Rule {
        kernel_rule(self.response, self.shadow, u64::MAX)
    }

    /// Returns how strong its claims are; it does not expire, so the time does not matter.
    pub(super) fn strength(&self) -> Strength {
        strength(self.response, self.shadow, u64::MAX, self.rule, 0)
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
    /// Changes whenever a list does.
    lists_version: u64,
    coming: Option<Coming>,
    fill: BTreeMap<Table, u64>,
}

/// A list that is to be replaced, or removed, when the next generation answers.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) name: ListName,
    pub(super) held: Option<HeldList>,
}

/// Which lists count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Those in force.
    Present,
    /// Those of the next generation.
    Coming,
}

/// A walk over every address and prefix that lists hold, each once, in order. It can pause while no list changes.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// A place in each list.
    positions: Vec<Position>,
    /// Met so far.
    pub(super) hosts: u64,
    pub(super) prefixes: u64,
}

/// How strong a claim is; the greatest leads. What is about to expire comes last, so that the next one takes over
/// before the kernel lets it lapse; a claim that only counts comes before none that acts.
pub(super) type Strength = (bool, u8, u8, Reverse<u64>, u64, Reverse<RuleId>);

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
        self.leader_in(View::Present, key, boot_ns)
    }

    /// The same of the one generation or the other.
    pub(super) fn leader_in(&self, view: View, key: &MapKey, boot_ns: u64) -> Option<RuleId> {
        let (strength, rule) = self.strongest(view, key, boot_ns)?;
        match (strength.0, key) {
            // The trie answers with its longest match only, so a prefix that lapses would hide the wider one.
            (false, MapKey::Prefix(_)) => Some(self.around(view, key, boot_ns).unwrap_or(rule)),
            _ => Some(rule),
        }
    }

    fn strongest(&self, view: View, key: &MapKey, boot_ns: u64) -> Option<(Strength, RuleId)> {
        let verdicts = self.verdicts_of(key).map(|held| {
            (strength(held.verdict.response, held.verdict.shadow, held.expires_ns, held.rule, boot_ns), held.rule)
        });
        let lists = self.lists_of(view, key).map(|list| (list.strength(), list.rule));
        verdicts.chain(lists).max_by_key(|(strength, _)| *strength)
    }

    /// Returns the rule of the narrowest claimed prefix around a key that does not lapse soon.
    fn around(&self, view: View, key: &MapKey, boot_ns: u64) -> Option<RuleId> {
        let enclosing = Item::from_key(key)?.enclosing().map(|item| item.key());
        let mut claims = enclosing.filter_map(|key| self.strongest(view, &key, boot_ns));
        claims.find(|(strength, _)| strength.0).map(|(_, rule)| rule)
    }

    /// Returns how many claims a key has.
    pub(super) fn count(&self, key: &MapKey) -> usize {
        self.by_key.get(key).map_or(0, Vec::len) + self.lists_of(View::Present, key).count()
    }

    fn lists_of(&self, view: View, key: &MapKey) -> impl Iterator<Item = &HeldList> {
        let item = Item::from_key(key);
        self.lists_in(view).filter(move |list| item.is_some_and(|item| list.list.lists(&item)))
    }

    /// Iterates over the lists of a generation, in an order that stays.
    pub(super) fn lists_in(&self, view: View) -> impl Iterator<Item = &HeldList> {
        let coming = self.coming.as_ref().filter(|_| view == View::Coming);
        let replaced = coming.map(|coming| &coming.name);
        let others = self.lists.iter().filter(move |(name, _)| Some(*name) != replaced).map(|(_, held)| held);
        others.chain(coming.and_then(|coming| coming.held.as_ref()))
    }

    /// Notes what the next generation is to hold.
    pub(super) fn prepare(&mut self, coming: Option<Coming>) {
        self.coming = coming;
    }

    /// Puts what was prepared in force; returns the list that it replaces.
    pub(super) fn adopt(&mut self) -> Option<HeldList> {
        let Coming { name, held } = self.coming.take()?;
        self.lists_version += 1;
        match held {
            Some(held) => self.lists.insert(name, held),
            None => self.lists.remove(&name),
        }
    }

    /// Returns the name of the list that the next generation changes.
    pub(super) fn coming_name(&self) -> Option<&ListName> {
        self.coming.as_ref().map(|coming| &coming.name)
    }

    /// Returns every key that verdicts name.
    pub(super) fn named(&self) -> impl Iterator<Item = MapKey> + '_ {
        self.by_key.keys().copied()
    }

    /// Returns the hosts and prefixes that verdicts name.
    pub(super) fn listable(&self) -> impl Iterator<Item = MapKey> + '_ {
        self.named().filter(|key| Item::from_key(key).is_some())
    }

    /// Returns the five-tuples and endpoints that verdicts name.
    pub(super) fn keys_with_ports(&self) -> impl Iterator<Item = MapKey> + '_ {
        self.by_key.keys().filter(|key| matches!(key, MapKey::Flow(_) | MapKey::Endpoint(_))).copied()
    }

    /// Notes how many hosts and prefixes the lists hold, each once.
    pub(super) fn refill(&mut self, hosts: u64, prefixes: u64) {
        let (mut hosts, mut prefixes) = (hosts, prefixes);
        for key in self.unlisted(View::Present) {
            *(if matches!(key, MapKey::Host(_)) { &mut hosts } else { &mut prefixes }) += 1;
        }
        self.fill.insert(Table::Hosts, hosts);
        self.fill.insert(Table::Prefixes, prefixes);
    }

    /// Puts a list in force without counting: [`Claims::recount`] does.
    pub(super) fn put_list(&mut self, name: ListName, held: HeldList) {
        self.lists_version += 1;
        self.lists.insert(name, held);
    }

    pub(super) const fn lists_version(&self) -> u64 {
        self.lists_version
    }

    /// Gives up to `limit` keys at the walk's place, each with its leader.
    pub(super) fn walk(&self, view: View, walk: &mut Walk, limit: usize, boot_ns: u64) -> Vec<(MapKey, RuleId)> {
        let lists: Vec<_> = self.lists_in(view).collect();
        walk.positions.resize(lists.len(), Position::default());
        let mut entries = Vec::with_capacity(limit);
        while entries.len() < limit {
            let Some((item, holders, rule)) = next_of(&lists, &mut walk.positions) else { break };
            *(if item.is_host() { &mut walk.hosts } else { &mut walk.prefixes }) += 1;
            let key = item.key();
            let is_alone = holders == 1 && (self.by_key.is_empty() || !self.by_key.contains_key(&key));
            let rule = if is_alone { Some(rule) } else { self.leader_in(view, &key, boot_ns) };
            entries.extend(rule.map(|rule| (key, rule)));
        }
        entries
    }

    /// Counts what a generation would hold: hosts and prefixes, each once, those of verdicts included.
    pub(super) fn tally(&self, view: View) -> (u64, u64) {
        let lists: Vec<_> = self.lists_in(view).collect();
        let mut positions = vec![Position::default(); lists.len()];
        let (mut hosts, mut prefixes) = (0, 0);
        match lists.as_slice() {
            // One list holds each of its own once.
            [only] => {
                hosts = only.list.hosts() as u64;
                prefixes = only.list.len() as u64 - hosts;
            }
            lists => {
                while let Some((item, ..)) = next_of(lists, &mut positions) {
                    *(if item.is_host() { &mut hosts } else { &mut prefixes }) += 1;
                }
            }
        }
        for key in self.unlisted(view) {
            *(if matches!(key, MapKey::Host(_)) { &mut hosts } else { &mut prefixes }) += 1;
        }
        (hosts, prefixes)
    }

    /// Returns the hosts and prefixes that verdicts name and no list holds.
    pub(super) fn unlisted(&self, view: View) -> impl Iterator<Item = MapKey> + '_ {
        self.listable().filter(move |key| self.lists_of(view, key).next().is_none())
    }

    /// Counts anew how many hosts and prefixes the kernel is to hold.
    pub(super) fn recount(&mut self) {
        let (hosts, prefixes) = self.tally(View::Present);
        self.fill.insert(Table::Hosts, hosts);
        self.fill.insert(Table::Prefixes, prefixes);
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
        self.lists_version += 1;
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
        self.by_key.keys().copied().chain(self.lists.values().flat_map(|list| list.list.iter().map(|item| item.key())))
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

/// Returns the least item at the places of some lists, how many of them hold it, and the rule of one; moves them past it.
fn next_of(lists: &[&HeldList], positions: &mut [Position]) -> Option<(Item, usize, RuleId)> {
    let heads = lists.iter().zip(&*positions).filter_map(|(held, position)| held.list.at(*position));
    let least = heads.min()?;
    let (mut holders, mut rule) = (0, 0);
    for (held, position) in lists.iter().zip(positions) {
        if held.list.at(*position) == Some(least) {
            held.list.pass(position, &least);
            holders += 1;
            rule = held.rule;
        }
    }
    Some((least, holders, rule))
}
