//! The last five minutes of anything that can be added up.

/// Panes of a window, and the time that each covers: the one that is filling and four whole ones.
const PANES: usize = 5;
const PANE_NS: u64 = 75_000_000_000;

/// A sliding window: between 300 and 375 seconds.
#[derive(Debug)]
pub(super) struct Window<T> {
    panes: [Option<Box<(u64, T)>>; PANES],
}

impl<T: Default> Window<T> {
    pub(super) const fn new() -> Self {
        Self { panes: [const { None }; PANES] }
    }

    /// Returns the pane that is filling.
    pub(super) fn now(&mut self, now_ns: u64) -> &mut T {
        let epoch = now_ns / PANE_NS;
        let pane = self.panes[epoch as usize % PANES].get_or_insert_with(|| Box::new((epoch, T::default())));
        // A record that is late by a pane or more counts for the present.
        if pane.0 < epoch {
            **pane = (epoch, T::default());
        }
        &mut pane.1
    }

    pub(super) fn live(&self, now_ns: u64) -> impl Iterator<Item = &T> {
        let oldest = (now_ns / PANE_NS).saturating_sub(PANES as u64 - 1);
        self.panes.iter().flatten().filter(move |pane| pane.0 >= oldest).map(|pane| &pane.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_are_remembered_and_no_more_than_six_and_a_quarter() {
        let mut window = Window::<u32>::new();
        for second in 0..1_000_u64 {
            *window.now(second * 1_000_000_000) += 1;
        }

        let sum: u32 = window.live(999_000_000_000).sum();
        assert!((300..=375).contains(&sum), "{sum}");
        assert_eq!(window.live(2_000_000_000_000).count(), 0);
    }
}
