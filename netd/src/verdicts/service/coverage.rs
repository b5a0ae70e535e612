//! What is enforced about one address: which verdicts, lists and guards hold it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Service;
use crate::verdicts::blocklist::Item;
use crate::verdicts::clock::Now;
use crate::verdicts::maps::Maps;
use crate::verdicts::target;
use crate::verdicts::view::Coverage;

/// Verdicts told of one address at most.
const MOST: usize = 100;

impl<M: Maps> Service<M> {
    /// Returns what holds an address; see [`crate::verdicts::Handle::coverage`].
    #[must_use]
    pub fn coverage(&self, address: IpAddr, now: Now) -> Coverage {
        let item = Item::host(address);
        let holds = |held: &&super::Held| target::ends(&held.verdict.target).iter().any(|end| end.contains(&item));
        let newest = self.claims.verdicts().values().rev().filter(holds).take(MOST);
        let lists = self.lists_of_address(address, now).into_iter().filter(|found| !found.is_allow);
        let lists: BTreeSet<String> = lists.map(|found| found.list).collect();
        Coverage {
            verdicts: newest.map(|held| self.entry(held, now)).collect(),
            lists: lists.into_iter().collect(),
            protected_by: self.protected.shield(&item),
        }
    }
}
