//! The last gaps of a key, as x = ln d, in the order of time and in the order of size.

use serde::{Deserialize, Serialize};

/// What an empty slot holds: so far from every gap that no kernel reaches it.
const EMPTY: f32 = 1e6;

/// A ring of the last gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Kept", from = "Kept")]
pub(super) struct Window {
    slots: [f32; Self::LEN],
    /// Slots by size of their gap; the first `len` count.
    by_size: [u8; Self::LEN],
    next: u8,
    len: u8,
}

impl Window {
    pub(super) const LEN: usize = 64;

    pub(super) fn new() -> Self {
        Self { slots: [EMPTY; Self::LEN], by_size: [0; Self::LEN], next: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the gaps in no particular order.
    pub(super) fn filled(&self) -> &[f32] {
        &self.slots[..self.len()]
    }

    /// Returns every slot, the empty ones far from any gap.
    pub(super) fn slots(&self) -> &[f32; Self::LEN] {
        &self.slots
    }

    /// Returns the newest `n` gaps, oldest first.
    pub(super) fn last(&self, n: usize) -> impl Iterator<Item = f32> {
        let n = n.min(self.len());
        let first = usize::from(self.next) + Self::LEN - n;
        (first..first + n).map(|at| self.slots[at % Self::LEN])
    }

    pub(super) fn push(&mut self, x: f32) {
        let slot = self.next;
        let mut len = self.len();
        if len == Self::LEN {
            let rank = self.by_size.iter().position(|at| *at == slot).unwrap_or(0);
            self.by_size.copy_within(rank + 1.., rank);
            len -= 1;
        }
        let rank = self.rank(x, len);
        self.by_size.copy_within(rank..len, rank + 1);
        self.by_size[rank] = slot;
        self.slots[usize::from(slot)] = x;
        self.len = len as u8 + 1;
        self.next = (slot + 1) % Self::LEN as u8;
    }

    /// Returns how many gaps are below `x`.
    pub(super) fn below(&self, x: f32) -> usize {
        self.rank(x, self.len())
    }

    /// Returns the gap of which `rank` others are smaller.
    pub(super) fn ranked(&self, rank: usize) -> f32 {
        self.slots[usize::from(self.by_size[rank.min(Self::LEN - 1)])]
    }

    /// Returns the quantile `p` in 0..=1, the mean of the two nearest gaps if it lies between them; 0 of no gaps.
    pub(super) fn quantile(&self, p: f32) -> f32 {
        let Some(last) = self.len().checked_sub(1) else { return 0.0 };
        let at = p * last as f32;
        0.5 * (self.ranked(at as usize) + self.ranked(at.ceil() as usize))
    }

    fn rank(&self, x: f32, len: usize) -> usize {
        self.by_size[..len].partition_point(|at| self.slots[usize::from(*at)] < x)
    }
}

/// A window as it is kept: sums over slots are repeated to the last bit only if each gap has the slot it had.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Oldest first.
    gaps: Vec<f32>,
    next: u8,
}

impl From<Window> for Kept {
    fn from(window: Window) -> Self {
        Self { gaps: window.last(Window::LEN).collect(), next: window.next }
    }
}

impl From<Kept> for Window {
    fn from(kept: Kept) -> Self {
        let mut window = Self::new();
        let gaps = &kept.gaps[kept.gaps.len().saturating_sub(Self::LEN)..];
        if gaps.len() == Self::LEN {
            window.next = kept.next % Self::LEN as u8;
        }
        for x in gaps {
            window.push(*x);
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_orders_hold_the_last_gaps(gaps in prop::collection::vec(0.0_f32..10.0, 0..200), next: u8) {
            let window = Window::from(Kept { gaps: gaps.clone(), next });

            let last = &gaps[gaps.len().saturating_sub(Window::LEN)..];
            let mut sorted = last.to_vec();
            sorted.sort_by(f32::total_cmp);
            prop_assert_eq!(window.last(Window::LEN).collect::<Vec<_>>(), last);
            prop_assert_eq!((0..window.len()).map(|rank| window.ranked(rank)).collect::<Vec<_>>(), sorted);
        }
    }
}
