//! What is enforced about one address: which verdicts, lists and guards hold it.

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
        let lists = self
            .claims
            .lists()
            .iter()
            .filter(|(_, held)| held.list.lists(&item) || item.enclosing().any(|prefix| held.list.lists(&prefix)));
        Coverage {
            verdicts: newest.map(|held| self.entry(held, now)).collect(),
            lists: lists.map(|(name, _)| name.to_string()).collect(),
            protected_by: self.protected.shield(&item),
        }
    }
}
