//! Takes over: what the disk says is wanted, what the kernel still holds, and no gap between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use netd_common::verdict::RuleId;

use super::claims::{Claims, Held};
use super::saved::{self, Pending, SavedVerdicts};
use super::settle;
use super::{Service, Settings};
use crate::store::disk::{File, StateDir};
use crate::verdicts::blocklist::Difference;
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
            deadlines: BTreeSet::new(),
            lapsing: BTreeSet::new(),
            pending: Pending::default(),
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
        let Reconciled { kept, inserted, removed } = service.reconcile(now)?;
        let mode = service.settings.mode;
        service.maps.set_mode(mode)?;
        service.maps.bump_generation()?;
        service.save(now);
        tracing::info!(kept, inserted, removed, ?mode, kill_switch = service.kill_switch, "verdicts in force");
        Ok(service)
    }

    /// Makes the kernel hold exactly the claims and the protected prefixes.
    pub(super) fn reconcile(&mut self, now: Now) -> Result<Reconciled, Error> {
        let mut found = Vec::new();
        self.maps.for_each(&mut |key, rule| found.push((key, rule)))?;
        let allowed = self.protected.keys();
        let wants = |key: &MapKey, claims: &Claims| match key {
            MapKey::Allow(prefix) => allowed.contains(prefix).then_some(1),
            MapKey::Flow(_) | MapKey::Endpoint(_) | MapKey::Host(_) | MapKey::Prefix(_) => {
                claims.leader(key, now.boot_ns)
            }
        };

        let allow: Vec<_> = allowed.iter().map(|prefix| (MapKey::Allow(*prefix), 1)).collect();
        self.maps.insert(&allow)?;
        for held in self.claims.verdicts().values() {
            self.maps.write_rule(held.rule, &held.kernel_rule())?;
        }
        for held in self.claims.lists().values() {
            self.maps.write_rule(held.rule, &held.kernel_rule())?;
        }

        let (mut kept, mut surplus) = (HashSet::new(), Vec::new());
        for (key, rule) in &found {
            match wants(key, &self.claims) {
                Some(wanted) if wanted == *rule => drop(kept.insert(*key)),
                Some(_) => {}
                None => surplus.push(*key),
            }
        }
        self.front.mark(&mut self.maps, kept.iter())?;
        let claims = &self.claims;
        let missing = claims.keys().filter(|key| !kept.contains(key));
        let missing = missing.filter_map(|key| claims.leader(&key, now.boot_ns).map(|rule| (key, rule)));
        let inserted = settle::insert(&mut self.maps, &mut self.front, missing)?;

        self.maps.remove(&surplus)?;
        self.front.rebuild(&mut self.maps, self.claims.keys())?;
        self.maps.bump_generation()?;
        self.clear_unused(found.iter().map(|(_, rule)| *rule))?;
        let kept = kept.iter().filter(|key| !matches!(key, MapKey::Allow(_))).count() as u64;
        Ok(Reconciled { kept, inserted, removed: surplus.len() as u64 })
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
            let added = Difference { added: held.list.items().to_vec(), ..Difference::default() };
            self.claims.swap_list(&name, Some(held), &added);
        }
        self.load_allow_lists(&disk, now);
        self.load_undos(&disk);
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
