//! The binary search tree in memory.

use super::MAX_NODES;
use super::ranges::Prefix;

/// Where a bit leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Child {
    #[default]
    Empty,
    Node(u32),
    /// What is known of these addresses, by index.
    Region(u32),
}

/// More nodes than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The tree: node 0 is its root, and nodes stand in the order of their first address.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<[Child; 2]>,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self { nodes: vec![[Child::Empty; 2]] }
    }

    pub(super) fn nodes(&self) -> &[[Child; 2]] {
        &self.nodes
    }

    /// Adds a prefix that no other covers.
    pub(super) fn insert(&mut self, prefix: &Prefix, bits: u32) -> Result<(), Full> {
        let bit = |depth: u32| usize::from(prefix.first >> (bits - 1 - depth) & 1 == 1);
        // The root has no record of its own: the whole address space is two halves.
        let Some(last) = prefix.length.checked_sub(1) else {
            self.nodes[0] = [Child::Region(prefix.region); 2];
            return Ok(());
        };
        let mut node = 0;
        for depth in 0..last {
            node = match self.nodes[node][bit(depth)] {
                Child::Node(next) => next as usize,
                Child::Empty | Child::Region(_) => {
                    let next = self.nodes.len();
                    if next >= MAX_NODES {
                        return Err(Full);
                    }
                    self.nodes.push([Child::Empty; 2]);
                    self.nodes[node][bit(depth)] = Child::Node(u32::try_from(next).map_err(|_| Full)?);
                    next
                }
            };
        }
        self.nodes[node][bit(last)] = Child::Region(prefix.region);
        Ok(())
    }
}
