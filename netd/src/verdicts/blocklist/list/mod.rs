//! A block-list's content.

mod aggregate;
mod compare;

use std::fmt::Write as _;
use std::sync::Arc;

use netd_engine::listed::NameSet;

pub use self::compare::{Change, Difference};
use super::item::Item;

/// Distinct items in order, packed: four bytes an IPv4 host, 17 anything else. Comparing two lists is one walk over both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// IPv4 hosts, in order.
    hosts: Vec<u32>,
    /// All other items, in order.
    others: Vec<Item>,
    /// How many of `others` are hosts, and how many IPv4.
    other_hosts: usize,
    other_v4: usize,
    /// Names: they act through the addresses that DNS gives them.
    names: Arc<NameSet>,
}

/// A list in the making: items in any order, any number of times.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    hosts: Vec<u32>,
    others: Vec<Item>,
}

/// A place in a list, for walks that pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    host: usize,
    other: usize,
}

impl Builder {
    pub fn push(&mut self, item: Item) {
        match item.v4_host() {
            Some(host) => self.hosts.push(host),
            None => self.others.push(item),
        }
    }

    /// Returns how many items there are, equal ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len() + self.others.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the list; the second of a pair of equals is dropped.
    #[must_use]
    pub fn finish(self) -> List {
        let Self { mut hosts, mut others } = self;
        hosts.sort_unstable();
        hosts.dedup();
        hosts.shrink_to_fit();
        others.sort_unstable();
        others.dedup();
        others.shrink_to_fit();
        List::packed(hosts, others)
    }
}

impl List {
    /// Returns the list of these items; the second of a pair of equals is dropped.
    #[must_use]
    pub fn new(items: impl IntoIterator<Item = Item>) -> Self {
        let mut builder = Builder::default();
        items.into_iter().for_each(|item| builder.push(item));
        builder.finish()
    }

    /// Returns the list with these names beside its items.
    #[must_use]
    pub fn with_names(self, names: Arc<NameSet>) -> Self {
        Self { names, ..self }
    }

    /// Returns the names; they act through the addresses that DNS gives them.
    #[must_use]
    pub fn names(&self) -> &Arc<NameSet> {
        &self.names
    }

    /// Returns how many entries there are, names included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.len() as u64 + self.names.len() as u64
    }

    /// Returns the list as text, an entry a line, as it is read.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.len() * 16);
        for item in self.iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{item}");
        }
        self.write_names(&mut text);
        text
    }

    /// Adds the names, one a line.
    pub fn write_names(&self, text: &mut String) {
        for name in self.names.iter() {
            let _ = writeln!(text, "{name}");
        }
    }

    /// Takes what [`List::parts`] gave: both in order, without equals; `None` where they are not.
    #[must_use]
    pub fn from_parts(hosts: Vec<u32>, others: Vec<Item>) -> Option<Self> {
        let in_order = hosts.is_sorted_by(|a, b| a < b) && others.is_sorted_by(|a, b| a < b);
        let apart = others.iter().all(|item| item.v4_host().is_none());
        (in_order && apart).then(|| Self::packed(hosts, others))
    }

    fn packed(hosts: Vec<u32>, others: Vec<Item>) -> Self {
        let mut list = Self { hosts, others, other_hosts: 0, other_v4: 0, names: Arc::default() };
        list.count_others();
        list
    }

    fn count_others(&mut self) {
        self.other_hosts = self.others.iter().filter(|item| item.is_host()).count();
        self.other_v4 = self.others.iter().filter(|item| item.is_v4()).count();
    }

    /// Returns IPv4 hosts and all other items, each in order.
    #[must_use]
    pub fn parts(&self) -> (&[u32], &[Item]) {
        (&self.hosts, &self.others)
    }

    /// Iterates over the items, in order.
    pub fn iter(&self) -> impl Iterator<Item = Item> + Clone + '_ {
        let mut position = Position::default();
        std::iter::from_fn(move || {
            let item = self.at(position)?;
            self.pass(&mut position, &item);
            Some(item)
        })
    }

    /// Returns how many items there are; names do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len() + self.others.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// Keeps the items that `keep` accepts, and every name.
    pub fn retain(&mut self, mut keep: impl FnMut(&Item) -> bool) {
        self.hosts.retain(|host| keep(&Item::from_v4_host(*host)));
        self.others.retain(keep);
        self.count_others();
    }

    /// Returns how many items are single addresses.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len() + self.other_hosts
    }

    /// Returns how many items are IPv4.
    #[must_use]
    pub const fn v4(&self) -> usize {
        self.hosts.len() + self.other_v4
    }

    /// Returns the item at a place of a walk.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<Item> {
        let host = self.hosts.get(position.host).map(|host| Item::from_v4_host(*host));
        let other = self.others.get(position.other).copied();
        match (host, other) {
            (Some(host), Some(other)) => Some(host.min(other)),
            (host, other) => host.or(other),
        }
    }

    /// Moves a walk on, past the item that is at its place.
    pub fn pass(&self, position: &mut Position, item: &Item) {
        match item.v4_host() {
            Some(_) => position.host += 1,
            None => position.other += 1,
        }
    }

    /// Returns whether the item itself is listed; a wider prefix that holds it does not count.
    #[must_use]
    pub fn lists(&self, item: &Item) -> bool {
        match item.v4_host() {
            Some(host) => self.hosts.binary_search(&host).is_ok(),
            None => self.others.binary_search(item).is_ok(),
        }
    }

    /// Takes out all that lies in `outer`, and returns it.
    pub fn take_within(&mut self, outer: &Item) -> Vec<Item> {
        let mut taken = Vec::new();
        if outer.is_v4() {
            let (first, last) = outer.v4_range();
            let range =
                self.hosts.partition_point(|host| *host < first)..self.hosts.partition_point(|host| *host <= last);
            taken.extend(self.hosts.drain(range).map(Item::from_v4_host));
        }
        let from = self.others.partition_point(|item| item.range().0 < outer.range().0);
        let until = self.others.partition_point(|item| item.range().0 <= outer.range().1);
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for item in &self.others[from..until] {
            if outer.contains(item) { gone.push(*item) } else { kept.push(*item) }
        }
        if !gone.is_empty() {
            self.other_hosts -= gone.iter().filter(|item| item.is_host()).count();
            self.other_v4 -= gone.iter().filter(|item| item.is_v4()).count();
            self.others.splice(from..until, kept);
            taken.extend(gone);
        }
        taken
    }

    /// Iterates over all that lies in `outer`.
    pub fn within(&self, outer: Item) -> impl Iterator<Item = Item> + '_ {
        let hosts = match outer.is_v4() {
            true => {
                let (first, last) = outer.v4_range();
                self.hosts.partition_point(|host| *host < first)..self.hosts.partition_point(|host| *host <= last)
            }
            false => 0..0,
        };
        let from = self.others.partition_point(|item| item.range().0 < outer.range().0);
        let until = self.others.partition_point(|item| item.range().0 <= outer.range().1);
        let others = self.others[from..until].iter().copied().filter(move |item| outer.contains(item));
        self.hosts[hosts].iter().copied().map(Item::from_v4_host).chain(others)
    }

    /// Takes out the prefixes that `is_wrong` picks, and returns them.
    pub fn take_prefixes(&mut self, mut is_wrong: impl FnMut(&Item) -> bool) -> Vec<Item> {
        let taken: Vec<_> = self.others.extract_if(.., |item| !item.is_host() && is_wrong(item)).collect();
        self.other_v4 -= taken.iter().filter(|item| item.is_v4()).count();
        taken
    }
}

impl FromIterator<Item> for List {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self::new(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        text.parse().unwrap()
    }

    pub(super) fn shown(list: &List) -> Vec<String> {
        list.iter().map(|item| item.to_string()).collect()
    }

    pub(super) fn of_texts(texts: &[&str]) -> List {
        texts.iter().map(|text| item(text)).collect()
    }

    #[test]
    fn items_come_in_order_whatever_they_are() {
        let list = of_texts(&["2001:db8::1", "192.0.2.9", "192.0.2.0/24", "192.0.2.0", "10.0.0.0/8", "2001:db8::/32"]);

        assert!(list.iter().is_sorted());
        assert_eq!(list.len(), 6);
        assert_eq!((list.hosts(), list.v4()), (3, 4));
        assert!(list.iter().all(|item| list.lists(&item)));
        assert!(!list.lists(&item("192.0.2.1")));
    }

    #[test]
    fn what_lies_in_a_range_is_taken_and_nothing_else() {
        let mut list = of_texts(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3",
            "10.2.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "2001:db8::1",
            "10.0.0.0/9",
        ]);

        let taken = list.take_within(&item("10.0.0.0/9"));

        assert_eq!(shown(&List::new(taken)), ["10.0.0.0/9", "10.1.0.0/16", "10.1.2.3", "10.2.0.0"]);
        assert_eq!(shown(&list), ["9.255.255.255", "10.0.0.0/8", "11.0.0.0", "2001:db8::1"]);
        assert_eq!(list.hosts(), 3);
    }
}
