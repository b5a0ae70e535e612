//! Listed names: told to whoever hears DNS, and turned into verdicts about the addresses that DNS gives them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netd_engine::listed::{Listed, Names, Resolved};
use netd_engine::verdict::{Origin, Target, Verdict};
use tokio::sync::watch;

use super::Service;
use crate::address;
use crate::verdicts::blocklist::{Item, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::{MapKey, Maps};
use crate::verdicts::refusal::Refusal;
use crate::verdicts::view::ResolvedCounts;

/// How long an address answers for its name, whatever the DNS answer says.
const LEAST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);

/// Other domains at an address, from which on it is taken for shared: a cut would hit them too.
const SHARED_FROM: u32 = 4;
/// Most addresses of one entry, and of all, that are cut at once.
const MOST_OF_ENTRY: usize = 256;
const MOST: usize = 16_384;
/// Most addresses that allow-listed names protect at once.
const MOST_ALLOWED: usize = 4_096;

/// What is published, and what came of it.
#[derive(Debug)]
pub(super) struct Published {
    listed: watch::Sender<Arc<Listed>>,
    /// Addresses of allow-listed names: until when (Unix time), by which list and entry.
    pub(super) allowed: BTreeMap<IpAddr, Allowed>,
    /// Addresses cut for each list and entry.
    cut: BTreeMap<(String, String), usize>,
    pub(super) counts: ResolvedCounts,
}

#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) until_ns: u64,
    pub(super) list: String,
    pub(super) entry: String,
}

impl Default for Published {
    fn default() -> Self {
        let (listed, _) = watch::channel(Arc::default());
        Self { listed, allowed: BTreeMap::new(), cut: BTreeMap::new(), counts: ResolvedCounts::default() }
    }
}

impl Published {
    /// Returns how many addresses are cut for a name that has them.
    pub(super) fn addresses(&self) -> u64 {
        self.cut.values().sum::<usize>() as u64
    }
}

impl<M: Maps> Service<M> {
    /// Returns where the listed names are published, whenever they change.
    #[must_use]
    pub fn listed(&self) -> watch::Receiver<Arc<Listed>> {
        self.names.listed.subscribe()
    }

    /// Does what a list wants done about an address that DNS gave to one of its names. `None` where nothing is to be
    /// done any more.
    pub fn resolve(&mut self, resolved: &Resolved, now: Now) -> Result<Option<u64>, Refusal> {
        let done = match resolved.is_allowed {
            true => self.allow_resolved(resolved, now).map(|()| None),
            false => self.block_resolved(resolved, now),
        };
        let counts = &mut self.names.counts;
        match &done {
            Ok(_) => counts.acted += 1,
            Err(Refusal::Shared { .. }) => counts.shared += 1,
            Err(Refusal::Protected { .. } | Refusal::NotPublic { .. }) => counts.protected += 1,
            Err(_) => counts.refused += 1,
        }
        done
    }

    /// Returns whether this address is to be cut for its name, and is not yet.
    pub(in crate::verdicts) fn is_news(&self, resolved: &Resolved) -> bool {
        let address = resolved.address.to_canonical();
        let has_one = |held: &super::claims::Held| matches!(&held.verdict.origin, Origin::List { list, .. } if *list == *resolved.list);
        !resolved.is_allowed
            && resolved.tenants < SHARED_FROM
            && address::special(address).is_none()
            && self.protected.shield(&Item::host(address)).is_none()
            && !self.claims.verdicts_of(&MapKey::Host(address.into())).any(has_one)
    }

    fn block_resolved(&mut self, resolved: &Resolved, now: Now) -> Result<Option<u64>, Refusal> {
        let Ok(list) = resolved.list.parse::<ListName>() else { return Ok(None) };
        let Some(held) = self.claims.lists().get(&list) else { return Ok(None) };
        let (name, address) = (resolved.name.to_string(), resolved.address.to_canonical());
        // Whoever owns a listed name says which addresses it has.
        if let Some(what) = address::special(address) {
            return Err(Refusal::NotPublic { address, name, what });
        }
        let item = Item::host(address);
        if let Some(guard) = self.protected.shield(&item) {
            return Err(Refusal::Protected { target: format!("{address} ({name})"), guard });
        }
        if resolved.tenants >= SHARED_FROM {
            return Err(Refusal::Shared { address, name, others: resolved.tenants });
        }
        let origin = Origin::List { list: list.to_string(), name: Some(resolved.entry.clone()) };
        let life = Duration::from_secs(resolved.ttl_s.into()).clamp(LEAST, LONGEST);
        let until = now.plus(life).wall;
        let known = self.claims.verdicts_of(&MapKey::Host(address.into())).find(|held| held.verdict.origin == origin);
        let of_entry = self.names.cut.get(&(list.to_string(), resolved.entry.clone())).copied().unwrap_or(0);
        match known {
            // Nothing is gained by writing the same again for each question.
            Some(known) if known.verdict.until.is_none_or(|old| old.0 >= now.plus(life / 2).wall.0) => {
                return Ok(Some(known.id));
            }
            Some(_) => {}
            None if of_entry >= MOST_OF_ENTRY => return Err(Refusal::ManyAddresses { name, limit: MOST_OF_ENTRY }),
            None if self.names.cut.values().sum::<usize>() >= MOST => {
                return Err(Refusal::ManyAddresses { name, limit: MOST });
            }
            None => {}
        }
        let verdict = Verdict {
            target: Target::Host { address },
            response: held.response,
            until: Some(until),
            origin,
            reason: format!("{name} has this address"),
            shadow: held.shadow,
        };
        // Written to disk at the next tick: a busy name would have the disk work without end.
        let added = self.put_verdict(verdict, false, now)?;
        Ok(Some(added.id))
    }

    fn allow_resolved(&mut self, resolved: &Resolved, now: Now) -> Result<(), Refusal> {
        let Ok(list) = resolved.list.parse::<ListName>() else { return Ok(()) };
        if !self.allows.contains_key(&list) {
            return Ok(());
        }
        let address = resolved.address.to_canonical();
        let life = Duration::from_secs(resolved.ttl_s.into()).clamp(LEAST, LONGEST);
        let until_ns = now.plus(life).wall.0;
        let (list, entry) = (resolved.list.to_string(), resolved.entry.clone());
        let known = self.names.allowed.get_mut(&address);
        if let Some(known) = known {
            known.until_ns = known.until_ns.max(until_ns);
            return Ok(());
        }
        if self.names.allowed.len() >= MOST_ALLOWED {
            return Err(Refusal::ManyAddresses { name: resolved.name.to_string(), limit: MOST_ALLOWED });
        }
        self.names.allowed.insert(address, Allowed { until_ns, list, entry });
        self.apply_allow_lists(now)
    }

    /// Tells the names of all lists to whoever hears DNS, and ends verdicts of names that are listed no longer.
    pub(super) fn publish_names(&mut self, now: Now) {
        let set = |list: &ListName, names: &Arc<netd_engine::listed::NameSet>| {
            (!names.is_empty()).then(|| Names { list: list.as_str().into(), names: Arc::clone(names) })
        };
        let single = |list: &ListName| {
            self.entries
                .get(list)
                .filter(|singles| !singles.names.is_empty())
                .map(|singles| Names { list: list.as_str().into(), names: Arc::new(singles.name_set()) })
        };
        let block = self.claims.lists().iter();
        let block = block.flat_map(|(list, held)| set(list, held.list.names()).into_iter().chain(single(list)));
        let allow = self.allows.iter().flat_map(|(list, held)| {
            set(list, held.list.names()).into_iter().chain(set(list, &Arc::new(held.single_names())))
        });
        let listed = Listed { block: block.collect(), allow: allow.collect() };
        self.end_unlisted(&listed, now);
        self.names.allowed.retain(|_, allowed| holds(&listed.allow, &allowed.list, &allowed.entry));
        self.names.listed.send_if_modified(|known| {
            let differs = **known != listed;
            *known = Arc::new(listed);
            differs
        });
    }

    fn end_unlisted(&mut self, listed: &Listed, now: Now) {
        let is_over = |origin: &Origin| match origin {
            Origin::List { list, name: Some(entry) } => !holds(&listed.block, list, entry),
            Origin::List { name: None, .. } | Origin::Finding { .. } | Origin::Manual => false,
        };
        let over = self.claims.verdicts().values().filter(|held| is_over(&held.verdict.origin)).map(|held| held.id);
        let over: Vec<_> = over.collect();
        if !over.is_empty()
            && let Err(refusal) = self.end(over, now)
        {
            tracing::warn!(%refusal, "verdicts of names that are listed no longer stay until they expire");
        }
    }

    /// Forgets addresses of allow-listed names whose time is over. Returns whether there were any.
    pub(super) fn expire_allowed(&mut self, now: Now) -> bool {
        let before = self.names.allowed.len();
        self.names.allowed.retain(|_, allowed| now.wall.0 < allowed.until_ns);
        self.names.allowed.len() < before
    }

    /// Counts a verdict that came or went, where it is about an address that a listed name has.
    pub(super) fn count_resolved(&mut self, origin: &Origin, came: bool) {
        let Origin::List { list, name: Some(entry) } = origin else { return };
        let count = self.names.cut.entry((list.clone(), entry.clone())).or_default();
        *count = if came { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.names.cut.remove(&(list.clone(), entry.clone()));
        }
    }
}

/// Returns whether a list still has an entry.
fn holds(lists: &[Names], list: &str, entry: &str) -> bool {
    let Ok(crate::verdicts::blocklist::EntryValue::Name(name, reach)) = entry.parse() else { return false };
    lists.iter().any(|names| &*names.list == list && names.names.has(&name, reach))
}
