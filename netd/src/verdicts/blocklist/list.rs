//! A block-list's content.

use std::fmt::Write as _;
use std::sync::Arc;

use netd_engine::listed::NameSet;
use netd_engine::verdict::Response;

use super::item::Item;

/// Distinct items in order: 17 bytes each, and comparing two lists is one walk over both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    items: Vec<Item>,
    names: Arc<NameSet>,
}

/// What changes when one list replaces another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<Item>,
    pub removed: Vec<Item>,
    pub unchanged: u64,
    /// Names that came, went and stayed.
    pub names: (u64, u64, u64),
}

impl List {
    /// Returns the list of these items; the second of a pair of equals is dropped.
    #[must_use]
    pub fn new(mut items: Vec<Item>) -> Self {
        items.sort_unstable();
        items.dedup();
        items.shrink_to_fit();
        Self { items, names: Arc::default() }
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

    /// Returns how many entries there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items.len() as u64 + self.names.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the list as text, an entry a line, as it is read.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.items.len() * 16);
        for item in &self.items {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{item}");
        }
        for name in self.names.iter() {
            let _ = writeln!(text, "{name}");
        }
        text
    }

    /// Returns the items, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Returns whether the item itself is listed; a wider prefix that holds it does not count.
    #[must_use]
    pub fn lists(&self, item: &Item) -> bool {
        self.items.binary_search(item).is_ok()
    }

    /// Keeps only the items that `keep` accepts.
    pub fn retain(&mut self, keep: impl FnMut(&Item) -> bool) {
        self.items.retain(keep);
    }

    /// Returns what changes when `new` replaces this list.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference = Difference { names: self.names.difference(&new.names), ..Difference::default() };
        let (mut old, mut new) = (self.items.iter().peekable(), new.items.iter().peekable());
        loop {
            match (old.peek(), new.peek()) {
                (Some(a), Some(b)) if a == b => {
                    difference.unchanged += 1;
                    old.next();
                    new.next();
                }
                (Some(a), Some(b)) if a < b => difference.removed.extend(old.next().copied()),
                (Some(_), Some(_)) | (None, Some(_)) => difference.added.extend(new.next().copied()),
                (Some(_), None) => difference.removed.extend(old.next().copied()),
                (None, None) => return difference,
            }
        }
    }

    /// Returns the strong entity tag of the list with what it does: equal content, equal tag.
    #[must_use]
    pub fn tag(&self, response: Response, shadow: bool) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{response:?} {shadow}").as_bytes());
        for item in &self.items {
            let (address, bits) = item.parts();
            hasher.update(&address.0).update(&[bits]);
        }
        for name in self.names.iter() {
            hasher.update(name.to_string().as_bytes()).update(b"\n");
        }
        format!("\"b3-{}\"", &hasher.finalize().to_hex()[..32])
    }
}

impl FromIterator<Item> for List {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self::new(items.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn list() -> impl Strategy<Value = BTreeSet<u8>> {
        proptest::collection::btree_set(any::<u8>(), 0..40)
    }

    fn of(numbers: &BTreeSet<u8>) -> List {
        numbers.iter().map(|n| Item::host([192, 0, 2, *n].into())).collect()
    }

    proptest! {
        #[test]
        fn a_difference_is_the_difference_of_the_sets(old in list(), new in list()) {
            let difference = of(&old).difference(&of(&new));

            prop_assert_eq!(List::new(difference.added), of(&new.difference(&old).copied().collect()));
            prop_assert_eq!(List::new(difference.removed), of(&old.difference(&new).copied().collect()));
            prop_assert_eq!(difference.unchanged, old.intersection(&new).count() as u64);
        }

        #[test]
        fn equal_content_has_an_equal_tag(old in list(), new in list()) {
            let tag = |numbers| of(numbers).tag(Response::Drop, false);

            prop_assert_eq!(tag(&old) == tag(&new), old == new);
        }
    }

    #[test]
    fn a_list_that_does_something_else_has_another_tag() {
        let list = List::default();

        assert_ne!(list.tag(Response::Drop, false), list.tag(Response::Reset, false));
        assert_ne!(list.tag(Response::Drop, false), list.tag(Response::Drop, true));
    }
}
