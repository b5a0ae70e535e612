//! The state machine that decides what the kernel's maps hold.

mod allow;
mod allowed;
mod audit;
mod build;
mod change;
mod claims;
mod confirm;
mod coverage;
mod entries;
mod fill;
mod lists;
mod mode;
mod names;
mod prepare;
mod protecting;
mod room;
mod saved;
mod settle;
mod singles;
mod start;
mod unblock;
mod undo;
mod work;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use netd_common::control::Mode;
use netd_common::verdict::{Hits, RuleId};
use netd_engine::verdict::{Origin, Response, Verdict};

use self::audit::Audit;
use self::build::Build;
pub use self::change::{Begun, Outcome};
use self::claims::{Claims, Held};
use self::confirm::{Subject, Undo};
use self::saved::Pending;
pub use self::work::{Content, Work, Worked};
use super::blocklist::Item;
use super::clock::Now;
use super::front::Front;
use super::maps::{MapKey, Maps};
use super::proof::Proof;
use super::protect::{Guard, Protected};
use super::refusal::Refusal;
use super::rules::Rules;
use super::target;
use super::view::{Added, Confirmation, Entry, Page, VerdictPage};
use crate::store::disk::StateDir;

/// How long before its expiry a claim cedes its key to another that outlives it. [`Service::tick`] has to be called
/// at least this often.
pub const HANDOVER: Duration = Duration::from_nanos(HANDOVER_NS);

const HANDOVER_NS: u64 = 2_000_000_000;

/// Below it a change is made at once, in some ten milliseconds.
const LARGE_CHANGE: u64 = 16_384;

/// How the service starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The mode the operator asked for.
    pub mode: Mode,
    /// Protected prefixes known from the start.
    pub protect: Vec<(Guard, Vec<IpNet>)>,
    /// Most block-lists there can be; each lookup asks all of them.
    pub max_lists: usize,
    /// From how many changed keys on a list is put in force by another generation.
    pub large_change: u64,
    /// Whether to enforce although a hook does not prove that it denies.
    pub accept_degraded: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (protect, large_change) = (Vec::new(), LARGE_CHANGE);
        Self { mode: Mode::Observe, protect, max_lists: 64, large_change, accept_degraded: false }
    }
}

/// Owns what is enforced. Time is an argument; the maps and the state directory are all it touches.
pub struct Service<M: Maps> {
    maps: M,
    disk: Option<StateDir>,
    settings: Settings,
    claims: Claims,
    protected: Protected,
    rules: Rules,
    /// Numbers that a key in the kernel may still carry after a failed removal.
    stranded_rules: Vec<RuleId>,
    front: Front,
    next_id: u64,
    kill_switch: bool,
    /// Why enforcing is held back though it is asked for.
    held: Option<String>,
    proofs: Vec<Proof>,
    /// When to look at a verdict next: when it cedes its key, then when it expires.
    deadlines: BTreeSet<(u64, u64)>,
    /// Prefixes about to expire, with their verdicts: their keys may carry the rule of a prefix around them.
    lapsing: BTreeSet<(MapKey, u64)>,
    pending: Pending,
    build: Option<Build<M::Coming>>,
    /// What the change of lists under way waits for.
    work: Option<Work<M::Coming>>,
    audit: Audit,
    /// Single entries of the block-lists, the allow-lists, the names of both.
    entries: singles::Entries,
    allows: allowed::Allows,
    names: names::Published,
    /// Changes that undo themselves unless they are confirmed.
    waiting: confirm::Waitings,
    out_of_step: Option<String>,
    /// `CLOCK_BOOTTIME` before which neither kernel nor disk is tried again.
    retry_ns: u64,
}

impl<M: Maps> Service<M> {
    /// Puts a verdict in force; see [`super::Handle::add`].
    pub fn add(&mut self, verdict: Verdict, force: bool, now: Now) -> Result<Added, Refusal> {
        let mut added = self.put_verdict(verdict, force, now)?;
        // Said again without a condition, it stays.
        self.forget_promises(&Subject::Verdict(added.id));
        self.save(now);
        added.saved = self.pending.is_empty();
        Ok(added)
    }

    /// The same, undone unless it is confirmed in time.
    pub fn add_for_now(
        &mut self,
        verdict: Verdict,
        force: bool,
        within: Duration,
        now: Now,
    ) -> Result<(Added, Confirmation), Refusal> {
        let key = self.judge(&verdict, force, now)?;
        let twin = self.twin(&key, &verdict.origin).map(|held| (held.id, held.verdict.clone()));
        // The confirmation takes the next number, a new verdict the one after it.
        let id = twin.as_ref().map_or(self.next_id + 1, |(id, _)| *id);
        let undo = Undo::Verdict { id, before: twin.map(|(_, before)| before) };
        let promised = self.promise(Some(within), &Subject::Verdict(id), |_| undo, now)?;
        match (self.put_verdict(verdict, force, now), promised) {
            (Ok(added), Some((id, until))) => {
                self.save(now);
                let what = format!("verdict {}", added.id);
                Ok((Added { saved: self.pending.is_empty(), ..added }, Confirmation { id, until, what }))
            }
            (Ok(_), None) => Err(Refusal::Stopped),
            (Err(refusal), promised) => {
                self.break_promise(promised);
                Err(refusal)
            }
        }
    }

    /// Puts a verdict in force; the caller saves.
    fn put_verdict(&mut self, verdict: Verdict, force: bool, now: Now) -> Result<Added, Refusal> {
        let key = self.judge(&verdict, force, now)?;
        let (id, renewed) = match self.twin(&key, &verdict.origin).map(|held| held.id) {
            Some(id) => (self.renew(id, verdict, now)?, true),
            None => (self.create(key, verdict, now)?, false),
        };
        let held = self.claims.verdict(id).ok_or(Refusal::NoVerdict { id })?;
        let (until, target) = (held.verdict.until, held.verdict.target);
        let leads = self.claims.leader(&key, now.boot_ns) == Some(held.rule);
        let acts = !held.verdict.shadow && matches!(held.verdict.response, Response::Drop | Response::Reset);
        let destroyed_sockets = if leads && acts { self.destroy_sockets(&target) } else { 0 };
        let saved = self.pending.is_empty();
        Ok(Added { id, until, renewed, destroyed_sockets, spared: self.spared(&target), saved })
    }

    /// Returns the verdict on a key that another of this origin renews.
    fn twin(&self, key: &MapKey, origin: &Origin) -> Option<&Held> {
        self.claims.verdicts_of(key).find(|held| same_origin(&held.verdict.origin, origin))
    }

    /// Ends a verdict.
    pub fn release(&mut self, id: u64, now: Now) -> Result<Entry, Refusal> {
        let entry = self.verdict(id, now)?;
        self.forget_promises(&Subject::Verdict(id));
        self.end([id], now)?;
        self.save(now);
        Ok(entry)
    }

    /// Ends what has expired and returns it; hands keys over, and tries again what kernel or disk refused.
    pub fn tick(&mut self, now: Now) -> Vec<Entry> {
        let (mut expired, mut ceded) = (Vec::new(), Vec::new());
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now.boot_ns
        {
            self.deadlines.pop_first();
            let Some(held) = self.claims.verdict_mut(id) else { continue };
            if held.expires_ns <= now.boot_ns {
                expired.push(id);
                continue;
            }
            held.deadline_ns = held.expires_ns;
            self.deadlines.insert((held.expires_ns, id));
            ceded.push(held.key);
            if matches!(held.key, MapKey::Prefix(_)) {
                self.lapsing.insert((held.key, id));
            }
        }
        if !ceded.is_empty()
            && let Err(error) = self.settle(ceded.iter().copied(), now)
        {
            self.note_out_of_step(&error, now);
        }
        let entries = expired.iter().filter_map(|id| self.verdict(*id, now).ok()).collect();
        if !expired.is_empty() {
            if let Err(refusal) = self.end(expired, now) {
                tracing::warn!(%refusal, "an expired verdict could not be removed; the kernel ignores it");
            }
            self.pending.verdicts = true;
            self.save(now);
        }
        if self.expire_names(now) {
            self.save(now);
        }
        self.expire_allow_entries(now);
        self.undo_due(now);
        self.retry(now);
        self.grow(now);
        self.audit(now);
        entries
    }

    /// Returns one verdict.
    pub fn verdict(&self, id: u64, now: Now) -> Result<Entry, Refusal> {
        self.claims.verdict(id).map(|held| self.entry(held, now)).ok_or(Refusal::NoVerdict { id })
    }

    /// Returns a page of the verdicts, newest first.
    #[must_use]
    pub fn verdicts(&self, page: Page, now: Now) -> VerdictPage {
        let mut below = self.claims.verdicts().range(..page.before.unwrap_or(u64::MAX)).rev();
        let entries: Vec<_> = below.by_ref().take(page.limit).map(|(_, held)| self.entry(held, now)).collect();
        let next = below.next().and_then(|_| entries.last()).map(|entry| entry.id);
        VerdictPage { entries, next }
    }

    /// Returns the maps: what they hold outlives the service.
    pub fn into_maps(self) -> M {
        self.maps
    }

    /// Returns the key of a verdict that may be put in force.
    fn judge(&self, verdict: &Verdict, force: bool, now: Now) -> Result<MapKey, Refusal> {
        if verdict.until.is_some_and(|until| until <= now.wall) {
            return Err(Refusal::NotInFuture);
        }
        check_response(verdict.response)?;
        let key = target::key(&verdict.target)?;
        for end in target::ends(&verdict.target) {
            let shield = self.protected.shield(&end);
            // What is listed takes effect when an allow-list lets go of it.
            let waits = shield == Some(Guard::AllowList) && matches!(verdict.origin, Origin::List { .. });
            if let Some(guard) = shield.filter(|_| !waits) {
                return Err(Refusal::Protected { target: end.to_string(), guard });
            }
            if !force && let Some(widest) = target::too_wide(&end) {
                return Err(Refusal::TooWide { prefix: end.to_string(), widest });
            }
        }
        Ok(key)
    }

    fn create(&mut self, key: MapKey, verdict: Verdict, now: Now) -> Result<u64, Refusal> {
        let (table, capacity) = (key.table(), self.maps.capacity(key.table()));
        let wanted = self.claims.fill(table) + 1;
        if wanted > capacity && self.claims.count(&key) == 0 {
            return Err(Refusal::TableFull { table: table.name(), wanted, capacity });
        }
        let rule = self.take_rule()?;
        let id = self.next_id;
        let expires_ns = now.boot_ns_of(verdict.until);
        let held = Held { id, rule, key, created: now.wall, verdict, expires_ns, deadline_ns: u64::MAX };
        if let Err(error) = self.maps.write_rule(rule, &held.kernel_rule()) {
            self.rules.free(rule);
            return Err(error.into());
        }
        self.note_began(&held);
        self.claims.insert(held);
        if let Err(error) = self.settle([key].into_iter(), now) {
            if let Some(held) = self.claims.remove(id) {
                self.note_ended(&held);
            }
            self.undo([key].into_iter(), now);
            self.free_rule(rule, now);
            return Err(error.into());
        }
        self.next_id += 1;
        self.schedule(id, now);
        self.pending.verdicts = true;
        Ok(id)
    }

    /// Gives a verdict a new end and a new reason. An operator's word replaces the old one; evidence only adds.
    fn renew(&mut self, id: u64, verdict: Verdict, now: Now) -> Result<u64, Refusal> {
        let Some(held) = self.claims.verdict(id).cloned() else { return Err(Refusal::NoVerdict { id }) };
        let mut new = Held { verdict, expires_ns: 0, ..held };
        if matches!(new.verdict.origin, Origin::Finding { .. }) {
            let old = &held.verdict;
            new.verdict.until = match (new.verdict.until, old.until) {
                (Some(new), Some(old)) => Some(new.max(old)),
                (None, _) | (_, None) => None,
            };
            if new.verdict.response.action() < old.response.action() {
                new.verdict.response = old.response;
            }
            new.verdict.shadow &= old.shadow;
        }
        self.put_renewed(new, now)?;
        Ok(id)
    }

    /// Gives a verdict back what it was.
    fn rewrite(&mut self, id: u64, verdict: Verdict, now: Now) -> Result<(), Refusal> {
        let Some(held) = self.claims.verdict(id).cloned() else { return Err(Refusal::NoVerdict { id }) };
        self.put_renewed(Held { verdict, ..held }, now)
    }

    fn put_renewed(&mut self, mut new: Held, now: Now) -> Result<(), Refusal> {
        let id = new.id;
        new.expires_ns = now.boot_ns_of(new.verdict.until);
        self.maps.write_rule(new.rule, &new.kernel_rule())?;
        let key = new.key;
        if let Some(slot) = self.claims.verdict_mut(id) {
            *slot = new;
        }
        self.schedule(id, now);
        if let Err(error) = self.settle([key].into_iter(), now) {
            self.note_out_of_step(&error, now);
        }
        self.pending.verdicts = true;
        Ok(())
    }

    /// Ends verdicts: their keys go first, or to the next claim; their rules after.
    fn end(&mut self, ids: impl IntoIterator<Item = u64>, now: Now) -> Result<(), Refusal> {
        let ended: Vec<_> = ids.into_iter().filter_map(|id| self.claims.remove(id)).collect();
        for held in &ended {
            self.lapsing.remove(&(held.key, held.id));
        }
        let settled = self.settle(ended.iter().map(|held| held.key), now);
        if let Err(error) = &settled {
            self.note_out_of_step(error, now);
        }
        let mut result = Ok(());
        for held in ended {
            // Without its rule a key that could not be removed does nothing.
            let cleared = self.maps.clear_rule(held.rule);
            match (&settled, cleared) {
                (Ok(()), Ok(())) => self.rules.free(held.rule),
                (Err(_), Ok(())) => self.stranded_rules.push(held.rule),
                (Ok(()), Err(error)) => {
                    self.stranded_rules.push(held.rule);
                    self.note_out_of_step(&error, now);
                }
                (Err(_), Err(error)) => {
                    let id = held.id;
                    self.claims.insert(held);
                    self.schedule(id, now);
                    result = Err(error.into());
                    continue;
                }
            }
            self.deadlines.remove(&(held.deadline_ns, held.id));
            self.note_ended(&held);
            self.pending.verdicts = true;
        }
        result
    }

    fn note_began(&mut self, held: &Held) {
        self.index_entry(held);
        self.count_resolved(&held.verdict.origin, true);
    }

    fn note_ended(&mut self, held: &Held) {
        self.unindex_entry(held);
        self.count_resolved(&held.verdict.origin, false);
    }

    /// Notes when to look at a verdict next: when it is to cede its key, at once if that has passed.
    fn schedule(&mut self, id: u64, now: Now) {
        let Some(held) = self.claims.verdict_mut(id) else { return };
        self.deadlines.remove(&(held.deadline_ns, id));
        self.lapsing.remove(&(held.key, id));
        if held.expires_ns == u64::MAX {
            held.deadline_ns = u64::MAX;
            return;
        }
        let cedes_ns = held.expires_ns.saturating_sub(HANDOVER_NS);
        if cedes_ns <= now.boot_ns && matches!(held.key, MapKey::Prefix(_)) {
            self.lapsing.insert((held.key, id));
        }
        held.deadline_ns = cedes_ns.max(now.boot_ns);
        self.deadlines.insert((held.deadline_ns, id));
    }

    fn entry(&self, held: &Held, now: Now) -> Entry {
        Entry {
            id: held.id,
            created: held.created,
            verdict: held.verdict.clone(),
            leads: self.claims.leader(&held.key, now.boot_ns) == Some(held.rule),
            shielded_by: target::ends(&held.verdict.target).iter().find_map(|end| self.protected.shield(end)),
            hits: self.hits(held.rule),
        }
    }

    fn hits(&self, rule: RuleId) -> Hits {
        self.maps.hits(rule).unwrap_or_else(|error| {
            tracing::debug!(%error, rule, "hits could not be read");
            Hits::default()
        })
    }

    /// Returns the protected prefixes inside a target.
    fn spared(&self, target: &netd_engine::verdict::Target) -> Vec<String> {
        let ends = target::ends(target);
        ends.iter().flat_map(|end| self.protected.inside(end)).map(Item::to_string).collect()
    }

    /// Destroys sockets, where verdicts act at all.
    fn destroy_sockets(&mut self, target: &netd_engine::verdict::Target) -> u64 {
        let acts = matches!(self.status(), Ok(status) if status.effective == Mode::Enforce);
        if !acts {
            return 0;
        }
        let protected = &self.protected;
        let spared = |address| protected.shield(&Item::host(address)).is_some();
        self.maps.destroy_sockets(target, &spared).unwrap_or_else(|error| {
            tracing::warn!(?target, %error, "established sockets could not be destroyed; their packets are dropped");
            0
        })
    }
}

/// Returns whether a throttle can work.
fn check_response(response: Response) -> Result<(), Refusal> {
    match response {
        Response::Throttle { bytes_per_second, burst_bytes } if bytes_per_second == 0 || burst_bytes < 1_514 => {
            Err(Refusal::BadThrottle)
        }
        Response::Throttle { .. } | Response::Observe | Response::Drop | Response::Reset => Ok(()),
    }
}

/// Returns whether a verdict of the one renews a verdict of the other.
fn same_origin(a: &Origin, b: &Origin) -> bool {
    match (a, b) {
        (Origin::List { .. }, _) | (_, Origin::List { .. }) => a == b,
        (Origin::Finding { .. } | Origin::Manual, Origin::Finding { .. } | Origin::Manual) => {
            std::mem::discriminant(a) == std::mem::discriminant(b)
        }
    }
}
