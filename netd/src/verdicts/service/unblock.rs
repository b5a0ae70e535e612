//! What hits an address or a name, and its undoing in one go.

use std::net::IpAddr;

use netd_engine::verdict::Target;

use super::Service;
use super::confirm::Subject;
use crate::verdicts::blocklist::{EntryValue, Item, ListName};
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::protect::Guard;
use crate::verdicts::refusal::Refusal;
use crate::verdicts::target;
use crate::verdicts::view::{ListMatch, Released};

impl<M: Maps> Service<M> {
    /// Releases every verdict about an address and takes every entry that covers it out of the block-lists.
    pub fn unblock(&mut self, address: IpAddr, now: Now) -> Result<Released, Refusal> {
        let item = Item::host(address);
        let mut released = Released::default();
        let covers = |target: &Target| target::ends(target).iter().any(|end| end.contains(&item));
        let verdicts = self.claims.verdicts().values().filter(|held| covers(&held.verdict.target));
        let ids: Vec<_> = verdicts.map(|held| held.id).collect();
        released.verdicts = ids.iter().filter_map(|id| self.verdict(*id, now).ok()).collect();
        for id in &ids {
            self.forget_promises(&Subject::Verdict(*id));
        }
        self.end(ids, now)?;
        for list in self.claims.lists().keys().cloned().collect::<Vec<_>>() {
            for covering in self.covering(&list, &item) {
                let value = EntryValue::Item(covering);
                self.take_entry(&list, &value, now)?;
                released.entries.push((list.to_string(), value));
            }
        }
        self.save(now);
        Ok(released)
    }

    /// Releases every verdict and removes every block-list.
    pub fn unblock_all(&mut self, now: Now) -> Result<Released, Refusal> {
        let ids: Vec<_> = self.claims.verdicts().keys().copied().collect();
        let mut released = Released {
            verdicts: ids.iter().filter_map(|id| self.verdict(*id, now).ok()).collect(),
            ..Released::default()
        };
        for id in &ids {
            self.forget_promises(&Subject::Verdict(*id));
        }
        self.end(ids, now)?;
        for list in self.claims.lists().keys().cloned().collect::<Vec<_>>() {
            self.drop_list(&list, now)?;
            released.lists.push(list.to_string());
        }
        self.save(now);
        Ok(released)
    }

    /// Returns which lists hold something that covers an address, by which entry and for what reason.
    #[must_use]
    pub fn lists_of_address(&self, address: IpAddr, now: Now) -> Vec<ListMatch> {
        let item = Item::host(address);
        let mut matches = Vec::new();
        for (list, held) in self.claims.lists() {
            for covering in self.covering(list, &item) {
                matches.push(ListMatch::new(list, false, &EntryValue::Item(covering), Some(held.response)));
            }
        }
        let singles = self.claims.verdicts().values().filter_map(|held| {
            let netd_engine::verdict::Origin::List { list, name } = &held.verdict.origin else { return None };
            let ends = target::ends(&held.verdict.target);
            let end = ends.iter().find(|end| end.contains(&item))?;
            Some(ListMatch {
                list: list.clone(),
                is_allow: false,
                entry: name.clone().unwrap_or_else(|| end.to_string()),
                reason: held.verdict.reason.clone(),
                until: held.verdict.until,
                response: Some(held.verdict.response),
            })
        });
        matches.extend(singles);
        for (list, value) in self.allowed_around(&item) {
            let note = self.allows.get(&list).and_then(|held| held.singles.get(&value));
            let mut found = ListMatch::new(&list, true, &value, None);
            if let Some(note) = note {
                (found.reason, found.until) = (note.reason.clone(), note.until);
            }
            matches.push(found);
        }
        if let Some(allowed) = self.names.allowed.get(&address.to_canonical()) {
            let until = Some(netd_engine::time::Timestamp(allowed.until_ns)).filter(|until| *until > now.wall);
            matches.push(ListMatch {
                list: allowed.list.clone(),
                is_allow: true,
                entry: allowed.entry.clone(),
                reason: "a name of the list has this address".to_owned(),
                until,
                response: None,
            });
        }
        matches
    }

    /// Returns which lists hold a name.
    #[must_use]
    pub fn lists_of_name(&self, name: &str) -> Vec<ListMatch> {
        let listed = self.listed().borrow().clone();
        let of = |lists: &[netd_engine::listed::Names], is_allow: bool| {
            let found = lists.iter().filter_map(|names| {
                let entry = names.names.find(name)?;
                let value = EntryValue::Name(entry.name.into(), entry.reach);
                let list: ListName = names.list.parse().ok()?;
                let response = self.claims.lists().get(&list).filter(|_| !is_allow).map(|held| held.response);
                let mut found = ListMatch::new(&list, is_allow, &value, response);
                let single = match is_allow {
                    false => self.single(&list, &value).map(|entry| (entry.reason, entry.until)),
                    true => {
                        let note = self.allows.get(&list)?.singles.get(&value);
                        note.map(|note| (note.reason.clone(), note.until))
                    }
                };
                if let Some((reason, until)) = single {
                    (found.reason, found.until) = (reason, until);
                }
                Some(found)
            });
            found.collect::<Vec<_>>()
        };
        let mut matches = of(&listed.block, false);
        matches.extend(of(&listed.allow, true));
        matches
    }

    /// Returns for each address why it keeps passing whatever is listed, if it does.
    #[must_use]
    pub fn shields(&self, addresses: &[IpAddr]) -> Vec<Option<Guard>> {
        addresses.iter().map(|address| self.protected.shield(&Item::host(*address))).collect()
    }

    /// Returns the items of a list's content that cover an item, the narrowest first.
    fn covering(&self, list: &ListName, item: &Item) -> Vec<Item> {
        let Some(held) = self.claims.lists().get(list) else { return Vec::new() };
        let candidates = std::iter::once(*item).chain(item.enclosing());
        candidates.filter(|candidate| held.list.lists(candidate)).collect()
    }
}
