//! What tells two lists apart: their tags, and what changes when one replaces the other.

use std::cmp::Ordering;

use netd_engine::verdict::Response;
use zerocopy::IntoBytes as _;

use super::{Item, List};

/// What changes when one list replaces another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<Item>,
    pub removed: Vec<Item>,
    pub unchanged: u64,
    /// Names that came, went and stayed.
    pub names: (u64, u64, u64),
}

/// How much changes when one list replaces another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub added: u64,
    pub removed: u64,
    pub unchanged: u64,
}

impl List {
    /// Returns how much changes when `new` replaces this list.
    #[must_use]
    pub fn compare(&self, new: &Self) -> Change {
        let mut change = Change::default();
        count(&self.hosts, &new.hosts, &mut change);
        count(&self.others, &new.others, &mut change);
        change
    }

    /// Returns what changes when `new` replaces this list.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference = Difference { names: self.names.difference(&new.names), ..Difference::default() };
        let (mut old, mut new) = (self.iter().peekable(), new.iter().peekable());
        loop {
            match (old.peek(), new.peek()) {
                (Some(a), Some(b)) if a == b => {
                    difference.unchanged += 1;
                    old.next();
                    new.next();
                }
                (Some(a), Some(b)) if a < b => difference.removed.extend(old.next()),
                (Some(_), Some(_)) | (None, Some(_)) => difference.added.extend(new.next()),
                (Some(_), None) => difference.removed.extend(old.next()),
                (None, None) => return difference,
            }
        }
    }

    /// Returns the strong entity tag of the list with what it does: equal content, equal tag.
    #[must_use]
    pub fn tag(&self, response: Response, shadow: bool) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{response:?} {shadow}").as_bytes());
        hasher.update(&(self.hosts.len() as u64).to_be_bytes());
        hasher.update(self.hosts.as_bytes());
        hasher.update(self.others.as_bytes());
        for name in self.names.iter() {
            hasher.update(name.to_string().as_bytes()).update(b"\n");
        }
        format!("\"b3-{}\"", &hasher.finalize().to_hex()[..32])
    }
}

/// Adds up what changes between two sorted slices.
fn count<T: Ord>(old: &[T], new: &[T], change: &mut Change) {
    let (mut o, mut n) = (0, 0);
    let mut unchanged = 0;
    while let (Some(a), Some(b)) = (old.get(o), new.get(n)) {
        match a.cmp(b) {
            Ordering::Less => o += 1,
            Ordering::Greater => n += 1,
            Ordering::Equal => {
                unchanged += 1;
                o += 1;
                n += 1;
            }
        }
    }
    change.unchanged += unchanged;
    change.removed += old.len() as u64 - unchanged;
    change.added += new.len() as u64 - unchanged;
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

            prop_assert_eq!(List::new(difference.added.clone()), of(&new.difference(&old).copied().collect()));
            prop_assert_eq!(List::new(difference.removed.clone()), of(&old.difference(&new).copied().collect()));
            prop_assert_eq!(difference.unchanged, old.intersection(&new).count() as u64);
            let change = of(&old).compare(&of(&new));
            prop_assert_eq!(change.added, new.difference(&old).count() as u64);
            prop_assert_eq!(change.removed, old.difference(&new).count() as u64);
            prop_assert_eq!(change.unchanged, difference.unchanged);
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
