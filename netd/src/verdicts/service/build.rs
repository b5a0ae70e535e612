//! A change of lists under way. What takes as long as the lists are long is handed out as [`Work`]; verdicts come and go
//! meanwhile, and what they change is brought up to date right before the generations are swapped.
//!
//! ```text
//! Prepare -> small: put in place ---------------------------> Finish
//!         `> large: Fill -> keys of verdicts -> swap -------> Finish
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use netd_common::verdict::RuleId;

use super::Service;
use super::change::{Outcome, Purpose};
use super::claims::{Coming, HeldList, View};
use super::confirm::Subject;
use super::fill::{Fill, Filled};
use super::prepare::Prepared;
use super::work::{Done, Finish, Job, Work, Worked};
use crate::store::disk;
use crate::verdicts::blocklist::ListName;
use crate::verdicts::clock::Now;
use crate::verdicts::front::Front;
use crate::verdicts::maps::{Coming as _, Error, MapKey, Maps, Retire, Table};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::ListChange;

/// Keys a step writes: a millisecond or two, in which a verdict waits.
const STEP: usize = 1_024;

/// A change of lists under way. There is one at a time.
pub(super) struct Build<C> {
    purpose: Purpose,
    stage: Stage<C>,
    /// Keys that were settled in the present generation since this one was begun.
    touched: BTreeSet<MapKey>,
    /// A rule that only the coming list has.
    fresh_rule: Option<RuleId>,
    is_in_force: bool,
    begun_ns: u64,
}

pub(super) enum Stage<C> {
    /// Somebody does what [`Service::work`] gave him.
    Away,
    Prepared(Box<Prepared>),
    /// Keys of verdicts, which lead or yield to what lists hold.
    Verdicts {
        keys: Vec<MapKey>,
        filled: Box<Filled<C>>,
    },
    Swap(Box<Filled<C>>),
    Finished(Result<(), disk::Error>),
    Refused(Refusal),
    Lost,
}

impl<C> Build<C> {
    pub(super) fn new(purpose: Purpose, now: Now) -> Self {
        let (stage, touched) = (Stage::Away, BTreeSet::new());
        Self { purpose, stage, touched, fresh_rule: None, is_in_force: false, begun_ns: now.boot_ns }
    }

    pub(super) fn touch(&mut self, keys: impl Iterator<Item = MapKey>) {
        self.touched.extend(keys);
    }
}

impl<M: Maps> Service<M> {
    /// Returns whether a change of lists is under way.
    #[must_use]
    pub const fn is_building(&self) -> bool {
        self.build.is_some()
    }

    /// Returns whether there is something to do for [`Service::work`] or [`Service::step`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.work.is_some() || self.build.as_ref().is_some_and(|build| !matches!(build.stage, Stage::Away))
    }

    /// Returns whether [`Service::work`] has something.
    #[must_use]
    pub const fn has_work(&self) -> bool {
        self.work.is_some()
    }

    /// Returns whether it has something that takes little.
    pub(super) fn has_short_work(&self) -> bool {
        self.work.as_ref().is_some_and(Work::is_short)
    }

    /// Returns what the change under way waits for, once: for a thread of its own.
    pub fn work(&mut self) -> Option<Work<M::Coming>> {
        self.work.take()
    }

    /// Takes what came of the work; [`Service::step`] goes on with it.
    pub fn resume(&mut self, worked: Worked<M::Coming>) {
        let Some(build) = &mut self.build else { return };
        build.stage = match worked.0 {
            Done::Prepared(Ok(prepared)) => Stage::Prepared(prepared),
            // Whatever verdicts name after this is among the keys that are touched.
            Done::Filled(Ok(filled)) => Stage::Verdicts { keys: self.claims.named().collect(), filled },
            Done::Prepared(Err(refusal)) | Done::Filled(Err(refusal)) => Stage::Refused(refusal),
            Done::Finished(saved) => Stage::Finished(saved),
            Done::Lost => Stage::Lost,
        };
    }

    /// Goes on with the change under way, for a millisecond or two; returns what came of it when that is known. After a
    /// refusal the kernel holds what it held.
    pub fn step(&mut self, now: Now) -> Option<Result<Outcome, Refusal>> {
        let mut build = self.build.take()?;
        let stage = std::mem::replace(&mut build.stage, Stage::Away);
        match self.go_on(&mut build, stage, now) {
            Ok(None) => {
                self.build = Some(build);
                None
            }
            Ok(Some(outcome)) => Some(Ok(outcome)),
            Err(refusal) => {
                self.give_up(build, now);
                Some(Err(refusal))
            }
        }
    }

    /// Goes on until the change is made.
    pub(super) fn finish_build(&mut self, now: Now) -> Result<Outcome, Refusal> {
        while self.build.is_some() {
            if let Some(work) = self.work() {
                self.resume(work.run());
            }
            if let Some(result) = self.step(now) {
                return result;
            }
        }
        Ok(Outcome::Renewed)
    }

    /// Ends a change that nobody waits for.
    pub(super) fn end_build(&mut self, now: Now) {
        if let Err(refusal) = self.finish_build(now) {
            tracing::warn!(%refusal, "a change of lists was not made");
        }
    }

    /// Begins a change whose first work this is.
    pub(super) fn begin(&mut self, purpose: Purpose, job: Job<M::Coming>, now: Now) {
        self.build = Some(Build::new(purpose, now));
        self.work = Some(Work(job));
    }

    /// Begins a generation in which the lists are others, or as they are.
    pub(super) fn begin_generation(
        &mut self,
        purpose: Purpose,
        coming: Option<Coming>,
        now: Now,
    ) -> Result<(), Refusal> {
        let job = self.filling(coming)?;
        self.begin(purpose, job, now);
        Ok(())
    }

    fn filling(&mut self, coming: Option<Coming>) -> Result<Job<M::Coming>, Refusal> {
        let (name, new) = match &coming {
            Some(Coming { name, held }) => (Some(name), held.clone()),
            None => (None, None),
        };
        let fill = Fill { coming: self.maps.coming()?, room: self.room_beside(name), new };
        self.claims.prepare(coming);
        Ok(Job::Fill(Box::new(fill)))
    }

    /// Begins a generation with more room, where the present one is nearly full.
    pub(super) fn grow(&mut self, now: Now) {
        let (fill, room) = (self.claims.fill(Table::Hosts), self.maps.room(Table::Hosts));
        let is_tight = fill > room - room / 8 && room < self.maps.capacity(Table::Hosts);
        if self.build.is_some() || !is_tight || now.boot_ns < self.retry_ns {
            return;
        }
        // Whatever comes of it, not again at once.
        self.retry_ns = now.boot_ns.saturating_add(super::settle::RETRY_NS);
        if let Err(refusal) = self.begin_generation(Purpose::Renew, None, now) {
            tracing::warn!(%refusal, fill, room, "no room for more listed hosts than the kernel's table has");
        }
    }

    fn go_on(
        &mut self,
        build: &mut Build<M::Coming>,
        stage: Stage<M::Coming>,
        now: Now,
    ) -> Result<Option<Outcome>, Refusal> {
        match stage {
            Stage::Away => Ok(None),
            Stage::Prepared(prepared) => self.put_prepared(build, *prepared, now),
            Stage::Verdicts { mut keys, mut filled } => {
                let rest = keys.split_off(keys.len().saturating_sub(STEP));
                let changed = self.bring_up(&mut filled, rest.into_iter(), now)?;
                filled.coming.stage_front(&filled.front.numbered(changed.into_iter()))?;
                build.stage = if keys.is_empty() { Stage::Swap(filled) } else { Stage::Verdicts { keys, filled } };
                Ok(None)
            }
            Stage::Swap(mut filled) => {
                let lapsing = self.lapsing.iter().map(|(key, _)| *key);
                let keys: Vec<_> = build.touched.iter().copied().chain(lapsing).collect();
                let changed = self.bring_up(&mut filled, keys.into_iter(), now)?;
                filled.coming.stage_front(&filled.front.numbered(changed.into_iter()))?;
                let Filled { coming, front, hosts, prefixes } = *filled;
                let retire = self.maps.swap(coming, front.short_v6())?;
                self.put_in_force(build, Swapped { retire, front, hosts, prefixes }, now);
                Ok(None)
            }
            Stage::Finished(saved) => Ok(Some(self.finished(build, saved, now))),
            Stage::Refused(refusal) => {
                let Some(name) = build.purpose.removes().cloned() else { return Err(refusal) };
                // Without room for another generation it goes key by key, which takes long and nothing else.
                tracing::warn!(%refusal, %name, "removing a large list in place");
                self.claims.prepare(None);
                self.drop_list(&name, now)?;
                self.finish(build, Finish::default(), now);
                Ok(None)
            }
            Stage::Lost if build.is_in_force => Ok(Some(self.finished(build, Err(disk::Error::Lost), now))),
            Stage::Lost => {
                let source = "the thread that worked on it panicked".into();
                Err(Refusal::Kernel(Error::Call { attempt: "change a list", source }))
            }
        }
    }

    /// Puts a prepared list in force: the small change at once, the large one in another generation.
    fn put_prepared(
        &mut self,
        build: &mut Build<M::Coming>,
        prepared: Prepared,
        now: Now,
    ) -> Result<Option<Outcome>, Refusal> {
        let Prepared { name, keeps_entries, new, mut change, difference, waiting } = prepared;
        if change.dry_run || !change.changed {
            change.saved = self.pending.is_empty();
            return Ok(Some(match &build.purpose {
                Purpose::Undo(undoing) => {
                    self.undo_followed(undoing, now)?;
                    self.save(now);
                    self.undone(undoing)
                }
                Purpose::Replace { .. } | Purpose::Remove { .. } | Purpose::Renew | Purpose::Save(_) => {
                    Outcome::Replaced(change)
                }
            }));
        }
        if let Err(refusal) = self.check_waiting(&Subject::Block(name.clone())) {
            waiting.into_iter().for_each(|(id, _)| self.drop_undo(id));
            return Err(refusal);
        }
        if let Some((id, waiting)) = waiting {
            change.confirmation = Some(self.keep_promise(id, waiting));
        }
        if !matches!(build.purpose, Purpose::Undo(_)) {
            build.purpose = Purpose::Replace { name: name.clone(), change, keeps_entries };
        }
        if let Some(difference) = difference
            && self.forecast(&name, &difference)?
        {
            let former = self.put_list(&name, new, &difference, now)?;
            self.follow(&build.purpose, now)?;
            self.finish(build, Finish { former, ..Finish::default() }, now);
            return Ok(None);
        }
        let new = self.with_rule(&name, new, build, now)?;
        let job = self.filling(Some(Coming { name, held: Some(new) }))?;
        self.work = Some(Work(job));
        Ok(None)
    }

    /// Gives a list the rule it has, or one of its own where it does something else: the present generation goes on
    /// doing what it does.
    fn with_rule(
        &mut self,
        name: &ListName,
        new: HeldList,
        build: &mut Build<M::Coming>,
        now: Now,
    ) -> Result<HeldList, Refusal> {
        let old = self.claims.lists().get(name);
        let kept = old.filter(|old| (old.response, old.shadow) == (new.response, new.shadow)).map(|old| old.rule);
        if let Some(rule) = kept {
            return Ok(HeldList { rule, ..new });
        }
        let rule = self.take_rule()?;
        let new = HeldList { rule, ..new };
        if let Err(error) = self.maps.write_rule(rule, &new.kernel_rule()) {
            self.free_rule(rule, now);
            return Err(error.into());
        }
        build.fresh_rule = Some(rule);
        Ok(new)
    }

    /// Gives keys their leaders in the coming generation, or takes them out; returns the words of the front that
    /// changed.
    fn bring_up(
        &self,
        filled: &mut Filled<M::Coming>,
        keys: impl Iterator<Item = MapKey>,
        now: Now,
    ) -> Result<Vec<u32>, Error> {
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
        let changed = filled.front.plan(led.iter().map(|(key, _)| key).chain(&with_ports));
        filled.coming.stage(&led)?;
        filled.coming.unstage(&unclaimed)?;
        Ok(changed)
    }

    /// Makes the books agree with the generation that answers.
    fn put_in_force(&mut self, build: &mut Build<M::Coming>, swapped: Swapped, now: Now) {
        let Swapped { retire, front, hosts, prefixes } = swapped;
        self.front = front;
        // The list is in force with its rule.
        build.fresh_rule = None;
        let name = self.claims.coming_name().cloned();
        let former = self.claims.adopt();
        let rule = name.as_ref().and_then(|name| self.claims.lists().get(name)).map(|held| held.rule);
        self.claims.refill(hosts, prefixes);
        if let Some(former) = former.as_ref().filter(|former| Some(former.rule) != rule) {
            self.free_rule(former.rule, now);
        }
        if let Err(refusal) = self.follow(&build.purpose, now) {
            tracing::warn!(%refusal, "single entries of a list are not what its change makes of them");
        }
        let took = Duration::from_nanos(now.boot_ns.saturating_sub(build.begun_ns));
        tracing::info!(hosts, prefixes, ?took, "another generation of lists answers");
        self.finish(build, Finish { retire: Some(retire), former, ..Finish::default() }, now);
    }

    /// Follows the content of a list with what hangs on it.
    fn follow(&mut self, purpose: &Purpose, now: Now) -> Result<(), Refusal> {
        match purpose {
            Purpose::Replace { name, keeps_entries, .. } => self.content_changed(name, *keeps_entries, now),
            Purpose::Remove { name, .. } => self.list_removed(name, now),
            Purpose::Undo(undoing) => self.undo_followed(undoing, now),
            Purpose::Renew | Purpose::Save(_) => Ok(()),
        }
    }

    /// Hands out what is left to do once a change is in force: to save it, above all.
    pub(super) fn finish(&mut self, build: &mut Build<M::Coming>, finish: Finish, now: Now) {
        build.is_in_force = true;
        let name = build.purpose.list();
        if let Some(name) = name {
            self.pending.lists.remove(name);
        }
        self.save(now);
        let save = self.disk.clone().zip(name.cloned());
        let save = save.map(|(disk, name)| {
            let held = self.claims.lists().get(&name).cloned();
            (disk, name, held)
        });
        self.work = Some(Work(Job::Finish(Box::new(Finish { save, ..finish }))));
    }

    /// Begins to save a list that is in force.
    pub(super) fn begin_saving(&mut self, name: ListName, now: Now) {
        let mut build = Build::new(Purpose::Save(name), now);
        self.finish(&mut build, Finish::default(), now);
        self.build = Some(build);
    }

    fn finished(&mut self, build: &mut Build<M::Coming>, saved: Result<(), disk::Error>, now: Now) -> Outcome {
        if let Some(name) = build.purpose.list() {
            if let Err(error) = saved {
                self.pending.lists.insert(name.clone());
                self.note_unsaved(&error, now);
            } else if self.pending.is_empty() {
                self.pending.error = None;
            }
        }
        match std::mem::replace(&mut build.purpose, Purpose::Renew) {
            Purpose::Replace { name, change, .. } => {
                let tag = self.current_tag(&name).unwrap_or_default();
                Outcome::Replaced(ListChange { tag, saved: self.pending.is_empty(), ..change })
            }
            Purpose::Remove { view, .. } => Outcome::Removed(view),
            Purpose::Undo(undoing) => self.undone(&undoing),
            Purpose::Renew | Purpose::Save(_) => Outcome::Renewed,
        }
    }

    /// Takes back what is left of a change that is not made.
    fn give_up(&mut self, build: Build<M::Coming>, now: Now) {
        self.claims.prepare(None);
        if let Some(rule) = build.fresh_rule {
            self.free_rule(rule, now);
        }
        match build.purpose {
            Purpose::Replace { change, .. } => self.break_promise(change.confirmation),
            Purpose::Save(name) => _ = self.pending.lists.insert(name),
            Purpose::Undo(undoing) => self.take_back(undoing, now),
            Purpose::Remove { .. } | Purpose::Renew => {}
        }
    }

    /// Gives up a change that was prepared and is not wanted after all.
    pub fn abandon(&mut self, now: Now) {
        self.work = None;
        let Some(build) = self.build.take() else { return };
        if let Stage::Prepared(prepared) = &build.stage
            && let Some((id, _)) = &prepared.waiting
        {
            self.drop_undo(*id);
        }
        self.give_up(build, now);
    }
}

/// A generation that answers.
struct Swapped {
    retire: Retire,
    front: Front,
    hosts: u64,
    prefixes: u64,
}
