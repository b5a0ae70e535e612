//! Compares what the kernel holds with what it should, a slice a tick, and puts right what differs.

use std::time::Duration;

use netd_common::verdict::{FRONT_WORDS, RuleId};

use super::Service;
use super::claims::{View, Walk};
use super::settle;
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{Error, MapKey, Maps, Place};
use crate::verdicts::view::{Drift, Reading};

/// Keys that a tick reads back from either side: a few milliseconds of work.
const LEAST: u64 = 4_096;
/// At most so many, however much is listed.
const MOST: u64 = 16_384;
/// Ticks in which a round is to be done, as long as [`MOST`] allows it.
const TICKS: u64 = 120;

/// Words of the front that a tick reads back, whatever they are: all of it in a minute.
const FRONT: u32 = 8_192;
/// Words in which something is listed, which come more often: a tick looks for them in a quarter of the front, and reads
/// so many back.
const FRONT_SCANNED: u32 = FRONT_WORDS / 4;
const FRONT_LISTED: u32 = 4_096;

/// Where the comparison stands.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// What the kernel holds, looked up among the claims.
    held: Place,
    /// Keys of this round that are as they should be.
    right: u64,
    /// What is claimed, looked up in the kernel: verdicts by number, then lists.
    after: u64,
    walk: Option<Walk>,
    lists_version: u64,
    /// The next word of the front, and the next in which something may be listed.
    front: u32,
    front_listed: u32,
    begun_ns: u64,
    reading: Reading,
}

/// What a slice found.
#[derive(Debug, Default)]
struct Slice {
    wanted: Vec<(MapKey, RuleId)>,
    surplus: Vec<MapKey>,
    front: Vec<u32>,
    drift: Drift,
}

impl Audit {
    pub(super) fn after_start(enforced: u64, now: Now) -> Self {
        let reading = Reading { enforced, ..Reading::default() };
        Self { begun_ns: now.boot_ns, reading, ..Self::default() }
    }

    pub(super) const fn reading(&self) -> Reading {
        self.reading
    }
}

impl<M: Maps> Service<M> {
    /// Reads a slice back, and repairs what differs.
    pub(super) fn audit(&mut self, now: Now) {
        // What is being changed differs for a reason.
        if self.build.is_some() || self.out_of_step.is_some() {
            return;
        }
        self.audit_pins();
        let amount = (self.claims.len() / TICKS).clamp(LEAST, MOST);
        let mut audit = std::mem::take(&mut self.audit);
        let mut slice = Slice::default();
        let found = self
            .look_at_held(&mut audit, &mut slice, amount, now)
            .and_then(|()| self.look_at_verdicts(&mut audit, &mut slice, amount, now))
            .and_then(|()| self.look_at_lists(&mut audit, &mut slice, amount, now))
            .and_then(|()| self.look_at_front(&mut audit, &mut slice));
        let repaired = found.and_then(|()| self.repair(&slice));
        audit.reading.drift.add(slice.drift);
        self.audit = audit;
        if let Err(error) = repaired {
            self.note_out_of_step(&error, now);
        }
    }

    /// A missing pin hurts at the next start alone, so a failure is only said.
    fn audit_pins(&mut self) {
        match self.maps.restore_pins() {
            Ok(0) => {}
            Ok(unpinned) => {
                tracing::warn!(unpinned, "somebody removed pins of the lists; made again");
                self.audit.reading.drift.unpinned += unpinned;
            }
            Err(error) => tracing::debug!(%error, "cannot pin the lists again"),
        }
    }

    fn look_at_held(&self, audit: &mut Audit, slice: &mut Slice, amount: u64, now: Now) -> Result<(), Error> {
        let allowed = self.protected.keys();
        let mut seen = 0;
        while seen < amount {
            let Audit { held, right, .. } = audit;
            self.maps.read(held, &mut |key, rule| {
                seen += 1;
                let wanted = match &key {
                    MapKey::Allow(prefix) => allowed.contains(prefix).then_some(rule),
                    MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Host(_) | MapKey::Prefix(_) => {
                        self.claims.leader(&key, now.boot_ns)
                    }
                };
                match wanted {
                    Some(wanted) if wanted == rule => *right += u64::from(!matches!(key, MapKey::Allow(_))),
                    Some(wanted) => {
                        slice.drift.wrong_rule += 1;
                        slice.wanted.push((key, wanted));
                    }
                    None => {
                        slice.drift.surplus += 1;
                        slice.surplus.push(key);
                    }
                }
            })?;
            if audit.held.table.is_none() {
                audit.held = Place::default();
                audit.reading.enforced = std::mem::take(&mut audit.right);
                audit.reading.rounds += 1;
                audit.reading.round = Duration::from_nanos(now.boot_ns.saturating_sub(audit.begun_ns));
                audit.begun_ns = now.boot_ns;
                return Ok(());
            }
        }
        Ok(())
    }

    fn look_at_verdicts(&mut self, audit: &mut Audit, slice: &mut Slice, amount: u64, now: Now) -> Result<(), Error> {
        if audit.walk.is_some() {
            return Ok(());
        }
        let next: Vec<_> =
            self.claims.verdicts().range(audit.after..).take(amount as usize).map(|(id, held)| (*id, held)).collect();
        let mut torn = Vec::new();
        for (_, held) in &next {
            self.look_at(&held.key, slice, now)?;
            let rule = held.kernel_rule();
            if self.maps.rule(held.rule)? != rule {
                torn.push((held.rule, rule));
            }
        }
        let last = next.last().map(|(id, _)| *id);
        if let Some(last) = last {
            audit.after = last + 1;
        } else {
            // On to the lists; before them what is few.
            audit.after = 0;
            audit.walk = Some(Walk::default());
            audit.lists_version = self.claims.lists_version();
            for prefix in self.protected.keys() {
                let key = MapKey::Allow(prefix);
                if self.maps.get(&key)?.is_none() {
                    slice.drift.missing += 1;
                    slice.wanted.push((key, 1));
                }
            }
            for held in self.claims.lists().values() {
                let rule = held.kernel_rule();
                if self.maps.rule(held.rule)? != rule {
                    torn.push((held.rule, rule));
                }
            }
        }
        slice.drift.wrong_rule += torn.len() as u64;
        torn.iter().try_for_each(|(id, rule)| self.maps.write_rule(*id, rule))
    }

    fn look_at_lists(&self, audit: &mut Audit, slice: &mut Slice, amount: u64, now: Now) -> Result<(), Error> {
        let Some(walk) = &mut audit.walk else { return Ok(()) };
        if audit.lists_version != self.claims.lists_version() {
            // Its places are of other lists.
            audit.walk = None;
            return Ok(());
        }
        let next = self.claims.walk(View::Present, walk, amount as usize, now.boot_ns);
        next.iter().try_for_each(|(key, _)| self.look_at(key, slice, now))?;
        if next.is_empty() {
            audit.walk = None;
        }
        Ok(())
    }

    /// Compares the next words of the front. A bit too few lets a listed address pass, one too many costs look-ups.
    fn look_at_front(&self, audit: &mut Audit, slice: &mut Slice) -> Result<(), Error> {
        let (mut runs, next) = self.front.listed(audit.front_listed, FRONT_SCANNED, FRONT_LISTED);
        audit.front_listed = next;
        runs.push(audit.front..FRONT_WORDS.min(audit.front + FRONT));
        audit.front = (audit.front + FRONT) % FRONT_WORDS;
        let mut held = Vec::new();
        for run in runs {
            held.resize(run.len(), 0);
            self.maps.read_front(run.start, &mut held)?;
            slice.front.extend(self.front.differing(run.start, &held));
        }
        slice.front.sort_unstable();
        slice.front.dedup();
        slice.drift.front = slice.front.len() as u64;
        Ok(())
    }

    /// Looks one claimed key up in the kernel.
    fn look_at(&self, key: &MapKey, slice: &mut Slice, now: Now) -> Result<(), Error> {
        let (held, wanted) = (self.maps.get(key)?, self.claims.leader(key, now.boot_ns));
        let Some(wanted) = wanted.filter(|wanted| held != Some(*wanted)) else { return Ok(()) };
        match held {
            // The look at what is held has met it, or will.
            Some(_) => {}
            None => slice.drift.missing += 1,
        }
        slice.wanted.push((*key, wanted));
        Ok(())
    }

    fn repair(&mut self, slice: &Slice) -> Result<(), Error> {
        if slice.drift == Drift::default() && slice.wanted.is_empty() {
            return Ok(());
        }
        let Drift { missing, surplus, wrong_rule, front, .. } = slice.drift;
        tracing::warn!(missing, surplus, wrong_rule, front, "somebody changed the kernel's verdict tables; put right");
        self.front.write(&mut self.maps, &slice.front)?;
        settle::insert(&mut self.maps, &mut self.front, slice.wanted.iter().copied())?;
        self.maps.remove(&slice.surplus)?;
        self.maps.bump_generation()
    }
}
