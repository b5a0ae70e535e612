//! Ranges of addresses, and the prefixes they are made of.

/// A row: its first and last address, as places in the search tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u128,
    pub(super) last: u128,
    /// Index of what is known of it.
    pub(super) region: u32,
    pub(super) line: u64,
}

/// The addresses whose first `length` bits, of the tree's, are those of `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) first: u128,
    pub(super) length: u32,
    pub(super) region: u32,
}

/// Joins neighbours that say the same, in sorted ranges without overlap: fewer, larger prefixes.
pub(super) fn merged(ranges: &[Range]) -> impl Iterator<Item = Range> + '_ {
    let mut rest = ranges.iter().copied().peekable();
    std::iter::from_fn(move || {
        let mut range = rest.next()?;
        // IPv4 ends where IPv6 begins: they are neighbours in the tree, but not in any network.
        let joins = |range: &Range, next: &Range| {
            next.region == range.region
                && range.last.checked_add(1) == Some(next.first)
                && range.last != u128::from(u32::MAX)
        };
        while let Some(next) = rest.next_if(|next| joins(&range, next)) {
            range.last = next.last;
        }
        Some(range)
    })
}

/// Returns the fewest prefixes that make up a range, in ascending order; at most two a bit.
pub(super) fn prefixes(range: Range, bits: u32) -> impl Iterator<Item = Prefix> {
    let mut next = Some(range.first);
    std::iter::from_fn(move || {
        let first = next.filter(|first| *first <= range.last)?;
        // `None`: all 2^128 addresses, which only the whole of IPv6 has.
        let left = (range.last - first).checked_add(1);
        let fits = left.map_or(bits, u128::ilog2);
        let host_bits = first.trailing_zeros().min(fits).min(bits);
        next = 1_u128.checked_shl(host_bits).and_then(|size| first.checked_add(size));
        Some(Prefix { first, length: bits - host_bits, region: range.region })
    })
}
