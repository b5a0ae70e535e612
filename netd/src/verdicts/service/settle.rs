//! Brings the kernel's keys to what the claims say, in an order that leaves no gap.

use netd_common::verdict::RuleId;

use super::Service;
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{Error, MapKey, Maps};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::rules::Rules;

/// Keys written in one go.
const BATCH: usize = 4_096;

/// How long the kernel and the disk are left alone after they refused, in nanoseconds.
pub(super) const RETRY_NS: u64 = 5_000_000_000;

impl<M: Maps> Service<M> {
    /// Gives each of `keys` its leader, or removes it, and makes every flow decide again. New keys are written before old
    /// ones go; a key that stays is never absent.
    pub(super) fn settle(&mut self, keys: impl Iterator<Item = MapKey> + Clone, now: Now) -> Result<(), Error> {
        let lapsing: Vec<_> = self.lapsing.iter().map(|(key, _)| *key).collect();
        let keys = keys.chain(lapsing);
        if let Some(build) = &mut self.build {
            build.touch(keys.clone());
        }
        let claims = &self.claims;
        let led = keys.clone().filter_map(|key| claims.leader(&key, now.boot_ns).map(|rule| (key, rule)));
        insert(&mut self.maps, &mut self.front, led)?;
        self.remove_unclaimed(keys, now)?;
        self.maps.bump_generation()
    }

    fn remove_unclaimed(&mut self, keys: impl Iterator<Item = MapKey>, now: Now) -> Result<(), Error> {
        let claims = &self.claims;
        let unclaimed = keys.filter(|key| claims.leader(key, now.boot_ns).is_none());
        let mut batch = Vec::with_capacity(BATCH);
        let mut removed = 0_u64;
        for key in unclaimed {
            batch.push(key);
            removed += 1;
            if batch.len() == BATCH {
                self.maps.remove(&batch)?;
                batch.clear();
            }
        }
        if !batch.is_empty() {
            self.maps.remove(&batch)?;
        }
        if removed > 0 && self.front.note_removed(removed, self.claims.len()) {
            self.front.rebuild(&mut self.maps, self.claims.keys())?;
        }
        Ok(())
    }

    /// Takes back a change that the kernel refused: the claims are already as they were.
    pub(super) fn undo(&mut self, keys: impl Iterator<Item = MapKey> + Clone, now: Now) {
        if let Err(error) = self.settle(keys, now) {
            self.note_out_of_step(&error, now);
        }
    }

    /// Takes a free rule number with its hits at zero.
    pub(super) fn take_rule(&mut self) -> Result<RuleId, Refusal> {
        let rule = self.rules.take().ok_or(Refusal::RulesFull { limit: Rules::LIMIT })?;
        if let Err(error) = self.maps.clear_hits(rule) {
            self.rules.free(rule);
            return Err(error.into());
        }
        Ok(rule)
    }

    /// Gives a rule number back, unless a key in the kernel may still carry it.
    pub(super) fn free_rule(&mut self, rule: RuleId, now: Now) {
        if let Err(error) = self.maps.clear_rule(rule) {
            self.note_out_of_step(&error, now);
        }
        match self.out_of_step {
            None => self.rules.free(rule),
            Some(_) => self.stranded_rules.push(rule),
        }
    }

    /// Notes that the kernel may hold something else than the claims say; [`Service::retry`] repairs it.
    pub(super) fn note_out_of_step(&mut self, error: &Error, now: Now) {
        tracing::warn!(%error, "the kernel's verdict tables are out of step; trying again");
        self.out_of_step = Some(error.to_string());
        self.retry_ns = now.boot_ns.saturating_add(RETRY_NS);
    }

    /// Tries again what kernel or disk refused a while ago.
    pub(super) fn retry(&mut self, now: Now) {
        // What is under way may be what is missing.
        if now.boot_ns < self.retry_ns || self.is_building() {
            return;
        }
        if self.out_of_step.is_some() {
            match self.reconcile(now) {
                Ok(_) => {
                    self.out_of_step = None;
                    for rule in std::mem::take(&mut self.stranded_rules) {
                        self.free_rule(rule, now);
                    }
                }
                Err(error) => self.note_out_of_step(&error, now),
            }
        }
        if !self.pending.is_empty() {
            match self.pending.lists.pop_first() {
                Some(list) => self.begin_saving(list, now),
                None => self.save(now),
            }
            self.retry_ns = now.boot_ns.saturating_add(RETRY_NS);
        }
    }
}

/// Writes keys in batches, each after its bits in the front.
pub(super) fn insert<M: Maps>(
    maps: &mut M,
    front: &mut crate::verdicts::front::Front,
    entries: impl Iterator<Item = (MapKey, RuleId)>,
) -> Result<u64, Error> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut count = 0;
    let mut entries = entries.fuse();
    loop {
        batch.extend(entries.by_ref().take(BATCH));
        if batch.is_empty() {
            return Ok(count);
        }
        front.mark(maps, batch.iter().map(|(key, _)| key))?;
        maps.insert(&batch)?;
        count += batch.len() as u64;
        batch.clear();
    }
}
