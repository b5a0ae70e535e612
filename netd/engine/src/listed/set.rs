//! A set of names that stays small: text in one piece, and an index of four bytes a slot.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use crate::feed::Reach;
use crate::name::LONGEST_NAME;

const ITSELF: u8 = 1;
const BELOW: u8 = 2;
/// An empty slot of the index.
const EMPTY: u32 = u32::MAX;

/// Names and which others each stands for, in order. About 35 bytes a name.
#[derive(Clone, Default)]
pub struct NameSet {
    text: Box<str>,
    /// Where each name ends in `text`.
    ends: Box<[u32]>,
    reach: Box<[u8]>,
    /// Open addressing, at most half full. Seeded, because a feed may be hostile.
    slots: Box<[u32]>,
    seed: RandomState,
}

/// A name of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName<'a> {
    pub name: &'a str,
    pub reach: Reach,
}

impl NameSet {
    /// Returns the set of these names; what says the same twice is one name. Names beyond 4 GB of text are left out.
    #[must_use]
    pub fn new(mut names: Vec<(Box<str>, Reach)>) -> Self {
        names.sort_unstable();
        let mut text = String::new();
        let (mut ends, mut reach) = (Vec::<u32>::new(), Vec::<u8>::new());
        let mut last: Option<Box<str>> = None;
        for (name, of_name) in names {
            if last.as_deref() == Some(&*name) {
                if let Some(bits) = reach.last_mut() {
                    *bits |= bits_of(of_name);
                }
                continue;
            }
            text.push_str(&name);
            let Ok(end) = u32::try_from(text.len()) else { break };
            ends.push(end);
            reach.push(bits_of(of_name));
            last = Some(name);
        }
        let mut set = Self {
            text: text.into(),
            ends: ends.into(),
            reach: reach.into(),
            slots: Box::default(),
            seed: RandomState::new(),
        };
        set.index();
        set
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the names, in order.
    pub fn iter(&self) -> impl Iterator<Item = SetName<'_>> {
        (0..self.len()).filter_map(|at| self.at(at))
    }

    /// Returns the entry that stands for `name` (lower case, without a final dot): its own, else the nearest above it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<SetName<'_>> {
        if self.is_empty() || name.len() > LONGEST_NAME {
            return None;
        }
        let own = self.position(name).filter(|at| self.stands(*at, ITSELF));
        own.or_else(|| {
            let parents = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            parents.filter_map(|parent| self.position(parent)).find(|at| self.stands(*at, BELOW))
        })
        .and_then(|at| self.at(at))
    }

    /// Returns whether the set has this very name with this very reach.
    #[must_use]
    pub fn has(&self, name: &str, reach: Reach) -> bool {
        self.position(name).is_some_and(|at| self.reach.get(at) == Some(&bits_of(reach)))
    }

    /// Returns how many names came, went and stayed if `new` took this set's place.
    #[must_use]
    pub fn difference(&self, new: &Self) -> (u64, u64, u64) {
        let stayed = new.iter().filter(|name| self.has(name.name, name.reach)).count() as u64;
        (new.len() as u64 - stayed, self.len() as u64 - stayed, stayed)
    }

    /// Returns the bytes that the set takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * 4 + self.reach.len() + self.slots.len() * 4
    }

    fn index(&mut self) {
        let size = (self.len() * 2).next_power_of_two();
        if self.is_empty() || u32::try_from(size).is_err() {
            return;
        }
        let mut slots = vec![EMPTY; size].into_boxed_slice();
        for at in 0..self.len() {
            let Some(SetName { name, .. }) = self.at(at) else { continue };
            let mut slot = self.slot(name, size);
            while slots.get(slot).is_some_and(|taken| *taken != EMPTY) {
                slot = (slot + 1) & (size - 1);
            }
            if let Some(free) = slots.get_mut(slot) {
                *free = at as u32;
            }
        }
        self.slots = slots;
    }

    fn slot(&self, name: &str, size: usize) -> usize {
        self.seed.hash_one(name) as usize & (size - 1)
    }

    fn position(&self, name: &str) -> Option<usize> {
        let size = self.slots.len();
        if size == 0 {
            return None;
        }
        let mut slot = self.slot(name, size);
        loop {
            match *self.slots.get(slot)? {
                EMPTY => return None,
                at if self.name(at as usize) == Some(name) => return Some(at as usize),
                _ => slot = (slot + 1) & (size - 1),
            }
        }
    }

    fn stands(&self, at: usize, bit: u8) -> bool {
        self.reach.get(at).is_some_and(|bits| bits & bit != 0)
    }

    fn name(&self, at: usize) -> Option<&str> {
        let from = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(from as usize..*self.ends.get(at)? as usize)
    }

    fn at(&self, at: usize) -> Option<SetName<'_>> {
        let reach = match *self.reach.get(at)? {
            ITSELF => Reach::Itself,
            BELOW => Reach::Below,
            _ => Reach::Whole,
        };
        Some(SetName { name: self.name(at)?, reach })
    }
}

const fn bits_of(reach: Reach) -> u8 {
    match reach {
        Reach::Itself => ITSELF,
        Reach::Below => BELOW,
        Reach::Whole => ITSELF | BELOW,
    }
}

impl PartialEq for NameSet {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.ends, &self.reach) == (&other.text, &other.ends, &other.reach)
    }
}

impl Eq for NameSet {}

impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|name| name.to_string())).finish()
    }
}

/// As it is read: `name`, `*.name`, `.name`.
impl fmt::Display for SetName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.reach {
            Reach::Itself => "",
            Reach::Below => "*.",
            Reach::Whole => ".",
        };
        write!(f, "{before}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(names: &[(&str, Reach)]) -> NameSet {
        NameSet::new(names.iter().map(|(name, reach)| ((*name).into(), *reach)).collect())
    }

    fn found(set: &NameSet, name: &str) -> Option<String> {
        set.find(name).map(|name| name.to_string())
    }

    #[test]
    fn a_name_stands_for_itself_for_what_is_below_or_for_both() {
        let set = set(&[("a.example", Reach::Itself), ("b.example", Reach::Below), ("c.example", Reach::Whole)]);

        assert_eq!(found(&set, "a.example").as_deref(), Some("a.example"));
        assert_eq!(found(&set, "x.a.example"), None);
        assert_eq!(found(&set, "b.example"), None);
        assert_eq!(found(&set, "y.x.b.example").as_deref(), Some("*.b.example"));
        assert_eq!(found(&set, "c.example").as_deref(), Some(".c.example"));
        assert_eq!(found(&set, "x.c.example").as_deref(), Some(".c.example"));
        assert_eq!(found(&set, "notc.example"), None);
        assert_eq!(found(&set, ""), None);
    }

    #[test]
    fn what_is_said_in_two_ways_is_one_name() {
        let set = set(&[("a.example", Reach::Below), ("a.example", Reach::Itself), ("a.example", Reach::Itself)]);

        assert_eq!(set.iter().map(|name| name.to_string()).collect::<Vec<_>>(), [".a.example"]);
    }

    #[test]
    fn a_difference_counts_what_came_went_and_stayed() {
        let old = set(&[("a.example", Reach::Itself), ("b.example", Reach::Itself)]);
        let new = set(&[("b.example", Reach::Itself), ("a.example", Reach::Whole), ("c.example", Reach::Itself)]);

        assert_eq!(old.difference(&new), (2, 1, 1));
        assert_ne!(old, new);
    }

    #[test]
    fn a_million_names_take_less_than_fifty_megabytes() {
        let names =
            (0..1_000_000).map(|n| (format!("host-{n}.example-{}.net", n % 977).into(), Reach::Whole)).collect();

        let set = NameSet::new(names);

        assert_eq!(set.len(), 1_000_000);
        assert!(set.find("www.host-77777.example-594.net").is_some());
        assert!(set.bytes() < 50 << 20, "{}", set.bytes());
    }

    proptest! {
        #[test]
        fn a_set_answers_as_a_map_would(
            names in prop::collection::vec(("[ab]{1,2}(\\.[ab]{1,2}){0,3}", 0_u8..3), 0..40),
            asked in "[ab]{1,2}(\\.[ab]{1,2}){0,4}",
        ) {
            let reach = |n| [Reach::Itself, Reach::Below, Reach::Whole][usize::from(n)];
            let set = NameSet::new(names.iter().map(|(name, n)| (name.as_str().into(), reach(*n))).collect());
            let mut map = BTreeMap::<&str, u8>::new();
            for (name, n) in &names {
                *map.entry(name).or_default() |= bits_of(reach(*n));
            }

            let itself = map.get(asked.as_str()).is_some_and(|bits| bits & ITSELF != 0);
            let parents = asked.match_indices('.').map(|(dot, _)| &asked[dot + 1..]);
            let expected = itself || parents.into_iter().any(|name| map.get(name).is_some_and(|bits| bits & BELOW != 0));
            prop_assert_eq!(set.find(&asked).is_some(), expected);
            prop_assert_eq!(set.len(), map.len());
        }
    }
}
