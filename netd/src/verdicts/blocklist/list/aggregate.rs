//! Merges entries that mean the same.

use std::sync::Arc;

use super::{Item, List};

impl List {
    /// Merges what means the same: items inside the list's own prefixes go, halves become their whole up to the widths
    /// that `is_too_wide` allows. Returns how many items fewer there are.
    pub fn aggregate(&mut self, is_too_wide: impl Fn(&Item) -> bool) -> usize {
        let before = self.len();
        let items = std::mem::take(self);
        let mut merged: Vec<Item> = Vec::with_capacity(items.others.len());
        let (mut hosts, mut others) = (Vec::with_capacity(items.hosts.len()), Vec::new());
        let mut flush = |stack: &mut Vec<Item>, keep: usize| {
            for item in stack.drain(..stack.len().saturating_sub(keep)) {
                match item.v4_host() {
                    Some(host) => hosts.push(host),
                    None => others.push(item),
                }
            }
        };
        // In order a prefix comes before all that lies in it: the address is the same or less, the bits are fewer.
        for mut item in items.iter() {
            if merged.last().is_some_and(|last| last.contains(&item)) {
                continue;
            }
            while let Some(last) = merged.last()
                && let Some(whole) = last.joined_with(&item)
                && !is_too_wide(&whole)
            {
                merged.pop();
                item = whole;
            }
            merged.push(item);
            // Halves that wait for their other one are at most as many as an address has bits.
            if merged.len() > 4_096 {
                flush(&mut merged, 256);
            }
        }
        flush(&mut merged, 0);
        *self = Self::packed(hosts, others).with_names(Arc::clone(&items.names));
        before - self.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{of_texts, shown};
    use super::*;

    #[test]
    fn what_means_the_same_is_merged_up_to_the_allowed_width() {
        let mut list = of_texts(&[
            "192.0.2.0/25",
            "192.0.2.128/25",
            "192.0.2.7",
            "198.51.100.0",
            "198.51.100.1",
            "198.51.100.2",
            "0.0.0.0/8",
            "1.0.0.0/8",
            "2001:db8::",
            "2001:db8::1",
            "2001:db8:1::/48",
        ]);

        let fewer = list.aggregate(|item| item.is_v4() && item.parts().1 < 96 + 8);

        assert_eq!(fewer, 4);
        let expected = [
            "0.0.0.0/8",
            "1.0.0.0/8",
            "192.0.2.0/24",
            "198.51.100.0/31",
            "198.51.100.2",
            "2001:db8::/127",
            "2001:db8:1::/48",
        ];
        assert_eq!(shown(&list), shown(&of_texts(&expected)));
    }

    proptest! {
        #[test]
        fn an_aggregated_list_names_the_same_addresses(numbers in proptest::collection::btree_set(0_u32..300, 0..200)) {
            let hosts: Vec<_> = numbers.iter().map(|n| Item::from_v4_host(0xc000_0200 + n)).collect();
            let mut list = List::new(hosts);

            list.aggregate(|_| false);

            let named = |n: u32| list.iter().any(|item| item.contains(&Item::from_v4_host(0xc000_0200 + n)));
            prop_assert!((0..300).all(|n| named(n) == numbers.contains(&n)));
            prop_assert!(list.len() <= numbers.len());
        }
    }
}
