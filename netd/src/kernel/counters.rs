//! The kernel's exact counters, summed over the CPUs.

use netd_common::counter::{Counter, Counters as Slots};

use super::{Error, table::Table};

/// Reads `COUNTERS`.
#[derive(Debug)]
pub struct Counters {
    pub(super) table: Table<u32, Slots>,
}

impl Counters {
    /// Returns every counter. CPUs are read one after the other, so the sum is of a moment only when nothing moves;
    /// it never goes back.
    ///
    /// # Errors
    ///
    /// When the kernel does not let the map be read.
    pub fn read(&self) -> Result<Totals, Error> {
        let mut cpus = Vec::new();
        self.table.get_all(&0, &mut cpus)?;
        let mut totals = Totals([0; Counter::SLOTS]);
        for cpu in &cpus {
            for (total, value) in totals.0.iter_mut().zip(&cpu.0) {
                *total = total.wrapping_add(*value);
            }
        }
        Ok(totals)
    }
}

/// Counters of all CPUs together, since the maps were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals([u64; Counter::SLOTS]);

impl Totals {
    /// Returns one counter.
    #[must_use]
    pub const fn of(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Iterates over every counter in index order.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.into_iter().map(|counter| (counter, self.of(counter)))
    }
}
