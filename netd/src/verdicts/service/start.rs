//! Takes over: what the disk says is wanted, what the kernel still holds, and no gap between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use netd_common::verdict::RuleId;

use super::audit::Audit;
use super::change::Purpose;
use super::claims::{Claims, Held};
use super::saved::{self, Pending, SavedVerdicts};
use super::settle;
use super::{Service, Settings};
use crate::store::disk::{File, StateDir};
use crate::verdicts::clock::Now;
use crate::verdicts::front::Front;
use crate::verdicts::maps::{Error, MapKey, Maps};
use crate::verdicts::protect::Protected;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::rules::Rules;
use crate::verdicts::target;

/// What a reconciliation found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    /// Keys the kernel already held as wanted.
    pub(super) kept: u64,
    pub(super) inserted: u64,
    pub(super) removed: u64,
}

/// What the kernel holds, beside what it should.
#[derive(Debug, Default)]
struct Found {
    right: u64,
    /// Keys with another rule than their leader's, and keys that nobody claims; `too_many` where not all are named.
    wrong: Vec<MapKey>,
    surplus: Vec<MapKey>,
    too_many: bool,
    /// Every rule that a key names.
    rules: BTreeSet<RuleId>,
}

const fn has_ports(key: &MapKey) -> bool {
    match key {
        MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Allow(_) => true,
        MapKey::Host(_) | MapKey::Prefix(_) => false,
    }
}

impl<M: Maps> Service<M> {
    /// Takes over the maps: reads what was saved, inserts what the kernel lacks, then removes what nobody wants.
    ///
    /// # Errors
    /// When the kernel refuses. What it held before goes on being enforced.
    pub fn start(maps: M, disk: Option<StateDir>, settings: Settings, now: Now) -> Result<Self, Refusal> {
        let front = Front::read(&maps)?;
        let mut protected = Protected::new();
        for (guard, prefixes) in &settings.protect {
            protected.set(*guard, prefixes);
        }
        let mut service = Self {
            maps,
            disk,
            settings,
            claims: Claims::default(),
            protected,
            rules: Rules::new(),
            stranded_rules: Vec::new(),
            front,
            next_id: 1,
            kill_switch: false,
            held: None,
            proofs: Vec::new(),
            deadlines: BTreeSet::new(),
            lapsing: BTreeSet::new(),
            pending: Pending::default(),
            build: None,
            work: None,
            audit: Audit::default(),
            entries: BTreeMap::new(),
            allows: BTreeMap::new(),
            names: super::names::Published::default(),
            waiting: BTreeMap::new(),
            out_of_step: None,
            retry_ns: 0,
        };
        service.load(now);
        service.publish_names(now);
        // Either of them says stop: an operator who could not reach the one may have reached the other.
        service.kill_switch |= service.maps.kill_switch()?;
        service.maps.set_kill_switch(service.kill_switch)?;
        let Reconciled { kept, inserted, removed } = match service.reconcile(now) {
            Err(error @ (Error::NoMemory { .. } | Error::Full { .. })) => {
                // What a former run left goes on being enforced, and it is tried again.
                service.note_out_of_step(&error, now);
                Reconciled::default()
            }
            reconciled => reconciled?,
        };
        service.audit = Audit::after_start(kept + inserted, now);
        let mode = service.settings.mode;
        service.maps.set_mode(mode)?;
        service.maps.bump_generation()?;
        service.save(now);
        tracing::info!(kept, inserted, removed, ?mode, kill_switch = service.kill_switch, "verdicts in force");
        Ok(service)
    }

    /// Makes the kernel hold exactly the claims and the protected prefixes.
    pub(super) fn reconcile(&mut self, now: Now) -> Result<Reconciled, Error> {
        let allow: Vec<_> = self.protected.keys().iter().map(|prefix| (MapKey::Allow(*prefix), 1)).collect();
        self.maps.insert(&allow)?;
        for held in self.claims.verdicts().values() {
            self.maps.write_rule(held.rule, &held.kernel_rule())?;
        }
        for held in self.claims.lists().values() {
            self.maps.write_rule(held.rule, &held.kernel_rule())?;
        }
        let Found { right, wrong, surplus, rules, too_many } = self.find(now)?;
        let desired = self.claims.len();
        let missing = desired.saturating_sub(right + wrong.len() as u64);
        let large = self.settings.large_change;
        let reconciled = if too_many || missing > large || (missing > 0 && desired > 4 * large) {
            self.regenerate(now)?;
            // The tables that all generations share.
            let with_ports: Vec<_> = self.claims.keys_with_ports().collect();
            self.set(with_ports.into_iter(), now)?;
            self.maps.remove(&surplus.iter().copied().filter(has_ports).collect::<Vec<_>>())?;
            Reconciled { kept: right, inserted: desired - right, removed: surplus.len() as u64 }
        } else {
            let inserted = if missing > 0 { self.claims.keys().collect() } else { wrong };
            self.set(inserted.into_iter(), now)?;
            self.maps.remove(&surplus)?;
            self.front.rebuild(&mut self.maps, self.claims.keys())?;
            Reconciled { kept: right, inserted: desired - right, removed: surplus.len() as u64 }
        };
        self.maps.bump_generation()?;
        self.clear_unused(rules.into_iter())?;
        Ok(reconciled)
    }

    /// Reads the kernel's tables back and compares.
    fn find(&self, now: Now) -> Result<Found, Error> {
        let allowed = self.protected.keys();
        let mut found = Found::default();
        let most = self.settings.large_change as usize;
        self.maps.for_each(&mut |key, rule| {
            let wanted = match &key {
                MapKey::Allow(prefix) => {
                    if !allowed.contains(prefix) {
                        found.surplus.push(key);
                    }
                    return;
                }
                MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Host(_) | MapKey::Prefix(_) => {
                    self.claims.leader(&key, now.boot_ns)
                }
            };
            found.rules.insert(rule);
            match wanted {
                Some(wanted) if wanted == rule => found.right += 1,
                Some(_) if found.wrong.len() < most => found.wrong.push(key),
                None if found.surplus.len() < most => found.surplus.push(key),
                Some(_) | None => found.too_many = true,
            }
        })?;
        Ok(found)
    }

    /// Puts a whole generation in force, at once.
    fn regenerate(&mut self, now: Now) -> Result<(), Error> {
        match self.begin_generation(Purpose::Renew, None, now).and_then(|()| self.finish_build(now)) {
            Ok(_) => Ok(()),
            Err(Refusal::Kernel(error)) => Err(error),
            Err(refusal) => Err(Error::Call { attempt: "make a generation of lists", source: Box::new(refusal) }),
        }
    }

    /// Writes keys with their leaders, each after its bits in the front.
    fn set(&mut self, keys: impl Iterator<Item = MapKey>, now: Now) -> Result<u64, Error> {
        let claims = &self.claims;
        let led = keys.filter_map(|key| claims.leader(&key, now.boot_ns).map(|rule| (key, rule)));
        settle::insert(&mut self.maps, &mut self.front, led)
    }

    /// Clears the rules that keys of a former run named and no claim has.
    fn clear_unused(&mut self, seen: impl Iterator<Item = RuleId>) -> Result<(), Error> {
        let verdicts = self.claims.verdicts().values().map(|held| held.rule);
        let used: HashSet<_> = verdicts.chain(self.claims.lists().values().map(|held| held.rule)).collect();
        let unused: BTreeSet<_> = seen.filter(|rule| *rule != 0 && !used.contains(rule)).collect();
        unused.into_iter().try_for_each(|rule| self.maps.clear_rule(rule))
    }

    /// Reads what was saved. What cannot be read is set aside, named in a warning, and not enforced.
    fn load(&mut self, now: Now) {
        let Some(disk) = self.disk.clone() else { return };
        let saved = disk.read_or_set_aside(File::Verdicts, |bytes| serde_json::from_slice::<SavedVerdicts>(bytes).ok());
        let lists: Vec<_> = disk
            .lists()
            .into_iter()
            .filter_map(|name| {
                let held = disk.read_or_set_aside(File::List(&name), saved::list_from_bytes)?;
                Some((name, held))
            })
            .collect();
        // Lists first: their rules carry the most keys.
        for (name, mut held) in lists {
            let Some(rule) = self.keep_rule(held.rule) else { continue };
            held.rule = rule;
            self.claims.put_list(name, held);
        }
        self.load_allow_lists(&disk, now);
        self.load_undos(&disk);
        self.claims.recount();
        let Some(saved) = saved else { return };
        self.kill_switch = saved.kill_switch;
        self.next_id = self.next_id.max(saved.next_id);
        self.load_names(saved.names, now);
        for saved in saved.verdicts {
            self.next_id = self.next_id.max(saved.id + 1);
            let expired = saved.verdict.until.is_some_and(|until| until <= now.wall);
            let Ok(key) = target::key(&saved.verdict.target) else { continue };
            if expired || self.claims.verdict(saved.id).is_some() {
                self.pending.verdicts = true;
                continue;
            }
            let Some(rule) = self.keep_rule(saved.rule) else { continue };
            let expires_ns = now.boot_ns_of(saved.verdict.until);
            let held = Held {
                id: saved.id,
                rule,
                key,
                created: saved.created,
                verdict: saved.verdict,
                expires_ns,
                deadline_ns: u64::MAX,
            };
            self.note_began(&held);
            self.claims.insert(held);
            self.schedule(saved.id, now);
        }
    }

    fn keep_rule(&mut self, rule: RuleId) -> Option<RuleId> {
        if self.rules.reserve(rule) { Some(rule) } else { self.rules.take() }
    }
}
