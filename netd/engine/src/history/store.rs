//! All histories, found by pair and by name, bounded: the one with least evidence gives way, not the oldest.

use std::collections::HashMap;
use std::sync::Arc;

use netd_common::key::Address;

use super::prevalence::{Destinations, Prevalence, registered};
use super::{History, Key, NameKey, PairKey, Place, Side};
use crate::config;
use crate::flow::SizedTurn;
use crate::opening::{Facts, Opening};
use crate::slab::{Handle, Slab};

/// Histories compared before one gives way.
const COMPARED: usize = 16;
/// Regular pairs remembered of one originator, for "the same interval to many".
const REGULAR: usize = 64;
/// ln E from which a pair counts as regular for that purpose.
const LN_REGULAR: f64 = 3.0;
/// Intervals within this factor are the same.
const SAME_INTERVAL: f64 = 1.1;

/// One monitored host.
#[derive(Debug, Default)]
struct Originator {
    pairs: u32,
    regular: Vec<Handle>,
}

pub(crate) struct Histories {
    histories: Slab<History>,
    pairs: HashMap<PairKey, Handle>,
    names: HashMap<NameKey, Handle>,
    originators: HashMap<Address, Originator>,
    destinations: Destinations,
    limit: usize,
    /// Where the search for the next to give way goes on.
    hand: u32,
    pub(crate) evicted: u64,
}

impl Histories {
    pub(crate) fn new(config: &config::Histories) -> Self {
        Self {
            histories: Slab::new(),
            pairs: HashMap::new(),
            names: HashMap::new(),
            originators: HashMap::new(),
            destinations: Destinations::new(),
            // A pair and its name must both find room.
            limit: config.limit.max(2),
            hand: 0,
            evicted: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.histories.len()
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&History> {
        self.histories.get(handle)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut History> {
        self.histories.get_mut(handle)
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns how many places there are, in use or not.
    pub(crate) fn places(&self) -> u32 {
        self.histories.places()
    }

    /// Returns the history at a place, if it is in use.
    pub(crate) fn at(&self, place: u32) -> Option<Handle> {
        self.histories.at(place)
    }

    /// Returns where the turns of a conversation go.
    pub(crate) fn place(&mut self, key: PairKey, name: Option<&Arc<str>>, at_ns: u64) -> Place {
        let pair = self.pair(key, at_ns);
        let name = name.map(|name| {
            let PairKey { originator, port, proto, .. } = key;
            self.named(NameKey { originator, port, proto, name: name.clone() }, key, pair, at_ns)
        });
        Place::At { pair, name }
    }

    /// Returns whether both histories of a place still exist.
    pub(crate) fn holds(&self, pair: Handle, name: Option<Handle>) -> bool {
        self.histories.get(pair).is_some() && name.is_none_or(|name| self.histories.get(name).is_some())
    }

    fn pair(&mut self, key: PairKey, at_ns: u64) -> Handle {
        if let Some(handle) = self.pairs.get(&key) {
            return *handle;
        }
        self.make_room(None);
        let handle = self.histories.insert(History::new(Key::Pair(key), key, at_ns));
        self.pairs.insert(key, handle);
        self.originators.entry(key.originator).or_default().pairs += 1;
        handle
    }

    fn named(&mut self, key: NameKey, pair_key: PairKey, pair: Handle, at_ns: u64) -> Handle {
        let Some(known) = self.names.get(&key).copied() else {
            self.make_room(Some(pair));
            let is_sole = self.histories.get(pair).is_some_and(|pair| pair.twin.is_none());
            let mut history = History::new(Key::Name(key.clone()), pair_key, at_ns);
            history.twin = is_sole.then_some(pair);
            let handle = self.histories.insert(history);
            self.names.insert(key, handle);
            if is_sole {
                if let Some(pair) = self.histories.get_mut(pair) {
                    pair.twin = Some(handle);
                }
            } else {
                self.part(pair);
            }
            return handle;
        };
        let twin = self.histories.get(known).and_then(|history| history.twin);
        if twin.is_some_and(|twin| twin != pair) {
            // A second address: from here on the name has a history of its own.
            self.separate(known);
        }
        if let Some(history) = self.histories.get_mut(known) {
            history.latest = pair_key;
        }
        known
    }

    /// A second name on the pair's address: the first name's history becomes its own.
    fn part(&mut self, pair: Handle) {
        let Some(history) = self.histories.get_mut(pair) else { return };
        history.has_names = true;
        if let Some(name) = history.twin {
            self.separate(name);
        }
    }

    /// Gives a name a copy of the history that it shares.
    pub(super) fn separate(&mut self, name: Handle) {
        let Some(pair) = self.histories.get_mut(name).and_then(|name| name.twin.take()) else { return };
        let Some(shared) = self.histories.get(pair).cloned() else { return };
        if let Some(history) = self.histories.get_mut(name) {
            *history =
                History { key: history.key.clone(), latest: history.latest, twin: None, has_names: false, ..shared };
        }
    }

    /// Takes a turn into account; returns the histories that it changed.
    pub(crate) fn observe_turn(
        &mut self,
        (pair, name): (Handle, Option<Handle>),
        side: Side,
        at_ns: u64,
        gap_ns: u64,
    ) -> [Option<Handle>; 2] {
        self.each(pair, name, |history| {
            history.beats.observe(side, at_ns, gap_ns);
            history.last_ns = history.last_ns.max(at_ns);
        })
    }

    /// Takes an attempt that failed into account; returns the histories that it changed.
    pub(crate) fn observe_attempt(
        &mut self,
        (pair, name): (Handle, Option<Handle>),
        at_ns: u64,
        gap_ns: u64,
    ) -> [Option<Handle>; 2] {
        self.each(pair, name, |history| {
            history.beats.observe_attempt(at_ns, gap_ns);
            history.last_ns = history.last_ns.max(at_ns);
        })
    }

    /// Notes that a connection was active.
    pub(crate) fn observe_activity(&mut self, (pair, name): (Handle, Option<Handle>), at_ns: u64) {
        self.each(pair, name, |history| history.beats.note_activity(at_ns));
    }

    /// Takes what a turn carried into account.
    pub(crate) fn observe_size(&mut self, (pair, name): (Handle, Option<Handle>), side: Side, turn: &SizedTurn) {
        self.each(pair, name, |history| {
            history.is_answered |= turn.answer > 0 || side == Side::Responder;
            let sizes = history.sizes[side as usize].get_or_insert_with(Box::default);
            sizes.observe(turn.at_ns, turn.request, turn.answer);
        });
    }

    /// Takes in what is known of a conversation's protocol. Facts add up; the latest opening counts.
    pub(crate) fn observe_facts(
        &mut self,
        (pair, name): (Handle, Option<Handle>),
        facts: Facts,
        opening: Option<&Arc<Opening>>,
    ) {
        self.each(pair, name, |history| {
            history.facts = history.facts.with(facts);
            if let Some(opening) = opening {
                history.opening = Some(opening.clone());
            }
        });
    }

    /// Applies `change` to the pair's history and, where it is another, the name's.
    fn each(&mut self, pair: Handle, name: Option<Handle>, change: impl Fn(&mut History)) -> [Option<Handle>; 2] {
        if let Some(history) = self.histories.get_mut(pair) {
            change(history);
        }
        let own_name = name.filter(|name| self.histories.get(*name).is_some_and(|name| name.twin.is_none()));
        if let Some(history) = own_name.and_then(|name| self.histories.get_mut(name)) {
            change(history);
        }
        [Some(pair), own_name]
    }

    /// Remembers a pair as regular, for [`Histories::same_interval`].
    pub(crate) fn note_regular(&mut self, handle: Handle) {
        let Some(history) = self.histories.get(handle) else { return };
        let Key::Pair(key) = history.key else { return };
        if history.beats.ln_e() < LN_REGULAR {
            return;
        }
        let histories = &self.histories;
        let Some(originator) = self.originators.get_mut(&key.originator) else { return };
        if originator.regular.contains(&handle) {
            return;
        }
        if originator.regular.len() >= REGULAR {
            originator.regular.retain(|handle| histories.get(*handle).is_some_and(|h| h.beats.ln_e() >= LN_REGULAR));
        }
        if originator.regular.len() < REGULAR {
            originator.regular.push(handle);
        }
    }

    /// Returns how many of the originator's pairs are followed.
    pub(crate) fn destinations(&self, originator: Address) -> u32 {
        self.originators.get(&originator).map_or(0, |originator| originator.pairs)
    }

    /// Returns to how many destinations the originator speaks at this interval; the addresses of one domain are one.
    pub(crate) fn same_interval(&self, originator: Address, interval_s: f64) -> u32 {
        let Some(originator) = self.originators.get(&originator) else { return 0 };
        let mut destinations: Vec<(Option<&str>, Option<Address>)> = Vec::new();
        for history in originator.regular.iter().filter_map(|handle| self.histories.get(*handle)) {
            let Some(rhythm) = history.beats.timing(history.beats.strongest()).rhythm() else { continue };
            let ratio = rhythm.interval_s / interval_s;
            let is_same = (1.0 / SAME_INTERVAL..=SAME_INTERVAL).contains(&ratio) && history.beats.ln_e() >= LN_REGULAR;
            let asked = history.opening.as_ref().and_then(|opening| opening.name.as_deref());
            let domain = asked.and_then(registered);
            let destination = (domain, domain.is_none().then_some(history.latest.responder));
            if is_same && !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
        destinations.len() as u32
    }

    /// Notes that a conversation began; `resolved` is the name by which DNS told the originator the address.
    pub(crate) fn note_user(&mut self, key: &PairKey, resolved: Option<&str>, at_ns: u64) {
        self.destinations.note(key, resolved, at_ns);
    }

    pub(crate) fn prevalence(&self, key: &PairKey, resolved: Option<&str>) -> Prevalence {
        Prevalence { hosts: self.originators.len() as u32, users: self.destinations.users(key, resolved) }
    }

    /// Evicts when full: of some histories, the one with the least evidence; among those without any one that nobody answers,
    /// so that a flood replaces itself, then the one with the fewest turns.
    fn make_room(&mut self, keep: Option<Handle>) {
        if self.histories.len() < self.limit {
            return;
        }
        let places = self.histories.places();
        let mut least: Option<(Handle, (bool, f64, bool, u32))> = None;
        let mut compared = 0;
        for _ in 0..places {
            self.hand = (self.hand + 1) % places;
            let Some(handle) = self.histories.at(self.hand).filter(|handle| Some(*handle) != keep) else { continue };
            let Some(history) = self.histories.get(handle) else { continue };
            // A name that shares a pair's history weighs as much as the pair.
            let shared = history.name().and(history.twin).and_then(|twin| self.histories.get(twin));
            let weighed = shared.unwrap_or(history);
            let beats = &weighed.beats;
            // Early on, evidence may be against a timer: that is no worse than none.
            let evidence = (history.has_incident, beats.ln_e().max(0.0), weighed.is_answered, beats.turns());
            if least.is_none_or(|(_, other)| evidence < other) {
                least = Some((handle, evidence));
            }
            compared += 1;
            if compared == COMPARED {
                break;
            }
        }
        if let Some((handle, _)) = least {
            self.remove(handle);
            self.evicted += 1;
        }
    }

    fn remove(&mut self, handle: Handle) {
        let Some(history) = self.histories.remove(handle) else { return };
        match history.key {
            Key::Name(key) => {
                self.names.remove(&key);
                if let Some(pair) = history.twin.and_then(|pair| self.histories.get_mut(pair)) {
                    pair.twin = None;
                }
            }
            Key::Pair(key) => {
                self.pairs.remove(&key);
                if let Some(name) = history.twin.and_then(|name| self.histories.get_mut(name)) {
                    name.twin = None;
                }
                if let Some(originator) = self.originators.get_mut(&key.originator) {
                    originator.pairs -= 1;
                    originator.regular.retain(|regular| *regular != handle);
                    if originator.pairs == 0 {
                        self.originators.remove(&key.originator);
                    }
                }
            }
        }
    }
}
