//! The search tree's shape, checked before the reader's own verification walks it.
//!
//! The reader bounds the networks it yields, but not the steps between two of them: a few nodes that share their
//! children, ending in aliases of the IPv4 subtree (which it skips), would keep it busy for 2^96 steps.

use maxminddb::Metadata;

/// What is wrong with a search tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("nodes of its search tree are reached on several ways")]
    Shared,
    #[error("its search tree is deeper than an address has bits")]
    Deep,
    #[error("its search tree ends beyond the file")]
    Truncated,
}

/// Returns how many networks with data the tree has, aliases of the IPv4 subtree not counted.
///
/// A tree of n nodes has 2n + 1 records, which is also the bound on the steps made here.
pub(crate) fn check(file: &[u8], metadata: &Metadata) -> Result<u64, Flaw> {
    let tree = Tree { file, nodes: metadata.node_count, record_size: metadata.record_size };
    let bits: u8 = if metadata.ip_version == 6 { 128 } else { 32 };
    let ipv4_start = if bits == 128 { Some(tree.ipv4_start()?) } else { None };
    let budget = 2 * u64::from(tree.nodes) + 1;
    let (mut steps, mut networks) = (0_u64, 0_u64);
    // Each entry: a record, its depth, and whether the first 96 bits to it are zeros: IPv4 itself, not an alias.
    let mut stack = vec![(0_u32, 0_u8, true)];
    while let Some((record, depth, zeros)) = stack.pop() {
        steps += 1;
        if steps > budget {
            return Err(Flaw::Shared);
        }
        if !zeros && ipv4_start.is_some_and(|start| start != 0 && start == record) {
            continue;
        }
        if record >= tree.nodes {
            networks += u64::from(record > tree.nodes);
            continue;
        }
        if depth >= bits {
            return Err(Flaw::Deep);
        }
        let [left, right] = tree.node(record)?;
        stack.push((right, depth + 1, zeros && depth >= 96));
        stack.push((left, depth + 1, zeros));
    }
    Ok(networks)
}

struct Tree<'a> {
    file: &'a [u8],
    nodes: u32,
    /// Bits: 24, 28 or 32.
    record_size: u16,
}

impl Tree<'_> {
    fn node(&self, number: u32) -> Result<[u32; 2], Flaw> {
        let size = usize::from(self.record_size) / 4;
        let start = (number as usize).checked_mul(size).ok_or(Flaw::Truncated)?;
        let bytes = start.checked_add(size).and_then(|end| self.file.get(start..end)).ok_or(Flaw::Truncated)?;
        match *bytes {
            [a, b, c, d, e, f] => Ok([word([0, a, b, c]), word([0, d, e, f])]),
            [a, b, c, both, d, e, f] => Ok([word([both >> 4, a, b, c]), word([both & 0xf, d, e, f])]),
            [a, b, c, d, e, f, g, h] => Ok([word([a, b, c, d]), word([e, f, g, h])]),
            _ => Err(Flaw::Truncated),
        }
    }

    /// Returns the record that 96 zeros lead to.
    fn ipv4_start(&self) -> Result<u32, Flaw> {
        let mut record = 0;
        for _ in 0..96 {
            if record >= self.nodes {
                break;
            }
            [record, _] = self.node(record)?;
        }
        Ok(record)
    }
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}
