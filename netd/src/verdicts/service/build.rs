//! Makes the next generation of hosts and prefixes, a batch a step, while the present one answers and verdicts come and
//! go. What they change meanwhile is brought up to date right before the swap.

use std::collections::BTreeSet;
use std::time::Duration;

use netd_common::verdict::{FRONT_WORDS, RuleId};

use super::Service;
use super::claims::{Coming, View, Walk};
use crate::verdicts::clock::Now;
use crate::verdicts::front::Front;
use crate::verdicts::maps::{Error, MapKey, Maps, Table};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::{ListChange, ListView};

/// Keys a step writes: a few milliseconds, in which a verdict waits.
const STEP: usize = 4_096;

/// Words of the front a step writes.
const FRONT_STEP: u32 = 16_384;

/// A generation in the making.
#[derive(Debug)]
pub(super) struct Build {
    purpose: Purpose,
    stage: Stage,
    walk: Walk,
    front: Front,
    /// Keys that were settled in the present generation since this one was begun.
    touched: BTreeSet<MapKey>,
    /// A rule that only the coming list has.
    fresh_rule: Option<RuleId>,
    begun_ns: u64,
}

/// What a generation is made for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Replace {
        change: ListChange,
        /// Whether the list's single entries stay.
        keeps_entries: bool,
    },
    Remove(ListView),
    /// More room, or a kernel that holds something else than it should.
    Renew,
}

/// What a finished generation has brought about.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Replaced(ListChange),
    Removed(ListView),
    Renewed,
}

/// What became of a request that may take a generation of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    Done(Outcome),
    /// [`Service::step`] has to be called until it returns what came of it.
    Building,
}

#[derive(Debug)]
enum Stage {
    Lists,
    /// Keys of verdicts that no list holds.
    Verdicts(Vec<MapKey>),
    Front {
        next: u32,
    },
    Swap,
}

impl Build {
    pub(super) fn touch(&mut self, keys: impl Iterator<Item = MapKey>) {
        self.touched.extend(keys);
    }
}

impl<M: Maps> Service<M> {
    /// Returns whether [`Service::step`] has something to do.
    #[must_use]
    pub const fn is_building(&self) -> bool {
        self.build.is_some()
    }

    /// Goes on with a generation in the making, for a few milliseconds; returns what came of it when that is known.
    /// After a refusal the kernel holds what it held.
    pub fn step(&mut self, now: Now) -> Option<Result<Outcome, Refusal>> {
        let mut build = self.build.take()?;
        match self.go_on(&mut build, now) {
            Ok(false) => {
                self.build = Some(build);
                None
            }
            Ok(true) => Some(Ok(self.put_in_force(build, now))),
            Err(error) => {
                self.give_up(build.fresh_rule, now);
                if let Purpose::Replace { change, .. } = build.purpose {
                    self.break_promise(change.confirmation);
                }
                Some(Err(error.into()))
            }
        }
    }

    /// Goes on until the generation answers.
    pub(super) fn finish_build(&mut self, now: Now) -> Result<Outcome, Refusal> {
        loop {
            if let Some(result) = self.step(now) {
                return result;
            }
            if self.build.is_none() {
                return Ok(Outcome::Renewed);
            }
        }
    }

    /// Begins a generation. One that goes on is given up.
    pub(super) fn begin_build(
        &mut self,
        purpose: Purpose,
        coming: Option<Coming>,
        fresh_rule: Option<RuleId>,
        now: Now,
    ) -> Result<(), Refusal> {
        if let Some(build) = self.build.take() {
            self.give_up(build.fresh_rule, now);
        }
        self.claims.prepare(coming);
        let begun = self.wanted().and_then(|(hosts, prefixes)| Ok(self.maps.begin(hosts, prefixes)?));
        if let Err(refusal) = begun {
            self.give_up(fresh_rule, now);
            return Err(refusal);
        }
        self.build = Some(Build {
            purpose,
            stage: Stage::Lists,
            walk: Walk::default(),
            front: Front::empty(),
            touched: BTreeSet::new(),
            fresh_rule,
            begun_ns: now.boot_ns,
        });
        Ok(())
    }

    /// Begins a generation with more room, where the present one is nearly full.
    pub(super) fn grow(&mut self, now: Now) {
        let (fill, room) = (self.claims.fill(Table::Hosts), self.maps.room(Table::Hosts));
        let is_tight = fill > room - room / 8 && room < self.maps.capacity(Table::Hosts);
        if self.build.is_some() || !is_tight || now.boot_ns < self.retry_ns {
            return;
        }
        if let Err(refusal) = self.begin_build(Purpose::Renew, None, None, now) {
            tracing::warn!(%refusal, fill, room, "no room for more listed hosts than the kernel's table has");
            self.retry_ns = now.boot_ns.saturating_add(super::settle::RETRY_NS);
        }
    }

    /// Returns how many hosts and prefixes the coming generation is to hold at most, or which table cannot.
    fn wanted(&self) -> Result<(u64, u64), Refusal> {
        let unlisted = self.claims.unlisted(View::Coming).count() as u64;
        let lists = || self.claims.lists_in(View::Coming).map(|held| &held.list);
        let hosts = lists().map(|list| list.hosts() as u64).sum::<u64>() + unlisted;
        let prefixes = lists().map(|list| (list.len() - list.hosts()) as u64).sum::<u64>() + unlisted;
        let fits = |table, wanted| wanted <= self.maps.capacity(table);
        if fits(Table::Hosts, hosts) && fits(Table::Prefixes, prefixes) {
            return Ok((hosts, prefixes));
        }
        // What several lists hold was counted as often.
        let (hosts, prefixes) = self.claims.tally(View::Coming);
        for (table, wanted) in [(Table::Hosts, hosts), (Table::Prefixes, prefixes)] {
            if !fits(table, wanted) {
                return Err(Refusal::TableFull { table: table.name(), wanted, capacity: self.maps.capacity(table) });
            }
        }
        Ok((hosts, prefixes))
    }

    /// Does one step; true when the generation answers.
    fn go_on(&mut self, build: &mut Build, now: Now) -> Result<bool, Error> {
        match &mut build.stage {
            Stage::Lists => {
                let entries = self.claims.walk(View::Coming, &mut build.walk, STEP, now.boot_ns);
                if entries.is_empty() {
                    let others = self.claims.unlisted(View::Coming).chain(self.claims.keys_with_ports());
                    build.stage = Stage::Verdicts(others.collect());
                    return Ok(false);
                }
                build.front.plan(entries.iter().map(|(key, _)| key));
                self.maps.stage(&entries)?;
            }
            Stage::Verdicts(keys) => {
                let rest = keys.split_off(keys.len().saturating_sub(STEP));
                if rest.is_empty() {
                    build.stage = Stage::Front { next: 0 };
                    return Ok(false);
                }
                self.bring_up(&mut build.front, rest.into_iter(), now)?;
            }
            Stage::Front { next } => {
                let end = FRONT_WORDS.min(*next + FRONT_STEP);
                self.maps.stage_front(&build.front.numbered(*next..end))?;
                *next = end;
                if end == FRONT_WORDS {
                    build.stage = Stage::Swap;
                }
            }
            Stage::Swap => {
                let lapsing = self.lapsing.iter().map(|(key, _)| *key);
                let keys: Vec<_> = build.touched.iter().copied().chain(lapsing).collect();
                let changed = self.bring_up(&mut build.front, keys.into_iter(), now)?;
                self.maps.stage_front(&build.front.numbered(changed.into_iter()))?;
                self.maps.swap(build.front.short_v6())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives keys their leaders in the coming generation, or takes them out; returns the words of the front that
    /// changed.
    fn bring_up(&mut self, front: &mut Front, keys: impl Iterator<Item = MapKey>, now: Now) -> Result<Vec<u32>, Error> {
        let (mut led, mut unclaimed, mut with_ports) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match (key, self.claims.leader_in(View::Coming, &key, now.boot_ns)) {
                (MapKey::Host(_) | MapKey::Prefix(_), Some(rule)) => led.push((key, rule)),
                (MapKey::Host(_) | MapKey::Prefix(_), None) => unclaimed.push(key),
                // They have one table for all generations, but a place in each front.
                (MapKey::Flow(_) | MapKey::Endpoint(_), Some(_)) => with_ports.push(key),
                (MapKey::Flow(_) | MapKey::Endpoint(_), None) | (MapKey::Allow(_), _) => {}
            }
        }
        let changed = front.plan(led.iter().map(|(key, _)| key).chain(&with_ports));
        self.maps.stage(&led)?;
        self.maps.unstage(&unclaimed)?;
        Ok(changed)
    }

    /// Makes the books agree with the generation that answers.
    fn put_in_force(&mut self, build: Build, now: Now) -> Outcome {
        let Build { purpose, walk, front, begun_ns, .. } = build;
        self.front = front;
        let name = self.claims.coming_name().cloned();
        let (former, rule) = (self.claims.adopt(), name.as_ref().and_then(|name| self.claims.lists().get(name)));
        let rule = rule.map(|held| held.rule);
        self.claims.refill(walk.hosts, walk.prefixes);
        if let Some(former) = former.filter(|former| Some(former.rule) != rule) {
            self.free_rule(former.rule, now);
        }
        let followed = name.as_ref().map_or(Ok(()), |name| {
            self.pending.lists.insert(name.clone());
            match &purpose {
                Purpose::Replace { keeps_entries, .. } => self.content_changed(name, *keeps_entries, now),
                Purpose::Remove(_) => self.list_removed(name, now),
                Purpose::Renew => Ok(()),
            }
        });
        if let Err(refusal) = followed {
            tracing::warn!(%refusal, "single entries of a list that was replaced or removed still act");
        }
        self.save(now);
        let took = Duration::from_nanos(now.boot_ns.saturating_sub(begun_ns));
        tracing::info!(hosts = walk.hosts, prefixes = walk.prefixes, ?took, "another generation of lists answers");
        match purpose {
            Purpose::Replace { mut change, .. } => {
                change.tag = name.and_then(|name| self.current_tag(&name)).unwrap_or(change.tag);
                change.saved = self.pending.is_empty();
                Outcome::Replaced(change)
            }
            Purpose::Remove(view) => Outcome::Removed(view),
            Purpose::Renew => Outcome::Renewed,
        }
    }

    fn give_up(&mut self, fresh_rule: Option<RuleId>, now: Now) {
        self.maps.abandon();
        self.claims.prepare(None);
        if let Some(rule) = fresh_rule {
            self.free_rule(rule, now);
        }
    }
}
