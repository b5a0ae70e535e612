//! Bounds-checked reads from a packet: the one thing that differs between kernel and host.

/// Bytes of one packet, from its first captured byte.
pub trait Bytes {
    /// Returns `N` bytes from `offset`, or `None` if the packet is too short.
    ///
    /// One call is one bounds check; the kernel's reader checks a packet pointer against the packet's end, which the
    /// verifier can follow where it cannot follow slices.
    fn block<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// Returns `offset` with its history forgotten; the host has none.
    ///
    /// The verifier follows every value a variable can have on every path. Where paths join again it must be told
    /// that they do, or it walks what follows once for each.
    #[inline(always)]
    fn joined(&self, offset: usize) -> usize {
        offset
    }
}

impl Bytes for [u8] {
    #[inline(always)]
    fn block<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.get(offset..)?.first_chunk()
    }
}
