//! The kernel's exact counters, summed over the CPUs.

use netd_common::counter::{Counter, Counters as Slots, Traffic};

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
        let mut totals = Totals { slots: [0; Counter::SLOTS], traffic: Box::new([Traffic::default(); Traffic::SLOTS]) };
        for cpu in &cpus {
            sum(&mut totals.slots, &cpu.totals());
            for (total, traffic) in totals.traffic.iter_mut().zip(&cpu.traffic) {
                sum(&mut total.packets, &traffic.packets);
                sum(&mut total.bytes, &traffic.bytes);
            }
        }
        Ok(totals)
    }
}

fn sum<const N: usize>(totals: &mut [u64; N], values: &[u64; N]) {
    for (total, value) in totals.iter_mut().zip(values) {
        *total = total.wrapping_add(*value);
    }
}

/// Counters of all CPUs together, since the maps were created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    slots: [u64; Counter::SLOTS],
    traffic: Box<[Traffic; Traffic::SLOTS]>,
}

impl Totals {
    /// Returns one counter.
    #[must_use]
    pub const fn of(&self, counter: Counter) -> u64 {
        self.slots[counter as usize]
    }

    /// Returns what was met, by [`Traffic::slot`].
    #[must_use]
    pub const fn traffic(&self) -> &[Traffic; Traffic::SLOTS] {
        &self.traffic
    }

    /// Iterates over every counter in index order.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.into_iter().map(|counter| (counter, self.of(counter)))
    }
}
