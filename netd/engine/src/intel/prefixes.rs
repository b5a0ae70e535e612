//! Prefixes, found by binary search.

use std::net::IpAddr;

use ipnet::IpNet;

/// Prefixes by first address. Nested ones are found by walking to what encloses them.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    sorted: Vec<Listed>,
    fresh: Vec<(IpNet, u16)>,
}

#[derive(Debug)]
struct Listed {
    prefix: IpNet,
    list: u16,
    /// The narrowest prefix around this one.
    around: Option<u32>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, prefix: IpNet, list: u16) {
        self.fresh.push((prefix, list));
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.fresh.len()
    }

    /// Makes what was inserted findable.
    pub(super) fn settle(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let known = std::mem::take(&mut self.sorted).into_iter().map(|listed| (listed.prefix, listed.list));
        let mut all: Vec<(IpNet, u16)> = known.chain(std::mem::take(&mut self.fresh)).collect();
        // A prefix comes before those inside of it.
        all.sort_by_key(|(prefix, _)| (prefix.network(), prefix.prefix_len()));
        all.dedup_by_key(|(prefix, _)| *prefix);
        let mut open: Vec<u32> = Vec::new();
        for (at, (prefix, list)) in (0_u32..).zip(all) {
            while open.last().is_some_and(|last| !self.sorted[*last as usize].prefix.contains(&prefix)) {
                open.pop();
            }
            self.sorted.push(Listed { prefix, list, around: open.last().copied() });
            open.push(at);
        }
    }

    /// Returns the narrowest prefix that holds an address, and its list.
    pub(super) fn find(&self, address: IpAddr) -> Option<(IpNet, u16)> {
        let after = self.sorted.partition_point(|listed| listed.prefix.network() <= address);
        let mut next = after.checked_sub(1);
        while let Some(listed) = next.and_then(|at| self.sorted.get(at)) {
            if listed.prefix.contains(&address) {
                return Some((listed.prefix, listed.list));
            }
            next = listed.around.map(|at| at as usize);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_narrowest_is_found(nets in prop::collection::vec((any::<u32>(), 8_u8..=31), 1..60), at: u32, pick: bool) {
            let nets: Vec<IpNet> = nets.iter().map(|(address, bits)| {
                // Few first octets, so that prefixes nest.
                let address = IpAddr::from((address & 0x03ff_ffff).to_be_bytes());
                IpNet::new(address, *bits).unwrap().trunc()
            }).collect();
            let mut prefixes = Prefixes::default();
            for net in &nets {
                prefixes.insert(*net, 0);
            }
            prefixes.settle();
            let address = if pick { nets[at as usize % nets.len()].broadcast() } else { IpAddr::from((at & 0x03ff_ffff).to_be_bytes()) };

            let expected = nets.iter().filter(|net| net.contains(&address)).max_by_key(|net| net.prefix_len()).copied();
            prop_assert_eq!(prefixes.find(address).map(|(net, _)| net), expected);
        }
    }
}
